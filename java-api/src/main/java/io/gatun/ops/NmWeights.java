package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.GATUN_NM_DENSE_IF_FASTER;
import static io.gatun.bindings.c.gatun_h.GATUN_NM_DENSE_NEVER;
import static io.gatun.bindings.c.gatun_h.gatun_nm_describe;
import static io.gatun.bindings.c.gatun_h.gatun_nm_pack;
import static io.gatun.bindings.c.gatun_h.gatun_nm_packed_bytes;
import static io.gatun.bindings.c.gatun_h.gatun_nm_report;
import static io.gatun.bindings.c.gatun_h.gatun_nm_unpack;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_nm_weights;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QuantSpec.Blocks;
import io.gatun.ops.QuantSpec.NibbleOrder;
import io.gatun.ops.QuantSpec.ScaleRule;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * An N:M sparse weight matrix [rows, depth] in the layout that {@link NmMatmul} reads: one self-describing buffer, the
 * same bytes on every processor, so it may be stored and mapped. On a GPU the layout is another one, always sparse, and
 * not for storing.
 */
public final class NmWeights {
    private static final List<QMatmul.Mode> CODE_MODES = List.of(QMatmul.Mode.INT8_ROW, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> BF16_MODES = List.of(QMatmul.Mode.BF16, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> FLOAT_MODES = List.of(QMatmul.Mode.PRECISE);

    private static final List<QMatmul.Mode> CUDA_CODE_MODES =
            List.of(QMatmul.Mode.BF16, QMatmul.Mode.F16, QMatmul.Mode.INT8_ROW, QMatmul.Mode.PRECISE);
    private static final List<QMatmul.Mode> CUDA_F16_MODES = List.of(QMatmul.Mode.F16, QMatmul.Mode.PRECISE);

    private static final long ALIGNMENT = 64;
    private static final long REPORT_BYTES = 1024;
    private static final ThreadLocal<MemorySegment> HEADER = Native.params(gatun_nm_weights::layout);

    /**
     * Whether weights may be packed dense, with their zeros, so that kernels of dense weights run. Results in the modes
     * PRECISE and BF16 may then differ where x is infinite or NaN, as x times a pruned 0 counts.
     *
     * @param allowed whether dense is allowed where it is faster
     * @param rows of x that are expected: one row, of float weights up to 4, counts as one in {@link Report}, more as many; or
     *     0 for any: dense must be faster for one and for many
     */
    public record Dense(boolean allowed, long rows) {
        /** Weights are packed sparse, whatever that costs: see {@link NmWeights#report}. */
        public static final Dense NEVER = new Dense(false, 0);

        /** Refuses negative rows. */
        public Dense {
            Check.range("rows", rows, 0, Long.MAX_VALUE);
        }

        /** Weights are packed dense if that is faster for any number of rows. */
        public static Dense ifFaster() {
            return new Dense(true, 0);
        }

        /** Weights are packed dense if that is faster for this number of rows of x. */
        public static Dense ifFasterFor(long rows) {
            return new Dense(true, rows);
        }
    }

    /**
     * What being sparse means for the speed of these weights, from costs measured on one processor, so that it is the same
     * everywhere.
     *
     * @param text expected times in units of those of dense kernels; for a person
     * @param slowerForOneRow whether sparse kernels are expected to be slower than dense ones for one row of x
     * @param slowerForMany the same for many rows
     * @param dense whether the weights are packed dense, so that dense kernels run
     */
    public record Report(String text, boolean slowerForOneRow, boolean slowerForMany, boolean dense) {
        private static final int ONE_ROW = 1;
        private static final int MANY = 2;
        private static final int DENSE = 4;

        private static Report of(String text, int bits) {
            return new Report(text, (bits & ONE_ROW) != 0, (bits & MANY) != 0, (bits & DENSE) != 0);
        }

        /** The text. */
        @Override
        public String toString() {
            return text;
        }
    }

    private final Tensor packed;
    /** The same on the CPU, otherwise null. */
    private final MemorySegment segment;
    /** What the library is told of weights on another device, otherwise null. */
    private final MemorySegment header;

    private final Sparsity.Nm pattern;
    private final DType values;
    private final QuantSpec spec;
    private final long rows;
    private final long depth;
    private final Dense dense;
    private final QMatmulCall.Weights argument;

    private NmWeights(
            MemorySegment segment,
            Sparsity.Nm pattern,
            DType values,
            QuantSpec spec,
            long rows,
            long depth,
            Dense dense) {
        this.packed = Tensor.wrap(segment, DType.U8, segment.byteSize());
        this.segment = segment;
        this.header = null;
        this.pattern = pattern;
        this.values = values;
        this.spec = spec;
        this.rows = rows;
        this.depth = depth;
        this.dense = dense;
        argument = new QMatmulCall.Weights("w", packed, depth, rows, -1, modes());
    }

    /** On another device than the CPU. */
    NmWeights(Tensor packed, MemorySegment header, SparseTensor weights) {
        this.packed = packed;
        this.segment = null;
        this.header = header;
        this.pattern = weights.pattern();
        this.values = weights.values().dtype();
        this.spec = normal(weights);
        this.rows = weights.rows();
        this.depth = weights.depth();
        this.dense = Dense.NEVER;
        argument = new QMatmulCall.Weights("w", packed, depth, rows, -1, modes());
    }

    /**
     * Packed weights in memory of others; nothing is copied. O(1): the header is checked, values and indices are not.
     *
     * @param packed native memory that starts with the header and may be longer; any alignment, 64 is fastest
     * @throws IllegalArgumentException if it is no such buffer, is truncated or of another version
     */
    public static NmWeights wrap(MemorySegment packed) {
        Check.present("packed", packed);
        if (!packed.isNative()) {
            throw Check.invalid("packed", "a heap segment", "a native one");
        }
        Check.reachable("packed", packed);
        MemorySegment header = HEADER.get();
        Native.call(() -> gatun_nm_describe(packed, packed.byteSize(), header));
        Sparsity.Nm pattern = new Sparsity.Nm(
                gatun_nm_weights.n(header), gatun_nm_weights.m(header), gatun_nm_weights.vector(header));
        DType values = PackedHeader.dtype(gatun_nm_weights.value_dtype(header));
        long rows = gatun_nm_weights.columns(header);
        long depth = gatun_nm_weights.depth(header);
        Dense dense =
                new Dense(gatun_nm_weights.dense(header) == GATUN_NM_DENSE_IF_FASTER(), gatun_nm_weights.rows(header));
        // Whole, as what follows from the description now need not be the choice of dense that the buffer was packed
        // with.
        return new NmWeights(packed, pattern, values, spec(header, values), rows, depth, dense);
    }

    private static QuantSpec spec(MemorySegment header, DType values) {
        if (values.isFloat()) {
            return null;
        }
        QuantSpec spec = new QuantSpec(
                values,
                null,
                ZeroPoint.values()[gatun_nm_weights.zero_point(header)],
                new Blocks(gatun_nm_weights.group(header), 1, false),
                PackedHeader.dtype(gatun_nm_weights.scale_dtype(header)),
                ScaleRule.DEFAULT,
                false,
                NibbleOrder.LOW_FIRST,
                null);
        return PackedHeader.normal(spec, gatun_nm_weights.columns(header), gatun_nm_weights.depth(header));
    }

    static NmWeights pack(SparseTensor weights, Dense dense, Arena target) {
        Check.present("weights", weights);
        Check.present("dense", dense);
        Check.open("arena", target);
        weights.checkReachable("weights");
        weights.checkDevice("weights", "the values", weights.device());
        if (weights.device() != Device.CPU) {
            return CudaNmMatmul.pack(weights, target);
        }
        MemorySegment header = header(weights, dense);
        MemorySegment packed = Check.allocate(target, packedBytes(header), ALIGNMENT);
        Native.call(() -> gatun_nm_pack(
                header,
                weights.values().segment(),
                weights.indices().segment(),
                Native.segment(weights.scales()),
                Native.segment(weights.zeroPoints()),
                packed,
                packed.byteSize()));
        return new NmWeights(
                packed.asReadOnly(),
                weights.pattern(),
                weights.values().dtype(),
                normal(weights),
                weights.rows(),
                weights.depth(),
                dense);
    }

    private static QuantSpec normal(SparseTensor weights) {
        return weights.spec() == null ? null : PackedHeader.normal(weights.spec(), weights.rows(), weights.depth());
    }

    /** This thread's struct with a description. */
    static MemorySegment header(SparseTensor weights, Dense dense) {
        return header(
                weights.pattern(), weights.values().dtype(), normal(weights), weights.rows(), weights.depth(), dense);
    }

    private static MemorySegment header(
            Sparsity.Nm pattern, DType values, QuantSpec spec, long rows, long depth, Dense dense) {
        MemorySegment header = HEADER.get();
        gatun_nm_weights.n(header, pattern.n());
        gatun_nm_weights.m(header, pattern.m());
        gatun_nm_weights.vector(header, pattern.vector());
        gatun_nm_weights.value_dtype(header, values.code());
        gatun_nm_weights.zero_point(header, spec == null ? 0 : spec.zeroPoint().ordinal());
        gatun_nm_weights.scale_dtype(header, spec == null ? 0 : spec.scales().code());
        gatun_nm_weights.dense(header, dense.allowed ? GATUN_NM_DENSE_IF_FASTER() : GATUN_NM_DENSE_NEVER());
        gatun_nm_weights.rows(header, dense.rows);
        gatun_nm_weights.columns(header, rows);
        gatun_nm_weights.depth(header, depth);
        gatun_nm_weights.group(header, spec == null ? 0 : spec.groupOf(depth));
        return header;
    }

    private MemorySegment written() {
        return header(pattern, values, spec, rows, depth, dense);
    }

    private static long packedBytes(MemorySegment header) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            Native.call(() -> gatun_nm_packed_bytes(header, bytes));
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /**
     * The inverse of packing, bit for bit, in new memory.
     *
     * @throws IllegalArgumentException if the buffer's owner has overwritten it and its header says something else now
     * @throws UnsupportedOperationException on another device than the CPU
     */
    public SparseTensor unpack() {
        MemorySegment segment = segment();
        Check.reachable("packed", segment);
        SparseTensor out = SparseTensor.allocate(Device.CPU, pattern, spec, values, rows, depth);
        MemorySegment header = written();
        Native.call(() -> gatun_nm_unpack(
                header,
                segment,
                segment.byteSize(),
                out.values().segment(),
                out.indices().segment(),
                Native.segment(out.scales()),
                Native.segment(out.zeroPoints())));
        return out;
    }

    /** What the memory of the buffer belongs to. */
    public Device device() {
        return packed.device();
    }

    /**
     * These weights if they are on the device, otherwise a copy there, in that device's layout. O(rows * depth).
     *
     * @throws UnsupportedOperationException if these weights are not on the CPU
     */
    public NmWeights to(Device device) {
        Check.present("device", device);
        return device == device() ? this : NmMatmul.pack(unpack().to(device));
    }

    /**
     * Where being sparse pays for these weights, and where it does not.
     *
     * @throws UnsupportedOperationException on another device than the CPU, whose costs are known
     */
    public Report report() {
        Check.onCpu(packed);
        MemorySegment header = written();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slower = arena.allocate(ValueLayout.JAVA_INT);
            String text = Native.text(REPORT_BYTES, buffer -> gatun_nm_report(header, slower, buffer, REPORT_BYTES));
            return Report.of(text, slower.get(ValueLayout.JAVA_INT, 0));
        }
    }

    /** The modes of {@link NmMatmul} that these weights take, the default one first. */
    public List<QMatmul.Mode> modes() {
        boolean gpu = device() != Device.CPU;
        if (spec != null) {
            return gpu ? CUDA_CODE_MODES : CODE_MODES;
        }
        return values == DType.BF16 ? BF16_MODES : values == DType.F16 && gpu ? CUDA_F16_MODES : FLOAT_MODES;
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

    /** N:M, and how many rows share positions. */
    public Sparsity.Nm pattern() {
        return pattern;
    }

    /** What values are stored as. */
    public DType values() {
        return values;
    }

    /** How codes stand for numbers, a group of the whole row being 0; null if values are floats. */
    public QuantSpec spec() {
        return spec;
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
     * The buffer, header included; as long as the given one, if it was wrapped.
     *
     * @throws UnsupportedOperationException on another device than the CPU
     */
    public MemorySegment segment() {
        return segment == null ? packed.segment() : segment;
    }

    /** Pattern, shape and values: {@code packed[384, 1536] 2:4 bf16}. */
    @Override
    public String toString() {
        return "packed[" + rows + ", " + depth + "] " + pattern + " " + (spec == null ? values : spec);
    }
}
