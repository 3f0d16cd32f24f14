package io.gatun.ops;

import io.gatun.Tensor;

/**
 * Normalization in double. The bound follows a computation in f32 with sums in any order, u = 2^-23, n columns:
 * the mean is off by at most u (n + 4) mean|x|, a centred value by that and its rounding, the variance relatively by
 * twice the relative error of the centred values and u (n + 4); half of it reaches the reciprocal square root.
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
            double magnitude = 0;
            for (int c = 0; c < columns; c++) {
                sum += values[r * columns + c];
                magnitude += Math.abs(values[r * columns + c]);
            }
            double mean = kind == Norm.Kind.LAYER ? sum / columns : 0;
            double meanError = kind == Norm.Kind.LAYER ? U * (columns + 4) * magnitude / columns : 0;
            double squares = 0;
            double centred = 0;
            for (int c = 0; c < columns; c++) {
                squares += Math.pow(values[r * columns + c] - mean, 2);
                centred += Math.abs(values[r * columns + c] - mean);
            }
            double variance = squares / columns + epsilon;
            double varianceError = U * (columns + 4)
                    + (2 * meanError * centred / columns + meanError * meanError) / Math.max(variance, Double.MIN_NORMAL);
            double scale = 1 / Math.sqrt(variance);
            for (int c = 0; c < columns; c++) {
                int i = r * columns + c;
                double w = weight == null ? 1 : weight.getFloat(c);
                double b = bias == null ? 0 : bias.getFloat(c);
                double product = (values[i] - mean) * scale * w;
                // 0 * infinity is the NaN of a constant row with epsilon 0.
                expected.values()[i] = Double.isFinite(magnitude) ? product + b : Double.NaN;
                expected.bounds()[i] = (meanError * scale * Math.abs(w) + Math.abs(product) * (varianceError + 6 * U))
                        + 2 * U * (Math.abs(product) + Math.abs(b));
            }
        }
        return expected;
    }
}
