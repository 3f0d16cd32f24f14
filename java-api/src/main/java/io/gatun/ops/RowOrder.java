package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_attention_gather;
import static io.gatun.bindings.c.gatun_h.gatun_attention_lsh;
import static io.gatun.bindings.c.gatun_h.gatun_attention_scatter;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_attention_rows_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * The rows of each head in another order: sorted by hashes, so that similar rows become neighbours and attention in
 * blocks along the diagonal sees most of what matters (HyperAttention, Han et al. 2024); or sampled.
 *
 * <pre>{@code
 * Tensor order = RowOrder.lsh(q, 7, seed);
 * RowOrder.gather(q, order, sorted);      // sorted[i] = q[order[i]]
 * ...
 * RowOrder.scatter(result, order, out);   // out[order[i]] = result[i]
 * }</pre>
 *
 * <p>Tensors of rows are f32, bf16 or f16 [batch, heads, length, size], elements of the last axis adjacent, other
 * strides free; orders i32 [batch, heads, rows], contiguous.
 */
public final class RowOrder {
    private static final Set<DType> I32 = EnumSet.of(DType.I32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_attention_rows_params::layout);

    private RowOrder() {}

    /** As {@link #lsh(Tensor, int, long, int)} with all threads. */
    public static Tensor lsh(Tensor x, int projections, long seed) {
        return lsh(x, projections, seed, 0);
    }

    /**
     * Rows in the order of their buckets, those of a bucket in their own: a bucket is on which side of each of some
     * random planes a row lies, and neighbouring buckets differ in one of them. O(elements * projections).
     *
     * @param x rows of up to 256 elements
     * @param projections how many planes, 1..16
     * @param seed of the planes; q and k that are to meet take the same
     * @param threads 0 for all, 1 for only the calling one
     * @return i32 [batch, heads, length] in new memory
     * @throws IllegalArgumentException if an argument does not fit
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static Tensor lsh(Tensor x, int projections, long seed, int threads) {
        checkRows("x", x);
        Check.range("projections", projections, 1, 16);
        Check.range("size of a row of x", x.shape().size(3), 1, 256);
        Check.range("length of x", x.shape().size(2), 0, Integer.MAX_VALUE);
        Check.threads(threads);
        Tensor order = Tensor.allocate(
                DType.I32, x.shape().size(0), x.shape().size(1), x.shape().size(2));
        MemorySegment params = params(x, x.shape().size(2), x, threads);
        gatun_attention_rows_params.projections(params, projections);
        gatun_attention_rows_params.seed(params, seed);
        Native.call(() -> gatun_attention_lsh(params, x.segment(), order.segment()));
        return order;
    }

    /** As {@link #gather(Tensor, Tensor, Tensor, int)} with all threads. */
    public static void gather(Tensor x, Tensor order, Tensor y) {
        gather(x, order, y, 0);
    }

    /**
     * y[b, h, i] = x[b, h, order[b, h, i]].
     *
     * @param x [batch, heads, length, size]
     * @param order i32 [batch, heads, rows], each 0..length - 1
     * @param y of the type of x, [batch, heads, rows, size]; overlaps neither
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit, of {@code order} with the place; nothing is written
     *     then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void gather(Tensor x, Tensor order, Tensor y, int threads) {
        check(x, order, y, threads);
        checkOrder(order, x, "y", y);
        MemorySegment params = params(x, x.shape().size(2), y, threads);
        gatun_attention_rows_params.rows(params, y.shape().size(2));
        try {
            Native.check(gatun_attention_gather(params, x.segment(), order.segment(), y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** As {@link #scatter(Tensor, Tensor, Tensor, int)} with all threads. */
    public static void scatter(Tensor x, Tensor order, Tensor y) {
        scatter(x, order, y, 0);
    }

    /**
     * y[b, h, order[b, h, i]] = x[b, h, i]; other rows of y stay. Arguments and exceptions as for {@link
     * #gather(Tensor, Tensor, Tensor, int)}.
     *
     * @param x [batch, heads, rows, size]
     * @param order i32 [batch, heads, rows], each 0..length - 1, in a head none twice
     * @param y [batch, heads, length, size]
     */
    public static void scatter(Tensor x, Tensor order, Tensor y, int threads) {
        check(x, order, y, threads);
        checkOrder(order, y, "x", x);
        MemorySegment params = params(x, y.shape().size(2), y, threads);
        gatun_attention_rows_params.rows(params, x.shape().size(2));
        try {
            Native.check(gatun_attention_scatter(params, x.segment(), order.segment(), y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    private static void check(Tensor x, Tensor order, Tensor y, int threads) {
        checkRows("x", x);
        checkRows("y", y);
        if (y.dtype() != x.dtype()) {
            throw Check.invalid("y", "dtype " + y.dtype(), x.dtype() + ", as x");
        }
        for (int axis = 0; axis < 4; axis++) {
            if (axis != 2 && y.shape().size(axis) != x.shape().size(axis)) {
                throw Check.invalid("y", "shape " + y.shape(), "batch, heads and size of x " + x.shape());
            }
        }
        Check.threads(threads);
        Check.present("order", order);
        Check.dtype("order", order, I32);
        Check.contiguous("order", order);
        Check.reachable("order", order.segment());
        Check.writable("y", y.segment());
        AttentionCall.checkApart("y", y);
        Check.disjoint("y", y, "x", x);
        Check.disjoint("y", y, "order", order);
    }

    private static void checkRows(String name, Tensor rows) {
        Check.present(name, rows);
        Check.dtype(name, rows, AttentionCall.FLOATS);
        if (rows.shape().rank() != 4 || rows.shape().size(3) < 1) {
            throw Check.invalid(name, "shape " + rows.shape(), "[batch, heads, length, size >= 1]");
        }
        if (rows.shape().size(3) > 1 && rows.stride(3) != 1) {
            throw Check.invalid(name, rows.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        Check.reachable(name, rows.segment());
    }

    /** An index for each row of one tensor, into all rows of the other. */
    private static void checkOrder(Tensor order, Tensor all, String name, Tensor some) {
        Check.range("length", all.shape().size(2), 0, Integer.MAX_VALUE);
        boolean fits = order.shape().rank() == 3;
        for (int axis = 0; fits && axis < 3; axis++) {
            fits = order.shape().size(axis) == some.shape().size(axis);
        }
        if (!fits) {
            throw Check.invalid(
                    "order", "shape " + order.shape(), "batch, heads and length of " + name + " " + some.shape());
        }
    }

    private static MemorySegment params(Tensor x, long length, Tensor y, int threads) {
        MemorySegment params = PARAMS.get();
        gatun_attention_rows_params.dtype(params, x.dtype().code());
        gatun_attention_rows_params.threads(params, threads);
        gatun_attention_rows_params.projections(params, 1);
        gatun_attention_rows_params.seed(params, 0);
        gatun_attention_rows_params.batch(params, x.shape().size(0));
        gatun_attention_rows_params.heads(params, x.shape().size(1));
        gatun_attention_rows_params.length(params, length);
        gatun_attention_rows_params.rows(params, 0);
        gatun_attention_rows_params.head_size(params, x.shape().size(3));
        gatun_attention_rows_params.x_batch_stride(params, x.stride(0));
        gatun_attention_rows_params.x_head_stride(params, x.stride(1));
        gatun_attention_rows_params.x_row_stride(params, x.stride(2));
        gatun_attention_rows_params.y_batch_stride(params, y.stride(0));
        gatun_attention_rows_params.y_head_stride(params, y.stride(1));
        gatun_attention_rows_params.y_row_stride(params, y.stride(2));
        return params;
    }
}
