package io.gatun;

/**
 * Floating-point numbers of at most 8 bits: a sign, an exponent, a mantissa, subnormals, and nothing or little beyond the
 * largest number.
 */
final class SmallFloat {
    private final int mantissaBits;
    private final int bias;
    private final float largest;
    private final int signBit;
    /** The pattern of what a value beyond the largest becomes: infinity, NaN, or the largest. */
    private final int overflow;

    private final int nan;

    static final SmallFloat F8E4M3 = new SmallFloat(8, 3, 7, 448, 0x7f, 0x7f);
    static final SmallFloat F8E5M2 = new SmallFloat(8, 2, 15, 57344, 0x7c, 0x7e);
    static final SmallFloat F6E3M2 = new SmallFloat(6, 2, 3, 28, 0x1f, -1);
    static final SmallFloat F6E2M3 = new SmallFloat(6, 3, 1, 7.5f, 0x1f, -1);
    static final SmallFloat F4E2M1 = new SmallFloat(4, 1, 1, 6, 0x7, -1);

    private SmallFloat(int bits, int mantissaBits, int bias, float largest, int overflow, int nan) {
        this.mantissaBits = mantissaBits;
        this.bias = bias;
        this.largest = largest;
        this.signBit = 1 << bits - 1;
        this.overflow = overflow;
        this.nan = nan;
    }

    float largest() {
        return largest;
    }

    boolean hasNaN() {
        return nan >= 0;
    }

    float decode(int pattern) {
        int magnitude = pattern & signBit - 1;
        int exponent = magnitude >> mantissaBits;
        int mantissa = magnitude & (1 << mantissaBits) - 1;
        float value = exponent == 0
                ? Math.scalb((float) mantissa, 1 - bias - mantissaBits)
                : Math.scalb((float) (1 << mantissaBits | mantissa), exponent - bias - mantissaBits);
        if (value > largest) {
            value = magnitude == overflow && magnitude != nan ? Float.POSITIVE_INFINITY : Float.NaN;
        }
        return (pattern & signBit) == 0 ? value : -value;
    }

    /** To nearest, ties to even. */
    int encode(float value) {
        int sign = Float.floatToRawIntBits(value) < 0 ? signBit : 0;
        if (Float.isNaN(value)) {
            return sign | nan;
        }
        double magnitude = Math.abs((double) value);
        int exponent = Math.max(magnitude == 0 ? 1 - bias : Math.getExponent(magnitude), 1 - bias);
        // In units of the last place, so that the integer is the pattern but for the exponent of a subnormal.
        double units = Math.rint(Math.scalb(magnitude, mantissaBits - exponent));
        if (Math.scalb(units, exponent - mantissaBits) > largest) {
            return sign | overflow;
        }
        return sign | (int) units + (exponent + bias - 1 << mantissaBits);
    }
}
