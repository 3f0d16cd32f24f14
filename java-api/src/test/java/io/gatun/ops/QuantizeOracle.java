package io.gatun.ops;

import io.gatun.DType;

/**
 * Quantization element by element, as the definition says it: scale in f32, rounded to its storage type, codes from the
 * rounded scale with one rounding for the reciprocal and one for the product.
 */
final class QuantizeOracle {
    final int[] codes;
    final float[] scales;
    final int[] zeroPoints;
    /** Why the input cannot be quantized, or null. */
    String refusal;

    private final float[] x;
    private final int depth;
    private final QuantSpec spec;

    QuantizeOracle(float[] x, int rows, int depth, QuantSpec spec) {
        this.x = x;
        this.depth = depth;
        this.spec = spec;
        int group = (int) spec.groupOf(depth);
        int groups = (int) spec.groups(depth);
        codes = new int[rows * depth];
        scales = new float[rows * groups];
        zeroPoints = new int[rows * groups];
        for (int r = 0; r < rows; r++) {
            for (int g = 0; g < groups; g++) {
                group(r, g * group, Math.min(depth, (g + 1) * group), r * groups + g);
            }
        }
    }

    private void group(int row, int begin, int end, int index) {
        float min = 0;
        float max = 0;
        float extreme = 0;
        for (int k = begin; k < end; k++) {
            float value = x[row * depth + k];
            if (Float.isNaN(value) || Float.isInfinite(value)) {
                refusal = "[" + row + ", " + k + "]";
                return;
            }
            min = Math.min(min, value);
            max = Math.max(max, value);
            if (Math.abs(value) > Math.abs(extreme)) {
                extreme = value;
            }
        }
        int levels = spec.codes() == DType.U4 ? 15 : 255;
        float scale = spec.codes() == DType.I8
                ? Math.abs(extreme) / 127f
                : spec.hasZeroPoints() ? (max - min) / levels : extreme / -8f;
        if (spec.scales() == DType.F16) {
            scale = Float.float16ToFloat(Float.floatToFloat16(scale));
        }
        if (Float.isInfinite(scale)) {
            refusal = "[" + row + ", " + begin / Math.max(1, spec.groupOf(depth)) + "]";
            return;
        }
        boolean zero = Math.abs(scale) < 0x1p-120f;
        scales[index] = zero ? 0 : scale;
        int low = spec.codes() == DType.I8 ? -127 : 0;
        int high = spec.codes() == DType.I8 ? 127 : levels;
        int zeroCode = spec.codes() == DType.I8 ? 0 : 8;
        if (spec.hasZeroPoints()) {
            zeroCode = zero ? 0 : (int) clamp(Math.rint(-min / scale), low, high);
        }
        zeroPoints[index] = zeroCode;
        for (int k = begin; k < end; k++) {
            float inverse = zero ? 0 : 1 / scale;
            float product = x[row * depth + k] * inverse;
            codes[row * depth + k] = (int) clamp(Math.rint((double) product) + zeroCode, low, high);
        }
    }

    private static double clamp(double value, double low, double high) {
        return Math.min(high, Math.max(low, value));
    }

    /** (q - z) s for element [r, k] of any quantized matrix, in f32. */
    static float value(QuantizedTensor quantized, int r, int k) {
        return integer(quantized, r, k) * scale(quantized, r, k);
    }

    /** q - z. */
    static int integer(QuantizedTensor quantized, int r, int k) {
        int code = quantized.codes().getInt(r, k);
        if (quantized.spec().hasZeroPoints()) {
            return code - quantized.zeroPoints().getInt(r, k / quantized.spec().groupOf(quantized.depth()));
        }
        return quantized.spec().codes() == DType.U4 ? code - 8 : code;
    }

    static float scale(QuantizedTensor quantized, int r, int k) {
        return quantized.scales().getFloat(r, k / quantized.spec().groupOf(quantized.depth()));
    }
}
