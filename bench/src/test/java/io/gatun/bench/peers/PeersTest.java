package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.Contender;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Where there are libraries of all peers. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class PeersTest {
    /** More than one, so that a contender that mixes them up is seen. */
    private static final int COPIES = 3;

    private static final List<String> MISSING = new ArrayList<>();
    private static List<Peer> peers;

    @BeforeAll
    static void load() {
        peers = Peers.all(MISSING::add);
    }

    @Test
    void allAreThere() {
        assertEquals(List.of(), MISSING);
        assertEquals(
                List.of(
                        "onnxruntime 1.29.0",
                        "onednn 3.13",
                        "onednn-w4a16 3.13",
                        "onednn-bf16 3.13",
                        "libtorch 2.13.0",
                        "jlama 0.8.4"),
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        assertEquals(
                peers.stream().map(Peer::name).toList(),
                Peers.NAMES.stream()
                        .filter(name -> !name.startsWith("onnxruntime-") && !name.equals("libtorch-bf16"))
                        .toList());
    }

    @Test
    void whatDoesNotLoadIsNamedAndLeftOut() {
        List<Peer> loaded = new ArrayList<>();
        List<String> missing = new ArrayList<>();
        Peers.load("nobody", () -> List.of(broken(new NativeCode("no/libnobody.so"))), loaded, missing::add);
        Peers.load("somebody", () -> List.of(peers.getFirst()), loaded, missing::add);
        assertEquals(List.of(peers.getFirst()), loaded);
        assertEquals(List.of("nobody is left out: java.io.IOException: no no/libnobody.so on the class path"), missing);
    }

    private static Peer broken(NativeCode code) throws IOException {
        throw new IOException("loaded " + code);
    }

    /** Every peer that has something for the case computes it. */
    @ParameterizedTest
    @CsvSource({
        "int4, 32, 192, 512, i8row, jlama libtorch onednn onednn-bf16 onednn-w4a16 onnxruntime",
        "int4, 128, 64, 256, i8row, jlama libtorch onednn onednn-bf16 onednn-w4a16 onnxruntime",
        "int4, 0, 64, 256, i8row, jlama onednn onednn-bf16 onednn-w4a16",
        "int4, 32, 1027, 256, i8row, jlama onednn-bf16 onnxruntime",
        "int4, 32, 37, 101, i8row, onednn-bf16 onnxruntime",
        "int4, 32, 37, 101, f32, libtorch onednn onnxruntime",
        "int4, 128, 64, 256, f32, libtorch onednn onnxruntime",
        "int8, 0, 192, 512, i8row, libtorch onednn onnxruntime",
        "int8, 0, 37, 101, i8row, onednn onnxruntime",
        "int8, 0, 37, 101, f32, libtorch onednn",
        "int8, 64, 37, 101, i8row, onnxruntime",
        "int8, 0, 193, 512, f32, jlama libtorch onednn",
        "int8, 0, 37, 101, bf16, libtorch onednn-bf16",
        "int8, 0, 193, 512, bf16, jlama libtorch onednn-bf16",
    })
    void outputsAreRight(String weights, int group, int columns, int depth, String activations, String expected)
            throws Exception {
        for (int rows : new int[] {1, 5, 33}) {
            for (int threads : new int[] {1, 2}) {
                QMatmulCase problem = new QMatmulCase(
                        weights,
                        group,
                        activations,
                        columns,
                        depth,
                        rows,
                        threads,
                        null,
                        activations.equals("f32"),
                        false);
                QMatmulData data = new QMatmulData(problem, COPIES);
                Set<String> able = new TreeSet<>();
                for (Peer peer : peers) {
                    try (Contender contender = peer.prepare(problem, data)) {
                        if (contender != null) {
                            check(contender, problem, data);
                            able.add(peer.name());
                        }
                    }
                }
                assertEquals(expected, String.join(" ", able), problem.name());
            }
        }
    }

    private static void check(Contender contender, QMatmulCase problem, QMatmulData data) {
        int columns = Math.toIntExact(problem.columns());
        float[] y = new float[Math.toIntExact(problem.rows() * columns)];
        contender.output(0, y);
        double squares = 0;
        double errors = 0;
        double worst = 0;
        for (int i = 0; i < y.length; i++) {
            double wanted = data.expected(i / columns, i % columns);
            double error = Math.abs(y[i] - wanted);
            squares += wanted * wanted;
            errors += error * error;
            worst = Double.isNaN(error) ? Double.NaN : Math.max(worst, error);
        }
        String what = contender.impl() + " (" + contender.kernel() + ") on " + problem.name();
        double bound = bound(contender.kernel(), problem);
        double rms = Math.sqrt(squares / y.length);
        assertTrue(Math.sqrt(errors / squares) <= bound, what + ": relative error " + Math.sqrt(errors / squares));
        assertTrue(worst <= 6 * bound * rms, what + ": an output is off by " + worst + " of " + rms);

        for (int call = 0; call <= COPIES; call++) {
            contender.run();
        }
        float[] again = new float[y.length];
        contender.output(0, again);
        assertArrayEquals(y, again, what);
        assertEquals(COPIES, contender.copies());
        contender.output(COPIES - 1, again);
        double step = 0;
        for (int i = 0; i < y.length; i += columns) {
            double wanted = data.expected(COPIES - 1, i / columns, 0) - data.expected(i / columns, 0);
            step = Math.max(step, Math.abs(again[i] - y[i] - wanted));
            again[i] = y[i];
        }
        assertTrue(step <= 6 * bound * rms, what + ": a column of the last copy is off by " + step + " of " + rms);
        assertArrayEquals(y, again, what); // copies differ in column 0 alone
        assertTrue(!contender.timed().isEmpty());
    }

    /**
     * Relative error of outputs: 8-bit steps of at most 8 sigma / 127 are off by 1 / sqrt(12) of them; bf16 numbers by
     * 2^-9 at most, both factors of a product and, at libtorch, the output; f32 sums of 512 products by much less than
     * 512 2^-24.
     */
    private static double bound(String kernel, QMatmulCase problem) {
        if (problem.precise()) {
            return 3e-5;
        }
        return kernel.contains("bf16") || kernel.startsWith("_weight") ? 6e-3 : 0.03;
    }
}
