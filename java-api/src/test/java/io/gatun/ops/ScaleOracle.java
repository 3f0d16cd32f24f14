package io.gatun.ops;

import io.gatun.DType;

/** The scale and the zero point of a block, as the definitions say; each operation in f32, rounded once. */
final class ScaleOracle {
    /** As it is stored. */
    final float scale;

    final float zeroPoint;

    private final QuantSpec spec;
    private final float amax;
    private final float extreme;
    private final float min;
    private final float max;

    ScaleOracle(QuantSpec spec, float[] values, float tensorScale) {
        this.spec = spec;
        float largest = 0;
        float least = spec.zeroPoint() == QuantSpec.ZeroPoint.FLOAT ? Float.POSITIVE_INFINITY : 0;
        float most = -least;
        for (float value : values) {
            largest = Math.abs(value) > Math.abs(largest) ? value : largest;
            least = Math.min(least, value);
            most = Math.max(most, value);
        }
        extreme = largest;
        amax = Math.abs(largest);
        min = least;
        max = most;
        float stored = stored(spec.scales() == DType.F8E4M3 ? ofTensor(tensorScale) : exact());
        boolean isZero = spec.scales() != DType.E8M0 && Math.abs(stored) < 0x1p-120f;
        scale = isZero ? 0 : stored;
        zeroPoint = switch (spec.zeroPoint()) {
            case NONE -> 0;
            case FLOAT -> min + 0f; // never -0
            case INTEGER -> isZero ? 0 : (float) Math.clamp(Math.rint((double) (-min / scale)), 0, levels());
        };
    }

    private int levels() {
        return (1 << spec.codes().bits()) - 1;
    }

    private float exact() {
        if (spec.scales() == DType.E8M0) {
            return powerOfTwo();
        }
        if (spec.zeroPoint() != QuantSpec.ZeroPoint.NONE) {
            return (max - min) / levels();
        }
        if (spec.book() != null) {
            return amax;
        }
        if (QuantSpec.isSmallFloat(spec.codes())) {
            return amax / (float) CodeTable.of(spec).largest();
        }
        int half = (levels() + 1) / 2;
        return switch (spec.rule()) {
            case FULL_RANGE -> 2 * amax / levels();
            case NO_CLIPPING -> Math.max(max / (half - 1), min / -half);
            default -> spec.codes() == DType.I8 ? amax / 127 : extreme / -half;
        };
    }

    private float ofTensor(float tensorScale) {
        return Math.clamp(amax / 6 / tensorScale, 0x1p-6f, 448f);
    }

    private float powerOfTwo() {
        double largest = CodeTable.of(spec).largest();
        int highest = Math.getExponent(largest);
        if (amax == 0) {
            return 0x1p-127f;
        }
        int exponent = switch (spec.rule()) {
            case CEIL -> ceilLog2(amax) - highest;
            case RCEIL -> ceilLog2(amax / (float) largest);
            case EVEN -> {
                int mantissaBits = spec.codes() == DType.F4E2M1
                        ? 1
                        : spec.codes() == DType.F8E4M3 || spec.codes() == DType.F6E2M3 ? 3 : 2;
                int floor = Math.getExponent((double) amax);
                boolean up = amax / Math.scalb(1.0, floor) >= 2 - Math.scalb(1.0, -mantissaBits - 1);
                yield floor + (up ? 1 : 0) - highest;
            }
            default -> Math.getExponent((double) amax) - highest;
        };
        return Math.scalb(1f, Math.clamp(exponent, -127, 127));
    }

    /** Of 0, which a quotient may be rounded to, less than any. */
    private static int ceilLog2(float value) {
        int floor = Math.getExponent((double) value);
        return value == Math.scalb(1.0, floor) ? floor : floor + 1;
    }

    private float stored(float exact) {
        return switch (spec.scales()) {
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(exact));
            case F8E4M3 -> {
                CodeTable table = CodeTable.of(QuantSpec.fp8(DType.F8E4M3));
                yield (float) table.values[table.nearest(exact)];
            }
            default -> exact;
        };
    }
}
