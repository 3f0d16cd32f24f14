package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.DecodeCase.Cache;
import io.gatun.ops.Attention.Mode;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DecodeBenchTest {
    /** Pages of 64, the last one shorter. */
    private static final int KEYS = 64 * 25 + 17;

    @TempDir
    private Path folder;

    private Session session() {
        PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
        Session session = new Session(
                new Arguments("decode", true, 2, null, Map.of()),
                (kind, tier, threads) -> kind == Limits.Kind.READ ? 1e12 * threads : Double.NaN,
                new Rounds(5, 1, 1),
                folder,
                new Table(nowhere),
                new Progress(nowhere, false));
        session.begin("decode", List.of());
        return session;
    }

    private static DecodeData data(DecodeCase problem) {
        return new DecodeData(problem, 2 * problem.bytes());
    }

    // With q of 8 bits, a normal row's elements are wrong by 0.6 %.
    @ParameterizedTest
    @CsvSource({
        "BF16, 32, EXACT, 5e-3",
        "BF16, 8, EXACT, 5e-3",
        "F16, 8, EXACT, 1e-3",
        "INT8, 32, EXACT, 5e-3",
        "INT8, 8, EXACT, 5e-3",
        "INT4, 8, EXACT, 5e-3",
        "INT4_GROUPS, 32, EXACT, 5e-3",
        "INT2, 8, EXACT, 5e-3",
        "INT8, 32, INT8, 1e-2",
        "INT8, 8, INT8, 1e-2",
        "INT4, 8, INT8, 1e-2",
        "INT4_GROUPS, 32, INT8, 1e-2",
        "INT2, 8, INT8, 1e-2",
    })
    void computesWhatTheDefinitionSays(Cache cache, int heads, Mode mode, double most) throws Exception {
        DecodeCase problem = DecodeCase.all(cache, KEYS, heads, 2);
        try (DecodeData data = data(problem);
                Contender contender = GatunCaches.prepare("", problem, data, mode)) {
            DecodeVerifier verifier = new DecodeVerifier(problem, data);
            double error = verifier.relError(contender);
            assertTrue(error > 0 && error < most, "error " + error);
            contender.run();
            assertEquals(error, verifier.relError(contender));
            // The first and the last head are sampled.
            for (int index : new int[] {127, 31 * HEAD_SIZE}) {
                assertThrows(
                        OutputCheck.WrongOutput.class,
                        () -> verifier.relError(FakeContender.withError(contender, index, 0.3f)));
            }
            Contender shifted = new FakeContender(contender.impl(), contender::run, y -> {
                float[] right = new float[y.length];
                contender.output(0, right);
                System.arraycopy(right, HEAD_SIZE, y, 0, y.length - HEAD_SIZE);
                System.arraycopy(right, 0, y, y.length - HEAD_SIZE, HEAD_SIZE);
            });
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(shifted));
            assertThrows(
                    OutputCheck.WrongOutput.class, () -> verifier.relError(new FakeContender("libtorch 3", () -> {})));
            // Of f32, an error that rounding explains is one.
            Contender rounded = new FakeContender("libtorch 3", contender::run, y -> contender.output(0, y));
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(rounded));
        }
    }

    @Test
    void calls() throws Exception {
        DecodeCase problem = DecodeCase.all(Cache.INT8, KEYS, 8, 2);
        Session session = session();
        List<Result> relations;
        try (DecodeData data = data(problem)) {
            relations = DecodeBench.compare(session, problem, data, List.of());
        }
        assertEquals(2, session.results().size());
        Result int8 = session.results().getFirst();
        Result bf16 = session.results().getLast();
        assertTrue(bf16.impl().endsWith(" bf16"));
        assertEquals(problem.name(), bf16.caseName());
        assertEquals(1, relations.size());
        assertEquals(bf16.median() / int8.median(), relations.getFirst().median(), 1e-9);
        assertEquals(problem.name() + " speedup", relations.getFirst().caseName());
        assertEquals(100 * (2.0 * 8 * KEYS * 130) / 2e12 / int8.seconds(), int8.percentOfLimit(), 1e-9);
    }

    @ParameterizedTest
    @CsvSource({"BF16, 32", "INT4, 8"})
    void selectionsKeepThePagesWithTheLargestScores(Cache cache, int heads) throws Exception {
        DecodeCase problem = new DecodeCase(cache, 25, KEYS, heads, 1);
        Session session = session();
        try (DecodeData data = data(problem)) {
            List<Result> relations = DecodeBench.compare(session, problem, data, List.of());
            List<Result> results = session.results();
            assertEquals(2, results.size());
            assertTrue(results.getLast().impl().endsWith(" full"));
            assertTrue(results.getFirst().relError() > 0);
            assertEquals(
                    100 * results.getFirst().median() / results.getLast().median(),
                    relations.getFirst().median(),
                    1e-9);
            assertEquals(problem.name() + " of full", relations.getFirst().caseName());
            assertEquals("%", relations.getFirst().unit());

            DecodeVerifier verifier = new DecodeVerifier(problem, data);
            try (GatunDecodeSelection selection = new GatunDecodeSelection(problem, data)) {
                verifier.relError(selection);
                assertEquals(7, selection.chosen(0).length); // of 26
                // All pages are no selection, and other pages than those that were chosen give something else.
                try (Contender full = GatunCaches.prepare("", problem.asFull(), data)) {
                    verifier.relError(full);
                    selection.run();
                    assertThrows(OutputCheck.WrongOutput.class, () -> verifier.checkOutput(selection, full));
                    verifier.checkOutput(selection, selection);
                }
                int[] chosen = selection.chosen(0);
                verifier.checkChoice("gatun", chosen, 0);
                int[] others = chosen.clone();
                for (int i = 1; i < others.length - 1; i++) { // instead of the best of the middle, neighbours
                    others[i] = chosen[i] + 1 == chosen[i + 1] ? chosen[i] : chosen[i] + 1;
                }
                assertThrows(OutputCheck.WrongOutput.class, () -> verifier.checkChoice("gatun", others, 0));
                int[] twice = chosen.clone();
                twice[1] = twice[2];
                assertThrows(OutputCheck.WrongOutput.class, () -> verifier.checkChoice("gatun", twice, 0));
                int[] fewer = java.util.Arrays.copyOf(chosen, chosen.length - 1);
                assertThrows(OutputCheck.WrongOutput.class, () -> verifier.checkChoice("gatun", fewer, 0));
            }
        }
    }
}
