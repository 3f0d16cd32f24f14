package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_attention_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Options;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/** The arguments of a call of {@link Attention}: checked, and then written into this thread's struct. */
final class AttentionCall {
    static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.BF16, DType.F16);
    static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final BlockMask.Parts NO_MASK = new BlockMask.Parts(
            MemorySegment.NULL, MemorySegment.NULL, MemorySegment.NULL, MemorySegment.NULL, MemorySegment.NULL);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_attention_params::layout);

    private AttentionCall() {}

    /** Which axis holds heads; ragged tensors have no batch axis. */
    private static int headAxis(Options options) {
        return (options.layout() == Layout.HND ? 1 : 2) - (options.sequences() == null ? 0 : 1);
    }

    private static int lengthAxis(Options options) {
        return (options.layout() == Layout.HND ? 2 : 1) - (options.sequences() == null ? 0 : 1);
    }

    static long heads(Tensor tensor, Options options) {
        return tensor.shape().size(headAxis(options));
    }

    static long length(Tensor tensor, Options options) {
        return tensor.shape().size(lengthAxis(options));
    }

    static long batch(Tensor q, Options options) {
        return options.sequences() == null
                ? q.shape().size(0)
                : options.sequences().items();
    }

    /** The queries of the longest item. */
    static long longestQuery(Tensor q, Options options) {
        return options.sequences() == null
                ? length(q, options)
                : options.sequences().longestQuery();
    }

    static long longestKey(Tensor k, Options options) {
        return options.sequences() == null
                ? length(k, options)
                : options.sequences().longestKey();
    }

    static BlockMask.Parts mask(Options options) {
        return options.mask() == null ? NO_MASK : options.mask().memory().arguments();
    }

    static MemorySegment params(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        checkInputs(q, k, options);
        checkOutputs(q, k, v, out, options);
        checkVectors(q, options, out);
        checkDevices(q, k, v, out, options);
        if (options.mask() != null) {
            checkMask(q, k, options);
        }
        if (options.selection() != null) {
            SelectionCall.check(options.selection(), q, k, options, out);
        }
        MemorySegment params = PARAMS.get();
        writeInputs(params, q, k, options);
        gatun_attention_params.out_dtype(params, (out == null ? q : out).dtype().code());
        gatun_attention_params.mode(params, options.mode().ordinal());
        gatun_attention_params.value_size(params, (v == null ? q : v).shape().size(last(q)));
        Tensor values = v == null ? k : v;
        gatun_attention_params.v_batch_stride(params, batchStride(values, options));
        gatun_attention_params.v_head_stride(params, values.stride(headAxis(options)));
        gatun_attention_params.v_row_stride(params, values.stride(lengthAxis(options)));
        Tensor results = out == null ? q : out;
        gatun_attention_params.out_batch_stride(params, batchStride(results, options));
        gatun_attention_params.out_head_stride(params, results.stride(headAxis(options)));
        gatun_attention_params.out_row_stride(params, results.stride(lengthAxis(options)));
        Tensor sums = options.lse() == null ? options.correction() : options.lse();
        if (sums == null && options.selection() != null) {
            sums = options.selection().lseBefore();
        }
        writeSums(params, sums, options);
        writeMask(params, options.mask());
        return params;
    }

    /** Of a selection, which takes no values. */
    static MemorySegment params(Tensor q, Tensor k, Options options) {
        checkInputs(q, k, options);
        checkDevices(q, k, null, null, options);
        MemorySegment params = PARAMS.get();
        writeInputs(params, q, k, options);
        gatun_attention_params.out_dtype(params, DType.F32.code());
        gatun_attention_params.mode(params, 0);
        gatun_attention_params.value_size(params, q.shape().size(last(q)));
        writeSums(params, null, options);
        writeMask(params, null);
        return params;
    }

    private static void checkDevices(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        Device device = q.device();
        Check.device("k", k, "q", device);
        Check.device("v", v, "q", device);
        Check.device("out", out, "q", device);
        Check.device("slopes", options.slopes(), "q", device);
        Check.device("sinks", options.sinks(), "q", device);
        Check.device("correction", options.correction(), "q", device);
        Check.device("lse", options.lse(), "q", device);
        BlockMask mask = options.mask();
        if (mask != null && mask.device() != device) {
            throw Check.elsewhere("mask", mask.device(), "q", device, "BlockMask");
        }
        Sequences sequences = options.sequences();
        if (sequences != null && sequences.device() != device) {
            throw Check.elsewhere("sequences", sequences.device(), "q", device, "Sequences");
        }
    }

    // ---- checks ----------------------------------------------------------------------------------------------------

    private static int last(Tensor q) {
        return q.shape().rank() - 1;
    }

    static void checkInputs(Tensor q, Tensor k, Options options) {
        Check.present("q", q);
        Check.present("k", k);
        Check.present("options", options);
        Check.dtype("q", q, FLOATS);
        checkType("k", k, q);
        checkRank("q", q, options);
        checkRank("k", k, options);
        checkSize("q", q);
        if (k.shape().size(last(q)) != q.shape().size(last(q))) {
            throw Check.invalid("k", "shape " + k.shape(), "the head size of q " + q.shape());
        }
        checkBatch("k", k, q, options);
        long heads = heads(k, options);
        if (heads == 0 ? heads(q, options) != 0 : heads(q, options) % heads != 0) {
            throw Check.invalid(
                    "k", heads + " heads", "a number that divides the " + heads(q, options) + " heads of q");
        }
        Sequences sequences = options.sequences();
        if (sequences != null) {
            checkEnd("sequences.queries", sequences.queryEnd(), "q", q, options);
            checkEnd("sequences.keys", sequences.keyEnd(), "k", k, options);
        }
        Check.reachable("q", q);
        Check.reachable("k", k);
    }

    private static void checkType(String name, Tensor tensor, Tensor q) {
        if (tensor.dtype() != q.dtype()) {
            throw Check.invalid(name, "dtype " + tensor.dtype(), q.dtype() + ", as q");
        }
    }

    private static void checkRank(String name, Tensor tensor, Options options) {
        boolean ragged = options.sequences() != null;
        if (tensor.shape().rank() != (ragged ? 3 : 4)) {
            String axes = options.layout() == Layout.HND ? "heads, length, size]" : "length, heads, size]";
            throw Check.invalid(
                    name,
                    "shape " + tensor.shape(),
                    (ragged ? "[" : "[batch, ") + axes + " in layout " + options.layout()
                            + (ragged ? " with sequences" : ""));
        }
        if (tensor.stride(tensor.shape().rank() - 1) != 1) {
            throw Check.invalid(name, tensor.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
    }

    static void checkSize(String name, Tensor tensor) {
        long size = tensor.shape().size(tensor.shape().rank() - 1);
        if (size < 8 || size > 256 || size % 8 != 0) {
            throw Check.invalid(name, "shape " + tensor.shape(), "multiples of 8 in 8..256 on the last axis");
        }
    }

    private static void checkBatch(String name, Tensor tensor, Tensor q, Options options) {
        if (options.sequences() == null && tensor.shape().size(0) != q.shape().size(0)) {
            throw Check.invalid(name, "shape " + tensor.shape(), "the batch of q " + q.shape());
        }
    }

    private static void checkEnd(String what, long end, String name, Tensor tensor, Options options) {
        if (end > length(tensor, options)) {
            throw Check.invalid(what, "a last offset of " + end, "up to the length of " + name + " " + tensor.shape());
        }
    }

    private static void checkOutputs(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        if (v == null || out == null) {
            if (v != null || out != null) {
                throw Check.invalid(v == null ? "v" : "out", null, "both of v and out, or none");
            }
            if (options.lse() == null) {
                throw Check.invalid("out", null, "a tensor, as options.lse is null");
            }
        } else {
            checkValues(q, k, v, out, options);
        }
        checkSums("lse", options.lse(), q, options);
        checkSums("correction", options.correction(), q, options);
        if (options.lse() == null) {
            return;
        }
        Tensor lse = options.lse();
        Check.writable("lse", lse);
        checkApart("lse", lse);
        Check.disjoint("lse", lse, "q", q);
        Check.disjoint("lse", lse, "k", k);
        Check.disjoint("lse", lse, "v", v);
        Check.disjoint("lse", lse, "correction", options.correction());
        if (options.correction() != null) {
            checkSameStrides("correction", options.correction(), lse, "lse");
        }
    }

    /** C takes one set of strides for all tensors of this shape. */
    static void checkSameStrides(String name, Tensor sums, Tensor other, String otherName) {
        for (int axis = 0; axis < other.shape().rank() - 1; axis++) {
            if (other.shape().size(axis) > 1 && other.stride(axis) != sums.stride(axis)) {
                throw Check.invalid(name, sums.describe(), "the strides of " + otherName + " " + other.describe());
            }
        }
    }

    private static void checkValues(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        checkType("v", v, q);
        checkRank("v", v, options);
        checkBatch("v", v, q, options);
        checkSize("v", v);
        if (heads(v, options) != heads(k, options) || length(v, options) != length(k, options)) {
            throw Check.invalid("v", "shape " + v.shape(), "heads and length of k " + k.shape());
        }
        if (out.dtype() != DType.F32 && out.dtype() != q.dtype()) {
            throw Check.invalid("out", "dtype " + out.dtype(), "f32, or " + q.dtype() + ", as q");
        }
        checkRank("out", out, options);
        checkBatch("out", out, q, options);
        if (heads(out, options) != heads(q, options)
                || length(out, options) != length(q, options)
                || out.shape().size(last(q)) != v.shape().size(last(q))) {
            throw Check.invalid(
                    "out", "shape " + out.shape(), "heads and length of q " + q.shape() + ", size of v " + v.shape());
        }
        Check.reachable("v", v);
        Check.reachable("out", out);
        Check.writable("out", out);
        checkApart("out", out);
        Check.disjoint("out", out, "q", q);
        Check.disjoint("out", out, "k", k);
        Check.disjoint("out", out, "v", v);
        Check.disjoint("out", out, "lse", options.lse());
        Check.disjoint("out", out, "correction", options.correction());
    }

    /** Refuses an output whose rows overlap: each axis must step over all that smaller strides reach. */
    static void checkApart(String name, Tensor out) {
        if (out.shape().elements() == 0) {
            return;
        }
        for (int axis = 0; axis < out.shape().rank() - 1; axis++) {
            if (out.shape().size(axis) > 1 && !steps(out, axis)) {
                throw Check.invalid(name, out.describe(), "strides that keep its rows apart");
            }
        }
    }

    /** Whether an axis steps over all axes of smaller strides, or of the same stride before it. */
    private static boolean steps(Tensor out, int axis) {
        long span = out.shape().size(out.shape().rank() - 1);
        for (int other = 0; other < out.shape().rank() - 1; other++) {
            boolean within =
                    out.stride(other) < out.stride(axis) || out.stride(other) == out.stride(axis) && other < axis;
            if (within) {
                span += (out.shape().size(other) - 1) * out.stride(other);
            }
        }
        return out.stride(axis) >= span;
    }

    static void checkSums(String name, Tensor sums, Tensor q, Options options) {
        if (sums == null) {
            return;
        }
        Check.dtype(name, sums, F32);
        boolean ragged = options.sequences() != null;
        Shape shape = sums.shape();
        int rank = ragged ? 2 : 3;
        if (shape.rank() != rank
                || !ragged && shape.size(0) != q.shape().size(0)
                || shape.size(rank - 2) != heads(q, options)
                || shape.size(rank - 1) != length(q, options)) {
            throw Check.invalid(
                    name,
                    "shape " + shape,
                    (ragged ? "[" : "[" + q.shape().size(0) + ", ") + heads(q, options) + ", " + length(q, options)
                            + "]");
        }
        if (shape.size(rank - 1) > 1 && sums.stride(rank - 1) != 1) {
            throw Check.invalid(name, sums.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        Check.reachable(name, sums);
    }

    private static void checkVectors(Tensor q, Options options, Tensor out) {
        checkVector("slopes", options.slopes(), q, options, out);
        checkVector("sinks", options.sinks(), q, options, out);
    }

    private static void checkVector(String name, Tensor vector, Tensor q, Options options, Tensor out) {
        if (vector == null) {
            return;
        }
        Check.dtype(name, vector, F32);
        Check.vector(name, vector, heads(q, options));
        Check.reachable(name, vector);
        if (out != null) {
            Check.disjoint("out", out, name, vector);
        }
        if (options.lse() != null) {
            Check.disjoint("lse", options.lse(), name, vector);
        }
    }

    private static void checkMask(Tensor q, Tensor k, Options options) {
        BlockMask mask = options.mask();
        BlockGrid grid = mask.grid();
        long queries = longestQuery(q, options);
        long keys = longestKey(k, options);
        boolean fits = options.sequences() == null
                ? grid.queryLength() == queries && grid.keyLength() == keys
                : grid.queryLength() >= queries;
        if (!fits) {
            throw Check.invalid(
                    "mask",
                    mask,
                    options.sequences() == null
                            ? "lengths [" + queries + ", " + keys + "], as q and k"
                            : "lengths of the longest items, [" + queries + ", " + keys + "], or more");
        }
        if (mask.batch() != 1 && mask.batch() != batch(q, options)
                || mask.heads() != 1 && mask.heads() != heads(q, options)) {
            throw Check.invalid(
                    "mask",
                    mask,
                    "batch 1 or " + batch(q, options) + " and heads 1 or " + heads(q, options) + ", as q");
        }
    }

    // ---- the struct ------------------------------------------------------------------------------------------------

    private static long batchStride(Tensor tensor, Options options) {
        return options.sequences() == null ? tensor.stride(0) : 0;
    }

    private static void writeInputs(MemorySegment params, Tensor q, Tensor k, Options options) {
        long headSize = q.shape().size(last(q));
        gatun_attention_params.dtype(params, q.dtype().code());
        gatun_attention_params.threads(params, options.threads());
        gatun_attention_params.causal(params, options.causal() ? 1 : 0);
        gatun_attention_params.scale(
                params, Float.isNaN(options.scale()) ? (float) (1 / Math.sqrt(headSize)) : options.scale());
        gatun_attention_params.soft_cap(params, options.softCap());
        gatun_attention_params.window_left(params, options.window().left());
        gatun_attention_params.window_right(params, options.window().right());
        gatun_attention_params.sink_keys(params, options.window().sinkKeys());
        gatun_attention_params.batch(params, batch(q, options));
        gatun_attention_params.query_heads(params, heads(q, options));
        gatun_attention_params.kv_heads(params, heads(k, options));
        gatun_attention_params.query_length(params, length(q, options));
        gatun_attention_params.kv_length(params, length(k, options));
        gatun_attention_params.head_size(params, headSize);
        gatun_attention_params.q_batch_stride(params, batchStride(q, options));
        gatun_attention_params.q_head_stride(params, q.stride(headAxis(options)));
        gatun_attention_params.q_row_stride(params, q.stride(lengthAxis(options)));
        gatun_attention_params.k_batch_stride(params, batchStride(k, options));
        gatun_attention_params.k_head_stride(params, k.stride(headAxis(options)));
        gatun_attention_params.k_row_stride(params, k.stride(lengthAxis(options)));
    }

    /** The strides of lse and correction. */
    static void writeSums(MemorySegment params, Tensor sums, Options options) {
        boolean ragged = options.sequences() != null;
        gatun_attention_params.lse_batch_stride(params, sums == null || ragged ? 0 : sums.stride(0));
        gatun_attention_params.lse_head_stride(params, sums == null ? 0 : sums.stride(ragged ? 0 : 1));
    }

    private static void writeMask(MemorySegment params, BlockMask mask) {
        BlockGrid grid = mask == null ? null : mask.grid();
        gatun_attention_params.query_block(params, grid == null ? 0 : grid.queryBlock());
        gatun_attention_params.key_block(params, grid == null ? 0 : grid.keyBlock());
        gatun_attention_params.mask_batch(params, mask == null ? 0 : mask.batch());
        gatun_attention_params.mask_heads(params, mask == null ? 0 : mask.heads());
        gatun_attention_params.query_blocks(params, grid == null ? 0 : grid.queryBlocks());
        gatun_attention_params.partial_count(
                params, mask == null ? 0 : mask.memory().partialRoom());
        gatun_attention_params.full_count(
                params, mask == null ? 0 : mask.memory().fullRoom());
    }
}
