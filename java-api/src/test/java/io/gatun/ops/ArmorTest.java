package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class ArmorTest {
    /** The elements of blocks of d on a diagonal of this size. */
    private static int elements(int size, int d) {
        int elements = 0;
        for (int begin = 0; begin < size; begin += d) {
            int block = Math.min(d, size - begin);
            elements += block * block;
        }
        return elements;
    }

    /** A vector times blocks on a diagonal, sums in ascending order, one fma each: what the definition says, bit for bit. */
    private static float[] blocks(float[] diagonal, int d, float[] x) {
        float[] y = new float[x.length];
        for (int begin = 0, at = 0; begin < x.length; begin += d) {
            int size = Math.min(d, x.length - begin);
            for (int i = 0; i < size; i++) {
                for (int j = 0; j < size; j++, at++) {
                    y[begin + i] = Math.fma(diagonal[at], x[begin + j], y[begin + i]);
                }
            }
        }
        return y;
    }

    private static float[] row(float[] matrix, int row, int length) {
        return Arrays.copyOfRange(matrix, row * length, (row + 1) * length);
    }

    /** Left, core and right factors one after the other, the core by {@link NmMatmul}. */
    private static float[] expected(Tensor x, Armor.Weights w, Options options) {
        int rows = (int) x.shape().size(0);
        int depth = (int) w.core().depth();
        int columns = (int) w.core().rows();
        float[] values = x.toFloatArray();
        float[] right = new float[values.length];
        for (int m = 0; m < rows; m++) {
            float[] turned = blocks(w.right().toFloatArray(), (int) w.block(), row(values, m, depth));
            System.arraycopy(turned, 0, right, m * depth, depth);
        }
        Tensor inner = Tensor.allocate(DType.F32, rows, columns);
        NmMatmul.run(Tensor.of(right, rows, depth), w.core(), inner, Options.DEFAULT.withMode(options.mode()));
        float[] sums = inner.toFloatArray();
        float[] y = new float[rows * columns];
        for (int m = 0; m < rows; m++) {
            float[] turned = blocks(w.left().toFloatArray(), (int) w.block(), row(sums, m, columns));
            for (int n = 0; n < columns; n++) {
                int i = m * columns + n;
                float value = options.bias() == null
                        ? turned[n]
                        : turned[n] + options.bias().getFloat(n);
                value = options.activation() == Activation.RELU ? Math.max(value, 0) : value;
                y[i] = options.residual() == null
                        ? value
                        : value + options.residual().getFloat(m, n);
            }
        }
        return y;
    }

    @Test
    @Tag("tier")
    void isTheProductOfItsFactors() {
        Random random = new Random(161);
        int[][] shapes = {
            {0, 8, 8, 4},
            {3, 0, 8, 4},
            {3, 5, 0, 4},
            {1, 1, 1, 1},
            {2, 16, 64, 16},
            {5, 33, 70, 8},
            {9, 20, 131, 64},
            {65, 48, 96, 7},
            {2, 12, 20, 1000}
        };
        for (int[] shape : shapes) {
            int rows = shape[0];
            int columns = shape[1];
            int depth = shape[2];
            int d = shape[3];
            for (Sparsity.Nm pattern : List.of(Sparsity.nm(2, 4), Sparsity.nm(1, 8), Sparsity.nm(5, 16))) {
                for (Object values : NmMatmulTest.values(depth, pattern.m())) {
                    NmWeights core = NmMatmul.pack(NmMatmulTest.random(random, pattern, values, columns, depth));
                    Armor.Weights w = new Armor.Weights(
                            d,
                            Tensor.of(random.normal(elements(columns, d), 1), elements(columns, d)),
                            core,
                            Tensor.of(random.normal(elements(depth, d), 1), elements(depth, d)));
                    for (Mode mode : core.modes()) {
                        DType yType = random.of(DType.F32, DType.BF16);
                        Guarded y = RandomArguments.guarded(random, yType, rows, columns);
                        Tensor x = RandomArguments.guarded(random, random.of(DType.F32, DType.BF16), rows, depth)
                                .fill(random.normal(rows * depth, 1))
                                .tensor;
                        Options options = Options.DEFAULT
                                .withMode(mode)
                                .withThreads(random.between(0, 3))
                                .withActivation(random.of(Activation.NONE, Activation.RELU));
                        if (random.chance(0.5)) {
                            options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
                        }
                        if (random.chance(0.5)) {
                            options = options.withResidual(
                                    Tensor.of(yType, random.normal(rows * columns, 1), rows, columns));
                        }
                        float[] expected = expected(x, w, options);
                        Armor.run(x, w, y.tensor, options);
                        String context = x.describe() + " by " + core + " blocks of " + d + " " + options;
                        assertArrayEquals(
                                Tensor.of(yType, expected, rows, columns).toFloatArray(),
                                y.tensor.toFloatArray(),
                                context);
                        assertTrue(y.unchangedOutside(0, columns), context);
                    }
                }
            }
        }
    }

    /** The weighted squared error of A S B, in double. */
    private static double loss(Tensor weights, Tensor norms, Armor.Factors factors) {
        int columns = (int) weights.shape().size(0);
        int depth = (int) weights.shape().size(1);
        int d = (int) factors.block();
        float[] core = NmOracle.values(factors.core());
        double sum = 0;
        for (int i = 0; i < columns; i++) {
            for (int j = 0; j < depth; j++) {
                double product = 0;
                for (int p = i / d * d; p < Math.min(columns, i / d * d + d); p++) {
                    for (int q = j / d * d; q < Math.min(depth, j / d * d + d); q++) {
                        product += at(factors.left(), columns, d, i, p)
                                * core[p * depth + q]
                                * at(factors.right(), depth, d, q, j);
                    }
                }
                double norm = norms == null ? 1 : norms.getFloat(j);
                double error = norm * (weights.getFloat(i, j) - product);
                sum += error * error;
            }
        }
        return sum;
    }

    /** Element (i, j) of blocks on a diagonal, both in one block. */
    private static double at(Tensor diagonal, int size, int d, int i, int j) {
        int block = Math.min(d, size - i / d * d);
        return diagonal.getFloat((long) i / d * d * d + (long) (i % d) * block + j % d);
    }

    @Test
    void fitsBetterRoundByRound() {
        Random random = new Random(162);
        for (int[] shape : new int[][] {{24, 32, 8}, {13, 21, 4}, {16, 16, 16}, {5, 9, 100}}) {
            for (Sparsity.Nm pattern : List.of(Sparsity.nm(2, 4), Sparsity.nm(1, 8), Sparsity.nm(3, 16))) {
                Tensor w = Tensor.of(random.normal(shape[0] * shape[1], 1), shape[0], shape[1]);
                float[] positive = random.normal(shape[1], 1);
                for (int k = 0; k < positive.length; k++) {
                    positive[k] = 0.5f + Math.abs(positive[k]);
                }
                Tensor norms = random.chance(0.3) ? null : Tensor.of(positive, shape[1]);
                String context = w.describe() + " " + pattern + " blocks of " + shape[2];
                Armor.Factors start = Armor.fit(w, norms, pattern, shape[2], 0);
                SparseTensor pruned =
                        Prune.compress(w, norms == null ? Score.magnitude() : Score.wanda(norms), pattern);
                QuantizeTest.assertSameBytes(pruned.values(), start.core().values());
                QuantizeTest.assertSameBytes(pruned.indices(), start.core().indices());
                Armor.Factors fitted = Armor.fit(w, norms, pattern, shape[2], 8);
                assertEquals(9, fitted.losses().length, context);
                assertEquals(start.losses()[0], fitted.losses()[0], context);
                for (int i = 1; i < 9; i++) {
                    assertTrue(fitted.losses()[i] <= fitted.losses()[i - 1], context + " round " + i);
                }
                assertTrue(fitted.losses()[8] < 0.95 * fitted.losses()[0], context + " " + fitted.losses()[8]);
                double first = loss(w, norms, start);
                assertEquals(first, start.losses()[0], 1e-5 * first, context);
                assertEquals(loss(w, norms, fitted), fitted.losses()[8], 1e-4 * first, context);
                Armor.Factors single = Armor.fit(w, norms, pattern, shape[2], 8, 1);
                assertArrayEquals(fitted.losses(), single.losses(), context);
                QuantizeTest.assertSameBytes(fitted.left(), single.left());
                QuantizeTest.assertSameBytes(fitted.right(), single.right());
                QuantizeTest.assertSameBytes(
                        fitted.core().values(), single.core().values());
                fitted.core().check();
                assertEquals(shape[2], fitted.pack().block());
                assertEquals(
                        fitted.core() + " between blocks of " + shape[2] + ", losses "
                                + Arrays.toString(fitted.losses()),
                        fitted.toString());
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Random random = new Random(163);
        NmWeights core = NmMatmul.pack(NmOracle.random(random, Sparsity.nm(2, 4), DType.F32, 6, 40));
        Tensor left = Tensor.allocate(DType.F32, elements(6, 4));
        Tensor right = Tensor.allocate(DType.F32, elements(40, 4));
        Armor.Weights w = new Armor.Weights(4, left, core, right);
        Tensor dense = Tensor.of(random.normal(6 * 40, 1), 6, 40);
        Tensor norms = Tensor.allocate(DType.F32, 40);
        Tensor x = Tensor.allocate(DType.F32, 3, 40);
        Guarded out = Guarded.matrix(DType.F32, 3, 6);
        Tensor y = out.tensor;
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Options options = Options.DEFAULT;
        Tensor inLeft = Tensor.wrap(left.segment(), DType.F32, 3, 6);
        Tensor nan = Tensor.allocate(DType.F32, 6, 40);
        nan.setFloat(Float.NaN, 3, 5);
        Tensor row = Tensor.allocate(DType.F32, 1, 40);
        Tensor inRight = Tensor.wrap(right.segment(), DType.F32, 3, 6);
        return new Refusals(out::unchanged)
                .add("block", "block", "0", "1..", () -> new Armor.Weights(0, left, core, right))
                .add("left size", "left", "[20]", "[36]", () -> new Armor.Weights(6, left, core, right))
                .add("right size", "right", "[20]", "[160]", () -> new Armor.Weights(4, left, core, left))
                .add(
                        "left dtype",
                        "left",
                        "bf16",
                        "[f32]",
                        () -> new Armor.Weights(4, left.to(DType.BF16), core, right))
                .add("x depth", "x", "[3, 6]", "[any, 40]", () -> Armor.run(y, w, y, options))
                .add("y columns", "y", "[3, 40]", "[3, 6]", () -> Armor.run(x, w, x, options))
                .add("columns", "columns", "0..5", "0..6, all", () -> Armor.run(x, w, y, options.withColumns(0, 5)))
                .add(
                        "columns begin",
                        "columns",
                        "1..6",
                        "0..6, all",
                        () -> Armor.run(x, w, y, options.withColumns(1, 6)))
                .add(
                        UnsupportedOperationException.class,
                        "mode",
                        "options.mode",
                        "INT8_ROW",
                        "PRECISE",
                        () -> Armor.run(x, w, y, options.withMode(Mode.INT8_ROW)))
                .add("y in left", "y", "overlaps w.left", "of its own", () -> Armor.run(x, w, inLeft, options))
                .add("y in right", "y", "overlaps w.right", "of its own", () -> Armor.run(x, w, inRight, options))
                .add(
                        "fit dtype",
                        "weights",
                        "bf16",
                        "[f32]",
                        () -> Armor.fit(dense.to(DType.BF16), null, pattern, 4, 1))
                .add(
                        "fit rank",
                        "weights",
                        "[240]",
                        "[any, any]",
                        () -> Armor.fit(dense.reshape(240), null, pattern, 4, 1))
                .add(
                        "fit strided",
                        "weights",
                        "strides",
                        "contiguous",
                        () -> Armor.fit(dense.slice(1, 0, 8), null, pattern, 4, 1))
                .add("fit norms", "norms", "[40]", "[6]", () -> Armor.fit(dense.reshape(40, 6), norms, pattern, 4, 1))
                .add(
                        "fit vector",
                        "pattern",
                        "2:2:4",
                        "without a vector",
                        () -> Armor.fit(dense, norms, pattern.withVector(2), 4, 1))
                .add("fit block", "block", "0", "1..", () -> Armor.fit(dense, norms, pattern, 0, 1))
                .add("fit rounds", "rounds", "-1", "0..", () -> Armor.fit(dense, norms, pattern, 4, -1))
                .add(
                        "fit many rounds",
                        "rounds",
                        "1000001",
                        "0..1000000",
                        () -> Armor.fit(dense, norms, pattern, 4, 1_000_001))
                .add("fit threads", "threads", "-1", "0..1024", () -> Armor.fit(dense, norms, pattern, 4, 1, -1))
                .add("fit NaN", "w[3][5]", "nan", "", () -> Armor.fit(nan, norms, pattern, 4, 1))
                .missing("weights", () -> Armor.fit(null, norms, pattern, 4, 1))
                .missing("pattern", () -> Armor.fit(dense, norms, null, 4, 1))
                .missing("w", () -> Armor.run(x, null, y, options))
                .missing("x", () -> Armor.run(null, w, y, options))
                .missing("y", () -> Armor.run(x, w, null, options))
                .missing("core", () -> new Armor.Weights(4, left, null, right))
                .missing("left", () -> new Armor.Weights(4, null, core, right))
                .missing("right", () -> new Armor.Weights(4, left, core, null))
                .unreachable("x", DType.F32, new long[] {3, 40}, bad -> Armor.run(bad, w, y, options))
                .unreachable("weights", DType.F32, new long[] {6, 40}, bad -> Armor.fit(bad, norms, pattern, 4, 1))
                .unreachable(
                        "w.left",
                        DType.F32,
                        new long[] {20},
                        bad -> Armor.run(x, new Armor.Weights(4, bad, core, right), y, options))
                .unreachable(
                        "w.right",
                        DType.F32,
                        new long[] {160},
                        bad -> Armor.run(row, new Armor.Weights(4, left, core, bad), y.slice(0, 0, 1), options))
                .tests();
    }
}
