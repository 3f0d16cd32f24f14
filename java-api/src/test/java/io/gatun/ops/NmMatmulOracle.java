package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;

/**
 * y = activation(sum over kept k of x w + bias) + residual in double, weights read by {@link NmOracle}. In f32 an error of
 * 2^-23 (K + 8) sum |x w| for K kept weights, in bf16 against rounded numbers; integers are those of {@link QMatmulOracle},
 * which do not see zeros.
 */
final class NmMatmulOracle {
    private NmMatmulOracle() {}

    /** The residual is read here, so before a call that overwrites it. */
    static Expected of(Tensor x, SparseTensor w, QMatmul.Options options) {
        QMatmul.Mode mode = mode(w, options.mode());
        return mode == QMatmul.Mode.INT8_ROW
                ? QMatmulOracle.of(x, NmOracle.codes(w), options.withMode(mode))
                : ofFloats(x, w, options, mode == QMatmul.Mode.BF16);
    }

    static QMatmul.Mode mode(SparseTensor w, QMatmul.Mode given) {
        if (given != QMatmul.Mode.AUTO) {
            return given;
        }
        return w.spec() != null
                ? QMatmul.Mode.INT8_ROW
                : w.values().dtype() == DType.BF16 ? QMatmul.Mode.BF16 : QMatmul.Mode.PRECISE;
    }

    private static Expected ofFloats(Tensor x, SparseTensor w, QMatmul.Options options, boolean bf16) {
        int rows = (int) x.shape().size(0);
        int columns = (int) w.rows();
        int depth = (int) w.depth();
        int kept = NmOracle.kept(w);
        float[] values = x.toFloatArray();
        float[] dense = NmOracle.values(w);
        boolean[] mask = NmOracle.mask(w);
        Expected expected = new Expected(new double[rows * columns], new double[rows * columns]);
        Epilogue epilogue = new Epilogue(options);
        for (int m = 0; m < rows; m++) {
            for (int n = 0; n < columns; n++) {
                double sum = 0;
                double magnitude = 0;
                for (int k = 0; k < depth; k++) {
                    if (mask[n * depth + k]) {
                        double value = number(values[m * depth + k], bf16);
                        double product = value * number(dense[n * depth + k], bf16);
                        sum += product;
                        magnitude += Math.abs(product);
                    }
                }
                // Of bf16, subnormal numbers may count as zeros: numbers and products below 2^-126.
                double smallest = bf16 ? 0x1p-126 : 0x1p-149;
                epilogue.add(expected, m * columns + n, n, sum, magnitude, kept, smallest, 0);
            }
        }
        return expected;
    }

    private static double number(float value, boolean bf16) {
        if (!bf16) {
            return value;
        }
        float rounded = DType.bf16ToFloat(DType.floatToBf16(value));
        return Math.abs(rounded) < Float.MIN_NORMAL ? 0 : rounded;
    }

    /** Weights whose products and sums are exact: small integers, scales that are powers of two. */
    static SparseTensor exactWeights(Random random, Sparsity.Nm pattern, Object values, int columns, int depth) {
        boolean[] mask = NmOracle.randomMask(random, columns, depth, pattern);
        if (values instanceof QuantSpec spec) {
            return NmOracle.compress(QMatmulOracle.exactWeights(random.source, spec, columns, depth), mask, pattern);
        }
        float[] integers = random.integers(columns * depth, -8, 8);
        return NmOracle.compress(Tensor.of((DType) values, integers, columns, depth), mask, pattern);
    }
}
