package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_attention_merge;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_attention_merge_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** What {@link Attention} makes of results and log-sum-exps. */
final class AttentionMerge {
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_attention_merge_params::layout);

    private AttentionMerge() {}

    static void run(Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse, int threads) {
        check(a, aLse, b, bLse, out, lse);
        Check.threads(threads);
        int heads = a.shape().rank() - 3;
        MemorySegment params = PARAMS.get();
        gatun_attention_merge_params.dtype(params, a.dtype().code());
        gatun_attention_merge_params.threads(params, threads);
        gatun_attention_merge_params.batch(params, heads == 0 ? 1 : a.shape().size(0));
        gatun_attention_merge_params.heads(params, a.shape().size(heads));
        gatun_attention_merge_params.length(params, a.shape().size(heads + 1));
        gatun_attention_merge_params.value_size(params, a.shape().size(heads + 2));
        gatun_attention_merge_params.a_batch_stride(params, heads == 0 ? 0 : a.stride(0));
        gatun_attention_merge_params.a_head_stride(params, a.stride(heads));
        gatun_attention_merge_params.a_row_stride(params, a.stride(heads + 1));
        gatun_attention_merge_params.b_batch_stride(params, heads == 0 ? 0 : b.stride(0));
        gatun_attention_merge_params.b_head_stride(params, b.stride(heads));
        gatun_attention_merge_params.b_row_stride(params, b.stride(heads + 1));
        gatun_attention_merge_params.out_batch_stride(params, heads == 0 ? 0 : out.stride(0));
        gatun_attention_merge_params.out_head_stride(params, out.stride(heads));
        gatun_attention_merge_params.out_row_stride(params, out.stride(heads + 1));
        if (a.device() != Device.CPU) {
            CudaAttention.merge(params, a, aLse, b, bLse, out, lse);
            return;
        }
        try {
            Native.check(gatun_attention_merge(
                    params,
                    a.segment(),
                    aLse.segment(),
                    b.segment(),
                    bLse.segment(),
                    out.segment(),
                    Native.segment(lse)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    private static void check(Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse) {
        Check.present("a", a);
        Check.dtype("a", a, AttentionCall.FLOATS);
        int rank = a.shape().rank();
        if (rank != 3 && rank != 4) {
            throw Check.invalid("a", "shape " + a.shape(), "[batch, heads, length, size] or [heads, length, size]");
        }
        checkRows("a", a, a);
        checkRows("b", b, a);
        checkRows("out", out, a);
        checkSums("aLse", aLse, a);
        checkSums("bLse", bLse, a);
        checkDevices(a, aLse, b, bLse, out, lse);
        Check.writable("out", out);
        AttentionCall.checkApart("out", out);
        if (!same(out, a)) {
            Check.disjoint("out", out, "a", a);
        }
        Check.disjoint("out", out, "b", b);
        Check.disjoint("out", out, "aLse", aLse);
        Check.disjoint("out", out, "bLse", bLse);
        if (lse == null) {
            return;
        }
        checkSums("lse", lse, a);
        Check.writable("lse", lse);
        Check.disjoint("lse", lse, "a", a);
        Check.disjoint("lse", lse, "b", b);
        Check.disjoint("lse", lse, "out", out);
        Check.disjoint("lse", lse, "bLse", bLse);
        if (!same(lse, aLse)) {
            Check.disjoint("lse", lse, "aLse", aLse);
        }
    }

    private static void checkDevices(Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse) {
        Check.device("aLse", aLse, "a", a.device());
        Check.device("b", b, "a", a.device());
        Check.device("bLse", bLse, "a", a.device());
        Check.device("out", out, "a", a.device());
        Check.device("lse", lse, "a", a.device());
    }

    private static boolean same(Tensor one, Tensor other) {
        if (one.address() != other.address()) {
            return false;
        }
        for (int axis = 0; axis < one.shape().rank(); axis++) {
            if (one.shape().size(axis) > 1 && one.stride(axis) != other.stride(axis)) {
                return false;
            }
        }
        return true;
    }

    private static void checkRows(String name, Tensor rows, Tensor a) {
        Check.present(name, rows);
        if (rows.dtype() != a.dtype()) {
            throw Check.invalid(name, "dtype " + rows.dtype(), a.dtype() + ", as a");
        }
        if (!rows.shape().equals(a.shape())) {
            throw Check.invalid(name, "shape " + rows.shape(), a.shape() + ", as a");
        }
        int last = rows.shape().rank() - 1;
        if (rows.shape().size(last) > 1 && rows.stride(last) != 1) {
            throw Check.invalid(name, rows.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        Check.reachable(name, rows);
    }

    private static void checkSums(String name, Tensor sums, Tensor a) {
        Check.present(name, sums);
        Check.dtype(name, sums, AttentionCall.F32);
        int rank = a.shape().rank() - 1;
        boolean fits = sums.shape().rank() == rank;
        for (int axis = 0; fits && axis < rank; axis++) {
            fits = sums.shape().size(axis) == a.shape().size(axis);
        }
        if (!fits) {
            throw Check.invalid(name, "shape " + sums.shape(), "that of a " + a.shape() + " without the last axis");
        }
        Check.contiguous(name, sums);
        Check.reachable(name, sums);
    }

    static double recall(Tensor kept, Tensor all) {
        checkTwo(kept, all);
        return recall(kept, all, 0, 1, all.shape().elements());
    }

    static double[] recallPerHead(Tensor kept, Tensor all) {
        checkTwo(kept, all);
        int rank = all.shape().rank();
        if (rank != 2 && rank != 3) {
            throw Check.invalid("all", "shape " + all.shape(), "[batch, heads, length] or [heads, length]");
        }
        double[] recalls = new double[Math.toIntExact(all.shape().size(rank - 2))];
        for (int h = 0; h < recalls.length; h++) {
            recalls[h] = recall(kept, all, h, recalls.length, all.shape().size(rank - 1));
        }
        return recalls;
    }

    static Tensor correction(Tensor kept, Tensor all) {
        checkTwo(kept, all);
        Tensor shares = Tensor.allocate(DType.F32, all.shape().toArray());
        for (long i = 0; i < all.shape().elements(); i++) {
            double whole = at(all, i);
            double share = whole == Double.NEGATIVE_INFINITY ? 1 : Math.exp(at(kept, i) - whole);
            shares.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) share);
        }
        return shares;
    }

    private static double at(Tensor values, long i) {
        return values.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
    }

    private static void checkTwo(Tensor kept, Tensor all) {
        Check.present("kept", kept);
        Check.present("all", all);
        Check.dtype("kept", kept, AttentionCall.F32);
        Check.dtype("all", all, AttentionCall.F32);
        if (!kept.shape().equals(all.shape())) {
            throw Check.invalid("kept", "shape " + kept.shape(), all.shape() + ", as all");
        }
        Check.contiguous("kept", kept);
        Check.contiguous("all", all);
        Check.reachable("kept", kept.segment());
        Check.reachable("all", all.segment());
    }

    /** Of the stretches of so many rows that are {@code first}, and every {@code step}-th after it. */
    private static double recall(Tensor kept, Tensor all, long first, long step, long rows) {
        double sum = 0;
        long count = 0;
        for (long begin = first * rows; begin < all.shape().elements(); begin += step * rows) {
            for (long i = begin; i < begin + rows; i++) {
                double whole = at(all, i);
                if (whole != Double.NEGATIVE_INFINITY) {
                    sum += Math.exp(at(kept, i) - whole);
                    count++;
                }
            }
        }
        return count == 0 ? 1 : sum / count;
    }
}
