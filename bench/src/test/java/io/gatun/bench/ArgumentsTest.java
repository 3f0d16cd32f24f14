package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ArgumentsTest {
    private static Arguments parse(String... words) {
        return Arguments.parse(List.of(words), List.of("qmatmul", "quantize"), List.of("onednn", "onednn-bf16"), 4);
    }

    @Test
    void nothingMeansEverything() {
        Arguments arguments = parse();
        assertNull(arguments.op());
        assertEquals(new Arguments(null, false, 4, null, Map.of()), arguments);
        assertEquals(List.of(1, 4), arguments.threadCounts());
    }

    @Test
    void readsAllOptionsInAnyOrder() {
        Arguments arguments = parse(
                "--peer",
                "mine=./run x=1",
                "--threads",
                "8",
                "qmatmul",
                "--shape",
                "48x32",
                "--quick",
                "--peer",
                "b=c");
        assertEquals(new Arguments("qmatmul", true, 8, "48x32", Map.of("mine", "./run x=1", "b", "c")), arguments);
        assertEquals(List.of(1), parse("--threads", "1").threadCounts());
        assertEquals(List.of(1), parse("--threads", "1").scalingCounts());
        assertEquals(List.of(1, 2, 4, 6), parse("--threads", "6").scalingCounts());
    }

    /** In the records a peer's name has its version behind it. */
    @Test
    void refusesPeersByNameAndVersion() {
        String thrown = assertThrows(IllegalArgumentException.class, () -> parse("--peer", "onednn 3.13=./run"))
                .getMessage();
        assertTrue(thrown.startsWith("--peer: the name onednn 3.13 is that of a peer"), thrown);
        assertEquals(
                Map.of("onednn2", "./run", "my onednn", "./run"),
                parse("--peer", "onednn2=./run", "--peer", "my onednn=./run").peers());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "attention          | unknown op attention; allowed: qmatmul, quantize",
                "--fast             | unknown option --fast; allowed: --quick, --threads n, --shape NxK, --peer name=command",
                "--shape 4096       | --shape: given 4096; allowed: NxK, outputs x inputs of a layer, each 1..999999",
                "--shape 0x16       | --shape: given 0x16; allowed: NxK",
                "qmatmul quantize   | two ops, qmatmul and quantize; allowed: one, or none for all",
                "--threads          | --threads: a value is missing",
                "--threads 0        | --threads: given 0; allowed: 1..1024",
                "--threads 1025     | --threads: given 1025; allowed: 1..1024",
                "--threads two      | --threads: given two; allowed: 1..1024",
                "--peer             | --peer: a value is missing",
                "--peer x           | --peer: given x; allowed: name=command",
                "--peer x=          | --peer: given x=; allowed: name=command",
                "--peer =y          | --peer: given =y; allowed: name=command",
                "--peer gatun2=y    | --peer: given gatun2=y; allowed: name=command",
                "--peer Gatun=y     | --peer: given Gatun=y; allowed: name=command",
                "--peer a=b --peer a=c | --peer: the name a is given twice",
                "--peer a=b --peer A=c | --peer: the name A is given twice",
                "--peer onednn=y    | --peer: the name onednn is that of a peer of the bench; allowed: any but onednn, onednn-bf16",
                "--peer OneDNN-bf16=y | --peer: the name OneDNN-bf16 is that of a peer of the bench; allowed: any but onednn",
            })
    void refusesWithWhatIsAllowed(String line, String message) {
        String thrown = assertThrows(
                        IllegalArgumentException.class, () -> parse(line.strip().split(" +")))
                .getMessage();
        assertTrue(thrown.startsWith(message), thrown);
    }
}
