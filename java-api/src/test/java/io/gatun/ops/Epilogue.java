package io.gatun.ops;

/**
 * What a product does with a sum: activation(sum + bias) + residual, in double, with the error of f32. Activations have a
 * slope of at most 1.13 and an error of their own of at most 2^-19 |y| + 2^-40.
 */
final class Epilogue {
    private static final double U = 0x1p-23;

    private final QMatmul.Activation activation;
    private final float[] bias;
    private final float[] residual;

    /** The residual is read here, so before a call that overwrites it. */
    Epilogue(QMatmul.Options options) {
        activation = options.activation();
        bias = options.bias() == null ? null : options.bias().toFloatArray();
        residual = options.residual() == null ? null : options.residual().toFloatArray();
    }

    /**
     * Writes element i, of column n.
     *
     * @param magnitude the sum of the terms' magnitudes
     * @param roundings of the sum: its error is 2^-23 (roundings + 8) magnitude
     * @param smallest where errors stop being relative
     * @param more of an error of the sum
     */
    void add(
            Expected expected,
            int i,
            int n,
            double sum,
            double magnitude,
            double roundings,
            double smallest,
            double more) {
        double value = sum + (bias == null ? 0 : bias[n]);
        double terms = magnitude + (bias == null ? 0 : Math.abs(bias[n]));
        double bound = (roundings + 8) * (U * terms + smallest) + more;
        if (activation != QMatmul.Activation.NONE) {
            value = activate(value, activation);
            bound = 1.13 * bound + 0x1p-19 * Math.abs(value) + 0x1p-40;
        }
        if (residual != null) {
            bound += U * (Math.abs(value) + Math.abs(residual[i]));
            value += residual[i];
        }
        expected.values()[i] = value;
        expected.bounds()[i] = bound;
    }

    static double activate(double v, QMatmul.Activation activation) {
        return switch (activation) {
            case NONE -> v;
            case RELU -> Math.max(v, 0);
            case GELU -> v * normalDistribution(v);
            case GELU_TANH -> v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v))) / 2;
            case SILU -> v / (1 + Math.exp(-v));
        };
    }

    /**
     * Phi(v) = (1 + erf(v / sqrt 2)) / 2. Near 0 by the series of erf, whose terms all have one sign after exp(-v^2 / 2)
     * is taken out; in the tails by the continued fraction of the Mills ratio, so that small values keep their digits.
     */
    static double normalDistribution(double v) {
        double density = Math.exp(-v * v / 2) / Math.sqrt(2 * Math.PI);
        double magnitude = Math.abs(v);
        if (magnitude < 3) {
            double term = v;
            double sum = v;
            for (int n = 1; n < 100; n++) {
                term *= v * v / (2 * n + 1);
                sum += term;
            }
            return 0.5 + density * sum;
        }
        double fraction = magnitude;
        for (int n = 200; n >= 1; n--) {
            fraction = magnitude + n / fraction;
        }
        double tail = density / fraction;
        return v < 0 ? tail : 1 - tail;
    }
}
