package io.gatun.ops;

import io.gatun.Tensor;

/**
 * Normalization in double. The bound, with z the normalized value and 32 partial sums a row:
 * 2^-23 ((|z| + 1) |weight| (columns / 32 + 8) + |bias|).
 */
final class NormOracle {
    private static final double U = 0x1p-23;

    private NormOracle() {}

    static Expected of(Norm.Kind kind, Tensor x, Tensor weight, Tensor bias, double epsilon) {
        int rows = (int) x.shape().size(0);
        int columns = (int) x.shape().size(1);
        float[] values = x.toFloatArray();
        Expected expected = new Expected(new double[rows * columns], new double[rows * columns]);
        for (int r = 0; r < rows; r++) {
            double sum = 0;
            for (int c = 0; c < columns; c++) {
                sum += values[r * columns + c];
            }
            double mean = kind == Norm.Kind.LAYER ? sum / columns : 0;
            double squares = 0;
            for (int c = 0; c < columns; c++) {
                squares += Math.pow(values[r * columns + c] - mean, 2);
            }
            double scale = 1 / Math.sqrt(squares / columns + epsilon);
            for (int c = 0; c < columns; c++) {
                int i = r * columns + c;
                double w = weight == null ? 1 : weight.getFloat(c);
                double b = bias == null ? 0 : bias.getFloat(c);
                // 0 * infinity is the NaN of a constant row with epsilon 0.
                double z = (values[i] - mean) * scale;
                expected.values()[i] = Double.isFinite(squares) ? z * w + b : Double.NaN;
                expected.bounds()[i] = U * ((Math.abs(z) + 1) * Math.abs(w) * (columns / 32.0 + 8) + Math.abs(b));
            }
        }
        return expected;
    }
}
