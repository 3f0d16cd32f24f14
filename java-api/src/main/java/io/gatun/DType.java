package io.gatun;

import io.gatun.internal.Check;
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
    U4(7, 4),
    /** Unsigned, 0..3, four per byte along the last axis, the first in the lowest bits; rows own whole bytes as of U4. */
    U2(8, 2),
    /** OCP E4M3: 1 sign, 4 exponent and 3 mantissa bits, bias 7, up to 448, no infinity, NaN 0x7f and 0xff. */
    F8E4M3(9, 8),
    /** OCP E5M2: bias 15, up to 57344, infinity 0x7c, NaN 0x7d to 0x7f. */
    F8E5M2(10, 8),
    /**
     * OCP E3M2 of 6 bits: bias 3, up to 28, neither infinity nor NaN. Four elements in three bytes, the first in the lowest
     * bits, a row of n in ceil(6 n / 8) bytes: no stride in elements says where a row begins, so a tensor holds such rows
     * as bytes, {@link #U8}.
     */
    F6E3M2(11, 6),
    /** OCP E2M3 of 6 bits: bias 1, up to 7.5; otherwise as {@link #F6E3M2}. */
    F6E2M3(12, 6),
    /** OCP E2M1 of 4 bits: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, packed as {@link #U4}. */
    F4E2M1(13, 4),
    /** A scale without sign: 2^(e - 127), NaN 0xff. */
    E8M0(14, 8);

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
        return switch (this) {
            case I8, U8, I32, U4, U2 -> false;
            default -> true;
        };
    }

    /** How many elements fill whole bytes: 1, or more where an element is smaller than a byte. */
    int elementsPerBytes() {
        return bits >= 8 ? 1 : bits == 4 ? 2 : 4;
    }

    /**
     * The bytes that a row of {@code elements} contiguous elements takes.
     *
     * @throws ArithmeticException if they exceed the range of {@code long}
     */
    public long bytes(long elements) {
        if (bits >= 8) {
            return Math.multiplyExact(elements, (long) (bits / 8));
        }
        return elements / 8 * bits + (elements % 8 * bits + 7) / 8;
    }

    /** The largest finite number of a floating-point type of at most 8 bits with a sign. */
    public float largest() {
        return small().largest();
    }

    /**
     * The value of a pattern of a floating-point type of at most 16 bits; higher bits than the type's are ignored.
     *
     * @throws IllegalArgumentException for other types
     */
    public float decode(int pattern) {
        return switch (this) {
            case F16 -> f16ToFloat((short) pattern);
            case BF16 -> bf16ToFloat((short) pattern);
            case E8M0 -> (pattern & 0xff) == 0xff ? Float.NaN : Math.scalb(1f, (pattern & 0xff) - 127);
            default -> small().decode(pattern);
        };
    }

    /**
     * The pattern of the number nearest to a value, ties to even, of a floating-point type of at most 16 bits. What is too
     * large becomes infinity, or NaN where there is none (F8E4M3), or the largest number where there is no NaN either.
     *
     * @throws IllegalArgumentException for other types, for NaN where a type has none, for E8M0 also if the value is
     *     neither a power of two of its range nor NaN
     */
    public int encode(float value) {
        if (!holds(value)) {
            throw Check.invalid("value", value, "what a " + this + " holds");
        }
        return switch (this) {
            case F16 -> floatToF16(value) & 0xffff;
            case BF16 -> floatToBf16(value) & 0xffff;
            case E8M0 -> Float.isNaN(value) ? 0xff : Math.getExponent((double) value) + 127;
            default -> small().encode(value);
        };
    }

    /** Whether a floating-point type has a pattern for the value, after rounding. */
    boolean holds(float value) {
        return switch (this) {
            case F32, F16, BF16, F8E4M3, F8E5M2 -> true;
            case F6E3M2, F6E2M3, F4E2M1 -> !Float.isNaN(value);
            // 2^-127 is subnormal as a float, so the exponent is looked at in double.
            case E8M0 ->
                Float.isNaN(value)
                        || value >= 0x1p-127f
                                && value <= 0x1p127f
                                && value == Math.scalb(1.0, Math.getExponent((double) value));
            default -> throw Check.invalid("dtype", this, "a floating-point type");
        };
    }

    private SmallFloat small() {
        return switch (this) {
            case F8E4M3 -> SmallFloat.F8E4M3;
            case F8E5M2 -> SmallFloat.F8E5M2;
            case F6E3M2 -> SmallFloat.F6E3M2;
            case F6E2M3 -> SmallFloat.F6E2M3;
            case F4E2M1 -> SmallFloat.F4E2M1;
            default -> throw Check.invalid("dtype", this, "a floating-point type of at most 8 bits");
        };
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
