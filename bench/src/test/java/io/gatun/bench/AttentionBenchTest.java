package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AttentionBenchTest {
    /** Blocks of 64, the last one shorter. */
    private static final int LENGTH = 64 * 5 + 17;

    private static final AttentionData DATA = new AttentionData(LENGTH);

    @TempDir
    private Path folder;

    @AfterAll
    static void close() {
        DATA.close();
    }

    private Session session() {
        PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
        Session session = new Session(
                new Arguments("attention", true, 2, null, Map.of()),
                (kind, tier, threads) -> 1e12,
                new Rounds(5, 1, 1),
                folder,
                new Table(nowhere),
                new Progress(nowhere, false));
        session.begin("attention", List.of());
        return session;
    }

    private static Contender contender(AttentionCase problem, byte[] map) {
        return map == null ? GatunAttention.prepare("", problem, DATA) : GatunAttention.prepare(problem, DATA, map);
    }

    @ParameterizedTest
    @CsvSource({
        "f32, full, 100, 1e-6",
        "f32, causal, 100, 1e-6",
        "f32, causal, 50, 1e-6",
        "bf16, full, 100, 8e-3",
        "bf16, causal, 25, 8e-3",
        "f16, full, 25, 2e-3",
        "int8, full, 100, 4e-2",
        "int8, causal, 50, 4e-2",
    })
    void computesWhatTheDefinitionSays(String dtype, String mask, int percent, double most) throws Exception {
        boolean causal = mask.equals("causal");
        AttentionCase problem = percent == 100
                ? AttentionCase.dense(dtype, LENGTH, causal, 2)
                : AttentionCase.sparse(dtype, LENGTH, causal, percent, 2);
        byte[] map = percent == 100 ? null : AttentionData.map(problem);
        AttentionVerifier verifier = new AttentionVerifier(problem, DATA, map);
        try (Contender contender = contender(problem, map)) {
            double error = verifier.relError(contender);
            assertTrue(error > 0 && error < most, "error " + error);
            contender.run();
            assertEquals(error, verifier.relError(contender));
            // The first row is sampled.
            assertThrows(
                    OutputCheck.WrongOutput.class,
                    () -> verifier.relError(FakeContender.withError(contender, 127, 0.3f)));
        }
        assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(new FakeContender("libtorch 3", () -> {})));
    }

    /** Rows of another head, and the values of all blocks where some are seen. */
    @Test
    void whatOthersComputeIsWrong() throws Exception {
        AttentionCase problem = AttentionCase.sparse("f32", LENGTH, true, 50, 2);
        byte[] map = AttentionData.map(problem);
        AttentionVerifier verifier = new AttentionVerifier(problem, DATA, map);
        try (Contender sparse = contender(problem, map);
                Contender dense = GatunAttention.prepare("", problem.asDense(), DATA)) {
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(dense));
            Contender shifted = new FakeContender(sparse.impl(), sparse::run, y -> {
                float[] right = new float[y.length];
                sparse.output(0, right);
                int head = LENGTH * AttentionCase.HEAD_SIZE;
                System.arraycopy(right, head, y, 0, y.length - head);
                System.arraycopy(right, 0, y, y.length - head, head);
            });
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(shifted));
        }
    }

    @Test
    void dense() throws Exception {
        Session session = session();
        AttentionCase problem = AttentionCase.dense("int8", LENGTH, true, 2);
        List<Result> relations = AttentionBench.compare(session, problem, DATA, List.of());
        assertEquals(2, session.results().size());
        Result int8 = session.results().getFirst();
        Result bf16 = session.results().getLast();
        assertTrue(int8.relError() > bf16.relError());
        assertTrue(bf16.impl().endsWith(" bf16"));
        assertEquals(1, relations.size());
        assertEquals(bf16.median() / int8.median(), relations.getFirst().median(), 1e-9);
        assertEquals(problem.name() + " speedup", relations.getFirst().caseName());
        double operations = 4.0 * 32 * 128 * LENGTH * (LENGTH + 1) / 2;
        assertEquals(100 * operations / 1e12 / int8.seconds(), int8.percentOfLimit(), 1e-6);
    }

    @Test
    void sparseIsComparedWithDense() throws Exception {
        Session session = session();
        AttentionCase problem = AttentionCase.sparse("bf16", LENGTH, false, 25, 2);
        Result relation =
                AttentionBench.compare(session, problem, DATA, List.of()).getFirst();
        List<Result> results = session.results();
        assertEquals(3, results.size());
        assertEquals(problem.name(), results.get(1).caseName());
        assertTrue(results.get(1).isDense());
        assertEquals("mask " + LENGTH + " full d=25 t=1", results.get(2).caseName());
        double density = AttentionData.density(problem, AttentionData.map(problem));
        assertEquals(results.getFirst().median() / (density * results.get(1).median()), relation.median(), 1e-9);
        assertEquals(problem.name() + " over ideal", relation.caseName());
    }

    @ParameterizedTest
    @CsvSource({"means, full", "means, causal", "antidiagonal, full", "antidiagonal, causal"})
    void selectionsKeepTheBestBlocks(String method, String mask) throws Exception {
        AttentionCase problem = AttentionCase.select(method, LENGTH, mask.equals("causal"), 50, 2);
        Session session = session();
        List<Result> relations = AttentionBench.compare(session, problem, DATA, List.of());
        List<Result> results = session.results();
        assertEquals(3, results.size());
        assertTrue(results.get(1).isDense());
        assertTrue(results.getLast().impl().endsWith(" fused"));
        assertEquals(3, relations.size());
        for (int i : new int[] {0, 2}) {
            Result relation = relations.get(i / 2);
            assertEquals(results.get(i).impl(), relation.impl());
            assertEquals(100 * results.get(i).median() / results.get(1).median(), relation.median(), 1e-9);
            assertEquals("%", relation.unit());
        }
        Result recall = relations.getLast();

        Session.Verifier never = contender -> {
            throw new AssertionError(contender);
        };
        SelectionVerifier verifier = new SelectionVerifier(problem, DATA, never);
        try (Contender contender = GatunSelection.prepare(problem, DATA)) {
            assertTrue(verifier.relError(contender) < 1e-3);
            assertEquals(100 * recall(problem, OutputCheck.outputOf(contender, 32 * 36)), recall.median(), 1e-2);
            int last = 6 * 6 - 6; // of head 0, the row of the last queries
            Contender other = new FakeContender("gatun", () -> {}, map -> {
                contender.output(0, map);
                for (int head = 0; head < AttentionCase.HEADS; head++) { // the worst half instead of the best
                    for (int column = 0; column < 6; column++) {
                        map[head * 36 + last + column] = 1 - map[head * 36 + last + column];
                    }
                }
            });
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(other));
            Contender more = new FakeContender("gatun", () -> {}, map -> {
                contender.output(0, map);
                for (int head = 0; head < AttentionCase.HEADS; head++) {
                    Arrays.fill(map, head * 36 + last, head * 36 + last + 6, 1);
                }
            });
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(more));
        }
    }

    /** The mean over rows of what the kept keys weigh in the softmax. */
    private static double recall(AttentionCase problem, float[] map) {
        return IntStream.range(0, AttentionCase.HEADS * LENGTH)
                .parallel()
                .mapToDouble(row -> {
                    int head = row / LENGTH;
                    int query = row % LENGTH;
                    double all = 0;
                    double kept = 0;
                    for (int key = 0; key < (problem.causal() ? query + 1 : LENGTH); key++) {
                        double product = 0;
                        for (int i = 0; i < AttentionCase.HEAD_SIZE; i++) {
                            product += (double) AttentionData.at(DATA.q(), LENGTH, head, query, i)
                                    * AttentionData.at(DATA.k(), LENGTH, head, key, i);
                        }
                        double weight = Math.exp(product / Math.sqrt(AttentionCase.HEAD_SIZE));
                        all += weight;
                        kept += weight * map[(head * 6 + query / 64) * 6 + key / 64];
                    }
                    return kept / all;
                })
                .average()
                .orElseThrow();
    }

    @Test
    void masksAreTheMapsThatTheyAreMadeOf() throws Exception {
        AttentionCase problem = AttentionCase.sparse("bf16", LENGTH, true, 50, 2);
        byte[] map = AttentionData.map(problem);
        try (MaskContender contender = new MaskContender(problem, map)) {
            assertEquals(0, contender.relError(contender));
            assertThrows(
                    OutputCheck.WrongOutput.class, () -> contender.relError(FakeContender.withError(contender, 7, 1)));
        }
    }

    /** Of int8, half of the products at the speed of codes. */
    @Test
    void limitsAreThoseOfTheProducts() {
        Limits limits = (kind, tier, threads) -> switch (kind) {
            case FMA -> 1;
            case BF16_DOT -> 2;
            case INT8_DOT -> 4;
            default -> throw new AssertionError(kind);
        };
        AttentionCase f32 = AttentionCase.dense("f32", LENGTH, true, 2);
        assertEquals(100, AttentionBench.limitSeconds(limits, f32, 100, "attention_f32_avx512"));
        assertEquals(50, AttentionBench.limitSeconds(limits, f32.with("bf16"), 100, "attention_bf16_avx512vnni"));
        assertEquals(100, AttentionBench.limitSeconds(limits, f32.with("bf16"), 100, "attention_bf16_avx512"));
        assertEquals(
                50 / 4.0 + 50 / 2.0,
                AttentionBench.limitSeconds(limits, f32.with("int8"), 100, "attention_i8_bf16_avx512vnni"));
    }
}
