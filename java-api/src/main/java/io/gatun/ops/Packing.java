package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_packing_bytes;
import static io.gatun.bindings.c.gatun_h.gatun_packing_permute;
import static io.gatun.bindings.c.gatun_h.gatun_packing_read;
import static io.gatun.bindings.c.gatun_h.gatun_packing_write;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_packing_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QuantSpec.NibbleOrder;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * Quantized weights as other systems pack them, read into a {@link QuantizedTensor} and written from one:
 *
 * <pre>{@code
 * var planes = new Packing.Planes(
 *         file.tensor("proj.qweight").tensor(), file.tensor("proj.scales").tensor(), file.tensor("proj.qzeros").tensor());
 * PackedWeights w = QMatmul.pack(Packing.read(Packing.Format.AWQ, QuantSpec.int4Asymmetric(128), rows, depth, planes));
 * }</pre>
 *
 * <p>The spec says what the result is: codes of {@link DType#U2}, {@link DType#U4} or {@link DType#U8} with integer zero
 * points; U2, U4 or, of 8 bits, {@link DType#I8} without (all zero points of the file are 2^(bits - 1) then, or an
 * exception); groups along the depth; scales in F32, or in the file's F16. Everything is exact, but that float zero
 * points become {@link ZeroPoint#FLOAT what code 0 stands for}, with one rounding of each operation in f32.
 */
public final class Packing {
    /**
     * Whose packing. n rows and depth K are those of the weights, G = ceil(K / group), b the bits of a code; an i32 holds
     * 32 / b codes.
     */
    public enum Format {
        /**
         * AutoGPTQ, checkpoint format "gptq": codes i32 [K b / 32, n], scales [G, n], zero points i32 [G, n b / 32], each
         * stored less 1; group index i32 [K] (g_idx) or none.
         */
        GPTQ,
        /** The same with zero points as they are: checkpoint format "gptq_v2". */
        GPTQ_V2,
        /** AutoAWQ, version "gemm", 4 bits: codes i32 [K, n / 8], scales [G, n], zero points i32 [G, n / 8]. */
        AWQ,
        /**
         * ONNX Runtime's MatMulNBits, group a power of two: codes u8 [n, G, group b / 8], scales [n, G], zero points u8
         * [n, ceil(G b / 8)], floats [n, G] or none.
         */
        MATMUL_NBITS,
        /**
         * bitsandbytes, 4 bits with a code book and flat blocks: codes u8 [ceil(n K / 2), 1], scales f32 [blocks] (absmax).
         * {@link io.gatun.files.BitsAndBytes} reads all that belongs to a weight in a file.
         */
        BITSANDBYTES,
        /** torchao's plain Int4Tensor: codes u8 or i8 [n, K / 2], scales [G, n], float zero points [G, n]. */
        TORCHAO,
        /**
         * Jlama's Q4 and I8 tensors, groups of 32: codes u8 [n, K / 2] or i8 [n, K], scales f32 [n, G].
         */
        JLAMA
    }

    /**
     * What a system keeps of a matrix, contiguous. An axis of size 1 may be missing, and all axes may be one.
     *
     * @param codes see {@link Format}
     * @param scales F32, F16 or BF16
     * @param zeroPoints or null where there are none
     * @param groupIndex of GPTQ, the group of each k; or null
     */
    public record Planes(Tensor codes, Tensor scales, Tensor zeroPoints, Tensor groupIndex) {
        /** Refuses missing codes and scales. */
        public Planes {
            Check.present("planes.codes", codes);
            Check.present("planes.scales", scales);
        }

        /** Without a group index. */
        public Planes(Tensor codes, Tensor scales, Tensor zeroPoints) {
            this(codes, scales, zeroPoints, null);
        }
    }

    /**
     * Weights whose depth is in the order of groups (GPTQ's act_order). The product takes x in the same order:
     * {@link #permute(Tensor, Tensor, Tensor)}.
     *
     * @param weights with groups of neighbours
     * @param permutation i32 [depth]: place j of the depth is k = permutation[j] of the original
     */
    public record Sorted(QuantizedTensor weights, Tensor permutation) {
        /** Refuses a permutation of another length. */
        public Sorted {
            Check.present("weights", weights);
            Check.present("permutation", permutation);
            Check.dtype("permutation", permutation, I32);
            Check.vector("permutation", permutation, weights.depth());
        }
    }

    private static final Set<DType> I32 = EnumSet.of(DType.I32);
    private static final Set<DType> SCALES = EnumSet.of(DType.F32, DType.F16, DType.BF16);
    private static final Set<DType> X = EnumSet.of(DType.F32, DType.F16, DType.BF16, DType.F8E4M3, DType.F8E5M2);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_packing_params::layout);

    private Packing() {}

    // ---- reading ---------------------------------------------------------------------------------------------------

    /** As {@link #read(Arena, Format, QuantSpec, long, long, Planes)} into memory that nobody has to free. */
    public static QuantizedTensor read(Format format, QuantSpec spec, long rows, long depth, Planes planes) {
        return read(Arena.ofAuto(), format, spec, rows, depth, planes);
    }

    /**
     * Copies planes of a format into a quantized matrix. O(rows * depth).
     *
     * @param arena of the result's memory
     * @param spec of the result. For {@link Format#MATMUL_NBITS} with a group of the depth or more, the result has a group
     *     of 0, whole rows
     * @param planes with a group index only if that is k / group; otherwise see {@link #readSorted}
     * @throws IllegalArgumentException if an argument does not fit, or, with the place, if a scale or float zero point is
     *     NaN or infinite, a zero point is another than the spec's, or the group index is another
     */
    public static QuantizedTensor read(
            Arena arena, Format format, QuantSpec spec, long rows, long depth, Planes planes) {
        return read(arena, format, spec, rows, depth, planes, null);
    }

    /** As {@link #readSorted(Arena, Format, QuantSpec, long, long, Planes)} into memory that nobody has to free. */
    public static Sorted readSorted(Format format, QuantSpec spec, long rows, long depth, Planes planes) {
        return readSorted(Arena.ofAuto(), format, spec, rows, depth, planes);
    }

    /**
     * The same for GPTQ with any group index (act_order), {@code group} elements a group: sorts the depth by group, those
     * of a group in their order.
     */
    public static Sorted readSorted(Arena arena, Format format, QuantSpec spec, long rows, long depth, Planes planes) {
        Check.present("planes", planes);
        Check.present("planes.groupIndex", planes.groupIndex());
        Check.vector("planes.groupIndex", planes.groupIndex(), depth);
        Check.open("arena", arena);
        Tensor permutation = Tensor.allocate(arena, DType.I32, depth);
        return new Sorted(read(arena, format, spec, rows, depth, planes, permutation), permutation);
    }

    private static QuantizedTensor read(
            Arena arena, Format format, QuantSpec spec, long rows, long depth, Planes planes, Tensor permutation) {
        Check.present("format", format);
        Check.present("planes", planes);
        checkSpec(format, spec);
        PackingShapes shapes = new PackingShapes(format, spec, rows, depth);
        shapes.check(planes);
        boolean padded = format == Format.MATMUL_NBITS;
        QuantSpec plain = padded && spec.group() >= depth ? spec.withGroup(0) : spec;
        QuantizedTensor out = QuantizedTensor.allocate(arena, plain, rows, depth);
        DType zeros = spec.zeroPoint() == ZeroPoint.FLOAT ? planes.zeroPoints().dtype() : null;
        MemorySegment params = params(shapes, planes.scales().dtype(), zeros);
        Native.call(() -> gatun_packing_read(
                params,
                planes.codes().segment(),
                planes.scales().segment(),
                Native.segment(planes.zeroPoints()),
                Native.segment(planes.groupIndex()),
                out.codes().segment(),
                out.scales().segment(),
                Native.segment(out.zeroPoints()),
                Native.segment(permutation)));
        return out;
    }

    // ---- writing ---------------------------------------------------------------------------------------------------

    /** As {@link #write(Format, QuantizedTensor, DType)} with scales of the type they have. */
    public static Planes write(Format format, QuantizedTensor weights) {
        Check.present("weights", weights);
        Check.present("weights.scales", weights.scales());
        return write(format, weights, weights.scales().dtype());
    }

    /**
     * The inverse of {@link #read(Format, QuantSpec, long, long, Planes)}, into new memory; of GPTQ with a group index.
     * O(rows * depth).
     *
     * @param weights {@link Format#MATMUL_NBITS}: with a group that is a power of two, or whole rows
     * @param floats the type of scales and float zero points: F32, F16 or BF16
     * @throws IllegalArgumentException if an argument does not fit, or, with the place, if a scale is not exact in
     *     {@code floats}, or a zero point has no place in the format
     */
    public static Planes write(Format format, QuantizedTensor weights, DType floats) {
        return write(format, weights, null, floats);
    }

    /** The inverse of {@link #readSorted}, likewise: codes in the original order, and the group index. */
    public static Planes write(Format format, Sorted sorted, DType floats) {
        Check.present("sorted", sorted);
        Check.reachable("sorted.permutation", sorted.permutation().segment());
        return write(format, sorted.weights(), sorted.permutation(), floats);
    }

    private static Planes write(Format format, QuantizedTensor weights, Tensor permutation, DType floats) {
        Check.present("format", format);
        Check.present("weights", weights);
        Check.present("floats", floats);
        if (!SCALES.contains(floats)) {
            throw Check.invalid("floats", floats, SCALES);
        }
        checkSpec(format, weights.spec());
        weights.checkReachable("weights");
        PackingShapes shapes = new PackingShapes(format, weights.spec(), weights.rows(), weights.depth());
        boolean ordered = format == Format.GPTQ || format == Format.GPTQ_V2;
        DType zeros = weights.spec().zeroPoint() == ZeroPoint.FLOAT ? floats : null;
        MemorySegment params = params(shapes, floats, zeros);
        checkSizes(params);
        Planes planes = new Planes(
                Tensor.allocate(shapes.codeType(), shapes.codes()),
                Tensor.allocate(floats, shapes.scales()),
                shapes.zeroPoints() == null ? null : Tensor.allocate(shapes.zeroType(floats), shapes.zeroPoints()),
                ordered && weights.depth() <= Integer.MAX_VALUE ? Tensor.allocate(DType.I32, weights.depth()) : null);
        Native.call(() -> gatun_packing_write(
                params,
                weights.codes().segment(),
                weights.scales().segment(),
                Native.segment(weights.zeroPoints()),
                Native.segment(permutation),
                planes.codes().segment(),
                planes.scales().segment(),
                Native.segment(planes.zeroPoints()),
                Native.segment(planes.groupIndex())));
        return planes;
    }

    /** Refuses params before memory is allocated for what they say. */
    private static void checkSizes(MemorySegment params) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment sizes = arena.allocate(JAVA_LONG, 3);
            Native.call(
                    () -> gatun_packing_bytes(params, sizes, sizes.asSlice(Long.BYTES), sizes.asSlice(2 * Long.BYTES)));
        }
    }

    // ---- the order of the depth ------------------------------------------------------------------------------------

    /** As {@link #permute(Tensor, Tensor, Tensor, int)} with all threads. */
    public static void permute(Tensor x, Tensor permutation, Tensor out) {
        permute(x, permutation, out, 0);
    }

    /**
     * Puts columns in the order of {@link Sorted} weights: out[r][j] = x[r][permutation[j]]. O(rows * depth). Allocates
     * nothing once warmed up.
     *
     * @param x f32, f16, bf16, f8e4m3 or f8e5m2 [rows, depth], columns adjacent, rows at any distance
     * @param permutation i32 [depth], each 0..depth - 1
     * @param out of the same type and shape; overlaps neither
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit, of {@code permutation} with the index; nothing is
     *     written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void permute(Tensor x, Tensor permutation, Tensor out, int threads) {
        Check.present("x", x);
        Check.present("permutation", permutation);
        Check.present("out", out);
        Check.dtype("x", x, X);
        Check.matrix("x", x, -1, -1);
        Check.rowMajor("x", x);
        long rows = x.shape().size(0);
        long depth = x.shape().size(1);
        Check.dtype("permutation", permutation, I32);
        Check.vector("permutation", permutation, depth);
        if (out.dtype() != x.dtype()) {
            throw Check.invalid("out", "dtype " + out.dtype(), x.dtype() + ", as x");
        }
        Check.matrix("out", out, rows, depth);
        Check.rowMajor("out", out);
        Check.threads(threads);
        Check.reachable("x", x.segment());
        Check.reachable("permutation", permutation.segment());
        Check.reachable("out", out.segment());
        Check.writable("out", out.segment());
        Check.disjoint("out", out, "x", x);
        Check.disjoint("out", out, "permutation", permutation);
        NativeLibrary.load();
        try {
            Native.check(gatun_packing_permute(
                    x.dtype().code(),
                    rows,
                    depth,
                    rows > 1 ? x.stride(0) : depth,
                    rows > 1 ? out.stride(0) : depth,
                    threads,
                    permutation.segment(),
                    x.segment(),
                    out.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    // ---- what formats have -----------------------------------------------------------------------------------------

    private static void checkSpec(Format format, QuantSpec spec) {
        Check.present("spec", spec);
        boolean flat = format == Format.BITSANDBYTES;
        boolean fits = spec.gguf() == null
                && (spec.book() != null) == flat
                && spec.blocks().flat() == flat
                && spec.blocks().rows() == 1
                && !spec.nested()
                && !QuantSpec.isSmallFloat(spec.codes())
                && spec.nibbles() == NibbleOrder.LOW_FIRST;
        if (!fits) {
            throw Check.invalid(
                    "spec",
                    spec,
                    flat
                            ? "a code book of 4 bits, flat blocks, scales that are not nested, for " + format
                            : "integer codes in groups along the depth, low half first, for " + format);
        }
    }

    private static MemorySegment params(PackingShapes shapes, DType scales, DType zeros) {
        QuantSpec spec = shapes.spec;
        boolean flat = spec.blocks().flat();
        MemorySegment params = PARAMS.get();
        gatun_packing_params.packing(params, shapes.format.ordinal() + 1);
        gatun_packing_params.code_dtype(params, spec.codes().code());
        gatun_packing_params.zero_point(params, spec.zeroPoint().ordinal());
        gatun_packing_params.scale_dtype(params, spec.scales().code());
        gatun_packing_params.packed_scale_dtype(params, scales.code());
        gatun_packing_params.packed_zero_dtype(params, zeros == null ? 0 : zeros.code());
        gatun_packing_params.threads(params, 0);
        gatun_packing_params.columns(params, flat ? 1 : shapes.rows);
        gatun_packing_params.depth(params, shapes.elements);
        gatun_packing_params.group(params, shapes.group);
        return params;
    }
}
