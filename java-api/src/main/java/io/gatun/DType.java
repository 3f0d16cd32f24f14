package io.gatun;

import java.util.Locale;

/** Element types. The conversions from {@code float} round to nearest, ties to even. */
public enum DType {
    /** IEEE 754 binary32. */
    F32(1, 32),
    /** IEEE 754 binary16. */
    F16(2, 16),
    /** The upper 16 bits of a binary32. */
    BF16(3, 16),
    /** Signed, two's complement. */
    I8(4, 8),
    /** Unsigned. */
    U8(5, 8),
    /** Signed, two's complement. */
    I32(6, 32),
    /**
     * Unsigned, 0..15, two per byte along the last axis, the element of even index in the low nibble. A row of n
     * elements takes (n + 1) / 2 bytes. The last high nibble of an odd row, also of a row of one, belongs to the row: it is
     * 0 in what Gatun writes.
     */
    U4(7, 4);

    private final int code;
    private final int bits;

    DType(int code, int bits) {
        this.code = code;
        this.bits = bits;
    }

    /** The value of {@code enum gatun_dtype}, as the C functions take it. */
    public int code() {
        return code;
    }

    /** Bits of one element. */
    public int bits() {
        return bits;
    }

    /** The alignment in bytes that the first element of a tensor needs. */
    public int alignment() {
        return Math.max(bits / 8, 1);
    }

    /** Whether the elements are floating-point numbers. */
    public boolean isFloat() {
        return this == F32 || this == F16 || this == BF16;
    }

    /**
     * The bytes that a row of {@code elements} contiguous elements takes.
     *
     * @throws ArithmeticException if they exceed the range of {@code long}
     */
    public long bytes(long elements) {
        return this == U4 ? elements / 2 + elements % 2 : Math.multiplyExact(elements, (long) (bits / 8));
    }

    /** The value of an {@link #F16} pattern. */
    public static float f16ToFloat(short pattern) {
        return Float.float16ToFloat(pattern);
    }

    /** The {@link #F16} pattern nearest to {@code value}; infinity beyond 65519, NaN stays NaN. */
    public static short floatToF16(float value) {
        return Float.floatToFloat16(value);
    }

    /** The value of a {@link #BF16} pattern. */
    public static float bf16ToFloat(short pattern) {
        return Float.intBitsToFloat(pattern << 16);
    }

    /** The {@link #BF16} pattern nearest to {@code value}; NaN stays NaN. */
    public static short floatToBf16(float value) {
        int pattern = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) (pattern >>> 16 | 0x40); // quiet, so that a payload in the low half is not lost to infinity
        }
        return (short) (pattern + 0x7fff + (pattern >>> 16 & 1) >>> 16);
    }

    /** The name in lower case: {@code f32}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
