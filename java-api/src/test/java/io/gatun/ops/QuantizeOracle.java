package io.gatun.ops;

import io.gatun.DType;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.util.Arrays;

/**
 * Quantization element by element, as the definition says it: scale in f32, rounded to its storage type, codes from the
 * rounded scale with one rounding for the reciprocal and one for the product.
 */
final class QuantizeOracle {
    final int[] codes;
    final float[] scales;
    final float[] zeroPoints;
    /** Why the input cannot be quantized, or null. */
    String refusal;

    private final float[] x;
    private final int depth;
    private final QuantSpec spec;
    private final CodeTable table;
    final float tensorScale;

    QuantizeOracle(float[] x, int rows, int depth, QuantSpec spec) {
        boolean flat = spec.blocks().flat();
        this.x = x;
        this.depth = flat ? x.length : depth;
        this.spec = spec;
        table = CodeTable.of(spec);
        tensorScale = spec.hasTensorScale() ? tensorScale(x) : 1;
        int height = flat ? 1 : rows;
        int group = (int) spec.groupOf(this.depth);
        int groups = (int) spec.groups(this.depth);
        int own = (int) spec.rowsOf(height);
        codes = new int[x.length];
        scales = new float[Math.ceilDiv(height, own) * groups];
        zeroPoints = new float[scales.length];
        for (int r = 0, index = 0; r < height; r += own) {
            for (int g = 0; g < groups; g++, index++) {
                block(r, Math.min(height, r + own), g * group, Math.min(this.depth, (g + 1) * group), index);
            }
        }
    }

    static float tensorScale(float[] x) {
        float amax = 0;
        for (float value : x) {
            amax = Math.max(amax, Math.abs(value));
        }
        float scale = amax / 2688;
        return amax == 0 || Float.isNaN(amax) || Float.isInfinite(amax) ? 1 : Math.max(scale, 0x1p-120f);
    }

    private void block(int top, int bottom, int begin, int end, int index) {
        float[] values = new float[(bottom - top) * (end - begin)];
        for (int r = top, i = 0; r < bottom; r++) {
            for (int k = begin; k < end; k++, i++) {
                values[i] = x[r * depth + k];
                if (refusal == null && (Float.isNaN(values[i]) || Float.isInfinite(values[i]))) {
                    refusal = "[" + r + ", " + k + "]";
                }
            }
        }
        if (refusal != null) {
            return;
        }
        ScaleOracle made = new ScaleOracle(spec, values, tensorScale);
        scales[index] = made.scale;
        zeroPoints[index] = made.zeroPoint;
        if (Float.isInfinite(made.scale)) {
            refusal = "scale " + index;
            return;
        }
        for (int r = top, i = 0; r < bottom; r++) {
            for (int k = begin; k < end; k++, i++) {
                codes[r * depth + k] = made.scale == 0 ? zeroCode() : code(values[i], made.scale, made.zeroPoint);
            }
        }
    }

    private int zeroCode() {
        return table != null ? table.nearest(0) : spec.hasZeroPoints() ? 0 : zeroOf(spec);
    }

    private int code(float value, float scale, float zeroPoint) {
        float inverse = 1 / scale;
        if (spec.hasTensorScale()) {
            return table.nearest(value * (1 / tensorScale / scale));
        }
        if (table != null) {
            return table.nearest(value * inverse);
        }
        int high = spec.codes() == DType.I8 ? 127 : (1 << spec.codes().bits()) - 1;
        if (spec.zeroPoint() == ZeroPoint.FLOAT) {
            return (int) Math.clamp(Math.rint((double) ((value - zeroPoint) * inverse)), 0, high);
        }
        double offset = spec.hasZeroPoints() ? zeroPoint : zeroOf(spec);
        int low = spec.codes() != DType.I8 ? 0 : spec.rule() == QuantSpec.ScaleRule.DEFAULT ? -127 : -128;
        return (int) Math.clamp(Math.rint((double) (value * inverse)) + offset, low, high);
    }

    /** The code of 0 of integers without zero points. */
    static int zeroOf(QuantSpec spec) {
        return spec.codes() == DType.I8 ? 0 : 1 << spec.codes().bits() - 1;
    }

    /** Codes as a {@link Decoder} reads them, in a quantized tensor. */
    QuantizedTensor stored(int rows, int columns) {
        QuantizedTensor out = QuantizedTensor.allocate(spec, rows, columns);
        Decoder.setCodes(out, codes);
        if (out.scales() != null) {
            out.scales().copyFrom(scales);
        }
        if (out.zeroPoints() != null) {
            out.zeroPoints().copyFrom(zeroPoints);
        }
        if (out.tensorScale() != null) {
            out.tensorScale().setFloat(tensorScale, 0);
        }
        return out;
    }

    @Override
    public String toString() {
        return spec + " scales " + Arrays.toString(scales);
    }
}
