package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NmMatmulBenchTest {
    @TempDir
    private Path folder;

    private Session session() {
        PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
        return new Session(
                new Arguments("nm_matmul", true, 2, null, Map.of()),
                (kind, tier, threads) -> 1e12,
                new Rounds(5, 1, 1),
                folder,
                new Table(nowhere),
                new Progress(nowhere, false));
    }

    @ParameterizedTest
    @CsvSource({
        "f32, 0, 2, 4, 20, 1e-4",
        "f32, 0, 1, 8, 1, 1e-4",
        "f32, 0, 3, 16, 20, 1e-4",
        "f32, 0, 1, 32, 20, 1e-4",
        "f32, 0, 1, 2, 20, 1e-4",
        "bf16, 0, 2, 4, 20, 1e-4",
        "bf16, 0, 2, 4, 1, 1e-4",
        "int8, 0, 2, 4, 1, 3e-3",
        "int8, 0, 4, 8, 20, 3e-3",
        "int4, 64, 2, 4, 1, 3e-3",
        "int4, 64, 2, 8, 20, 3e-3",
    })
    void computesWhatTheOracleSays(String values, int group, int n, int m, long rows, float wrong) throws Exception {
        NmMatmulCase problem = new NmMatmulCase(values, group, n, m, 67, 203, rows, 2);
        NmMatmulData data = new NmMatmulData(problem, null);
        QMatmulVerifier verifier = NmMatmulBench.verifier(problem, data);
        try (Contender contender = GatunNmMatmul.prepare(problem, data)) {
            double error = verifier.relError(contender);
            assertTrue(error < (values.equals("f32") ? 1e-6 : values.equals("bf16") ? 3e-3 : 0.03), "error " + error);
            contender.run();
            assertEquals(error, verifier.relError(contender));
            // Far above the rounding of sums; with rounded activations far below what these explain.
            Contender changed = FakeContender.withError(contender, 66, wrong);
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(changed));
        }
    }

    @Test
    void anOutputThatIsNotWrittenIsWrong() {
        NmMatmulCase problem = new NmMatmulCase("f32", 0, 2, 4, 67, 203, 20, 2);
        QMatmulVerifier verifier = NmMatmulBench.verifier(problem, new NmMatmulData(problem, null));
        assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(new FakeContender("onednn 3", () -> {})));
    }

    @Test
    void everyCopyOfTheWeightsIsTheSame() throws Exception {
        NmMatmulCase problem = new NmMatmulCase("f32", 0, 2, 4, 2048, 8192, 1, 2);
        NmMatmulData data = new NmMatmulData(problem, null);
        assertTrue(data.copies > 2);
        try (Contender contender = GatunNmMatmul.prepare(problem, data)) {
            float[] first = new float[2048];
            float[] last = new float[2048];
            contender.output(0, first);
            contender.output(data.copies - 1, last);
            assertTrue(Arrays.equals(first, last));
            assertEquals(data.copies, contender.copies());
        }
    }

    /** Integers beside our own dense weights, with a peer that is given the weights with their zeros. */
    @Test
    void comparesWithDenseWeights() throws Exception {
        Session session = session();
        session.begin("nm_matmul", List.of());
        NmMatmulCase problem = new NmMatmulCase("int8", 0, 2, 4, 67, 203, 20, 2);
        NmMatmulData data = new NmMatmulData(problem, null);
        NmMatmulBench.compare(session, problem, data, List.of(new ExactPeer()));
        List<Result> results = session.results();
        assertEquals(3, results.size());
        assertEquals(
                List.of(false, true, false),
                results.stream().map(Result::isDense).toList());
        assertEquals(GatunNmMatmul.dense(), results.get(1).impl());
        // The sums of both are the same integers.
        assertEquals(results.get(0).relError(), results.get(1).relError(), 1e-7);
        assertEquals("exact 1", results.getLast().impl());
        assertEquals(0, results.getLast().relError(), 1e-6);
        results.forEach(result -> assertEquals(problem.name(), result.caseName()));
        double atLimit = Math.max(problem.weightBytes(), problem.operations()) / 1e12;
        for (Result result : results) {
            assertEquals(100 * atLimit / result.seconds(), result.percentOfLimit(), 1e-9 * result.percentOfLimit());
        }
    }

    /** Multiplies by the weights that it is given. */
    private static final class ExactPeer implements Peer {
        @Override
        public String name() {
            return "exact";
        }

        @Override
        public String version() {
            return "1";
        }

        @Override
        public Contender prepare(QMatmulCase problem, QMatmulData data) {
            return new FakeContender("exact 1", () -> {}, y -> {
                for (int i = 0; i < y.length; i++) {
                    y[i] = (float) data.expected(0, i / problem.columns(), i % problem.columns());
                }
            });
        }
    }

    @Test
    void aPeerThatFailsIsLeftOut() throws Exception {
        Session session = session();
        session.begin("nm_matmul", List.of());
        NmMatmulCase problem = new NmMatmulCase("f32", 0, 1, 4, 67, 203, 20, 2);
        Peer broken = new Peer() {
            @Override
            public String name() {
                return "broken";
            }

            @Override
            public String version() {
                return "1";
            }

            @Override
            public Contender prepare(QMatmulCase given, QMatmulData data) {
                throw new UnsupportedOperationException("no such types");
            }
        };
        NmMatmulBench.compare(session, problem, new NmMatmulData(problem, null), List.of(broken));
        assertEquals(1, session.results().size());
        assertNull(session.results().getFirst().ratioToBestPeer());
    }

    private static Result time(String impl, double millis, Double error) {
        return new Result("nm_matmul", "c", impl, 1, "time", "ms", millis, millis, millis, null, null, error, "k", "t");
    }

    @Test
    void speedupIsOverTheFastestDenseImplementation() {
        Result ours = time("gatun 1", 2, 1e-7);
        Result coarse = time("onednn-bf16 3", 3, 1e-2);
        Result slow = time("onednn 3", 5, 1e-7);
        Optional<Result> speedup = NmMatmulBench.speedup(List.of(ours, slow, coarse), "c");
        assertEquals(1.5, speedup.orElseThrow().median(), 1e-12);
        assertEquals("c speedup", speedup.orElseThrow().caseName());
        assertTrue(speedup.orElseThrow().timed().contains("onednn-bf16 3"));
        Result dense = time("gatun 1 dense", 4, 1e-7);
        assertEquals(
                2,
                NmMatmulBench.speedup(List.of(ours, dense, coarse), "c")
                        .orElseThrow()
                        .median(),
                1e-12);
        assertTrue(NmMatmulBench.speedup(List.of(ours), "c").isEmpty());
    }

    @Test
    void theKernelSaysWhichLimitBinds() {
        Limits limits = (kind, tier, threads) -> switch (kind) {
            case READ -> 1e15;
            case FMA -> 1;
            case BF16_DOT -> 2;
            default -> 4;
        };
        for (String line : List.of(
                "f32 nm_matmul_f32_x_avx512 1",
                "bf16 nm_matmul_bf16_x_avx2 1",
                "bf16 nm_matmul_bf16_x_avx512vnni 2",
                "int8 nm_matmul_i8_x_avx2 4")) {
            String[] parts = line.split(" ");
            NmMatmulCase problem = new NmMatmulCase(parts[0], 0, 1, 8, 64, 64, 64, 1);
            assertEquals(
                    problem.operations() / Integer.parseInt(parts[2]),
                    NmMatmulBench.work(problem, parts[1], limits)
                            .limitSecondsNow()
                            .getAsDouble(),
                    line);
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 4", "1, 4", "3, 8", "4, 16", "1, 32", "1, 2", "8, 8"})
    void pruningKeepsTheLargest(int n, int m) throws Exception {
        Session session = session();
        session.begin("nm_matmul", List.of());
        NmPruneCase problem = new NmPruneCase(n, m, 37, 192, 2);
        NmMatmulBench.prune(session, problem);
        Result result = session.results().getFirst();
        assertEquals("prune+compress f32 " + n + ":" + m + " 37x192 t=2", result.caseName());
        assertEquals(0, result.relError());
        double bytes = problem.bytesRead() + problem.bytesWritten();
        assertEquals(37 * 192 * 4, problem.bytesRead());
        assertEquals(100 * bytes / 1e12 / result.seconds(), result.percentOfLimit(), 1e-9);
    }

    @Test
    void wrongPruningIsSeen() throws Exception {
        NmPruneCase problem = new NmPruneCase(2, 4, 1, 8, 1);
        float[] weights = {1, -2, 3, -4, 5, 5, -5, 5};
        float[] right = {0, 0, 3, -4, 5, 5, 0, 0};
        NmPruneVerifier verifier = new NmPruneVerifier(problem, weights);
        assertEquals(0, verifier.relError(fixed(right)));
        for (int i = 0; i < right.length; i++) {
            float[] wrong = right.clone();
            wrong[i] = wrong[i] == 0 ? weights[i] : 0;
            String message = assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(fixed(wrong)))
                    .getMessage();
            assertTrue(message.contains("weight [0][" + i + "]"), message);
        }
        assertFalse(problem.keeps(weights, 0, 7), "of equal ones the first are kept");
    }

    private static Contender fixed(float[] values) {
        return new FakeContender("gatun 1", () -> {}, y -> System.arraycopy(values, 0, y, 0, values.length));
    }
}
