package io.gatun.ops;

import io.gatun.DType;
import io.gatun.internal.Check;

/**
 * How rows of keys or of values are kept in a {@link KvPool}: as values, or as codes with scales, and zero points where
 * there are any, in f16:
 *
 * <pre>
 * dtype  zero point  value
 * i8     no          q * s          q in -127..127
 * u4     no          (q - 8) * s    q in 0..15
 * u2     no          (q - 2) * s    q in 0..3
 * u4 u2  yes         q * s + z
 * </pre>
 *
 * <p>Codes are those of {@link Quantize} with its default scales. Keys lose more than values do in few bits
 * (KV-AdaQuant: 4 bits for keys and 2 for values are better than 2 and 4), and their outliers keep to channels (KIVI,
 * Liu et al. 2024: keys per channel, values per token).
 *
 * @param dtype of values f32, bf16, f16, f8e4m3 or f8e5m2; of codes i8, u4 or u2
 * @param scaling what a scale belongs to; NONE of values
 * @param group PER_TOKEN: how many channels share a scale, a multiple of 16, or 0 for all of a row; PER_CHANNEL: how
 *     many successive tokens do, a multiple of 16 that divides the size of a page; otherwise 0
 * @param zeroPoint whether codes have zero points; u4 and u2 only
 */
public record KvFormat(DType dtype, Scaling scaling, int group, boolean zeroPoint) {
    /** What a scale belongs to. */
    public enum Scaling {
        /** There are none. */
        NONE,
        /** To a group of channels of one token. */
        PER_TOKEN,
        /** To one channel of a group of tokens, which are written together. */
        PER_CHANNEL
    }

    /** Values. */
    public static final KvFormat F32 = values(DType.F32);

    /** Values. */
    public static final KvFormat BF16 = values(DType.BF16);

    /** Values. */
    public static final KvFormat F16 = values(DType.F16);

    /** Values; what is beyond the largest one becomes that. */
    public static final KvFormat F8E4M3 = values(DType.F8E4M3);

    /** Values; what is beyond the largest one becomes that. */
    public static final KvFormat F8E5M2 = values(DType.F8E5M2);

    /** Refuses what no pool has. */
    public KvFormat {
        Check.present("dtype", dtype);
        Check.present("scaling", scaling);
        boolean codes = switch (dtype) {
            case I8, U4, U2 -> true;
            case F32, BF16, F16, F8E4M3, F8E5M2 -> false;
            default -> throw Check.invalid("dtype", dtype, "f32, bf16, f16, f8e4m3, f8e5m2, or codes: i8, u4, u2");
        };
        if (codes == (scaling == Scaling.NONE)) {
            throw Check.invalid("scaling", scaling + " of " + dtype, codes ? "PER_TOKEN or PER_CHANNEL" : "NONE");
        }
        boolean whole = group == 0 && scaling != Scaling.PER_CHANNEL;
        if (!whole && (group < 16 || group % 16 != 0 || !codes)) {
            throw Check.invalid(
                    "group",
                    group + " " + scaling,
                    switch (scaling) {
                        case NONE -> "0";
                        case PER_TOKEN -> "multiples of 16, or 0 for a row";
                        case PER_CHANNEL -> "multiples of 16";
                    });
        }
        if (zeroPoint && dtype != DType.U4 && dtype != DType.U2) {
            throw Check.invalid("zeroPoint", "true of " + dtype, "false, or u4 and u2");
        }
    }

    private static KvFormat values(DType dtype) {
        return new KvFormat(dtype, Scaling.NONE, 0, false);
    }

    /** Codes of 8 bits with a scale for each row. */
    public static KvFormat int8() {
        return int8(0);
    }

    /** Codes of 8 bits with a scale for so many channels of a row, or 0 for all. */
    public static KvFormat int8(int group) {
        return new KvFormat(DType.I8, Scaling.PER_TOKEN, group, false);
    }

    /** Codes of 4 bits with a scale and a zero point for so many channels of a row, or 0 for all. */
    public static KvFormat int4(int group) {
        return new KvFormat(DType.U4, Scaling.PER_TOKEN, group, true);
    }

    /** Codes of 2 bits with a scale and a zero point for so many channels of a row, or 0 for all. */
    public static KvFormat int2(int group) {
        return new KvFormat(DType.U2, Scaling.PER_TOKEN, group, true);
    }

    /** The same codes with a scale for each channel of so many successive tokens. */
    public KvFormat perChannel(int tokens) {
        return new KvFormat(dtype, Scaling.PER_CHANNEL, tokens, zeroPoint);
    }

    /** The same codes without zero points. */
    public KvFormat withoutZeroPoint() {
        return new KvFormat(dtype, scaling, group, false);
    }

    /**
     * The bytes of so many tokens of one head: codes, scales and zero points. PER_CHANNEL, groups of tokens that are
     * not full have all their scales.
     */
    public long bytes(long tokens, int size) {
        Check.range("tokens", tokens, 0, 1L << 59);
        checkSize(size);
        long numbers = switch (scaling) {
            case NONE -> 0;
            case PER_TOKEN -> tokens * scales(size);
            case PER_CHANNEL -> Math.ceilDiv(tokens, (long) group) * size;
        };
        return tokens * dtype.bytes(size) + numbers * (zeroPoint ? 4 : 2);
    }

    /**
     * The bytes of a token of one head.
     *
     * @throws IllegalArgumentException if that is no whole number, as it may be PER_CHANNEL: see {@link #bytes}
     */
    public long bytesPerToken(int size) {
        if (scaling != Scaling.PER_CHANNEL) {
            return bytes(1, size);
        }
        long bytes = bytes(group, size);
        if (bytes % group != 0) {
            throw Check.invalid("size", size + " " + this, "sizes of whole bytes a token; see bytes(tokens, size)");
        }
        return bytes / group;
    }

    /** How many scales, and zero points, a row has; PER_CHANNEL those of a group of rows. */
    int scales(int size) {
        return scaling == Scaling.PER_CHANNEL ? size : Math.ceilDiv(size, channels(size));
    }

    /** How many channels share a scale. */
    private int channels(int size) {
        return group == 0 ? size : group;
    }

    /** The group as C has it: 0 of values, size where all of a row share a scale. */
    long groupOf(int size) {
        return scaling == Scaling.PER_TOKEN ? channels(size) : group;
    }

    /** Refuses rows and pages that cannot have this format. */
    void check(int size, int pageSize) {
        checkSize(size);
        if (scaling == Scaling.PER_CHANNEL && pageSize % group != 0) {
            throw Check.invalid("pageSize", pageSize, "multiples of " + group + ", as the format is " + this);
        }
    }

    private void checkSize(int size) {
        if (size < 8 || size > 256 || size % 8 != 0) {
            throw Check.invalid("size", size, "multiples of 8 in 8..256");
        }
        if (scaling == Scaling.PER_TOKEN && group > size) {
            throw Check.invalid("format", this + " of rows of " + size, "groups up to the row, or 0 for a row");
        }
    }

    /** {@code u4 per token in groups of 32 with zero points}. */
    @Override
    public String toString() {
        String groups = switch (scaling) {
            case NONE -> "";
            case PER_TOKEN -> " per token" + (group == 0 ? "" : " in groups of " + group);
            case PER_CHANNEL -> " per channel in groups of " + group + " tokens";
        };
        return dtype + groups + (zeroPoint ? " with zero points" : "");
    }
}
