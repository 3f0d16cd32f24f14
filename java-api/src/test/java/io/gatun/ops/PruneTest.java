package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Regrow;
import io.gatun.ops.Prune.Score;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class PruneTest {
    private static final List<DType> TYPES = List.of(DType.F32, DType.F16, DType.BF16);
    private static final int[][] SHAPES = {
        {0, 8}, {5, 0}, {1, 1}, {1, 7}, {4, 4}, {3, 32}, {6, 33}, {9, 70}, {17, 65}, {4, 131}
    };

    static Stream<Sparsity> patterns() {
        List<Sparsity> all = new ArrayList<>();
        for (int m : new int[] {2, 4, 8, 16, 32}) {
            for (int n : new int[] {1, m / 2, m - 1, m}) {
                all.add(Sparsity.nm(n, m));
            }
            all.add(Sparsity.nm(m / 2, m).withVector(4));
        }
        for (double sparsity : new double[] {0, 0.5, 0.77, 1}) {
            all.add(Sparsity.unstructured(sparsity));
            all.add(Sparsity.perRow(sparsity));
            all.add(Sparsity.rows(sparsity));
            all.add(Sparsity.columns(sparsity));
            all.add(Sparsity.blocks(2, 3, sparsity));
            all.add(Sparsity.blocks(16, 64, sparsity));
        }
        return all.stream();
    }

    /** Small integers, so that there are many equal scores and no sum is rounded, or any numbers. */
    static Tensor weights(Random random, DType dtype, int rows, int depth) {
        int count = rows * depth;
        return Tensor.of(
                dtype, random.chance(0.5) ? random.integers(count, -6, 6) : random.normal(count, 1), rows, depth);
    }

    static Score score(Random random, Score.Kind kind, int rows, int depth) {
        return switch (kind) {
            case MAGNITUDE -> Score.magnitude();
            case LAMP -> Score.lamp();
            case WANDA -> Score.wanda(Tensor.of(random.integers(depth, 0, 3), depth));
            case GIVEN -> Score.given(Tensor.of(random.integers(rows * depth, -9, 9), rows, depth));
        };
    }

    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void keepsTheBest(Sparsity pattern) {
        Random random = new Random(91);
        for (int[] shape : SHAPES) {
            for (Score.Kind kind : Score.Kind.values()) {
                DType dtype = TYPES.get(random.between(0, 2));
                Tensor w = weights(random, dtype, shape[0], shape[1]);
                Score score = score(random, kind, shape[0], shape[1]);
                String context = pattern + " " + kind + " " + w.describe();
                boolean[] expected = PruneOracle.of(w, score).keep(pattern);
                Mask mask = Prune.run(w, score, pattern);
                assertArrayEquals(expected, NmOracle.bits(mask), context);
                Mask other = Mask.of(new boolean[shape[0] * shape[1]], shape[0], shape[1]);
                Prune.run(kind == Score.Kind.GIVEN ? null : w, score, pattern, other, 3);
                QuantizeTest.assertSameBytes(mask.bits(), other.bits());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Score.Kind.class)
    @Tag("tier")
    void keepsTheBestTransposableTiles(Score.Kind kind) {
        Random random = new Random(92);
        for (int[] shape : SHAPES) {
            Tensor w = weights(random, DType.F32, shape[0], shape[1]);
            Score score = score(random, kind, shape[0], shape[1]);
            PruneOracle oracle = PruneOracle.of(w, score);
            Mask mask = Prune.run(w, score, Sparsity.transposable());
            for (int row = 0; row < shape[0]; row += 4) {
                for (int column = 0; column < shape[1]; column += 4) {
                    int bits = 0;
                    for (int i = 0; i < 16; i++) {
                        int r = row + i / 4;
                        int k = column + i % 4;
                        bits |= r < shape[0] && k < shape[1] && mask.get(r, k) ? 1 << i : 0;
                    }
                    int tile = bits;
                    String context = kind + " " + w.describe() + " tile " + row + ", " + column;
                    if (row + 4 <= shape[0] && column + 4 <= shape[1]) {
                        assertTrue(PruneOracle.isTransposable(bits), context);
                    }
                    double best = oracle.bestTileScore(row, column);
                    double given = oracle.tileScore(row, column, i -> (tile >> i & 1) != 0);
                    assertEquals(best, given, Math.abs(best) * 1e-14, context);
                }
            }
        }
    }

    @Test
    @Tag("tier")
    void scoresAreThose() {
        Random random = new Random(93);
        for (int[] shape : SHAPES) {
            for (DType dtype : TYPES) {
                Tensor w = weights(random, dtype, shape[0], shape[1]);
                for (Score.Kind kind : List.of(Score.Kind.MAGNITUDE, Score.Kind.WANDA, Score.Kind.LAMP)) {
                    Score score = score(random, kind, shape[0], shape[1]);
                    assertArrayEquals(
                            PruneOracle.of(w, score).scores,
                            Prune.scores(w, score).toFloatArray(),
                            kind + " " + w.describe());
                }
            }
        }
    }

    /** In one pass what pruning and compressing give in two. */
    @Test
    @Tag("tier")
    void compressesWhatItKeeps() {
        Random random = new Random(94);
        for (int[] shape : SHAPES) {
            for (int round = 0; round < 6; round++) {
                DType dtype = TYPES.get(round % 3);
                Tensor w = weights(random, dtype, shape[0], shape[1]);
                Score score = score(random, Score.Kind.values()[random.between(0, 3)], shape[0], shape[1]);
                Sparsity.Nm pattern = NmOracle.randomPattern(random);
                String context = pattern + " " + score + " " + w.describe();
                SparseTensor expected = SparseTensor.compress(w, Prune.run(w, score, pattern), pattern);
                SparseTensor given = Prune.compress(w, score, pattern, random.between(0, 3));
                SparseTensor there = SparseTensor.allocate(Device.CPU, pattern, null, dtype, shape[0], shape[1]);
                Prune.compress(w, score, there, random.between(0, 3));
                SparseTensorTest.assertSameBytes(given, there);
                assertArrayEquals(NmOracle.indices(expected), NmOracle.indices(given), context);
                QuantizeTest.assertSameBytes(expected.values(), given.values());
                Sparsity.Transposable tiles = Sparsity.transposable();
                SparseTensor tiled = SparseTensor.compress(w, Prune.run(w, score, tiles), Sparsity.nm(2, 4));
                SparseTensor tiledAtOnce = Prune.compress(w, score, tiles);
                assertArrayEquals(NmOracle.indices(tiled), NmOracle.indices(tiledAtOnce), context);
                QuantizeTest.assertSameBytes(tiled.values(), tiledAtOnce.values());
            }
        }
    }

    @Test
    void statsAreSumsInOrder() {
        Random random = new Random(95);
        for (int depth : new int[] {0, 1, 5, 33}) {
            ActivationStats stats = ActivationStats.of(depth);
            double[] sums = new double[depth];
            double[] squares = new double[depth];
            int rows = 0;
            for (int batch = 0; batch < 4; batch++) {
                int more = random.between(0, 5);
                DType dtype = TYPES.get(batch % 3);
                Guarded x = RandomArguments.guarded(random, dtype, more, depth).fill(random.normal(more * depth, 3));
                stats.observe(x.tensor, random.between(0, 3));
                assertTrue(x.unchanged());
                float[] values = x.tensor.toFloatArray();
                for (int i = 0; i < values.length; i++) {
                    sums[i % depth] += values[i];
                    squares[i % depth] += (double) values[i] * values[i];
                }
                rows += more;
            }
            assertEquals(rows, stats.rows());
            assertEquals("stats of " + depth + " inputs, " + rows + " rows", stats.toString());
            for (int k = 0; k < depth; k++) {
                double mean = rows == 0 ? 0 : sums[k] / rows;
                double square = rows == 0 ? 0 : squares[k] / rows;
                assertEquals((float) Math.sqrt(squares[k]), stats.norms().getFloat(k));
                assertEquals((float) mean, stats.means().getFloat(k));
                assertEquals(
                        (float) Math.max(square - mean * mean, 0),
                        stats.variances().getFloat(k));
            }
        }
    }

    /** With a message, which the JDK's own error has not, for sizes near the largest ones. */
    @Test
    void statsOfMoreInputsThanFitSaySo() {
        for (long depth : new long[] {1L << 50, Long.MAX_VALUE / Double.BYTES}) {
            String message = assertThrows(OutOfMemoryError.class, () -> ActivationStats.of(depth))
                    .getMessage();
            assertTrue(message.startsWith("memory: given a request for " + depth * 8 + " bytes; allowed: "), message);
        }
    }

    @Test
    void explains() {
        Tensor w = Tensor.allocate(DType.F32, 4, 64);
        String text = Prune.explain(w, Score.magnitude(), Sparsity.nm(2, 4));
        assertTrue(text.contains("prune"), text);
    }

    @Test
    void describesItself() {
        assertEquals("2:4", Sparsity.nm(2, 4).toString());
        assertEquals("64:2:8", Sparsity.nm(2, 8).withVector(64).toString());
        assertEquals("WANDA", Score.wanda(Tensor.allocate(DType.F32, 3)).toString());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor w = Tensor.of(new Random(97).normal(4 * 8, 1), 4, 8);
        Mask mask = Mask.allocate(4, 8);
        Sparsity nm = Sparsity.nm(2, 4);
        Score magnitude = Score.magnitude();
        Tensor norms = Tensor.allocate(DType.F32, 8);
        Score wanda = Score.wanda(norms);
        Tensor nan = Tensor.allocate(DType.F32, 4, 8);
        nan.setFloat(Float.NaN, 2, 3);
        Tensor negative = Tensor.allocate(DType.F32, 8);
        negative.setFloat(-1, 5);
        ActivationStats inputs = ActivationStats.of(8);
        Tensor inScores = Tensor.allocate(DType.F32, 4, 8);
        Mask readOnly = Mask.wrap(Unreachable.readOnly(mask.bits()), 8);
        Tensor both = Tensor.allocate(DType.F32, 4, 8);
        Mask inWeights = Mask.wrap(Tensor.wrap(both.segment(), DType.U8, 4, 1), 8);
        return new Refusals(() -> mask.count() == 0)
                .add("m", "m", "3", "2, 4, 8, 16, 32", () -> Sparsity.nm(1, 3))
                .add("n 0", "n", "0", "1..4", () -> Sparsity.nm(0, 4))
                .add("n above m", "n", "5", "1..4", () -> Sparsity.nm(5, 4))
                .add("vector", "vector", "0", "1..", () -> Sparsity.nm(2, 4).withVector(0))
                .add("sparsity", "sparsity", "1.5", "0..1", () -> Sparsity.unstructured(1.5))
                .add("sparsity NaN", "sparsity", "NaN", "0..1", () -> Sparsity.rows(Double.NaN))
                .add("sparsity below 0", "sparsity", "-0.1", "0..1", () -> Sparsity.columns(-0.1))
                .add("sparsity of rows", "sparsity", "2.0", "0..1", () -> Sparsity.perRow(2))
                .add("block rows", "rows", "0", "1..", () -> Sparsity.blocks(0, 4, 0.5))
                .add("block depth", "depth", "0", "1..", () -> Sparsity.blocks(4, 0, 0.5))
                .add("block sparsity", "sparsity", "7.0", "0..1", () -> Sparsity.blocks(4, 4, 7))
                .add("dtype", "weights", "i8", "[f32, f16, bf16]", () -> Prune.run(w(DType.I8), magnitude, nm))
                .add("rank", "weights", "[32]", "[any, any]", () -> Prune.run(w.reshape(32), magnitude, nm))
                .add("strides", "weights", "strides", "contiguous", () -> Prune.run(w.slice(1, 0, 4), magnitude, nm))
                .add("norms size", "norms", "[8]", "[4]", () -> Prune.run(w.reshape(8, 4), wanda, nm))
                .add("norms rank", "norms", "[1, 8]", "[8]", () -> Prune.run(w, Score.wanda(norms.reshape(1, 8)), nm))
                .add("norms dtype", "norms", "bf16", "[f32]", () -> Score.wanda(norms.to(DType.BF16)))
                .add("norms below 0", "norms[5]", "-1", "at least 0", () -> Prune.run(w, Score.wanda(negative), nm))
                .add("scores shape", "scores", "[4, 8]", "[8, 4]", () -> Prune.run(w.reshape(8, 4), Score.given(w), nm))
                .add("scores dtype", "scores", "f16", "[f32]", () -> Score.given(w.to(DType.F16)))
                .add("needless tensor", "tensor", "f32[8] with LAMP", "null", () -> new Score(Score.Kind.LAMP, norms))
                .add("NaN weight", "w[2][3]", "NaN", "", () -> Prune.run(nan, magnitude, nm))
                .add("NaN score", "scores[2][3]", "NaN", "", () -> Prune.run(null, Score.given(nan), nm))
                .add("given scores", "score", "GIVEN", "MAGNITUDE, WANDA, LAMP", () -> Prune.scores(w, Score.given(w)))
                .add("mask shape", "mask", "[4, 8]", "[8, 4]", () -> run(w.reshape(8, 4), mask))
                .add("mask read-only", "mask", "read-only", "writable", () -> run(w, readOnly))
                .add("threads", "threads", "1025", "0..1024", () -> Prune.run(w, magnitude, nm, mask, 1025))
                .add("mask in weights", "mask", "overlaps weights", "of its own", () -> run(both, inWeights))
                .add(
                        "groups",
                        "groups",
                        "4:2:4",
                        "without a vector",
                        () -> Regrow.DEFAULT.withGroups(Sparsity.nm(2, 4).withVector(4)))
                .add("cycles", "maxCycles", "-1", "0..", () -> Regrow.DEFAULT.withMaxCycles(-1))
                .add("threshold", "threshold", "NaN", ">= 0", () -> new Regrow(null, 1, Float.NaN, 1, 0))
                .add("power", "variancePower", "-1", ">= 0", () -> new Regrow(null, 1, 1, -1, 0))
                .add(
                        "inputs",
                        "inputs",
                        "8 inputs",
                        "4",
                        () -> Prune.regrow(w.reshape(8, 4), inputs, mask, Regrow.DEFAULT))
                .add("nothing observed", "inputs", "0 rows", "at least one row", () -> Score.wanda(inputs))
                .add("observed depth", "x", "[8, 4]", "[any, 8]", () -> inputs.observe(w.reshape(8, 4)))
                .add("observed dtype", "x", "i32", "[f32, f16, bf16]", () -> inputs.observe(w(DType.I32)))
                .add("stats", "depth", "-1", "0..", () -> ActivationStats.of(-1))
                .missing("weights", () -> Prune.run(null, magnitude, nm))
                .missing("score", () -> Prune.run(w, null, nm))
                .missing("pattern", () -> Prune.run(w, magnitude, null))
                .missing("mask", () -> run(w, null))
                .missing("out", () -> Prune.compress(w, magnitude, (SparseTensor) null, 0))
                .missing("norms", () -> Score.wanda((Tensor) null))
                .missing("inputs", () -> Score.wanda((ActivationStats) null))
                .missing("scores", () -> Score.given(null))
                .missing("options", () -> Prune.regrow(w, inputs, mask, null))
                .unreachable("weights", DType.F32, new long[] {4, 8}, bad -> run(bad, mask))
                .unreachable("norms", DType.F32, new long[] {8}, bad -> Prune.run(w, Score.wanda(bad), nm))
                .unreachable("scores", DType.F32, new long[] {4, 8}, bad -> Prune.run(null, Score.given(bad), nm))
                .unreachable("x", DType.F32, new long[] {4, 8}, inputs::observe)
                .tests();
    }

    private static SparseTensor out(DType dtype, int depth) {
        return SparseTensor.allocate(Device.CPU, Sparsity.nm(2, 4), null, dtype, 4, depth);
    }

    /** With values in the memory of a matrix [4, 8]. */
    private static SparseTensor sparse(Tensor memory) {
        SparseTensor own = out(DType.F32, 8);
        Tensor values = Tensor.wrap(memory.segment(), DType.F32, 4, 4);
        return new SparseTensor(own.pattern(), own.shape(), values, own.indices(), null, null, null);
    }

    private static Tensor w(DType dtype) {
        return Tensor.allocate(dtype, 4, 8);
    }

    private static void run(Tensor w, Mask mask) {
        Prune.run(w, Score.magnitude(), Sparsity.nm(2, 4), mask, 0);
    }
}
