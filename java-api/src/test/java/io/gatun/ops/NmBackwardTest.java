package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.NmBackward.Options;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class NmBackwardTest {
    private static final int[][] SHAPES = {
        {0, 3, 8}, {3, 0, 8}, {3, 5, 0}, {1, 1, 1}, {2, 16, 64}, {5, 33, 70}, {17, 9, 131}, {65, 19, 96}
    };

    static Stream<Sparsity.Nm> patterns() {
        return SparseTensorTest.patterns();
    }

    /** Gradients in double, and what f32 sums of as many terms may be off. */
    static final class Oracle {
        private final int rows;
        private final int columns;
        private final int depth;
        private final float[] dy;
        private final float[] x;
        private final SparseTensor w;
        private final boolean[] mask;

        Oracle(Tensor dy, Tensor x, SparseTensor w) {
            this.dy = dy.toFloatArray();
            this.x = x.toFloatArray();
            this.w = w;
            rows = (int) dy.shape().size(0);
            columns = (int) w.rows();
            depth = (int) w.depth();
            mask = NmOracle.mask(w);
        }

        /** One output: the sum of terms, and what was there, which is one of them. */
        private static void put(Expected out, int i, double sum, double magnitude, double terms, double old) {
            out.values()[i] = sum + old;
            out.bounds()[i] = 0x1p-23 * (terms + 8) * (magnitude + Math.abs(old) + 0x1p-126);
        }

        private static double old(float[] before, int i) {
            return before == null ? 0 : before[i];
        }

        Expected x(float[] before) {
            float[] dense = NmOracle.values(w);
            Expected out = new Expected(new double[rows * depth], new double[rows * depth]);
            for (int i = 0; i < rows * depth; i++) {
                double sum = 0;
                double magnitude = 0;
                for (int n = 0; n < columns; n++) {
                    double term = mask[n * depth + i % depth]
                            ? (double) dy[i / depth * columns + n] * dense[n * depth + i % depth]
                            : 0;
                    sum += term;
                    magnitude += Math.abs(term);
                }
                put(out, i, sum, magnitude, columns, old(before, i));
            }
            return out;
        }

        /** The gradient of weight (n, k), and the sum of its terms' magnitudes. */
        private double[] dw(int n, int k) {
            double sum = 0;
            double magnitude = 0;
            for (int t = 0; t < rows; t++) {
                double term = (double) dy[t * columns + n] * x[t * depth + k];
                sum += term;
                magnitude += Math.abs(term);
            }
            return new double[] {sum, magnitude};
        }

        Expected values(float[] before) {
            int kept = NmOracle.kept(w);
            int[][] indices = NmOracle.indices(w);
            Expected out = new Expected(new double[columns * kept], new double[columns * kept]);
            for (int i = 0; i < columns * kept; i++) {
                int k = NmOracle.position(w, indices, i / kept, i % kept);
                double[] sum = k < depth ? dw(i / kept, k) : new double[2];
                put(out, i, sum[0], sum[1], rows, old(before, i));
            }
            return out;
        }

        Expected dense(float decay, float[] before) {
            Expected out = new Expected(new double[columns * depth], new double[columns * depth]);
            for (int i = 0; i < columns * depth; i++) {
                double factor = mask[i] ? 1 : decay;
                double[] sum = dw(i / depth, i % depth);
                put(out, i, factor * sum[0], factor * sum[1], rows, old(before, i));
            }
            return out;
        }
    }

    /** One call into guarded memory, replacing or adding. */
    private static void check(String context, Guarded out, Options options, Expected expected, Consumer<Tensor> call) {
        call.accept(out.tensor);
        expected.assertMatches(out.tensor, context + " " + options);
        assertTrue(out.unchangedOutside(0, out.tensor.shape().size(1)), context);
    }

    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void agreesWithTheOracle(Sparsity.Nm pattern) {
        Random random = new Random(151);
        for (int[] shape : SHAPES) {
            int rows = shape[0];
            int columns = shape[1];
            int depth = shape[2];
            for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
                SparseTensor w = NmOracle.random(random, pattern, dtype, columns, depth);
                Tensor dy = filled(random, rows, columns).tensor;
                Tensor x = filled(random, rows, depth).tensor;
                Oracle oracle = new Oracle(dy, x, w);
                Options options = new Options(random.chance(0.5), random.between(0, 3));
                float decay = random.of(0f, 0.3f, 1f);
                String context = rows + " rows, " + w + ", decay " + decay;
                Guarded dx = filled(random, rows, depth);
                check(context, dx, options, oracle.x(before(dx, options)), to -> NmBackward.x(dy, w, to, options));
                Guarded dvalues = packed(random, columns, NmOracle.kept(w));
                check(
                        context,
                        dvalues,
                        options,
                        oracle.values(before(dvalues, options)),
                        to -> NmBackward.values(dy, x, w, to, options));
                Guarded dw = packed(random, columns, depth);
                check(
                        context,
                        dw,
                        options,
                        oracle.dense(decay, before(dw, options)),
                        to -> NmBackward.dense(dy, x, w, decay, to, options));
            }
        }
    }

    private static float[] before(Guarded out, Options options) {
        return options.accumulate() ? out.tensor.toFloatArray() : null;
    }

    private static Guarded filled(Random random, int rows, int columns) {
        return RandomArguments.guarded(random, DType.F32, rows, columns).fill(random.normal(rows * columns, 1));
    }

    private static Guarded packed(Random random, int rows, int columns) {
        return Guarded.matrix(DType.F32, rows, columns).fill(random.normal(rows * columns, 1));
    }

    /** Any number of threads gives the same bits. */
    @Test
    @Tag("tier")
    void doesNotDependOnThreads() {
        Random random = new Random(152);
        SparseTensor w = NmOracle.random(random, Sparsity.nm(3, 8), DType.F32, 70, 200);
        Tensor dy = Tensor.of(random.normal(40 * 70, 1), 40, 70);
        Tensor x = Tensor.of(random.normal(40 * 200, 1), 40, 200);
        Tensor[] alone = gradients(dy, x, w, 1);
        for (int threads : new int[] {0, 2, 7, 64}) {
            Tensor[] several = gradients(dy, x, w, threads);
            for (int i = 0; i < alone.length; i++) {
                QuantizeTest.assertSameBytes(alone[i], several[i]);
            }
        }
    }

    private static Tensor[] gradients(Tensor dy, Tensor x, SparseTensor w, int threads) {
        Options options = Options.DEFAULT.withThreads(threads);
        Tensor[] all = {
            Tensor.allocate(DType.F32, x.shape().toArray()),
            Tensor.allocate(DType.F32, w.values().shape().toArray()),
            Tensor.allocate(DType.F32, w.shape().toArray())
        };
        NmBackward.x(dy, w, all[0], options);
        NmBackward.values(dy, x, w, all[1], options);
        NmBackward.dense(dy, x, w, 0.5f, all[2], options);
        return all;
    }

    /** Without decay pruned weights get 0, also where what is multiplied is NaN. */
    @Test
    @Tag("tier")
    void prunedWeightsGetNothingWithoutDecay() {
        Mask mask = Mask.of(new boolean[] {true, false, false, true}, 1, 4);
        SparseTensor w = SparseTensor.compress(Tensor.of(new float[] {1, 2, 3, 4}, 1, 4), mask, Sparsity.nm(2, 4));
        Tensor dy = Tensor.of(new float[] {2}, 1, 1);
        Tensor x = Tensor.of(new float[] {5, Float.NaN, Float.POSITIVE_INFINITY, 7}, 1, 4);
        Tensor dw = Tensor.of(new float[] {1, 1, 1, 1}, 1, 4);
        NmBackward.dense(dy, x, w, 0, dw, Options.DEFAULT.withAccumulate(true));
        assertEquals("[11.0, 1.0, 1.0, 15.0]", java.util.Arrays.toString(dw.toFloatArray()));
        NmBackward.dense(dy, x, w, 0, dw, Options.DEFAULT);
        assertEquals("[10.0, 0.0, 0.0, 14.0]", java.util.Arrays.toString(dw.toFloatArray()));
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Random random = new Random(153);
        SparseTensor w = NmOracle.random(random, Sparsity.nm(2, 4), DType.F32, 6, 40);
        SparseTensor codes = NmOracle.random(random, Sparsity.nm(2, 4), QuantSpec.int8(), 6, 40);
        Tensor dy = Tensor.of(random.normal(4 * 6, 1), 4, 6);
        Tensor x = Tensor.of(random.normal(4 * 40, 1), 4, 40);
        Guarded outX = Guarded.matrix(DType.F32, 4, 40);
        Guarded outW = Guarded.matrix(DType.F32, 6, 40);
        Guarded outV = Guarded.matrix(DType.F32, 6, 20);
        Tensor dx = outX.tensor;
        Tensor dw = outW.tensor;
        Tensor dv = outV.tensor;
        Options options = Options.DEFAULT;
        Tensor both = Tensor.allocate(DType.F32, 5, 40);
        Tensor zeroIndices = Tensor.allocate(DType.U2, 6, 20);
        SparseTensor repeated = new SparseTensor(w.pattern(), w.shape(), w.values(), zeroIndices, null, null, null);
        Tensor closedValues = Unreachable.closed(DType.F32, 6, 20);
        SparseTensor closed = new SparseTensor(w.pattern(), w.shape(), closedValues, w.indices(), null, null, null);
        Tensor gaps = Refusals.view(Tensor.allocate(DType.F32, 6 * 41), Shape.of(6, 40), 41, 1);
        return new Refusals(() -> outX.unchanged() && outW.unchanged() && outV.unchanged())
                .add("dy columns", "dy", "[4, 5]", "[any, 6]", () -> NmBackward.x(dy.slice(1, 0, 5), w, dx, options))
                .add("dy dtype", "dy", "bf16", "[f32]", () -> NmBackward.x(dy.to(DType.BF16), w, dx, options))
                .add("dx rows", "dx", "[5, 40]", "[4, 40]", () -> NmBackward.x(dy, w, both, options))
                .add("dx dtype", "dx", "bf16", "[f32]", () -> NmBackward.x(dy, w, dx.to(DType.BF16), options))
                .add(
                        "dx read-only",
                        "dx",
                        "read-only",
                        "writable",
                        () -> NmBackward.x(dy, w, Unreachable.readOnly(dx), options))
                .add(
                        "dx in w",
                        "dx",
                        "overlaps w.values",
                        "of its own",
                        () -> NmBackward.x(dy.slice(0, 0, 3), w, w.values().reshape(3, 40), options))
                .add("x rows", "x", "[5, 40]", "[4, 40]", () -> NmBackward.values(dy, both, w, dv, options))
                .add("dvalues shape", "dvalues", "[6, 40]", "[6, 20]", () -> NmBackward.values(dy, x, w, dw, options))
                .add("dw shape", "dw", "[6, 20]", "[6, 40]", () -> NmBackward.dense(dy, x, w, 1, dv, options))
                .add(
                        "dw gaps",
                        "dw",
                        "strides [41, 1]",
                        "contiguous",
                        () -> NmBackward.dense(dy, x, w, 1, gaps, options))
                .add(
                        "dw in x",
                        "dw",
                        "overlaps x",
                        "of its own",
                        () -> NmBackward.dense(dy.slice(0, 0, 1), dw.slice(0, 2, 3), w, 1, dw, options))
                .add("decay", "decay", "1.5", "0..1", () -> NmBackward.dense(dy, x, w, 1.5f, dw, options))
                .add("decay NaN", "decay", "NaN", "0..1", () -> NmBackward.dense(dy, x, w, Float.NaN, dw, options))
                .add("threads", "threads", "-1", "0..1024", () -> options.withThreads(-1))
                .add("indices", "indices", "row 0", "", () -> NmBackward.x(dy, repeated, dx, options))
                .add("indices of values", "indices", "row 0", "", () -> NmBackward.values(dy, x, repeated, dv, options))
                .add("indices of dw", "indices", "row 0", "", () -> NmBackward.dense(dy, x, repeated, 1, dw, options))
                .add(
                        UnsupportedOperationException.class,
                        "codes",
                        "w",
                        "i8",
                        "f32, f16 or bf16",
                        () -> NmBackward.x(dy, codes, dx, options))
                .add(
                        IllegalStateException.class,
                        "w closed",
                        "w.values",
                        "closed arena",
                        "open",
                        () -> NmBackward.x(dy, closed, dx, options))
                .missing("w", () -> NmBackward.x(dy, null, dx, options))
                .missing("dy", () -> NmBackward.x(null, w, dx, options))
                .missing("dx", () -> NmBackward.x(dy, w, null, options))
                .missing("x", () -> NmBackward.values(dy, null, w, dv, options))
                .missing("dvalues", () -> NmBackward.values(dy, x, w, null, options))
                .missing("dw", () -> NmBackward.dense(dy, x, w, 1, null, options))
                .missing("options", () -> NmBackward.x(dy, w, dx, null))
                .unreachable("dy", DType.F32, new long[] {4, 6}, bad -> NmBackward.x(bad, w, dx, options))
                .unreachable("dx", DType.F32, new long[] {4, 40}, bad -> NmBackward.x(dy, w, bad, options))
                .unreachable("x", DType.F32, new long[] {4, 40}, bad -> NmBackward.values(dy, bad, w, dv, options))
                .unreachable("dvalues", DType.F32, new long[] {6, 20}, bad -> NmBackward.values(dy, x, w, bad, options))
                .unreachable("dw", DType.F32, new long[] {6, 40}, bad -> NmBackward.dense(dy, x, w, 1, bad, options))
                .tests();
    }
}
