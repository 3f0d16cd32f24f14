package io.gatun.ops;

import io.gatun.DType;
import io.gatun.internal.Check;

/**
 * How a matrix is quantized: the type of its codes, whether groups have a zero point, how many elements of a row share a
 * scale, and how scales are stored. For a group with values v, amax = max |v|, min = min(0, v), max = max(0, v):
 *
 * <table>
 * <caption>Schemes</caption>
 * <tr><th>codes</th><th>zero points</th><th>range</th><th>value</th><th>scale s, zero point z</th></tr>
 * <tr><td>I8</td><td>no</td><td>-127..127</td><td>q s</td><td>s = amax / 127</td></tr>
 * <tr><td>U8</td><td>yes</td><td>0..255</td><td>(q - z) s</td><td>s = (max - min) / 255, z = round(-min / s)</td></tr>
 * <tr><td>U4</td><td>no</td><td>0..15</td><td>(q - 8) s</td><td>s = -e / 8, e the value of largest magnitude</td></tr>
 * <tr><td>U4</td><td>yes</td><td>0..15</td><td>(q - z) s</td><td>s = (max - min) / 15, z = round(-min / s)</td></tr>
 * </table>
 *
 * <p>Zero is always exact. Rounding is to nearest, ties to even.
 *
 * @param codes {@link DType#I8}, {@link DType#U8} or {@link DType#U4}
 * @param asymmetric whether groups have a zero point: never for I8, always for U8
 * @param group elements of a row that share a scale, 16 or more (the last group of a row may be shorter), or 0 for the
 *     whole row
 * @param scales {@link DType#F32} or {@link DType#F16}
 */
public record QuantSpec(DType codes, boolean asymmetric, long group, DType scales) {
    /** The smallest group, except for rows that are shorter. */
    public static final long MIN_GROUP = 16;

    /** Refuses what no matrix can have. */
    public QuantSpec {
        Check.present("codes", codes);
        Check.present("scales", scales);
        if (codes != DType.I8 && codes != DType.U8 && codes != DType.U4) {
            throw Check.invalid("codes", codes, "i8, u8 or u4");
        }
        if (codes != DType.U4 && asymmetric != (codes == DType.U8)) {
            throw Check.invalid("asymmetric", asymmetric + " with " + codes, "false with i8, true with u8");
        }
        if (group < 0) {
            throw Check.invalid("group", group, "0 (a whole row) or " + MIN_GROUP + " or more");
        }
        if (scales != DType.F32 && scales != DType.F16) {
            throw Check.invalid("scales", scales, "f32 or f16");
        }
    }

    /** 8 bits, symmetric, one f32 scale a row. */
    public static QuantSpec int8() {
        return new QuantSpec(DType.I8, false, 0, DType.F32);
    }

    /** 8 bits, symmetric, one f16 scale for every {@code group} elements of a row. */
    public static QuantSpec int8(long group) {
        return new QuantSpec(DType.I8, false, group, DType.F16);
    }

    /** 8 bits, one f32 scale and one zero point a row. */
    public static QuantSpec int8Asymmetric() {
        return new QuantSpec(DType.U8, true, 0, DType.F32);
    }

    /** 8 bits, one f16 scale and one zero point for every {@code group} elements of a row. */
    public static QuantSpec int8Asymmetric(long group) {
        return new QuantSpec(DType.U8, true, group, DType.F16);
    }

    /** 4 bits, symmetric, one f32 scale a row. */
    public static QuantSpec int4() {
        return new QuantSpec(DType.U4, false, 0, DType.F32);
    }

    /** 4 bits, symmetric, one f16 scale for every {@code group} elements of a row. */
    public static QuantSpec int4(long group) {
        return new QuantSpec(DType.U4, false, group, DType.F16);
    }

    /** 4 bits, one f32 scale and one zero point a row. */
    public static QuantSpec int4Asymmetric() {
        return new QuantSpec(DType.U4, true, 0, DType.F32);
    }

    /** 4 bits, one f16 scale and one zero point for every {@code group} elements of a row. */
    public static QuantSpec int4Asymmetric(long group) {
        return new QuantSpec(DType.U4, true, group, DType.F16);
    }

    /** The same with scales stored as {@link DType#F32} or {@link DType#F16}. */
    public QuantSpec withScales(DType stored) {
        return new QuantSpec(codes, asymmetric, group, stored);
    }

    /** The same with another group. */
    QuantSpec withGroup(long elements) {
        return new QuantSpec(codes, asymmetric, elements, scales);
    }

    /**
     * The elements that share a scale in a row of {@code depth} elements.
     *
     * @throws IllegalArgumentException if the group does not fit such rows
     */
    public long groupOf(long depth) {
        if (group == 0 || group == depth) {
            return depth;
        }
        if (group < MIN_GROUP || group > depth) {
            throw Check.invalid(
                    "group",
                    group,
                    (depth > MIN_GROUP ? MIN_GROUP + ".." : "") + depth + " (depth), or 0 for a whole row");
        }
        return group;
    }

    /** The number of scales of a row of {@code depth} elements. */
    public long groups(long depth) {
        return depth == 0 ? 0 : Math.ceilDiv(depth, groupOf(depth));
    }

    /** For a person: {@code u4 group 32 with zero points, f16 scales}. */
    @Override
    public String toString() {
        return codes + (group == 0 ? " per row" : " group " + group) + (asymmetric ? " with zero points" : "") + ", "
                + scales + " scales";
    }
}
