package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_pack;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_pack_gguf;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_unpack;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_unpack_gguf;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_qmatmul_weights;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A quantized weight matrix [rows, depth] in the layout that {@link QMatmul} reads: one self-describing buffer, the same
 * bytes on every processor, so it may be stored and mapped. On a GPU the layout is another one, and not for storing.
 */
public final class PackedWeights {
    private static final List<QMatmul.Mode> INTEGER_MODES =
            List.of(QMatmul.Mode.INT8_ROW, QMatmul.Mode.INT8_GROUP, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> FLOAT_MODES = List.of(QMatmul.Mode.BF16, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> CUDA_MODES =
            List.of(QMatmul.Mode.BF16, QMatmul.Mode.F16, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> CUDA_INTEGER_MODES = List.of(
            QMatmul.Mode.BF16, QMatmul.Mode.F16, QMatmul.Mode.INT8_ROW, QMatmul.Mode.INT8_GROUP, QMatmul.Mode.PRECISE);

    private static final long ALIGNMENT = 64;

    private final Tensor packed;
    /** The same on the CPU, otherwise null. */
    private final MemorySegment segment;
    /** What the library is told of weights on another device, otherwise null. */
    private final MemorySegment header;

    private final QuantSpec spec;
    private final long rows;
    private final long depth;
    /** Whether codes stand for integers. */
    private final boolean integers;

    private final QMatmulCall.Weights argument;

    private PackedWeights(MemorySegment segment, QuantSpec spec, long rows, long depth, boolean integers) {
        this.packed = Tensor.wrap(segment, DType.U8, segment.byteSize());
        this.segment = segment;
        this.header = null;
        this.spec = spec;
        this.rows = rows;
        this.depth = depth;
        this.integers = integers;
        argument = new QMatmulCall.Weights("w", packed, depth, rows, -1, modes());
    }

    /** On another device than the CPU. */
    PackedWeights(Tensor packed, MemorySegment header, QuantizedTensor weights) {
        this.packed = packed;
        this.segment = null;
        this.header = header;
        this.spec = PackedHeader.normal(weights.spec(), weights.rows(), weights.depth());
        this.rows = weights.rows();
        this.depth = weights.depth();
        // A code book is looked up, whatever its values are.
        this.integers = spec.book() == null && !QuantSpec.isSmallFloat(spec.codes());
        argument = new QMatmulCall.Weights("w", packed, depth, rows, -1, modes());
    }

    /**
     * Packed weights in memory of others; nothing is copied. O(1), but for a code book of one's own O(rows * depth): the
     * header is checked, the codes and scales are not.
     *
     * @param packed native memory that starts with the header and may be longer; any alignment, 64 is fastest
     * @throws IllegalArgumentException if it is no such buffer, is truncated or of another version
     */
    public static PackedWeights wrap(MemorySegment packed) {
        Check.present("packed", packed);
        if (!packed.isNative()) {
            throw Check.invalid("packed", "a heap segment", "a native one");
        }
        Check.reachable("packed", packed);
        MemorySegment header = PackedHeader.read(packed);
        MemorySegment used = packed.asSlice(0, PackedHeader.packedBytes(header));
        long rows = gatun_qmatmul_weights.columns(header);
        long depth = gatun_qmatmul_weights.depth(header);
        float[] values = PackedHeader.hasGivenBook(header) ? PackedHeader.bookOf(header, used) : null;
        QuantSpec spec = PackedHeader.spec(header, values == null ? null : CodeBook.of(values));
        return new PackedWeights(used, spec, rows, depth, PackedHeader.isIntegers(spec));
    }

    static PackedWeights pack(QuantizedTensor weights, Arena target) {
        Check.present("weights", weights);
        Check.open("arena", target);
        weights.checkReachable("weights");
        weights.checkDevice("weights", "the codes", weights.device());
        if (weights.device() != Device.CPU) {
            return CudaQMatmul.pack(weights, target);
        }
        QuantizedTensor plain = FlatBlocks.packable("weights", weights);
        return pack(plain, Check.allocate(target, PackedHeader.packedBytes(plain), ALIGNMENT));
    }

    /** Packs {@link FlatBlocks#packable} weights into memory of {@link PackedHeader#packedBytes}. */
    static PackedWeights pack(QuantizedTensor weights, MemorySegment packed) {
        MemorySegment header = PackedHeader.write(weights);
        QuantSpec spec = weights.spec();
        if (spec.gguf() != null) {
            Native.call(() -> gatun_qmatmul_pack_gguf(header, weights.codes().segment(), packed, packed.byteSize()));
        } else {
            Native.call(() -> gatun_qmatmul_pack(
                    header,
                    weights.codes().segment(),
                    QuantizeCall.book(weights),
                    weights.scales().segment(),
                    Native.segment(weights.zeroPoints()),
                    packed,
                    packed.byteSize()));
        }
        QuantSpec normal = PackedHeader.normal(spec, weights.rows(), weights.depth());
        return new PackedWeights(
                packed.asReadOnly(), normal, weights.rows(), weights.depth(), PackedHeader.isIntegers(normal));
    }

    /**
     * The inverse of packing, bit for bit, in new memory; flat blocks come back as blocks of rows.
     *
     * @throws IllegalArgumentException if the buffer's owner has overwritten it and its header says another shape now
     * @throws UnsupportedOperationException on another device than the CPU
     */
    public QuantizedTensor unpack() {
        MemorySegment segment = segment();
        Check.reachable("packed", segment);
        QuantizedTensor out = QuantizedTensor.allocate(spec, rows, depth);
        MemorySegment header = PackedHeader.read(segment);
        int groupRows = gatun_qmatmul_weights.group_rows(header);
        if (out.tensorScale() != null) {
            out.tensorScale().setFloat(gatun_qmatmul_weights.tensor_scale(header), 0);
        }
        PackedHeader.write(out);
        if (groupRows > rows && spec.rowsOf(rows) == Math.max(rows, 1)) {
            gatun_qmatmul_weights.group_rows(header, groupRows); // more than there are: one block all the same
        }
        if (spec.gguf() != null) {
            Native.call(() -> gatun_qmatmul_unpack_gguf(
                    header, segment, segment.byteSize(), out.codes().segment()));
        } else {
            Native.call(() -> gatun_qmatmul_unpack(
                    header,
                    segment,
                    segment.byteSize(),
                    out.codes().segment(),
                    MemorySegment.NULL,
                    out.scales().segment(),
                    Native.segment(out.zeroPoints())));
        }
        return out;
    }

    /** What the memory of the buffer belongs to. */
    public Device device() {
        return packed.device();
    }

    /**
     * These weights if they are on the device, otherwise a copy there, in that device's layout. O(rows * depth).
     *
     * @throws UnsupportedOperationException for GGUF blocks, and if these weights are not on the CPU
     */
    public PackedWeights to(Device device) {
        Check.present("device", device);
        return device == device() ? this : QMatmul.pack(unpack().to(device));
    }

    /** The modes of {@link QMatmul} that these weights take, the default one first. */
    public List<QMatmul.Mode> modes() {
        if (device() != Device.CPU) {
            return integers ? CUDA_INTEGER_MODES : CUDA_MODES;
        }
        return integers ? INTEGER_MODES : FLOAT_MODES;
    }

    /** As the C functions take it: the buffer and, on another device than the CPU, what is in it. */
    Tensor packed() {
        return packed;
    }

    MemorySegment header() {
        return header;
    }

    QMatmulCall.Weights argument() {
        return argument;
    }

    /** Rows of the weight matrix: columns of the product. */
    public long rows() {
        return rows;
    }

    /** Columns of the weight matrix: columns of x. */
    public long depth() {
        return depth;
    }

    /**
     * How the weights are coded, as blocks of rows: flat blocks and nested scales have become plain ones, a group of the
     * whole row reads as 0, and the rule by which scales were made as the default.
     */
    public QuantSpec spec() {
        return spec;
    }

    /**
     * The buffer, header included.
     *
     * @throws UnsupportedOperationException on another device than the CPU
     */
    public MemorySegment segment() {
        return segment == null ? packed.segment() : segment;
    }

    /** Spec and shape: {@code packed[384, 1536] u4 group 32, f16 scales}. */
    @Override
    public String toString() {
        return "packed[" + rows + ", " + depth + "] " + spec;
    }
}
