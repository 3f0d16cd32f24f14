package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;

/**
 * A quantized matrix [rows, depth]: its parts in plain, contiguous tensors that anything may fill. Scales and zero points
 * are [R, G], a number for each block, R and G the blocks along rows and depth; flat blocks are those of one row of rows *
 * depth elements.
 *
 * @param spec how the values are coded
 * @param shape [rows, depth]
 * @param codes of {@code spec.codes()}: [rows, depth], of flat blocks [1, rows * depth]; for 6-bit floats and GGUF blocks
 *     the bytes, u8 [rows, bytes of a row]
 * @param scales [R, G] of {@code spec.scales()}; null if they are nested and with GGUF
 * @param zeroPoints [R, G], u8 or f32, or null if {@code spec} has none
 * @param tensorScale f32 [1] if {@code spec} has one, otherwise null
 * @param nested the scales if they are nested, otherwise null
 */
public record QuantizedTensor(
        QuantSpec spec,
        Shape shape,
        Tensor codes,
        Tensor scales,
        Tensor zeroPoints,
        Tensor tensorScale,
        NestedScales nested) {

    /**
     * Quantized scales: scale i is that of the values plus the offset.
     *
     * @param values [1, blocks], {@link QuantSpec#dynamic8} with blocks of 256
     * @param offset f32 [1]
     */
    public record NestedScales(QuantizedTensor values, Tensor offset) {
        /** Refuses other tensors. */
        public NestedScales {
            Check.present("nested.values", values);
            Check.present("nested.offset", offset);
            if (!values.spec().equals(SPEC)) {
                throw Check.invalid("nested.values", values, SPEC);
            }
            Check.dtype("nested.offset", offset, EnumSet.of(DType.F32));
            Check.vector("nested.offset", offset, 1);
        }

        private static final QuantSpec SPEC = QuantSpec.dynamic8(QuantSpec.NESTED_BLOCK);

        static NestedScales allocate(Device device, Arena arena, long blocks) {
            return new NestedScales(
                    QuantizedTensor.allocate(device, arena, SPEC, 1, blocks), device.allocate(arena, DType.F32, 1));
        }
    }

    /** Refuses tensors that do not fit together. */
    public QuantizedTensor {
        Check.present("spec", spec);
        Check.present("shape", shape);
        Check.present("codes", codes);
        if (shape.rank() != 2) {
            throw Check.invalid("shape", shape, "[rows, depth]");
        }
        Parts parts = new Parts(spec, shape.size(0), shape.size(1));
        Check.dtype("codes", codes, EnumSet.of(parts.codeType()));
        Check.matrix("codes", codes, parts.codeRows(), parts.codeColumns());
        Check.contiguous("codes", codes);
        check("scales", scales, parts.scaleType(), parts);
        check("zeroPoints", zeroPoints, parts.zeroPointType(), parts);
        if (spec.hasTensorScale() != (tensorScale != null)) {
            throw unexpected("tensorScale", tensorScale, spec.hasTensorScale(), "f32[1]");
        }
        if (tensorScale != null) {
            Check.dtype("tensorScale", tensorScale, EnumSet.of(DType.F32));
            Check.vector("tensorScale", tensorScale, 1);
        }
        if (spec.nested() != (nested != null)) {
            throw unexpected("nested", nested, spec.nested(), "quantized scales");
        }
        if (nested != null) {
            Check.matrix("nested.values.codes", nested.values.codes, 1, parts.blocks());
        }
    }

    /** A plain matrix: codes [rows, depth], scales and zero points, null without; no flat or nested blocks, no GGUF. */
    public QuantizedTensor(QuantSpec spec, Tensor codes, Tensor scales, Tensor zeroPoints) {
        this(spec, shapeOf(codes), codes, scales, zeroPoints, null, null);
    }

    private static Shape shapeOf(Tensor codes) {
        Check.present("codes", codes);
        Check.matrix("codes", codes, -1, -1);
        return codes.shape();
    }

    private static void check(String name, Tensor tensor, DType dtype, Parts parts) {
        if ((dtype == null) != (tensor == null)) {
            String expected = dtype + "[" + parts.scaleRows() + ", " + parts.scaleColumns() + "]";
            throw unexpected(name, tensor, dtype != null, expected);
        }
        if (tensor != null) {
            Check.dtype(name, tensor, EnumSet.of(dtype));
            Check.matrix(name, tensor, parts.scaleRows(), parts.scaleColumns());
            Check.contiguous(name, tensor);
        }
    }

    private static IllegalArgumentException unexpected(String name, Object given, boolean needed, String expected) {
        Object shown = given instanceof Tensor tensor ? tensor.describe() : given;
        return Check.invalid(name, shown, needed ? expected : "null, as the spec has none");
    }

    /** Sizes and types of the parts. */
    private record Parts(QuantSpec spec, long rows, long depth) {
        Parts {
            if (spec.blocks().flat()) {
                // One row; a size that overflows cannot have codes.
                depth = Shape.of(rows, depth).elements();
                rows = 1;
            }
            spec.groupOf(depth);
        }

        boolean isBytes() {
            return spec.gguf() != null || spec.codes().bits() == 6;
        }

        DType codeType() {
            return isBytes() ? DType.U8 : spec.codes();
        }

        long codeRows() {
            return rows;
        }

        long codeColumns() {
            return spec.gguf() != null
                    ? spec.gguf().rowBytes(depth)
                    : isBytes() ? spec.codes().bytes(depth) : depth;
        }

        DType scaleType() {
            return spec.nested() ? null : spec.scales();
        }

        DType zeroPointType() {
            return switch (spec.zeroPoint()) {
                case NONE -> null;
                case INTEGER -> DType.U8;
                case FLOAT -> DType.F32;
            };
        }

        long scaleRows() {
            return Math.ceilDiv(rows, spec.rowsOf(rows));
        }

        long scaleColumns() {
            return spec.groups(depth);
        }

        long blocks() {
            return Math.multiplyExact(scaleRows(), scaleColumns());
        }
    }

    /**
     * A matrix of zero codes and scales in memory that is freed when nothing refers to it any more. Such memory counts
     * against {@code -XX:MaxDirectMemorySize}, by default the size of the heap; memory of an arena of one's own does not.
     */
    public static QuantizedTensor allocate(QuantSpec spec, long rows, long depth) {
        return allocate(Arena.ofAuto(), spec, rows, depth);
    }

    /** A matrix of zero codes and scales in memory of an arena; a scale of the whole tensor is 1. */
    public static QuantizedTensor allocate(Arena arena, QuantSpec spec, long rows, long depth) {
        return allocate(Device.CPU, arena, spec, rows, depth);
    }

    /** The same in memory of a device; a scale of the whole tensor is on the CPU. */
    public static QuantizedTensor allocate(Device device, Arena arena, QuantSpec spec, long rows, long depth) {
        Check.present("device", device);
        Check.open("arena", arena);
        Check.present("spec", spec);
        Check.range("depth", depth, 0, Long.MAX_VALUE);
        Shape shape = Shape.of(rows, depth);
        Parts parts = new Parts(spec, rows, depth);
        Tensor codes = device.allocate(arena, parts.codeType(), parts.codeRows(), parts.codeColumns());
        Tensor scales = allocate(device, arena, parts.scaleType(), parts);
        Tensor zeroPoints = allocate(device, arena, parts.zeroPointType(), parts);
        Tensor tensorScale = spec.hasTensorScale() ? Tensor.allocate(arena, DType.F32, 1) : null;
        if (tensorScale != null) {
            tensorScale.setFloat(1, 0);
        }
        NestedScales nested = spec.nested() ? NestedScales.allocate(device, arena, parts.blocks()) : null;
        return new QuantizedTensor(spec, shape, codes, scales, zeroPoints, tensorScale, nested);
    }

    private static Tensor allocate(Device device, Arena arena, DType dtype, Parts parts) {
        return dtype == null ? null : device.allocate(arena, dtype, parts.scaleRows(), parts.scaleColumns());
    }

    /**
     * Blocks as they lie in a GGUF file; nothing is copied.
     *
     * @param blocks native memory that starts with the first block of the first row and may be longer; any alignment
     * @throws IllegalArgumentException if it is too small, or a row is no multiple of a block
     */
    public static QuantizedTensor gguf(GgufType type, long rows, long depth, MemorySegment blocks) {
        QuantSpec spec = QuantSpec.gguf(type);
        Check.range("depth", depth, 0, Long.MAX_VALUE);
        Shape shape = Shape.of(rows, depth);
        Tensor codes = Tensor.wrap(blocks, DType.U8, rows, type.rowBytes(depth));
        return new QuantizedTensor(spec, shape, codes, null, null, null, null);
    }

    /** The number of rows. */
    public long rows() {
        return shape.size(0);
    }

    /** The number of elements in a row. */
    public long depth() {
        return shape.size(1);
    }

    /** The bytes of all parts together. */
    public long byteSize() {
        return bytes(codes)
                + bytes(scales)
                + bytes(zeroPoints)
                + bytes(tensorScale)
                + (nested == null ? 0 : nested.values.byteSize() + bytes(nested.offset));
    }

    private static long bytes(Tensor part) {
        return part == null ? 0 : part.byteSize();
    }

    /**
     * Rows {@code begin..end}, {@code end} excluded; nothing is copied.
     *
     * @throws IllegalArgumentException also if a row before {@code begin} or after {@code end} shares a block or a byte
     *     with one between them, and if scales are nested
     */
    public QuantizedTensor slice(long begin, long end) {
        if (begin < 0 || end < begin || end > rows()) {
            throw Check.invalid("slice", begin + ".." + end, "a part of 0.." + rows());
        }
        Shape part = Shape.of(end - begin, depth());
        if (begin == 0 && end == rows()) {
            return this;
        }
        if (spec.nested()) {
            throw Check.invalid("slice", begin + ".." + end, "all rows, as scales are nested");
        }
        if (spec.blocks().flat()) {
            return sliceFlat(part, begin, end);
        }
        long own = spec.rowsOf(rows());
        boolean whole = spec.blocks().rows() == 0;
        if (!whole && (begin % own != 0 || end % own != 0 && end != rows())) {
            throw Check.invalid("slice", begin + ".." + end, "multiples of " + own + ", the rows of a block");
        }
        long first = whole || begin == end ? 0 : begin / own;
        long last = begin == end ? 0 : whole ? 1 : Math.ceilDiv(end, own);
        return new QuantizedTensor(
                spec,
                part,
                codes.slice(0, begin, end),
                slice(0, scales, first, last),
                slice(0, zeroPoints, first, last),
                tensorScale,
                null);
    }

    private QuantizedTensor sliceFlat(Shape part, long begin, long end) {
        long elements = shape.elements();
        long block = spec.groupOf(elements);
        long from = begin * depth();
        long to = end * depth();
        boolean whole = spec.group() == 0;
        if (!whole && part.elements() > 0 && (from % block != 0 || to % block != 0 && to != elements)) {
            throw Check.invalid("slice", begin + ".." + end, "rows that begin and end with a block of " + block);
        }
        boolean empty = part.elements() == 0;
        long first = whole || empty ? 0 : from / block;
        long last = empty ? 0 : whole ? 1 : Math.ceilDiv(to, block);
        return new QuantizedTensor(
                spec,
                part,
                codes.slice(1, empty ? 0 : from, empty ? 0 : to),
                slice(1, scales, first, last),
                slice(1, zeroPoints, first, last),
                tensorScale,
                null);
    }

    private static Tensor slice(int axis, Tensor part, long begin, long end) {
        return part == null ? null : part.slice(axis, begin, end);
    }

    /**
     * A copy with codes of 4 bits in another order, and the same scales. O(rows * depth).
     *
     * @throws IllegalArgumentException if codes have other bits; for {@link QuantSpec.NibbleOrder#SPLIT_HALF_BLOCK} also
     *     if rows are not whole blocks of an even number of elements
     */
    public QuantizedTensor reorder(QuantSpec.NibbleOrder order) {
        QuantSpec target = spec.withNibbles(order);
        Check.reachable("codes", codes.segment());
        Tensor copy = Tensor.allocate(
                codes.dtype(), codes.shape().size(0), codes.shape().size(1));
        Nibbles.reorder(codes, spec, copy, order);
        return new QuantizedTensor(target, shape, copy, scales, zeroPoints, tensorScale, nested);
    }

    /** What the memory of the codes belongs to, and that of all else but a scale of the whole tensor. */
    public Device device() {
        return codes.device();
    }

    /**
     * This matrix if it is on the device, otherwise a copy there. A scale of the whole tensor stays on the CPU.
     *
     * @throws UnsupportedOperationException if scales are nested, for another device than the CPU
     */
    public QuantizedTensor to(Device device) {
        Check.present("device", device);
        if (device == device()) {
            return this;
        }
        if (nested != null) {
            throw Check.unsupported("quantized", "nested scales for " + device, "plain scales");
        }
        return new QuantizedTensor(
                spec,
                shape,
                codes.to(device),
                scales == null ? null : scales.to(device),
                zeroPoints == null ? null : zeroPoints.to(device),
                tensorScale,
                null);
    }

    /** Spec and shape: {@code quantized[384, 1536] u4 group 32, f16 scales}. */
    @Override
    public String toString() {
        return "quantized" + shape + " " + spec;
    }

    void checkReachable(String argument) {
        checkReachable(argument, ".codes", codes);
        checkReachable(argument, ".scales", scales);
        checkReachable(argument, ".zeroPoints", zeroPoints);
        checkReachable(argument, ".tensorScale", tensorScale);
        if (nested != null) {
            nested.values.checkReachable(argument + ".nested.values");
            checkReachable(argument, ".nested.offset", nested.offset);
        }
    }

    private static void checkReachable(String argument, String part, Tensor tensor) {
        if (tensor != null) {
            Check.reachable(argument, part, tensor.pointer());
        }
    }

    /** Refuses parts on other devices; the scale of the tensor is a number that calls take from the CPU. */
    void checkDevice(String argument, String other, Device device) {
        Check.device(argument, ".codes", codes, other, device);
        Check.device(argument, ".scales", scales, other, device);
        Check.device(argument, ".zeroPoints", zeroPoints, other, device);
        Check.device(argument, ".tensorScale", tensorScale, "scales of whole tensors always", Device.CPU);
        if (nested != null) {
            nested.values.checkDevice(argument + ".nested.values", other, device);
            Check.device(argument, ".nested.offset", nested.offset, other, device);
        }
    }
}
