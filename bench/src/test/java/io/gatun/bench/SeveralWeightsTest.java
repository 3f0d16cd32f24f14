package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SeveralWeightsTest {
    @TempDir
    private Path folder;

    private Session session() {
        PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
        return new Session(
                new Arguments("qmatmul", true, 2, null, Map.of()),
                (kind, tier, threads) -> 1e12,
                new Rounds(5, 1, 1),
                folder,
                new Table(nowhere),
                new Progress(nowhere, false));
    }

    @Test
    void sideBySide() throws Exception {
        QMatmulCase problem = new QMatmulCase("int4", 32, "i8row", 64 + 7 + 20, 70, 19, 2, null, false, false);
        List<Result> results = SideBySide.measure(session(), problem, new QMatmulData(problem), new long[] {64, 7, 20});
        assertEquals(4, results.size());
        Result together = results.getFirst();
        assertEquals("int4 g32 i8row 91x70 m=19 t=2 qkv", together.caseName());
        assertTrue(together.impl().matches("gatun \\S+ one call"), together.impl());
        results.subList(0, 3).forEach(result -> assertEquals(together.relError(), result.relError()));
        assertSpeedup(results);
    }

    @Test
    void experts() throws Exception {
        QMatmulCase expert = new QMatmulCase("int4", 32, "i8row", 33, 70, 20, 2, null, false, false);
        QMatmulCase all = new QMatmulCase("int4", 32, "i8row", 4 * 33, 70, 20, 2, null, false, false);
        List<Result> results = Experts.measure(session(), expert, new QMatmulData(all), new long[] {3, 0, 16, 1});
        assertEquals(3, results.size());
        assertEquals(
                "int4 g32 i8row 33x70 m=20 t=2 experts=4", results.getFirst().caseName());
        assertEquals(results.getFirst().relError(), results.get(1).relError());
        assertSpeedup(results);
    }

    /** No way of ours is a peer, so their relation is a record of its own. */
    private static void assertSpeedup(List<Result> results) {
        Result speedup = results.getLast();
        assertEquals(List.of("speedup", "x"), List.of(speedup.metric(), speedup.unit()));
        assertEquals(results.getFirst().caseName() + " speedup", speedup.caseName());
        assertEquals(results.get(1).median() / results.getFirst().median(), speedup.median(), 1e-9);
        results.forEach(result -> assertNull(result.ratioToBestPeer()));
    }

    @Test
    void everyTokenGoesToDifferentExperts() {
        long[] rows = Experts.route(64, 4, 32);
        assertEquals(64 * 4, LongStream.of(rows).sum());
        assertTrue(LongStream.of(rows).allMatch(count -> 0 <= count && count <= 64));
        assertEquals(64, LongStream.of(Experts.route(64, 3, 3)).max().orElseThrow());
        assertEquals(64, LongStream.of(Experts.route(64, 3, 3)).min().orElseThrow());
    }
}
