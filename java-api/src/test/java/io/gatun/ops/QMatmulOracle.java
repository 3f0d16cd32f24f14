package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * y = activation(x w^T + bias) + residual, element by element, in double; weights are code * scale + offset, times the
 * scale of the tensor.
 *
 * <p>The bound of the sum is 2^-23 (roundings + 8) sum |terms|: in the int8 modes one rounding for each piece of at most
 * 512 integers and one for its offset, in the precise mode one for each product, and there 2^-23 * 1.01 max |x| sum |w| of
 * each piece for fixed point, an |x| below 2^-104 counting as that, in the bf16 mode one for two products and two for each
 * piece. Activations have a slope of at most 1.13 and an error of their own of at most 2^-19 |y| + 2^-40.
 */
final class QMatmulOracle {
    private static final double U = 0x1p-23;
    /** The spacing of subnormal f32, where a rounding error is not relative. */
    private static final double SUBNORMAL = 0x1p-149;

    private static final int PIECE = 512;

    /** Values of x, or codes of small floats; one scale each. */
    private final float[] x;

    private final float[] xScales;
    private final int depth;
    private final int columns;
    private final Decoder w;
    private final QMatmul.Options options;
    private final QMatmul.Mode mode;
    private final int group;
    private final int pieces;

    /** Whether the values of x are int8 codes already. */
    private final boolean codes;

    private QMatmulOracle(float[] x, float[] xScales, boolean codes, QuantizedTensor w, QMatmul.Options options) {
        this.x = x;
        this.xScales = xScales;
        this.codes = codes;
        this.w = new Decoder(w);
        this.options = options;
        mode = options.mode() != QMatmul.Mode.AUTO
                ? options.mode()
                : isIntegers(w) ? QMatmul.Mode.INT8_ROW : QMatmul.Mode.BF16;
        depth = (int) w.depth();
        columns = (int) w.rows();
        group = group(w);
        int perGroup = Math.ceilDiv(group, PIECE);
        pieces = depth == 0 ? 0 : Math.ceilDiv(depth, group) * perGroup;
    }

    private static boolean isIntegers(QuantizedTensor w) {
        CodeTable table = w.spec().gguf() == null ? CodeTable.of(w.spec()) : null;
        return table == null
                || w.spec().codes() == DType.F4E2M1
                || w.spec().codes() == DType.U4
                        && Arrays.stream(table.values).allMatch(v -> v == Math.rint(v) && Math.abs(v) <= 127);
    }

    /** What a row of x has a scale for in INT8_GROUP: of flat blocks, the largest group that no block cuts. */
    private static int group(QuantizedTensor w) {
        int depth = (int) w.depth();
        if (!w.spec().blocks().flat()) {
            return (int) w.spec().groupOf(depth);
        }
        long block = w.spec().groupOf(w.shape().elements());
        return block >= w.shape().elements()
                ? depth
                : BigInteger.valueOf(block).gcd(BigInteger.valueOf(depth)).intValue();
    }

    /** The residual is read here, so before a call that overwrites it. */
    static Expected of(Tensor x, QuantizedTensor w, QMatmul.Options options) {
        float[] scales = new float[(int) x.shape().elements()];
        Arrays.fill(scales, 1);
        return new QMatmulOracle(x.toFloatArray(), scales, false, w, options)
                .all((int) x.shape().size(0));
    }

    /** Of rows that are codes of small floats or int8. */
    static Expected of(QuantizedTensor x, QuantizedTensor w, QMatmul.Options options) {
        Decoder decoder = new Decoder(x);
        float[] codes = new float[decoder.codes.length];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (float) decoder.codes[i];
        }
        return new QMatmulOracle(codes, decoder.scales, x.spec().codes() == DType.I8, w, options).all((int) x.rows());
    }

    private Expected all(int rows) {
        Expected expected = new Expected(new double[rows * columns], new double[rows * columns]);
        Epilogue epilogue = new Epilogue(options);
        for (int m = 0; m < rows; m++) {
            double[] values = new double[depth];
            double[] scales = new double[depth];
            boolean finite = readRow(m, values, scales);
            for (int n = 0; n < columns; n++) {
                int i = m * columns + n;
                double[] sum = sum(n, values, scales);
                epilogue.add(expected, i, n, sum[0], sum[1], roundings(), smallest(), sum[2]);
                expected.values()[i] = finite ? expected.values()[i] : Double.NaN;
            }
        }
        return expected;
    }

    private double roundings() {
        return switch (mode) {
            case PRECISE -> depth;
            case BF16 -> depth / 2.0 + 2 * pieces;
            default -> 2 * pieces;
        };
    }

    /** BF16 products count subnormals as zeros. */
    private double smallest() {
        return mode == QMatmul.Mode.BF16 ? 0x1p-126 : SUBNORMAL;
    }

    /** Whether the row is finite; its numbers as the mode sees them and, at each of them, their scale. */
    private boolean readRow(int m, double[] values, double[] scales) {
        boolean finite = true;
        int step = mode == QMatmul.Mode.INT8_GROUP ? group : depth;
        for (int begin = 0; begin < depth; begin += step) {
            int end = Math.min(depth, begin + step);
            float amax = 0;
            for (int k = begin; k < end; k++) {
                float value = x[m * depth + k];
                finite &= Float.isFinite(value) && Float.isFinite(xScales[m * depth + k]) && !(codes && value == -128);
                amax = Math.max(amax, Math.abs(value));
            }
            float scale = amax / 127f;
            boolean zero = scale < 0x1p-120f;
            for (int k = begin; k < end; k++) {
                float value = x[m * depth + k];
                scales[k] = xScales[m * depth + k];
                switch (mode) {
                    case PRECISE -> values[k] = value;
                    case BF16 -> values[k] = bf16(value);
                    default -> {
                        if (codes) {
                            values[k] = value;
                            continue;
                        }
                        values[k] = zero ? 0 : Math.rint((double) (value * (1 / scale)));
                        scales[k] = zero ? 0 : scale;
                    }
                }
            }
        }
        return finite;
    }

    private static float bf16(double value) {
        float rounded = DType.bf16ToFloat(DType.floatToBf16((float) value));
        return Math.abs(rounded) < Float.MIN_NORMAL ? 0 : rounded;
    }

    /** The sum, the sum of magnitudes, and the error of fixed point. */
    private double[] sum(int n, double[] values, double[] scales) {
        double sum = 0;
        double magnitude = 0;
        double fixedPoint = 0;
        for (int begin = 0; begin < depth; begin += group) {
            int end = Math.min(depth, begin + group);
            for (int piece = begin; piece < end; piece += PIECE) {
                double largest = 0x1p-104;
                double pieceWeights = 0;
                for (int k = piece; k < Math.min(end, piece + PIECE); k++) {
                    int i = n * depth + k;
                    double code = mode == QMatmul.Mode.BF16 ? bf16(w.codes[i]) : w.codes[i];
                    double scaled = code * w.scales[i] * w.tensorScale;
                    double offset = (double) w.offsets[i] * w.tensorScale;
                    double value = values[k] * scales[k];
                    sum += value * scaled + value * offset;
                    magnitude += Math.abs(value * scaled) + Math.abs(value * offset);
                    largest = Math.max(largest, Math.abs(value));
                    pieceWeights += Math.abs(scaled) + Math.abs(offset);
                }
                fixedPoint += 1.01 * U * largest * pieceWeights;
            }
        }
        return new double[] {sum, magnitude, mode == QMatmul.Mode.PRECISE ? fixedPoint : 0};
    }

    /** A weight matrix of random codes with scales that are powers of two, so that all sums are exact. */
    static QuantizedTensor exactWeights(RandomGenerator random, QuantSpec spec, int rows, int depth) {
        QuantizedTensor w = QuantizedTensor.allocate(spec, rows, depth);
        CodeTable table = CodeTable.of(spec);
        int count = 1 << spec.codes().bits();
        int[] codes = new int[rows * depth];
        for (int i = 0; i < codes.length; i++) {
            int code;
            do {
                code = random.nextInt(0, count);
            } while (table != null && !Double.isFinite(table.values[code]));
            codes[i] = code;
        }
        Decoder.setCodes(w, codes);
        float[] scales = new float[(int) w.scales().shape().elements()];
        float[] zeroPoints = new float[scales.length];
        for (int i = 0; i < scales.length; i++) {
            scales[i] = random.nextBoolean() ? 1 : 0.5f;
            zeroPoints[i] = random.nextInt(0, count);
        }
        w.scales().copyFrom(scales);
        if (w.zeroPoints() != null) {
            w.zeroPoints().copyFrom(zeroPoints);
        }
        return w;
    }
}
