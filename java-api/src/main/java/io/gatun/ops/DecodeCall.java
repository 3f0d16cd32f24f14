package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_decode_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Decode.Options;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/** The arguments of a call of {@link Decode}: checked, and then written into this thread's struct. */
final class DecodeCall {
    static final Set<DType> I32 = EnumSet.of(DType.I32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_decode_params::layout);
    private static final ThreadLocal<NativeLongs> LENGTHS = ThreadLocal.withInitial(NativeLongs::new);

    private DecodeCall() {}

    /** A native copy, valid until this thread's next one. */
    static MemorySegment lengths(long[] lengths) {
        return LENGTHS.get().of(lengths);
    }

    static MemorySegment params(
            Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out, Options options) {
        checkQueries(q, k, options);
        long tableHeads = checkTable(q, k, table, lengths);
        checkValues(q, k, v, out);
        checkOutput("out", out, q, k, v, table, options);
        checkSums(q, k, v, table, lengths, out, options);
        checkVector("slopes", options.slopes(), q.shape().size(1));
        checkVector("sinks", options.sinks(), q.shape().size(1));
        checkDevices(q, k, v, table, out, options);

        MemorySegment params = PARAMS.get();
        gatun_decode_params.dtype(params, q.dtype().code());
        gatun_decode_params.out_dtype(params, (out == null ? q : out).dtype().code());
        gatun_decode_params.mode(params, options.mode().ordinal());
        gatun_decode_params.threads(params, options.threads());
        gatun_decode_params.causal(params, options.causal() ? 1 : 0);
        gatun_decode_params.scale(
                params, Float.isNaN(options.scale()) ? (float) (1 / Math.sqrt(k.size())) : options.scale());
        gatun_decode_params.soft_cap(params, options.softCap());
        gatun_decode_params.window_left(params, options.window().left());
        gatun_decode_params.sink_keys(params, options.window().sinkKeys());
        gatun_decode_params.batch(params, q.shape().size(0));
        gatun_decode_params.query_heads(params, q.shape().size(1));
        gatun_decode_params.query_length(params, q.shape().size(2));
        gatun_decode_params.table_heads(params, tableHeads);
        gatun_decode_params.table_stride(
                params, table == null ? 1 : table.shape().size(2));
        gatun_decode_params.q_batch_stride(params, stride(q, 0));
        gatun_decode_params.q_head_stride(params, stride(q, 1));
        gatun_decode_params.q_row_stride(params, stride(q, 2));
        gatun_decode_params.out_batch_stride(params, stride(out, 0));
        gatun_decode_params.out_head_stride(params, stride(out, 1));
        gatun_decode_params.out_row_stride(params, stride(out, 2));
        gatun_decode_params.lse_batch_stride(params, stride(options.lse(), 0));
        gatun_decode_params.lse_head_stride(params, stride(options.lse(), 1));
        gatun_decode_params.logits_batch_stride(params, stride(options.logits(), 0));
        gatun_decode_params.logits_head_stride(params, stride(options.logits(), 1));
        gatun_decode_params.logits_row_stride(params, stride(options.logits(), 2));
        return params;
    }

    private static void checkDevices(Tensor q, KvPool k, KvPool v, Tensor table, Tensor out, Options options) {
        Device device = q.device();
        Check.device("k", k.rows(), "q", device);
        Check.device("v", v == null ? null : v.rows(), "q", device);
        Check.device("table", table, "q", device);
        Check.device("out", out, "q", device);
        Check.device("slopes", options.slopes(), "q", device);
        Check.device("sinks", options.sinks(), "q", device);
        Check.device("lse", options.lse(), "q", device);
        Check.device("logits", options.logits(), "q", device);
    }

    /** How many keys an item can have. */
    static long room(KvPool k, Tensor table) {
        return (table == null ? 1 : table.shape().size(2)) * k.pageSize();
    }

    /** 0 where no index reaches it: it may be anything. */
    static long stride(Tensor tensor, int axis) {
        return tensor != null && tensor.shape().size(axis) > 1 ? tensor.stride(axis) : 0;
    }

    private static void checkQueries(Tensor q, KvPool k, Options options) {
        Check.present("q", q);
        Check.present("k", k);
        Check.present("options", options);
        k.reachable("k");
        Check.dtype("q", q, AttentionCall.FLOATS);
        if (q.shape().rank() != 4 || q.shape().size(3) != k.size()) {
            throw Check.invalid(
                    "q", "shape " + q.shape(), "[batch, query heads, query length, " + k.size() + "], the size of k");
        }
        checkLast("q", q);
        Check.range("query length of q", q.shape().size(2), 0, 256);
        long heads = q.shape().size(1);
        if (k.heads() == 0 ? heads != 0 : heads % k.heads() != 0) {
            throw Check.invalid("k", k.heads() + " heads", "a number that divides the " + heads + " heads of q");
        }
        Check.reachable("q", q);
    }

    static void checkLast(String name, Tensor tensor) {
        int last = tensor.shape().rank() - 1;
        if (tensor.shape().size(last) > 1 && tensor.stride(last) != 1) {
            throw Check.invalid(name, tensor.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
    }

    /** The heads of the table, or of the lengths without one. */
    private static long checkTable(Tensor q, KvPool k, Tensor table, long[] lengths) {
        Check.present("lengths", lengths);
        long batch = q.shape().size(0);
        if (table == null) {
            if (batch > k.pages()) {
                throw Check.invalid(
                        "table",
                        "null for a batch of " + batch,
                        "null up to a batch of " + k.pages() + ", the pages of k");
            }
            return lengthHeads(lengths, batch, k.heads());
        }
        checkTable(table, batch, k.heads());
        long rows = table.shape().size(1);
        checkLengths(lengths, table);
        return rows;
    }

    static void checkTable(Tensor table, long batch, long heads) {
        Check.dtype("table", table, I32);
        if (table.shape().rank() != 3
                || table.shape().size(0) != batch
                || table.shape().size(1) != 1 && table.shape().size(1) != heads) {
            throw Check.invalid(
                    "table", "shape " + table.shape(), "[" + batch + ", 1 or " + heads + ", pages of an item]");
        }
        Check.contiguous("table", table);
        Check.reachable("table", table);
    }

    static void checkLengths(long[] lengths, Tensor table) {
        long count = table.shape().size(0) * table.shape().size(1);
        if (lengths.length != count) {
            throw Check.invalid(
                    "lengths", lengths.length + " lengths", count + ", one for each row of the table " + table.shape());
        }
    }

    /** 1 or heads, whichever these are of. */
    static long lengthHeads(long[] lengths, long batch, long heads) {
        if (lengths.length == batch) {
            return 1;
        }
        if (lengths.length != batch * heads) {
            throw Check.invalid(
                    "lengths",
                    lengths.length + " lengths",
                    batch + " of items or " + batch * heads + " of their heads");
        }
        return heads;
    }

    static long longest(long[] lengths) {
        long longest = 0;
        for (long length : lengths) {
            longest = Math.max(longest, length);
        }
        return longest;
    }

    private static void checkValues(Tensor q, KvPool k, KvPool v, Tensor out) {
        if (v == null || out == null) {
            if (v != null || out != null) {
                throw Check.invalid(v == null ? "v" : "out", null, "both of v and out, or none");
            }
            return;
        }
        v.reachable("v");
        if (v.heads() != k.heads() || v.pages() != k.pages() || v.pageSize() != k.pageSize()) {
            throw Check.invalid(
                    "v", v, k.heads() + " heads x " + k.pages() + " pages of " + k.pageSize() + " tokens, as k");
        }
        if (out.dtype() != DType.F32 && out.dtype() != q.dtype()) {
            throw Check.invalid("out", "dtype " + out.dtype(), "f32, or " + q.dtype() + ", as q");
        }
        if (!sameButLast(out, q) || out.shape().size(3) != v.size()) {
            throw Check.invalid(
                    "out", "shape " + out.shape(), "that of q " + q.shape() + " with " + v.size() + ", the size of v");
        }
    }

    private static boolean sameButLast(Tensor one, Tensor q) {
        return one.shape().rank() == 4
                && one.shape().size(0) == q.shape().size(0)
                && one.shape().size(1) == q.shape().size(1)
                && one.shape().size(2) == q.shape().size(2);
    }

    private static void checkSums(
            Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out, Options options) {
        Tensor lse = options.lse();
        Tensor logits = options.logits();
        if (out == null && lse == null && logits == null) {
            throw Check.invalid("options", "neither lse nor logits", "one of them at least, as there is no out");
        }
        if (lse != null) {
            Check.dtype("lse", lse, AttentionCall.F32);
            checkRows(
                    "lse", lse, q.shape().size(0), q.shape().size(1), q.shape().size(2));
            checkOutput("lse", lse, q, k, v, table, options);
            if (out != null) {
                Check.disjoint("lse", lse, "out", out);
            }
        }
        if (logits != null) {
            Check.dtype("logits", logits, AttentionCall.F32);
            boolean cpu = q.device() == Device.CPU;
            long most = cpu ? longest(lengths) : room(k, table);
            if (!sameButLast(logits, q) || logits.shape().size(3) < most) {
                throw Check.invalid(
                        "logits",
                        "shape " + logits.shape(),
                        "that of q " + q.shape() + " with " + most
                                + (cpu ? ", the longest length" : ", the keys of an item's pages") + ", or more");
            }
            checkOutput("logits", logits, q, k, v, table, options);
            Check.disjoint("logits", logits, "out", out);
            Check.disjoint("logits", logits, "lse", lse);
        }
    }

    /** Refuses anything but [batch, heads, length]. */
    static void checkRows(String name, Tensor sums, long batch, long heads, long length) {
        if (sums.shape().rank() != 3
                || sums.shape().size(0) != batch
                || sums.shape().size(1) != heads
                || sums.shape().size(2) != length) {
            throw Check.invalid(name, "shape " + sums.shape(), "[" + batch + ", " + heads + ", " + length + "]");
        }
    }

    /** Whether it can be written, has its rows apart and shares no memory with an input. */
    private static void checkOutput(
            String name, Tensor output, Tensor q, KvPool k, KvPool v, Tensor table, Options options) {
        if (output == null) {
            return;
        }
        checkLast(name, output);
        Check.reachable(name, output);
        Check.writable(name, output);
        AttentionCall.checkApart(name, output);
        Check.disjoint(name, output, "q", q);
        k.checkDisjoint(name, output, "k");
        if (v != null) {
            v.checkDisjoint(name, output, "v");
        }
        Check.disjoint(name, output, "table", table);
        Check.disjoint(name, output, "slopes", options.slopes());
        Check.disjoint(name, output, "sinks", options.sinks());
    }

    private static void checkVector(String name, Tensor vector, long heads) {
        if (vector != null) {
            Check.dtype(name, vector, AttentionCall.F32);
            Check.vector(name, vector, heads);
            Check.reachable(name, vector);
        }
    }
}
