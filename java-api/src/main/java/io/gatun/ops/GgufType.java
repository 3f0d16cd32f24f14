package io.gatun.ops;

import io.gatun.internal.Check;

/**
 * The quantized block types of GGUF files: a row of a matrix is blocks of {@link #elements} values in {@link #bytes}
 * bytes. Blocks of 32 have one scale, and those of type 1 a minimum; blocks of 256 have a scale for every
 * {@link #group} elements, which is itself a small integer times the block's half-precision scale.
 */
public enum GgufType {
    /** 4 bits, d (q - 8). */
    Q4_0(2, 32, 18, 32),
    /** 4 bits, d q + m. */
    Q4_1(3, 32, 20, 32),
    /** 5 bits, d (q - 16). */
    Q5_0(6, 32, 22, 32),
    /** 5 bits, d q + m. */
    Q5_1(7, 32, 24, 32),
    /** 8 bits, d q. */
    Q8_0(8, 32, 34, 32),
    /** 2 bits, (d s) q - dmin m, s and m of 4 bits. */
    Q2_K(10, 256, 84, 16),
    /** 3 bits, (d s) q, s of 6 bits. */
    Q3_K(11, 256, 110, 16),
    /** 4 bits, (d s) q - dmin m, s and m of 6 bits. */
    Q4_K(12, 256, 144, 32),
    /** 5 bits, (d s) q - dmin m, s and m of 6 bits. */
    Q5_K(13, 256, 176, 32),
    /** 6 bits, (d s) q, s of 8 bits. */
    Q6_K(14, 256, 210, 16),
    /** 4 bits, d T[q], T a table of 16 integers. */
    IQ4_NL(20, 32, 18, 32),
    /** 4 bits, (d s) T[q], s of 6 bits. */
    IQ4_XS(23, 256, 136, 32),
    /** 4 bits, {@link io.gatun.DType#F4E2M1} values times a power of two. */
    MXFP4(39, 32, 17, 32);

    private final int id;
    private final int elements;
    private final int bytes;
    private final int group;

    GgufType(int id, int elements, int bytes, int group) {
        this.id = id;
        this.elements = elements;
        this.bytes = bytes;
        this.group = group;
    }

    /** The number of the type in GGUF files. */
    public int id() {
        return id;
    }

    /** Elements of a block. */
    public int elements() {
        return elements;
    }

    /** Bytes of a block. */
    public int bytes() {
        return bytes;
    }

    /** Elements that share a scale. */
    public int group() {
        return group;
    }

    /**
     * The bytes of a row.
     *
     * @throws IllegalArgumentException if {@code depth} is not a multiple of a block's elements
     */
    public long rowBytes(long depth) {
        if (depth < 0 || depth % elements != 0) {
            throw Check.invalid("depth", depth, "a multiple of " + elements + " for " + this);
        }
        return Math.multiplyExact(depth / elements, (long) bytes);
    }

    /**
     * The type of a number.
     *
     * @throws IllegalArgumentException if it is none of these
     */
    public static GgufType of(int id) {
        for (GgufType type : values()) {
            if (type.id == id) {
                return type;
            }
        }
        throw Check.invalid("id", id, "the number of a quantized block type of " + GgufType.class.getSimpleName());
    }
}
