package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class NormTest {
    private static final List<DType> TYPES = List.of(DType.F32, DType.BF16);

    static void run(Norm.Kind kind, Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y, int threads) {
        switch (kind) {
            case LAYER -> Norm.layer(x, weight, bias, epsilon, y, threads);
            case RMS -> Norm.rms(x, weight, bias, epsilon, y, threads);
        }
    }

    private static void check(Norm.Kind kind, Tensor x, Tensor weight, Tensor bias, float epsilon, DType yType) {
        Guarded y = Guarded.matrix(yType, x.shape().size(0), x.shape().size(1));
        run(kind, x, weight, bias, epsilon, y.tensor, 0);
        String context = kind + " " + x.describe() + " -> " + yType + " epsilon " + epsilon;
        NormOracle.of(kind, x, weight, bias, epsilon).assertMatches(y.tensor, context);
        assertTrue(y.unchangedOutside(0, x.shape().size(1)), context);
    }

    @ParameterizedTest
    @EnumSource(Norm.Kind.class)
    @Tag("tier")
    void agreesWithTheOracle(Norm.Kind kind) {
        Random random = new Random(31);
        for (int columns : new int[] {0, 1, 2, 7, 8, 15, 16, 17, 31, 64, 127, 384, 1031}) {
            for (int rows : new int[] {0, 1, 2, 5}) {
                for (DType xType : TYPES) {
                    for (DType yType : TYPES) {
                        Tensor x = Tensor.of(xType, random.normal(rows * columns, 2), rows, columns);
                        Tensor weight = random.chance(0.7) ? Tensor.of(random.normal(columns, 1), columns) : null;
                        Tensor bias = random.chance(0.7) ? Tensor.of(random.normal(columns, 1), columns) : null;
                        check(kind, x, weight, bias, random.of(0f, 1e-12f, 1e-5f, 1f), yType);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Norm.Kind.class)
    @Tag("tier")
    void takesUnusualRows(Norm.Kind kind) {
        int columns = 50;
        float[] values = new float[9 * columns];
        Random random = new Random(32);
        for (int c = 0; c < columns; c++) {
            values[c] = 0;
            values[columns + c] = 2.5f;
            values[2 * columns + c] = 1000 + (float) random.source.nextGaussian();
            values[3 * columns + c] = c == 20 ? Float.NaN : c;
            values[4 * columns + c] = c == 49 ? Float.NEGATIVE_INFINITY : c;
            values[5 * columns + c] = (float) random.source.nextGaussian() * 1e15f;
            values[6 * columns + c] = (float) random.source.nextGaussian() * 1e-15f;
            values[7 * columns + c] = c % 2 == 0 ? 1 : -1;
            values[8 * columns + c] = 0.1f;
        }
        for (float epsilon : new float[] {0, 1e-5f}) {
            check(kind, Tensor.of(values, 9, columns), null, null, epsilon, DType.F32);
        }
    }

    @ParameterizedTest
    @EnumSource(Norm.Kind.class)
    void takesStridesAndWorksInPlace(Norm.Kind kind) {
        Random random = new Random(33);
        Guarded x = Guarded.matrix(Arena.ofAuto(), DType.F32, 9, 37, 41, 2).fill(random.normal(9 * 37, 1));
        check(kind, x.tensor, null, null, 1e-5f, DType.BF16);
        assertTrue(x.unchanged());
        Expected expected = NormOracle.of(kind, x.tensor, null, null, 1e-5f);
        run(kind, x.tensor, null, null, 1e-5f, x.tensor, 0);
        expected.assertMatches(x.tensor, "in place");
        assertTrue(x.unchangedOutside(0, 37));
    }

    @ParameterizedTest
    @EnumSource(Norm.Kind.class)
    void doesNotDependOnThreadsOrRows(Norm.Kind kind) {
        Random random = new Random(34);
        int rowCount = 2107;
        Tensor x = Tensor.of(random.normal(rowCount * 129, 1), rowCount, 129);
        Tensor weight = Tensor.of(random.normal(129, 1), 129);
        Tensor one = Tensor.allocate(DType.F32, rowCount, 129);
        assertSplits(kind, x, one);
        run(kind, x, weight, null, 1e-6f, one, 1);
        for (int threads = 2; threads <= 8; threads++) {
            Tensor many = Tensor.allocate(DType.F32, rowCount, 129);
            run(kind, x, weight, null, 1e-6f, many, threads);
            QuantizeTest.assertSameBytes(one, many);
        }
        Tensor rows = Tensor.allocate(DType.F32, rowCount, 129);
        for (int begin = 0; begin < rowCount; begin += 43) {
            run(kind, x.slice(0, begin, begin + 43), weight, null, 1e-6f, rows.slice(0, begin, begin + 43), 1);
        }
        QuantizeTest.assertSameBytes(one, rows);
    }

    /** The matrix is large enough to keep 8 threads busy. */
    private static void assertSplits(Norm.Kind kind, Tensor x, Tensor y) {
        String text = Threads.with(8, () -> Norm.explain(kind, x, y));
        assertTrue(text.endsWith(" on 8 threads"), text);
    }

    @ParameterizedTest
    @EnumSource(Norm.Kind.class)
    @Tag("tier")
    void explainsItsKernel(Norm.Kind kind) {
        Tensor x = Tensor.allocate(DType.F32, 4, 64);
        String text = Norm.explain(kind, x, x);
        assertTrue(text.startsWith("norm_f32_f32_"), text);
        assertTrue(text.contains(" on tier " + Gatun.tier() + "\n"), text);
        assertTrue(text.contains(kind + (kind == Norm.Kind.LAYER ? "," : " of")), text);
        assertTrue(text.endsWith(" on 1 thread"), text);
    }
}
