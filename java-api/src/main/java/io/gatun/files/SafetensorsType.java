package io.gatun.files;

import io.gatun.DType;

/**
 * The types of safetensors, with the names of the format, in its order: writers put types further down first, which
 * aligns all data to its elements.
 */
public enum SafetensorsType {
    /** One byte, 0 or 1. */
    BOOL(8),
    /** OCP E2M1, two in a byte, the first in the low half; rows are not rounded up to bytes. */
    F4(4, DType.F4E2M1),
    /** OCP E2M3, four in three bytes; the format leaves the order of bits open. */
    F6_E2M3(6),
    /** OCP E3M2, four in three bytes; the format leaves the order of bits open. */
    F6_E3M2(6),
    /** Unsigned. */
    U8(8, DType.U8),
    /** Two's complement. */
    I8(8, DType.I8),
    /** OCP E5M2. */
    F8_E5M2(8, DType.F8E5M2),
    /** OCP E4M3, without infinities. */
    F8_E4M3(8, DType.F8E4M3),
    /** 2^(e - 127). */
    F8_E8M0(8, DType.E8M0),
    /** E4M3 with bias 8 and one zero. */
    F8_E4M3FNUZ(8),
    /** E5M2 with bias 16 and one zero. */
    F8_E5M2FNUZ(8),
    /** Two's complement. */
    I16(16),
    /** Unsigned. */
    U16(16),
    /** IEEE 754 binary16. */
    F16(16, DType.F16),
    /** The upper 16 bits of a binary32. */
    BF16(16, DType.BF16),
    /** Two's complement. */
    I32(32, DType.I32),
    /** Unsigned. */
    U32(32),
    /** IEEE 754 binary32. */
    F32(32, DType.F32),
    /** Two binary32: a complex number. */
    C64(64),
    /** IEEE 754 binary64. */
    F64(64),
    /** Two's complement. */
    I64(64),
    /** Unsigned. */
    U64(64);

    private final int bits;
    private final DType dtype;

    SafetensorsType(int bits) {
        this(bits, null);
    }

    SafetensorsType(int bits, DType dtype) {
        this.bits = bits;
        this.dtype = dtype;
    }

    /** Bits of one element. */
    public int bits() {
        return bits;
    }

    /** The same type for tensors, or null if tensors have none. */
    public DType dtype() {
        return dtype;
    }

    /** The type of a name of the format, or null. */
    static SafetensorsType of(String name) {
        for (SafetensorsType type : values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        return null;
    }

    /** The type that stores elements of {@code dtype}, or null. */
    static SafetensorsType of(DType dtype) {
        for (SafetensorsType type : values()) {
            if (type.dtype == dtype) {
                return type;
            }
        }
        return null;
    }

    /** The bytes of so many elements without gaps, or -1 if they exceed the range of {@code long} or end inside a byte. */
    long bytes(long elements) {
        long bits = elements % 8 * this.bits;
        if (bits % 8 != 0 || Math.multiplyHigh(elements / 8, this.bits) != 0 || elements / 8 * this.bits < 0) {
            return -1;
        }
        long bytes = elements / 8 * this.bits + bits / 8;
        return bytes < 0 ? -1 : bytes;
    }
}
