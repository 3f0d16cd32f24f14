package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.random.RandomGenerator;

/**
 * y = activation(x w^T + bias) + residual, element by element, in long and double.
 *
 * <p>The bound of the sum is 2^-23 (roundings + 8) sum |terms|: in the int8 modes one rounding for each piece of at most
 * 512 integers, in the precise mode one for each product, and there 2^-23 * 1.01 max |x| sum |w| of each piece for fixed
 * point, an |x| below 2^-104 counting as that. Activations have a slope of at most 1.13 and an error of their
 * own of at most 2^-19 |y| + 2^-40.
 */
final class QMatmulOracle {
    private static final double U = 0x1p-23;
    /** The spacing of subnormal f32, where a rounding error is not relative. */
    private static final double SUBNORMAL = 0x1p-149;

    private static final int PIECE = 512;

    private final float[] x;
    private final int depth;
    private final QuantizedTensor w;
    private final QMatmul.Options options;
    private final int group;
    private final int pieces;
    private final int[][] weights;

    private QMatmulOracle(Tensor x, QuantizedTensor w, QMatmul.Options options) {
        this.x = x.toFloatArray();
        this.w = w;
        this.options = options;
        depth = (int) w.depth();
        group = (int) w.spec().groupOf(depth);
        int perGroup = Math.ceilDiv(group, PIECE);
        pieces = (int) w.spec().groups(depth) * perGroup;
        weights = new int[(int) w.rows()][depth];
        for (int n = 0; n < weights.length; n++) {
            for (int k = 0; k < depth; k++) {
                weights[n][k] = QuantizeOracle.integer(w, n, k);
            }
        }
    }

    /** The residual is read here, so before a call that overwrites it. */
    static Expected of(Tensor x, QuantizedTensor w, QMatmul.Options options) {
        return new QMatmulOracle(x, w, options).all((int) x.shape().size(0));
    }

    private Expected all(int rows) {
        int columns = weights.length;
        Expected expected = new Expected(new double[rows * columns], new double[rows * columns]);
        float[] bias = options.bias() == null ? null : options.bias().toFloatArray();
        float[] residual =
                options.residual() == null ? null : options.residual().toFloatArray();
        for (int m = 0; m < rows; m++) {
            double[] scales = new double[depth];
            int[] codes = new int[depth];
            boolean finite = quantizeRow(m, codes, scales);
            for (int n = 0; n < columns; n++) {
                int i = m * columns + n;
                double[] sum = options.mode() == QMatmul.Mode.PRECISE ? precise(m, n) : integer(n, codes, scales);
                double value = sum[0] + (bias == null ? 0 : bias[n]);
                double magnitude = sum[1] + (bias == null ? 0 : Math.abs(bias[n]));
                int roundings = options.mode() == QMatmul.Mode.PRECISE ? depth : pieces;
                double bound = (roundings + 8) * (U * magnitude + SUBNORMAL) + sum[2];
                if (options.activation() != QMatmul.Activation.NONE) {
                    value = activate(value, options.activation());
                    bound = 1.13 * bound + 0x1p-19 * Math.abs(value) + 0x1p-40;
                }
                if (residual != null) {
                    bound += U * (Math.abs(value) + Math.abs(residual[i]));
                    value += residual[i];
                }
                expected.values()[i] = finite ? value : Double.NaN;
                expected.bounds()[i] = bound;
            }
        }
        return expected;
    }

    /** Whether the row is finite; its codes and, at each element, the scale of its row or group. */
    private boolean quantizeRow(int m, int[] codes, double[] scales) {
        boolean finite = true;
        int step = options.mode() == QMatmul.Mode.INT8_GROUP ? group : depth;
        for (int begin = 0; begin < depth; begin += step) {
            int end = Math.min(depth, begin + step);
            float amax = 0;
            for (int k = begin; k < end; k++) {
                float value = x[m * depth + k];
                finite &= !Float.isNaN(value) && !Float.isInfinite(value);
                amax = Math.max(amax, Math.abs(value));
            }
            float scale = amax / 127f;
            boolean zero = scale < 0x1p-120f;
            for (int k = begin; k < end; k++) {
                codes[k] = zero ? 0 : (int) Math.rint((double) (x[m * depth + k] * (1 / scale)));
                scales[k] = zero ? 0 : scale;
            }
        }
        return finite;
    }

    private double[] integer(int n, int[] codes, double[] scales) {
        double sum = 0;
        double magnitude = 0;
        for (int begin = 0; begin < depth; begin += group) {
            long exact = 0;
            long exactMagnitude = 0;
            for (int k = begin; k < Math.min(depth, begin + group); k++) {
                exact += (long) codes[k] * weights[n][k];
                exactMagnitude += Math.abs((long) codes[k] * weights[n][k]);
            }
            double scale = scales[begin] * QuantizeOracle.scale(w, n, begin);
            sum += exact * scale;
            magnitude += exactMagnitude * Math.abs(scale);
        }
        return new double[] {sum, magnitude, 0};
    }

    private double[] precise(int m, int n) {
        double sum = 0;
        double magnitude = 0;
        double fixedPoint = 0;
        for (int begin = 0; begin < depth; begin += group) {
            int end = Math.min(depth, begin + group);
            for (int piece = begin; piece < end; piece += PIECE) {
                double largest = 0x1p-104;
                double pieceWeights = 0;
                for (int k = piece; k < Math.min(end, piece + PIECE); k++) {
                    double value = x[m * depth + k];
                    double weight = (double) weights[n][k] * QuantizeOracle.scale(w, n, k);
                    sum += value * weight;
                    magnitude += Math.abs(value * weight);
                    largest = Math.max(largest, Math.abs(value));
                    pieceWeights += Math.abs(weight);
                }
                fixedPoint += 1.01 * U * largest * pieceWeights;
            }
        }
        return new double[] {sum, magnitude, fixedPoint};
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

    /** A weight matrix of random codes with scales that are powers of two, so that all sums are exact. */
    static QuantizedTensor exactWeights(RandomGenerator random, QuantSpec spec, int rows, int depth) {
        QuantizedTensor w = QuantizedTensor.allocate(spec, rows, depth);
        int low = spec.codes() == DType.I8 ? -127 : 0;
        int high = spec.codes() == DType.I8 ? 127 : spec.codes() == DType.U8 ? 255 : 15;
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < depth; k++) {
                w.codes().setFloat(random.nextInt(low, high + 1), r, k);
            }
            for (int g = 0; g < w.scales().shape().size(1); g++) {
                w.scales().setFloat(random.nextBoolean() ? 1 : 0.5f, r, g);
                if (spec.hasZeroPoints()) {
                    w.zeroPoints().setFloat(random.nextInt(0, high + 1), r, g);
                }
            }
        }
        return w;
    }
}
