package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_nm_check;
import static io.gatun.bindings.c.gatun_h.gatun_nm_compress;
import static io.gatun.bindings.c.gatun_h.gatun_nm_decompress;
import static io.gatun.bindings.c.gatun_h.gatun_nm_explain;
import static io.gatun.bindings.c.gatun_h.gatun_nm_from_sm80;
import static io.gatun.bindings.c.gatun_h.gatun_nm_mask;
import static io.gatun.bindings.c.gatun_h.gatun_nm_to_sm80;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * N:M sparse weights [rows, depth]: what is kept and where, in plain, contiguous tensors that anything may fill. With
 * G = ceil(depth / M) groups in a row, K = G N weights of it are kept.
 *
 * <p>A kept weight is one whose position is among the indices: it may be 0, or quantize to 0. A depth that is no multiple of
 * M ends in a group that zeros continue: its indices may point beyond the depth, and the values there are zeros.
 *
 * @param pattern N:M, and how many rows share positions
 * @param shape [rows, depth]
 * @param values [rows, K] in ascending depth: f32, f16, bf16, or codes of I8 or U4
 * @param indices [ceil(rows / vector), K] of positions within the group, 0 to M - 1, strictly ascending within it: u2 for M =
 *     2 and 4, u4 for 8 and 16, u8 for 32. For 2:4 a byte is two nibbles of the sparse tensor cores' metadata
 * @param spec how codes stand for numbers: {@link QuantSpec#int8}, {@link QuantSpec#int4}, {@link QuantSpec#int4Asymmetric}
 *     with their groups of the dense depth; null if values are floats
 * @param scales [rows, groups of {@code spec}] of its type, those of the dense weights; null if values are floats
 * @param zeroPoints u8, of the shape of scales, if {@code spec} has zero points; otherwise null
 */
public record SparseTensor(
        Sparsity.Nm pattern,
        Shape shape,
        Tensor values,
        Tensor indices,
        QuantSpec spec,
        Tensor scales,
        Tensor zeroPoints) {
    private static final long EXPLAIN_BYTES = 1024;
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);
    private static final Set<DType> I8 = EnumSet.of(DType.I8);
    private static final Set<DType> U8 = EnumSet.of(DType.U8);

    /** Refuses tensors that do not fit together; the positions themselves are checked by {@link #check} and by each use. */
    public SparseTensor {
        Check.present("pattern", pattern);
        Check.present("shape", shape);
        Check.present("values", values);
        Check.present("indices", indices);
        if (shape.rank() != 2) {
            throw Check.invalid("shape", shape, "[rows, depth]");
        }
        long rows = shape.size(0);
        long kept = pattern.kept(shape.size(1));
        Check.dtype("values", values, spec == null ? FLOATS : EnumSet.of(spec.codes()));
        Check.matrix("values", values, rows, kept);
        Check.contiguous("values", values);
        Check.dtype("indices", indices, EnumSet.of(pattern.indexType()));
        Check.matrix("indices", indices, pattern.vectors(rows), kept);
        Check.contiguous("indices", indices);
        if (spec != null) {
            checkSpec(spec);
        }
        long groups = spec == null ? 0 : spec.groups(shape.size(1));
        checkBlocks("scales", scales, spec == null ? null : spec.scales(), rows, groups);
        checkBlocks("zeroPoints", zeroPoints, spec != null && spec.hasZeroPoints() ? DType.U8 : null, rows, groups);
    }

    /** Refuses formats whose codes have no sparse kernels. */
    static void checkSpec(QuantSpec spec) {
        boolean integers = spec.codes() == DType.I8 || spec.codes() == DType.U4 && spec.book() == null;
        boolean plain = integers
                && spec.zeroPoint() != ZeroPoint.FLOAT
                && !spec.blocks().flat()
                && !spec.nested()
                && spec.nibbles() == QuantSpec.NibbleOrder.LOW_FIRST
                && spec.gguf() == null;
        if (!plain) {
            throw Check.unsupported(
                    "spec", spec, "QuantSpec.int8, int4 or int4Asymmetric, per row or of groups of a row");
        }
    }

    private static void checkBlocks(String name, Tensor tensor, DType dtype, long rows, long groups) {
        if (dtype == null) {
            if (tensor != null) {
                throw Check.invalid(name, tensor.describe(), "null, as the spec has none");
            }
            return;
        }
        Check.present(name, tensor);
        Check.dtype(name, tensor, EnumSet.of(dtype));
        Check.matrix(name, tensor, rows, groups);
        Check.contiguous(name, tensor);
    }

    // ---- making one ------------------------------------------------------------------------------------------------

    /** Zeros, the indices too, in new memory of a device: to be filled. */
    static SparseTensor allocate(
            Device device, Sparsity.Nm pattern, QuantSpec spec, DType dtype, long rows, long depth) {
        long groups = spec == null ? 0 : spec.groups(depth);
        return allocate(
                device,
                pattern,
                dtype,
                Shape.of(rows, depth),
                spec,
                spec == null ? null : device.allocate(spec.scales(), rows, groups),
                spec == null || !spec.hasZeroPoints() ? null : device.allocate(DType.U8, rows, groups));
    }

    private static SparseTensor allocate(
            Device device,
            Sparsity.Nm pattern,
            DType dtype,
            Shape shape,
            QuantSpec spec,
            Tensor scales,
            Tensor zeroPoints) {
        long kept = pattern.kept(shape.size(1));
        Tensor values = device.allocate(dtype, shape.size(0), kept);
        Tensor indices = device.allocate(pattern.indexType(), pattern.vectors(shape.size(0)), kept);
        return new SparseTensor(pattern, shape, values, indices, spec, scales, zeroPoints);
    }

    /**
     * Keeps the weights that are not 0.
     *
     * @throws IllegalArgumentException as {@link #compress(Tensor, Mask, Sparsity.Nm)}
     */
    public static SparseTensor compress(Tensor dense, Sparsity.Nm pattern) {
        return compressed(dense, null, pattern);
    }

    /**
     * Keeps the weights that a mask keeps. A group that keeps fewer than N is filled up with its lowest other positions, whose
     * values become 0. O(rows * depth). On a GPU it waits for the work, to know whether a group keeps too much.
     *
     * @param dense f32, f16 or bf16 [rows, depth], contiguous
     * @param mask of the same shape, the same for all rows of a vector; on the device of {@code dense}
     * @throws IllegalArgumentException if an argument does not fit; with row and group, if a group keeps more than N
     */
    public static SparseTensor compress(Tensor dense, Mask mask, Sparsity.Nm pattern) {
        Check.present("mask", mask);
        return compressed(dense, mask, pattern);
    }

    private static SparseTensor compressed(Tensor dense, Mask mask, Sparsity.Nm pattern) {
        Check.present("dense", dense);
        Check.present("pattern", pattern);
        QuantizeCall.checkValueType("dense", dense.dtype());
        Check.matrix("dense", dense, -1, -1);
        Check.contiguous("dense", dense);
        Check.reachable("dense", dense);
        SparseTensor out = allocate(dense.device(), pattern, dense.dtype(), dense.shape(), null, null, null);
        compress(dense, mask, out);
        return out;
    }

    /**
     * Keeps the codes of the weights that a mask keeps, with their scales and zero points; codes that are not kept do not
     * matter. Quantize what is kept, so that scales suit it:
     *
     * <pre>SparseTensor.compress(Quantize.run(mask.apply(weights), QuantSpec.int8()), mask, Sparsity.nm(2, 4));</pre>
     *
     * @param dense {@link QuantSpec#int8}, {@link QuantSpec#int4} or {@link QuantSpec#int4Asymmetric}
     * @param mask of the same shape, the same for all rows of a vector
     * @throws IllegalArgumentException if an argument does not fit; with row and group, if a group keeps more than N
     * @throws UnsupportedOperationException for other formats
     */
    public static SparseTensor compress(QuantizedTensor dense, Mask mask, Sparsity.Nm pattern) {
        Check.present("dense", dense);
        Check.present("mask", mask);
        Check.present("pattern", pattern);
        dense.checkReachable("dense");
        dense.checkDevice("dense", "the codes", dense.device());
        QuantizedTensor plain = FlatBlocks.packable("dense", dense);
        checkSpec(plain.spec());
        SparseTensor out = allocate(
                dense.device(),
                pattern,
                plain.codes().dtype(),
                plain.shape(),
                plain.spec(),
                plain.scales(),
                plain.zeroPoints());
        compress(plain.codes(), mask, out);
        return out;
    }

    private static void compress(Tensor dense, Mask mask, SparseTensor out) {
        if (mask != null) {
            PruneCall.checkMask(mask, out.shape);
            Check.device("mask", mask.bits(), "dense", dense.device());
        }
        MemorySegment format = NmFormat.of(out, 0);
        if (dense.device() != Device.CPU) {
            CudaNmFormat.compress(format, dense, mask, out);
            return;
        }
        Native.call(() -> gatun_nm_compress(
                format,
                dense.segment(),
                mask == null ? MemorySegment.NULL : mask.bits().segment(),
                Native.segment(out.zeroPoints),
                out.values.segment(),
                out.indices.segment()));
    }

    // ---- and back --------------------------------------------------------------------------------------------------

    /**
     * The dense weights, with zeros where nothing is kept, in new memory. O(rows * depth). On a GPU indices are not
     * checked: those out of bounds count for nothing, and of equal ones the last counts.
     *
     * @throws IllegalArgumentException as {@link #check}
     * @throws UnsupportedOperationException if values are codes: see {@link #decompressCodes}
     */
    public Tensor decompress() {
        if (spec != null) {
            throw Check.unsupported("values", this, "floats, or decompressCodes()");
        }
        Tensor dense = device().allocate(values.dtype(), rows(), depth());
        decompress(dense);
        return dense;
    }

    /**
     * The dense codes, with those of 0 where nothing is kept, in new memory, and the scales and zero points, which are not
     * copied. O(rows * depth).
     *
     * @throws IllegalArgumentException as {@link #check}
     * @throws UnsupportedOperationException if values are floats: see {@link #decompress}
     */
    public QuantizedTensor decompressCodes() {
        if (spec == null) {
            throw Check.unsupported("values", this, "codes, or decompress()");
        }
        Tensor codes = device().allocate(values.dtype(), rows(), depth());
        decompress(codes);
        return new QuantizedTensor(spec, codes, scales, zeroPoints);
    }

    private void decompress(Tensor dense) {
        checkReachable("sparse");
        checkDevice("sparse", "the values", device());
        MemorySegment format = NmFormat.of(this, 0);
        if (device() != Device.CPU) {
            CudaNmFormat.decompress(format, this, dense);
            return;
        }
        Native.call(() -> gatun_nm_decompress(
                format, values.segment(), indices.segment(), Native.segment(zeroPoints), dense.segment()));
    }

    /** The positions that are kept, in new memory. */
    public Mask mask() {
        checkReachable("sparse");
        Mask mask = Mask.allocate(rows(), depth());
        MemorySegment format = NmFormat.of(this, 0);
        Native.call(() -> gatun_nm_mask(format, indices.segment(), mask.bits().segment()));
        return mask;
    }

    /**
     * Looks at every index.
     *
     * @throws IllegalArgumentException with row, group and index, unless they are below M and strictly ascending within each
     *     group, and unused bits are 0
     */
    public void check() {
        checkReachable("sparse");
        MemorySegment format = NmFormat.of(this, 0);
        Native.call(() -> gatun_nm_check(format, indices.segment()));
    }

    // ---- sparse tensor cores ---------------------------------------------------------------------------------------

    /**
     * The indices of 2:4 weights (of f32: 1:2) as the sparse tensor cores of sm80 read them, in the order of CUTLASS and of
     * PyTorch's SparseSemiStructuredTensorCUTLASS: a vector of bytes in new memory.
     *
     * @throws IllegalArgumentException with what is allowed, if pattern or shape is another one: f16 and bf16 need multiples
     *     of 32 rows and 32 deep, i8 of 16 and 64, f32 of 32 and 16
     */
    public Tensor toSm80() {
        checkReachable("sparse");
        MemorySegment format = NmFormat.of(this, 0);
        Tensor metadata = Tensor.allocate(DType.U8, NmFormat.sm80Bytes(format));
        Native.call(() -> gatun_nm_to_sm80(format, indices.segment(), metadata.segment()));
        return metadata;
    }

    /**
     * The inverse of {@link #toSm80}, for floats; values are not copied.
     *
     * @param values [rows, depth / 2], f16 or bf16 of 2:4 weights, f32 of 1:2 weights
     * @param metadata u8, contiguous, all its bytes
     * @throws IllegalArgumentException also if the shape is none that {@link #toSm80} takes, or the metadata says what is no
     *     such pattern, with its place
     */
    public static SparseTensor fromSm80(Tensor values, Tensor metadata) {
        return fromSm80("values", values, FLOATS, null, null, metadata);
    }

    /**
     * The inverse of {@link #toSm80}, for codes of 8 bits; nothing of them is copied.
     *
     * @param kept codes [rows, depth / 2] of 2:4 weights
     * @param spec {@link QuantSpec#int8}
     * @param scales as in a {@code SparseTensor}
     * @param metadata u8, contiguous, all its bytes
     * @throws IllegalArgumentException also if the shape is none that {@link #toSm80} takes, or the metadata says what is no
     *     such pattern, with its place
     */
    public static SparseTensor fromSm80(Tensor kept, QuantSpec spec, Tensor scales, Tensor metadata) {
        Check.present("spec", spec);
        return fromSm80("kept", kept, I8, spec, scales, metadata);
    }

    private static SparseTensor fromSm80(
            String name, Tensor kept, Set<DType> types, QuantSpec spec, Tensor scales, Tensor metadata) {
        Check.present(name, kept);
        Check.present("metadata", metadata);
        Check.dtype(name, kept, types);
        Check.matrix(name, kept, -1, -1);
        checkSm80(name, kept);
        Check.contiguous(name, kept);
        Check.reachable(name, kept.segment());
        long rows = kept.shape().size(0);
        long columns = kept.shape().size(1);
        Sparsity.Nm pattern = kept.dtype() == DType.F32 ? Sparsity.nm(1, 2) : Sparsity.nm(2, 4);
        Tensor indices = Tensor.allocate(pattern.indexType(), rows, columns);
        Shape shape = Shape.of(rows, columns * 2);
        SparseTensor out = new SparseTensor(pattern, shape, kept, indices, spec, scales, null);
        Check.dtype("metadata", metadata, U8);
        MemorySegment format = NmFormat.of(out, 0);
        Check.vector("metadata", metadata, NmFormat.sm80Bytes(format));
        Check.reachable("metadata", metadata.segment());
        Native.call(() -> gatun_nm_from_sm80(format, metadata.segment(), indices.segment()));
        return out;
    }

    /** Refuses what is kept of shapes that have no such metadata. */
    private static void checkSm80(String name, Tensor kept) {
        long rows = kept.dtype() == DType.I8 ? 16 : 32;
        long columns = kept.dtype() == DType.F32 ? 8 : kept.dtype() == DType.I8 ? 32 : 16;
        if (kept.shape().size(0) % rows != 0 || kept.shape().size(1) % columns != 0) {
            throw Check.invalid(
                    name,
                    kept.describe(),
                    "rows that are a multiple of " + rows + " and columns that are one of " + columns);
        }
        Check.range(name + " in a row", kept.shape().size(1), 0, Long.MAX_VALUE / 4);
    }

    // ---- description -----------------------------------------------------------------------------------------------

    /** The number of rows. */
    public long rows() {
        return shape.size(0);
    }

    /** The number of elements in a row, pruned ones included. */
    public long depth() {
        return shape.size(1);
    }

    /** The bytes of all parts together. */
    public long byteSize() {
        return bytes(values) + bytes(indices) + bytes(scales) + bytes(zeroPoints);
    }

    private static long bytes(Tensor part) {
        return part == null ? 0 : part.byteSize();
    }

    /** What the memory of the values belongs to, and that of all else. */
    public Device device() {
        return values.device();
    }

    /** These weights if they are on the device, otherwise a copy there. */
    public SparseTensor to(Device device) {
        Check.present("device", device);
        if (device == device()) {
            return this;
        }
        return new SparseTensor(
                pattern,
                shape,
                values.to(device),
                indices.to(device),
                spec,
                scales == null ? null : scales.to(device),
                zeroPoints == null ? null : zeroPoints.to(device));
    }

    /** Which kernels compress such weights, and why; for a person. */
    public String explain() {
        MemorySegment format = NmFormat.of(this, 0);
        if (device() != Device.CPU) {
            return CudaNmFormat.explain(format, device());
        }
        return Native.text(EXPLAIN_BYTES, text -> gatun_nm_explain(format, text, EXPLAIN_BYTES));
    }

    /** Pattern, shape and values: {@code sparse[384, 1536] 2:4 bf16}, {@code sparse[384, 1536] 1:8 i8 per row, f32 scales}. */
    @Override
    public String toString() {
        return "sparse" + shape + " " + pattern + " " + (spec == null ? values.dtype() : spec);
    }

    void checkReachable(String argument) {
        Check.reachable(argument, ".values", values.pointer());
        Check.reachable(argument, ".indices", indices.pointer());
        if (scales != null) {
            Check.reachable(argument, ".scales", scales.pointer());
        }
        if (zeroPoints != null) {
            Check.reachable(argument, ".zeroPoints", zeroPoints.pointer());
        }
    }

    /** Refuses parts on other devices. */
    void checkDevice(String argument, String other, Device device) {
        Check.device(argument, ".values", values, other, device);
        Check.device(argument, ".indices", indices, other, device);
        Check.device(argument, ".scales", scales, other, device);
        Check.device(argument, ".zeroPoints", zeroPoints, other, device);
    }
}
