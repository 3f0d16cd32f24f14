package io.gatun.bench.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.QMatmulCase;
import io.gatun.bench.Result;
import java.util.List;
import org.junit.jupiter.api.Test;

class WorkTest {
    private static Result named(String op, String name) {
        return new Result(op, name, "gatun", 1, "time", "ms", 1, 1, 1, null, null, null, null, null);
    }

    @Test
    void readsEveryNameThatCasesHave() {
        for (String weights : List.of("int4", "int8")) {
            for (int group : List.of(0, 32)) {
                for (String tier : new String[] {null, "avx2"}) {
                    for (boolean flag : new boolean[] {false, true}) {
                        QMatmulCase problem =
                                new QMatmulCase(weights, group, "i8row", 14337, 4093, 7, 2, tier, flag, flag);
                        Work work = Work.of(named("qmatmul", problem.name()))
                                .orElseThrow(() -> new AssertionError(problem.name()));
                        assertEquals(problem.weightBytes(), work.bytes());
                        assertEquals(2.0 * 14337 * 4093 * 7, work.operations());
                        assertEquals(
                                weights
                                        + (group == 0 ? " row" : " g32")
                                        + (flag ? " precise" : "")
                                        + (tier == null ? "" : " avx2"),
                                work.kind());
                    }
                }
            }
        }
    }

    @Test
    void readsProductsByFormats() {
        Work work =
                Work.of(named("quantize", "mxfp4 i8row 14336x4096 m=512 t=2")).orElseThrow();
        assertEquals("mxfp4 i8row", work.kind());
        assertEquals(14336 * 4096 / 8 * 4.25, work.bytes());
        assertEquals(2.0 * 14336 * 4096 * 512, work.operations());
        assertTrue(Work.of(named("quantize", "nf4 b64 quantize 64Mi t=2")).isEmpty());
        assertTrue(Work.of(named("quantize", "int4 g32 i8row 14336x4096 m=512 t=2"))
                .isEmpty());
        assertTrue(Work.of(named("qmatmul", "mxfp4 i8row 14336x4096 m=512 t=2")).isEmpty());
    }

    @Test
    void readsProductsBySparseWeights() {
        Work work =
                Work.of(named("nm_matmul", "int4 g64 2:4 14336x4096 m=512 t=2")).orElseThrow();
        assertEquals("int4 g64 2:4", work.kind());
        assertEquals(14336 * (4096 / 2 * 0.5 + 4096 / 2 * 0.25 + 4096 / 64 * 2), work.bytes());
        assertEquals(2.0 * 14336 * 4096 / 2 * 512, work.operations());
        assertTrue(Work.of(named("nm_matmul", "prune+compress f32 2:4 14336x4096 t=2"))
                .isEmpty());
        assertTrue(Work.of(named("nm_matmul", "f32 2:4 14336x4096 m=512 t=2 speedup"))
                .isEmpty());
        assertTrue(Work.of(named("qmatmul", "f32 2:4 14336x4096 m=512 t=2")).isEmpty());
    }

    @Test
    void readsAttention() {
        Work work =
                Work.of(named("attention", "bf16 sparse 8192 causal d=10 t=2")).orElseThrow();
        assertEquals("attention bf16", work.kind());
        assertEquals(4.0 * 32 * 8192 * 128 * 2, work.bytes());
        // A tenth of 128 * 129 / 2 blocks, with all 128 of the diagonal.
        assertEquals(4.0 * 32 * 128 * (128 * 64 * 65 / 2 + (826 - 128) * 64 * 64), work.operations());
        assertEquals(
                4.0 * 32 * 128 * 2048 * 2048,
                Work.of(named("attention", "f32 dense 2048 full t=1"))
                        .orElseThrow()
                        .operations());
        assertTrue(Work.of(named("attention", "bf16 select means 8192 causal d=10 t=2"))
                .isEmpty());
        assertTrue(Work.of(named("attention", "bf16 sparse 8192 causal d=10 t=2 over ideal"))
                .isEmpty());
        assertTrue(Work.of(named("qmatmul", "f32 dense 2048 full t=1")).isEmpty());
    }

    @Test
    void knowsNothingOfOtherNames() {
        assertTrue(Work.of(named("norm", "int4 g32 i8row 8x8 m=1 t=1")).isEmpty());
        assertTrue(
                Work.of(named("qmatmul", "int4 g32 i8row 8x8 m=1 t=1 scaling")).isEmpty());
        assertTrue(Work.of(named("qmatmul", "idle pool")).isEmpty());
    }
}
