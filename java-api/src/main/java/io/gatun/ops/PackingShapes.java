package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.Packing.Planes;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;

/** Types and sizes of the planes of a format. */
final class PackingShapes {
    /** As of the C interface; products with bits stay far from overflow. */
    private static final long MAX_SIZE = 1L << 52;

    private static final Set<DType> I32 = EnumSet.of(DType.I32);
    private static final Set<DType> BYTES = EnumSet.of(DType.U8, DType.I8);
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);

    final Format format;
    final QuantSpec spec;
    final long rows;
    /** Along the depth, or all of them if blocks are flat. */
    final long elements;

    final long group;
    private final long groups;
    private final int bits;

    PackingShapes(Format format, QuantSpec spec, long rows, long depth) {
        Check.range("rows", rows, 0, MAX_SIZE);
        Check.range("depth", depth, 0, MAX_SIZE);
        Check.range("spec.group", spec.group(), 0, MAX_SIZE);
        this.format = format;
        this.spec = spec;
        this.rows = rows;
        elements = spec.blocks().flat() ? Shape.of(rows, depth).elements() : depth;
        group = format == Format.MATMUL_NBITS ? blockOf(spec, depth) : spec.groupOf(elements);
        groups = elements == 0 ? 0 : Math.ceilDiv(elements, group);
        bits = spec.codes().bits();
    }

    /** MatMulNBits has blocks of powers of two only: a whole row is in the smallest that holds it. */
    private static long blockOf(QuantSpec spec, long depth) {
        if (spec.group() != 0) {
            return spec.group();
        }
        long highest = Long.highestOneBit(Math.max(depth, QuantSpec.MIN_GROUP));
        return highest < depth ? 2 * highest : highest;
    }

    DType codeType() {
        return switch (format) {
            case GPTQ, GPTQ_V2, AWQ -> DType.I32;
            case JLAMA -> bits == 8 ? DType.I8 : DType.U8;
            default -> DType.U8;
        };
    }

    long[] codes() {
        return switch (format) {
            case GPTQ, GPTQ_V2 -> new long[] {elements * bits / 32, rows};
            case AWQ -> new long[] {elements, rows / 8};
            case MATMUL_NBITS -> new long[] {rows, groups, group * bits / 8};
            case BITSANDBYTES -> new long[] {Math.ceilDiv(elements, 2), 1};
            case TORCHAO, JLAMA -> new long[] {rows, elements * bits / 8};
        };
    }

    long[] scales() {
        return switch (format) {
            case GPTQ, GPTQ_V2, AWQ, TORCHAO -> new long[] {groups, rows};
            case MATMUL_NBITS, JLAMA -> new long[] {rows, groups};
            case BITSANDBYTES -> new long[] {groups};
        };
    }

    DType zeroType(DType floats) {
        return spec.zeroPoint() == ZeroPoint.FLOAT ? floats : codeType();
    }

    /** Null without. */
    long[] zeroPoints() {
        return switch (format) {
            case GPTQ, GPTQ_V2 -> new long[] {groups, rows * bits / 32};
            case AWQ -> new long[] {groups, rows / 8};
            case MATMUL_NBITS ->
                switch (spec.zeroPoint()) {
                    case NONE -> null;
                    case INTEGER -> new long[] {rows, Math.ceilDiv(groups * bits, 8)};
                    case FLOAT -> new long[] {rows, groups};
                };
            case TORCHAO -> new long[] {groups, rows};
            case BITSANDBYTES, JLAMA -> null;
        };
    }

    void check(Planes planes) {
        check("planes.codes", planes.codes(), codeType() == DType.I32 ? I32 : BYTES, codes());
        check("planes.scales", planes.scales(), FLOATS, scales());
        long[] zeros = zeroPoints();
        if ((zeros == null) != (planes.zeroPoints() == null)) {
            Object given =
                    planes.zeroPoints() == null ? null : planes.zeroPoints().describe();
            throw Check.invalid(
                    "planes.zeroPoints", given, zeros == null ? "null for " + format + " and " + spec : "a tensor");
        }
        if (zeros != null) {
            boolean floats = spec.zeroPoint() == ZeroPoint.FLOAT;
            Set<DType> types = floats ? FLOATS : codeType() == DType.I32 ? I32 : EnumSet.of(DType.U8);
            check("planes.zeroPoints", planes.zeroPoints(), types, zeros);
        }
        if (planes.groupIndex() != null) {
            check("planes.groupIndex", planes.groupIndex(), I32, elements);
        }
    }

    private static void check(String name, Tensor tensor, Set<DType> types, long... shape) {
        Check.dtype(name, tensor, types);
        Check.contiguous(name, tensor);
        Check.reachable(name, tensor.segment());
        long[] given = tensor.shape().toArray();
        boolean fits =
                given.length == 1 ? given[0] == product(shape) : Arrays.equals(withoutOnes(given), withoutOnes(shape));
        if (!fits) {
            throw Check.invalid(name, "shape " + tensor.shape(), Arrays.toString(shape));
        }
    }

    private static long product(long[] sizes) {
        long product = 1;
        for (long size : sizes) {
            product = Math.multiplyExact(product, size);
        }
        return product;
    }

    private static long[] withoutOnes(long[] sizes) {
        return Arrays.stream(sizes).filter(size -> size != 1).toArray();
    }
}
