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
        return Arguments.parse(List.of(words), List.of("qmatmul", "quantize"), 4);
    }

    @Test
    void nothingMeansEverything() {
        Arguments arguments = parse();
        assertNull(arguments.op());
        assertEquals(new Arguments(null, false, 4, Map.of()), arguments);
        assertEquals(List.of(1, 4), arguments.threadCounts());
    }

    @Test
    void readsAllOptionsInAnyOrder() {
        Arguments arguments =
                parse("--peer", "mine=./run x=1", "--threads", "8", "qmatmul", "--quick", "--peer", "b=c");
        assertEquals(new Arguments("qmatmul", true, 8, Map.of("mine", "./run x=1", "b", "c")), arguments);
        assertEquals(List.of(1), parse("--threads", "1").threadCounts());
        assertEquals(List.of(1), parse("--threads", "1").scalingCounts());
        assertEquals(List.of(1, 2, 4, 6), parse("--threads", "6").scalingCounts());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "attention          | unknown op attention; allowed: qmatmul, quantize",
                "--fast             | unknown option --fast; allowed: --quick, --threads n, --peer name=command",
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
                "--peer a=b --peer a=c | --peer: the name a is given twice",
            })
    void refusesWithWhatIsAllowed(String line, String message) {
        String thrown = assertThrows(
                        IllegalArgumentException.class, () -> parse(line.strip().split(" +")))
                .getMessage();
        assertTrue(thrown.startsWith(message), thrown);
    }
}
