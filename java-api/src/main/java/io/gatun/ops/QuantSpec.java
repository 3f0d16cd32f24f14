package io.gatun.ops;

import io.gatun.DType;
import io.gatun.internal.Check;

/**
 * How a matrix is quantized: one descriptor for every format, made by a factory and adapted by {@code with} methods, each
 * of which returns another one. For a block with values v, amax = max |v|:
 *
 * <table>
 * <caption>Formats</caption>
 * <tr><th>codes</th><th>zero points</th><th>value of a code q</th><th>scale s, zero point z</th></tr>
 * <tr><td>I8, -127..127</td><td>none</td><td>q s</td><td>s = amax / 127</td></tr>
 * <tr><td>U4, 0..15</td><td>none</td><td>(q - 8) s</td><td>s = -e / 8, e the value of largest magnitude</td></tr>
 * <tr><td>U2, 0..3</td><td>none</td><td>(q - 2) s</td><td>s = -e / 2</td></tr>
 * <tr><td>U8, U4, U2</td><td>integers</td><td>(q - z) s</td><td>s = (max - min) / Q, z = round(-min / s); min at most 0,
 * max at least 0; Q = 255, 15, 3</td></tr>
 * <tr><td>U8, U4, U2</td><td>floats</td><td>q s + z</td><td>s = (max - min) / Q, z = min of the values alone</td></tr>
 * <tr><td>F8, F6, F4</td><td>none</td><td>q s</td><td>s = amax / the largest float, or a power of two (microscaling)</td>
 * </tr>
 * <tr><td>U8, U4 with a code book</td><td>none</td><td>book[q] s</td><td>s = amax</td></tr>
 * <tr><td>blocks of GGUF</td><td>in the block</td><td colspan="2">see {@link GgufType}</td></tr>
 * </table>
 *
 * <p>Zero is exact, except with float zero points, a code book without 0, and the types of GGUF with a minimum or a table
 * without 0 (Q4_1, Q5_1, Q2_K, Q4_K, Q5_K, IQ4_NL, IQ4_XS). Codes come from the stored scale and are rounded to nearest, ties to
 * even (of a code book, to the lower value).
 *
 * @param codes {@link DType#I8}, {@link DType#U8}, {@link DType#U4}, {@link DType#U2} or a floating-point type of at most 8
 *     bits; {@link DType#U8}, the bytes, with GGUF
 * @param book what codes of U8 or U4 stand for, or null if they are numbers
 * @param zeroPoint whether blocks have a zero point
 * @param blocks which elements share a scale
 * @param scales {@link DType#F32} or {@link DType#F16}; F32 with code books; floats also {@link DType#E8M0}, F4E2M1 also
 *     {@link DType#F8E4M3}, which comes with an f32 scale of the whole tensor; null with GGUF
 * @param rule how scales are made; nothing that reading the codes needs
 * @param nested whether scales are quantized in turn: less their mean, by {@link CodeBook#DYNAMIC}, in blocks of 256
 * @param nibbles where codes of 4 bits lie in their bytes
 * @param gguf the type of GGUF blocks, or null
 */
public record QuantSpec(
        DType codes,
        CodeBook book,
        ZeroPoint zeroPoint,
        Blocks blocks,
        DType scales,
        ScaleRule rule,
        boolean nested,
        NibbleOrder nibbles,
        GgufType gguf) {
    /** The smallest group, except for rows that are shorter. */
    public static final long MIN_GROUP = 16;

    /** The elements that share one of the scales of nested scales. */
    static final long NESTED_BLOCK = 256;

    /** What a block's zero point is. */
    public enum ZeroPoint {
        /** There is none. */
        NONE,
        /** The code of 0, u8. */
        INTEGER,
        /** The value of code 0, f32. */
        FLOAT
    }

    /** How the scale of a block is made. */
    public enum ScaleRule {
        /** As the table of {@link QuantSpec} says; powers of two by {@link #FLOOR}. */
        DEFAULT,
        /** By nobody: scales and zero points are inputs, codes saturate. */
        GIVEN,
        /** I8, U4, U2 without zero points: 2 amax / Q, and codes use the lowest one too. */
        FULL_RANGE,
        /** The same codes: the smallest scale that clips neither the largest nor the smallest value. */
        NO_CLIPPING,
        /** Powers of two: 2^(floor(log2 amax) - m), 2^m the largest power of two of the codes; large values saturate. */
        FLOOR,
        /** Powers of two: 2^(ceil(log2 amax) - m). */
        CEIL,
        /** Powers of two: the smallest with which nothing saturates. */
        RCEIL,
        /** Powers of two: as FLOOR, of amax rounded to the mantissa of the codes. */
        EVEN;

        private boolean isPowerOfTwo() {
            return ordinal() >= FLOOR.ordinal();
        }
    }

    /** Where two codes of 4 bits lie in a byte. Operations take LOW_FIRST; {@link QuantizedTensor#reorder} converts. */
    public enum NibbleOrder {
        /** Of elements 2 i and 2 i + 1, the first one in the low half. */
        LOW_FIRST,
        /** The first one in the high half: bitsandbytes. */
        HIGH_FIRST,
        /** Of a block of n elements, i in the low and n/2 + i in the high half of byte i: GGUF, Jlama. */
        SPLIT_HALF_BLOCK
    }

    /**
     * Which elements share a scale.
     *
     * @param group elements of a row, 16 or more (the last group of a row may be smaller), or 0 for the whole row; of the
     *     flattened tensor if {@code flat}, 0 for all of it
     * @param rows of the matrix, or 0 for all of them; 1 if {@code flat}
     * @param flat whether blocks run over the rows one after the other, so that one may begin in a row and end in another
     */
    public record Blocks(long group, long rows, boolean flat) {
        /** Refuses what no matrix can have. */
        public Blocks {
            if (group < 0) {
                throw Check.invalid("group", group, "0 (a whole row) or " + MIN_GROUP + " or more");
            }
            if (rows < 0 || flat && rows != 1) {
                throw Check.invalid("rows", rows, flat ? "1, as blocks are flat" : "0 (all) or more");
            }
        }
    }

    private static final Blocks ROW = new Blocks(0, 1, false);

    /** Refuses what has no meaning. */
    public QuantSpec {
        Check.present("codes", codes);
        Check.present("zeroPoint", zeroPoint);
        Check.present("blocks", blocks);
        Check.present("rule", rule);
        Check.present("nibbles", nibbles);
        if (gguf != null) {
            boolean plain = codes == DType.U8
                    && book == null
                    && zeroPoint == ZeroPoint.NONE
                    && scales == null
                    && rule == ScaleRule.DEFAULT
                    && !nested
                    && nibbles == NibbleOrder.LOW_FIRST
                    && blocks.equals(new Blocks(gguf.group(), 1, false));
            if (!plain) {
                throw Check.invalid("spec", "GGUF " + gguf + " with other properties", "QuantSpec.gguf(" + gguf + ")");
            }
        } else {
            Check.present("scales", scales);
            if (blocks.rows() != 1 && codes != DType.F8E4M3 && codes != DType.F8E5M2) {
                throw Check.invalid(
                        "blocks",
                        (blocks.rows() == 0 ? "all" : blocks.rows()) + " rows with " + codes,
                        "1 row, or 8-bit floats");
            }
            checkCodes(codes, book, zeroPoint);
            checkScales(codes, book, zeroPoint, scales, rule, nested);
            if (nibbles != NibbleOrder.LOW_FIRST && codes.bits() != 4) {
                throw Check.invalid("nibbles", nibbles + " with " + codes, "LOW_FIRST, or codes of 4 bits");
            }
        }
    }

    private static void checkCodes(DType codes, CodeBook book, ZeroPoint zeroPoint) {
        boolean unsigned = codes == DType.U8 || codes == DType.U4 || codes == DType.U2;
        if (!unsigned && codes != DType.I8 && !isSmallFloat(codes)) {
            throw Check.invalid("codes", codes, "i8, u8, u4, u2 or a float of at most 8 bits");
        }
        if (book != null && (!unsigned || book.bits() != codes.bits())) {
            throw Check.invalid("codes", codes + " with a code book of " + book.bits() + " bits", "u" + book.bits());
        }
        if (zeroPoint != ZeroPoint.NONE && (!unsigned || book != null)) {
            throw Check.invalid(
                    "zeroPoint", zeroPoint + " with " + (book == null ? codes : "a code book"), ZeroPoint.NONE);
        }
        if (zeroPoint == ZeroPoint.NONE && codes == DType.U8 && book == null) {
            throw Check.invalid("zeroPoint", "NONE with u8", "INTEGER or FLOAT, or a code book");
        }
    }

    private static void checkScales(
            DType codes, CodeBook book, ZeroPoint zeroPoint, DType scales, ScaleRule rule, boolean nested) {
        boolean fits = switch (scales) {
            case F32 -> true;
            case F16 -> book == null;
            case E8M0 -> isSmallFloat(codes);
            case F8E4M3 -> codes == DType.F4E2M1;
            default -> false;
        };
        if (!fits) {
            String allowed = book != null
                    ? "f32"
                    : "f32 or f16" + (isSmallFloat(codes) ? ", e8m0" : "") + (codes == DType.F4E2M1 ? ", f8e4m3" : "");
            throw Check.invalid("scales", scales + " with " + (book == null ? codes : "a code book"), allowed);
        }
        if (rule.isPowerOfTwo() && scales != DType.E8M0) {
            throw Check.invalid("rule", rule + " with " + scales + " scales", "e8m0 scales");
        }
        boolean integers = zeroPoint == ZeroPoint.NONE && book == null && !isSmallFloat(codes);
        if ((rule == ScaleRule.FULL_RANGE || rule == ScaleRule.NO_CLIPPING) && !integers) {
            throw Check.invalid("rule", rule, "i8, u4 or u2 without zero points or code book");
        }
        if (nested && (scales != DType.F32 || rule == ScaleRule.GIVEN)) {
            throw Check.invalid("nested", scales + " scales, rule " + rule, "f32 scales that are not given");
        }
    }

    static boolean isSmallFloat(DType codes) {
        return codes.isFloat() && codes.bits() <= 8 && codes != DType.E8M0;
    }

    private static QuantSpec of(DType codes, CodeBook book, ZeroPoint zeroPoint, Blocks blocks, DType scales) {
        return new QuantSpec(
                codes, book, zeroPoint, blocks, scales, ScaleRule.DEFAULT, false, NibbleOrder.LOW_FIRST, null);
    }

    private static QuantSpec integers(DType codes, ZeroPoint zeroPoint, long group) {
        return of(codes, null, zeroPoint, new Blocks(group, 1, false), group == 0 ? DType.F32 : DType.F16);
    }

    // ---- integers --------------------------------------------------------------------------------------------------

    /** 8 bits, symmetric, one f32 scale a row. */
    public static QuantSpec int8() {
        return int8(0);
    }

    /** 8 bits, symmetric, one f16 scale for every {@code group} elements of a row. */
    public static QuantSpec int8(long group) {
        return integers(DType.I8, ZeroPoint.NONE, group);
    }

    /** 8 bits, one f32 scale and one zero point a row. */
    public static QuantSpec int8Asymmetric() {
        return int8Asymmetric(0);
    }

    /** 8 bits, one f16 scale and one zero point for every {@code group} elements of a row. */
    public static QuantSpec int8Asymmetric(long group) {
        return integers(DType.U8, ZeroPoint.INTEGER, group);
    }

    /** 4 bits, symmetric, one f32 scale a row. */
    public static QuantSpec int4() {
        return int4(0);
    }

    /** 4 bits, symmetric, one f16 scale for every {@code group} elements of a row. */
    public static QuantSpec int4(long group) {
        return integers(DType.U4, ZeroPoint.NONE, group);
    }

    /** 4 bits, one f32 scale and one zero point a row. */
    public static QuantSpec int4Asymmetric() {
        return int4Asymmetric(0);
    }

    /** 4 bits, one f16 scale and one zero point for every {@code group} elements of a row. */
    public static QuantSpec int4Asymmetric(long group) {
        return integers(DType.U4, ZeroPoint.INTEGER, group);
    }

    /** 2 bits, symmetric, one f16 scale for every {@code group} elements of a row. */
    public static QuantSpec int2(long group) {
        return integers(DType.U2, ZeroPoint.NONE, group);
    }

    /** 2 bits, one f16 scale and one zero point for every {@code group} elements of a row. */
    public static QuantSpec int2Asymmetric(long group) {
        return integers(DType.U2, ZeroPoint.INTEGER, group);
    }

    // ---- code books ------------------------------------------------------------------------------------------------

    /** bitsandbytes' NF4: one f32 scale for every {@code block} elements of the flattened tensor, usually 64. */
    public static QuantSpec nf4(long block) {
        return codeBook(CodeBook.NF4, block);
    }

    /** bitsandbytes' FP4, likewise. */
    public static QuantSpec fp4(long block) {
        return codeBook(CodeBook.FP4, block);
    }

    /** bitsandbytes' dynamic 8-bit codes: one f32 scale for every {@code block} elements of the flattened tensor. */
    public static QuantSpec dynamic8(long block) {
        return codeBook(CodeBook.DYNAMIC, block);
    }

    /** Linear 8-bit codes, see {@link CodeBook#LINEAR}, likewise. */
    public static QuantSpec linear8(long block) {
        return codeBook(CodeBook.LINEAR, block);
    }

    /** Any code book: one f32 scale for every {@code block} elements of the flattened tensor. */
    public static QuantSpec codeBook(CodeBook book, long block) {
        Check.present("book", book);
        DType codes = book.bits() == 4 ? DType.U4 : DType.U8;
        return of(codes, book, ZeroPoint.NONE, new Blocks(block, 1, true), DType.F32);
    }

    // ---- floats ----------------------------------------------------------------------------------------------------

    /** 8-bit floats, {@link DType#F8E4M3} or {@link DType#F8E5M2}, one f32 scale a row. */
    public static QuantSpec fp8(DType codes) {
        Check.present("codes", codes);
        if (codes != DType.F8E4M3 && codes != DType.F8E5M2) {
            throw Check.invalid("codes", codes, "f8e4m3 or f8e5m2");
        }
        return of(codes, null, ZeroPoint.NONE, ROW, DType.F32);
    }

    /** OCP MXFP8, {@link DType#F8E4M3} or {@link DType#F8E5M2}: a power of two for every 32 elements of a row. */
    public static QuantSpec mxfp8(DType codes) {
        return fp8(codes).withMicroscaling();
    }

    /** OCP MXFP6, {@link DType#F6E3M2} or {@link DType#F6E2M3}: a power of two for every 32 elements of a row. */
    public static QuantSpec mxfp6(DType codes) {
        Check.present("codes", codes);
        if (codes != DType.F6E3M2 && codes != DType.F6E2M3) {
            throw Check.invalid("codes", codes, "f6e3m2 or f6e2m3");
        }
        return of(codes, null, ZeroPoint.NONE, ROW, DType.F32).withMicroscaling();
    }

    /** OCP MXFP4: {@link DType#F4E2M1}, a power of two for every 32 elements of a row. */
    public static QuantSpec mxfp4() {
        return of(DType.F4E2M1, null, ZeroPoint.NONE, ROW, DType.F32).withMicroscaling();
    }

    private QuantSpec withMicroscaling() {
        return of(codes, null, ZeroPoint.NONE, new Blocks(32, 1, false), DType.E8M0);
    }

    /**
     * NVFP4: {@link DType#F4E2M1}, an {@link DType#F8E4M3} scale for every 16 elements of a row, and an f32 scale of the
     * whole tensor, amax / (448 * 6).
     */
    public static QuantSpec nvfp4() {
        return of(DType.F4E2M1, null, ZeroPoint.NONE, new Blocks(16, 1, false), DType.F8E4M3);
    }

    // ---- files -----------------------------------------------------------------------------------------------------

    /** The blocks of a type of GGUF files. */
    public static QuantSpec gguf(GgufType type) {
        Check.present("type", type);
        return new QuantSpec(
                DType.U8,
                null,
                ZeroPoint.NONE,
                new Blocks(type.group(), 1, false),
                null,
                ScaleRule.DEFAULT,
                false,
                NibbleOrder.LOW_FIRST,
                type);
    }

    // ---- variations ------------------------------------------------------------------------------------------------

    /** The same with scales stored in another type. */
    public QuantSpec withScales(DType stored) {
        return new QuantSpec(codes, book, zeroPoint, blocks, stored, rule, nested, nibbles, gguf);
    }

    /** The same with scales made by another rule. */
    public QuantSpec withScaleRule(ScaleRule made) {
        return new QuantSpec(codes, book, zeroPoint, blocks, scales, made, nested, nibbles, gguf);
    }

    /** The same with a scale for every {@code group} elements of a row, 0 for all of them. */
    public QuantSpec withGroup(long group) {
        return with(new Blocks(group, 1, false));
    }

    /** The same with a scale for every block of {@code rows} by {@code group}; 0 for all. Floats of 8 bits only. */
    public QuantSpec withBlocks(long rows, long group) {
        return with(new Blocks(group, rows, false));
    }

    /** The same with a scale for every {@code block} elements of the flattened tensor, the last block may be smaller. */
    public QuantSpec withFlatBlocks(long block) {
        return with(new Blocks(block, 1, true));
    }

    /** The same with one scale for the whole tensor. */
    public QuantSpec perTensor() {
        return with(isFloat8() ? new Blocks(0, 0, false) : new Blocks(0, 1, true));
    }

    /** The same with float zero points instead of none or integers. */
    public QuantSpec withFloatZeroPoints() {
        return new QuantSpec(codes, book, ZeroPoint.FLOAT, blocks, scales, rule, nested, nibbles, gguf);
    }

    /** The same with scales that are quantized in turn: bitsandbytes' double quantization. */
    public QuantSpec withNestedScales() {
        return new QuantSpec(codes, book, zeroPoint, blocks, scales, rule, true, nibbles, gguf);
    }

    /** The same with codes of 4 bits that lie in their bytes in another order. */
    public QuantSpec withNibbles(NibbleOrder order) {
        return new QuantSpec(codes, book, zeroPoint, blocks, scales, rule, nested, order, gguf);
    }

    QuantSpec with(Blocks other) {
        return new QuantSpec(codes, book, zeroPoint, other, scales, rule, nested, nibbles, gguf);
    }

    // ---- questions -------------------------------------------------------------------------------------------------

    /** {@link Blocks#group} of the blocks. */
    public long group() {
        return blocks.group();
    }

    /** Whether blocks have a zero point. */
    public boolean hasZeroPoints() {
        return zeroPoint != ZeroPoint.NONE;
    }

    /** Whether the whole tensor has a scale besides those of blocks. */
    public boolean hasTensorScale() {
        return scales == DType.F8E4M3;
    }

    private boolean isFloat8() {
        return codes == DType.F8E4M3 || codes == DType.F8E5M2;
    }

    /**
     * The elements that share a scale in a row of {@code depth} elements; if blocks are flat, in a tensor of {@code depth}
     * elements.
     *
     * @throws IllegalArgumentException if the group does not fit such rows
     */
    public long groupOf(long depth) {
        long group = blocks.group();
        if (gguf != null) {
            gguf.rowBytes(depth);
            return group;
        }
        if (group == 0 || group == depth) {
            return depth;
        }
        // A format's own block may be larger than the row, and a block of a flattened tensor larger than that.
        boolean cut = blocks.flat() || scales == DType.E8M0 || scales == DType.F8E4M3;
        if (cut && group > depth) {
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

    /** The number of scales of a row of {@code depth} elements; if blocks are flat, of a tensor of as many. */
    public long groups(long depth) {
        return depth == 0 ? 0 : Math.ceilDiv(depth, groupOf(depth));
    }

    /** The rows that share a scale, of {@code rows}: at least 1. */
    long rowsOf(long rows) {
        long own = blocks.rows();
        return Math.max(1, own == 0 || own > rows ? rows : own);
    }

    /** For a person: {@code u4 group 32 with zero points, f16 scales}. */
    @Override
    public String toString() {
        if (gguf != null) {
            return "gguf " + gguf;
        }
        StringBuilder text = new StringBuilder(book == null ? codes.toString() : book + " " + codes);
        long group = blocks.group();
        if (blocks.flat()) {
            text.append(group == 0 ? " per tensor" : " blocks of " + group);
        } else if (blocks.rows() != 1) {
            text.append(
                    group == 0 && blocks.rows() == 0
                            ? " per tensor"
                            : " blocks of " + all(blocks.rows()) + " x " + all(group));
        } else {
            text.append(group == 0 ? " per row" : " group " + group);
        }
        text.append(
                hasZeroPoints() ? zeroPoint == ZeroPoint.FLOAT ? " with float zero points" : " with zero points" : "");
        text.append(", ").append(nested ? "nested " : "").append(scales).append(" scales");
        text.append(rule == ScaleRule.DEFAULT ? "" : " " + rule);
        return text.append(nibbles == NibbleOrder.LOW_FIRST ? "" : ", " + nibbles)
                .toString();
    }

    private static String all(long size) {
        return size == 0 ? "all" : Long.toString(size);
    }
}
