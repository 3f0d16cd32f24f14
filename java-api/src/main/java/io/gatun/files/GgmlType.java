package io.gatun.files;

import io.gatun.DType;
import io.gatun.internal.Check;

/**
 * The types that a tensor of a GGUF file can have, with the numbers ({@code enum ggml_type}) and names of the format.
 * A row of a tensor is a sequence of blocks; the plain types have blocks of one element.
 *
 * <p>4, 5, 31 to 33 and 36 to 38 were types once and are not allowed in files any more.
 */
public enum GgmlType {
    /** IEEE 754 binary32. */
    F32(0, 1, 4, DType.F32),
    /** IEEE 754 binary16. */
    F16(1, 1, 2, DType.F16),
    /** 4 bits, one scale. */
    Q4_0(2, 32, 18),
    /** 4 bits, scale and minimum. */
    Q4_1(3, 32, 20),
    /** 5 bits, one scale. */
    Q5_0(6, 32, 22),
    /** 5 bits, scale and minimum. */
    Q5_1(7, 32, 24),
    /** 8 bits, one scale. */
    Q8_0(8, 32, 34),
    /** 8 bits, scale and sum; for activations. */
    Q8_1(9, 32, 36),
    /** 2 bits, 16 scales and minima. */
    Q2_K(10, 256, 84),
    /** 3 bits, 16 scales. */
    Q3_K(11, 256, 110),
    /** 4 bits, 8 scales and minima. */
    Q4_K(12, 256, 144),
    /** 5 bits, 8 scales and minima. */
    Q5_K(13, 256, 176),
    /** 6 bits, 16 scales. */
    Q6_K(14, 256, 210),
    /** 8 bits, one scale, 16 sums; for activations. */
    Q8_K(15, 256, 292),
    /** Code book, 2.06 bits. */
    IQ2_XXS(16, 256, 66),
    /** Code book, 2.31 bits. */
    IQ2_XS(17, 256, 74),
    /** Code book, 3.06 bits. */
    IQ3_XXS(18, 256, 98),
    /** Code book, 1.56 bits. */
    IQ1_S(19, 256, 50),
    /** Code book of 16 values. */
    IQ4_NL(20, 32, 18),
    /** Code book, 3.44 bits. */
    IQ3_S(21, 256, 110),
    /** Code book, 2.56 bits. */
    IQ2_S(22, 256, 82),
    /** Code book of 16 values, 8 scales. */
    IQ4_XS(23, 256, 136),
    /** 8 bits, two's complement. */
    I8(24, 1, 1, DType.I8),
    /** 16 bits, two's complement. */
    I16(25, 1, 2),
    /** 32 bits, two's complement. */
    I32(26, 1, 4, DType.I32),
    /** 64 bits, two's complement. */
    I64(27, 1, 8),
    /** IEEE 754 binary64. */
    F64(28, 1, 8),
    /** Code book, 1.75 bits. */
    IQ1_M(29, 256, 56),
    /** The upper 16 bits of a binary32. */
    BF16(30, 1, 2, DType.BF16),
    /** Ternary, five elements a byte. */
    TQ1_0(34, 256, 54),
    /** Ternary, four elements a byte. */
    TQ2_0(35, 256, 66),
    /** E2M1 with an E8M0 scale. */
    MXFP4(39, 32, 17),
    /** E2M1 with four E4M3 scales. */
    NVFP4(40, 64, 36),
    /** 1 bit, one scale. */
    Q1_0(41, 128, 18),
    /** 2 bits, one scale. */
    Q2_0(42, 64, 18);

    private static final GgmlType[] BY_ID = new GgmlType[43];

    static {
        for (GgmlType type : values()) {
            BY_ID[type.id] = type;
        }
    }

    private final int id;
    private final int blockElements;
    private final int blockBytes;
    private final DType dtype;

    GgmlType(int id, int blockElements, int blockBytes) {
        this(id, blockElements, blockBytes, null);
    }

    GgmlType(int id, int blockElements, int blockBytes, DType dtype) {
        this.id = id;
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
        this.dtype = dtype;
    }

    /** The number that stands for the type in files. */
    public int id() {
        return id;
    }

    /** The consecutive elements of a row that are stored together: 1, 32, 64, 128 or 256. */
    public int blockElements() {
        return blockElements;
    }

    /** The bytes of a block. */
    public int blockBytes() {
        return blockBytes;
    }

    /** The same type for tensors, or null if tensors have none: block types, I16, I64 and F64. */
    public DType dtype() {
        return dtype;
    }

    /** The type of a number of the format, or null if files cannot have such a type. */
    public static GgmlType of(long id) {
        return id >= 0 && id < BY_ID.length ? BY_ID[(int) id] : null;
    }

    /** The type that stores elements of {@code dtype}, or null. */
    static GgmlType of(DType dtype) {
        for (GgmlType type : values()) {
            if (type.dtype == dtype) {
                return type;
            }
        }
        return null;
    }

    /**
     * The bytes of {@code elements} elements, a multiple of {@link #blockElements}.
     *
     * @throws IllegalArgumentException if they exceed the range of {@code long}
     */
    public long bytes(long elements) {
        Check.range("elements", elements, 0, Long.MAX_VALUE);
        if (elements % blockElements != 0) {
            throw Check.invalid("elements", elements, "a multiple of " + blockElements + " for " + this);
        }
        long blocks = elements / blockElements;
        if (blocks > Long.MAX_VALUE / blockBytes) {
            throw Check.invalid("elements", elements + " of " + this, "at most " + Long.MAX_VALUE + " bytes");
        }
        return blocks * blockBytes;
    }
}
