package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_describe;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_pack;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_packed_bytes;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_unpack;

import io.gatun.DType;
import io.gatun.bindings.c.gatun_qmatmul_weights;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A quantized weight matrix [rows, depth] in the layout that {@link QMatmul} reads: one self-describing buffer, the same
 * bytes on every processor, so it may be stored and mapped.
 */
public final class PackedWeights {
    private static final long ALIGNMENT = 64;
    private static final ThreadLocal<MemorySegment> HEADER = Native.params(gatun_qmatmul_weights::layout);
    private static final ThreadLocal<MemorySegment> BYTES =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG));

    private final MemorySegment segment;
    private final QuantSpec spec;
    private final long rows;
    private final long depth;

    private PackedWeights(MemorySegment segment, QuantSpec spec, long rows, long depth) {
        this.segment = segment;
        this.spec = spec.group() == depth ? spec.withGroup(0) : spec;
        this.rows = rows;
        this.depth = depth;
    }

    /**
     * Packed weights in memory of others; nothing is copied. O(1): the header is checked, the codes and scales are not.
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
        MemorySegment header = HEADER.get();
        Native.call(() -> gatun_qmatmul_describe(packed, packed.byteSize(), header));
        QuantSpec spec = new QuantSpec(
                dtype(gatun_qmatmul_weights.code_dtype(header)),
                gatun_qmatmul_weights.asymmetric(header) != 0,
                gatun_qmatmul_weights.group(header),
                dtype(gatun_qmatmul_weights.scale_dtype(header)));
        MemorySegment used = packed.asSlice(0, packedBytes(header));
        return new PackedWeights(
                used, spec, gatun_qmatmul_weights.columns(header), gatun_qmatmul_weights.depth(header));
    }

    private static DType dtype(int code) {
        for (DType dtype : DType.values()) {
            if (dtype.code() == code) {
                return dtype;
            }
        }
        throw new IllegalStateException("packed: dtype " + code + " is unknown to this version");
    }

    static PackedWeights pack(QuantizedTensor weights, Arena target) {
        Check.present("weights", weights);
        Check.open("arena", target);
        weights.checkReachable("weights");
        return pack(weights, Check.allocate(target, packedBytes(weights), ALIGNMENT));
    }

    /** Packs into memory of {@link #packedBytes}. */
    static PackedWeights pack(QuantizedTensor weights, MemorySegment packed) {
        Native.call(() -> gatun_qmatmul_pack(
                header(weights.spec(), weights.rows(), weights.depth()),
                weights.codes().segment(),
                weights.scales().segment(),
                Native.segment(weights.zeroPoints()),
                packed,
                packed.byteSize()));
        return new PackedWeights(packed.asReadOnly(), weights.spec(), weights.rows(), weights.depth());
    }

    static long packedBytes(QuantizedTensor weights) {
        return packedBytes(header(weights.spec(), weights.rows(), weights.depth()));
    }

    /** The description of weights, in this thread's struct. */
    private static MemorySegment header(QuantSpec spec, long rows, long depth) {
        MemorySegment header = HEADER.get();
        gatun_qmatmul_weights.code_dtype(header, spec.codes().code());
        gatun_qmatmul_weights.asymmetric(header, spec.asymmetric() ? 1 : 0);
        gatun_qmatmul_weights.scale_dtype(header, spec.scales().code());
        gatun_qmatmul_weights.columns(header, rows);
        gatun_qmatmul_weights.depth(header, depth);
        gatun_qmatmul_weights.group(header, spec.groupOf(depth));
        return header;
    }

    private static long packedBytes(MemorySegment header) {
        MemorySegment bytes = BYTES.get();
        Native.check(gatun_qmatmul_packed_bytes(header, bytes));
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    /**
     * The inverse of packing, bit for bit, in new memory.
     *
     * @throws IllegalArgumentException if the buffer's owner has overwritten it and its header says another shape now
     */
    public QuantizedTensor unpack() {
        Check.reachable("packed", segment);
        QuantizedTensor out = QuantizedTensor.allocate(spec, rows, depth);
        Native.call(() -> gatun_qmatmul_unpack(
                header(spec, rows, depth),
                segment,
                segment.byteSize(),
                out.codes().segment(),
                out.scales().segment(),
                Native.segment(out.zeroPoints())));
        return out;
    }

    /** Rows of the weight matrix: columns of the product. */
    public long rows() {
        return rows;
    }

    /** Columns of the weight matrix: columns of x. */
    public long depth() {
        return depth;
    }

    /** How the weights are coded; a group of the whole row reads as 0. */
    public QuantSpec spec() {
        return spec;
    }

    /** The buffer, header included. */
    public MemorySegment segment() {
        return segment;
    }

    /** Spec and shape: {@code packed[384, 1536] u4 group 32, f16 scales}. */
    @Override
    public String toString() {
        return "packed[" + rows + ", " + depth + "] " + spec;
    }
}
