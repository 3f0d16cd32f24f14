package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_nm_backward_dense;
import static io.gatun.bindings.c.gatun_h.gatun_nm_backward_values;
import static io.gatun.bindings.c.gatun_h.gatun_nm_backward_x;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_nm_backward_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * Gradients of y = x w^T through N:M sparse weights w [columns, depth] of floats, in f32, for training, where weights change
 * at every step, so that they are not packed:
 *
 * <pre>
 * dx[t][k] = sum over the n that keep k of dy[t][n] w[n][k]
 * dw[n][k] = sum over t of dy[t][n] x[t][k]
 * </pre>
 *
 * Sums are f32: the error of an element is at most 2^-23 (terms + 8) times the sum of its terms' magnitudes. Results do not
 * depend on the number of threads, bit for bit. All matrices are f32; dy [rows, columns] and x, dx [rows, depth] have adjacent
 * columns and rows at any distance, gradients of weights are contiguous. Outputs overlap no input. Every call looks at the
 * indices of w. Allocates nothing once warmed up.
 */
public final class NmBackward {
    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_nm_backward_params::layout);

    /**
     * @param accumulate whether a result is added to the output; otherwise it replaces it
     * @param threads 0 for all, 1 for only the calling one
     */
    public record Options(boolean accumulate, int threads) {
        /** Results replace outputs; all threads. */
        public static final Options DEFAULT = new Options(false, 0);

        /** Refuses what no call can take. */
        public Options {
            Check.threads(threads);
        }

        /** With results added to outputs, or not. */
        public Options withAccumulate(boolean added) {
            return new Options(added, threads);
        }

        /** With this number of threads: 0 for all, 1 for only the calling one. */
        public Options withThreads(int count) {
            return new Options(accumulate, count);
        }
    }

    private NmBackward() {}

    /**
     * dx, the gradient of x. O(rows * columns * depth * N / M).
     *
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if values of w are codes
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void x(Tensor dy, SparseTensor w, Tensor dx, Options options) {
        MemorySegment params = params(dy, "dx", dx, w, 0, options);
        output("dx", dx, w, dy, null);
        try {
            Native.check(gatun_nm_backward_x(
                    params, dy.segment(), w.values().segment(), w.indices().segment(), dx.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * The gradient of the kept weights alone: dvalues [columns, K] as the values of w, 0 for positions beyond the depth.
     * O(rows * columns * depth * N / M). Exceptions as of {@link #x}.
     */
    public static void values(Tensor dy, Tensor x, SparseTensor w, Tensor dvalues, Options options) {
        MemorySegment params = params(dy, "x", x, w, 0, options);
        gradient("dvalues", dvalues, w.rows(), w.pattern().kept(w.depth()));
        output("dvalues", dvalues, w, dy, x);
        try {
            Native.check(gatun_nm_backward_values(
                    params, dy.segment(), x.segment(), w.indices().segment(), dvalues.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * dw [columns, depth]: the gradient of kept weights, and {@code decay} times that of pruned ones, so that they may come
     * back: the straight-through estimator, whose gradient to pruned weights decays from 1 to 0 during training ("Progressive
     * Gradient Flow for Robust N:M Sparsity Training in Transformers"). With decay 0 pruned weights get 0 (accumulating,
     * nothing), and only kept ones are computed. Exceptions as of {@link #x}.
     *
     * @param decay 0..1
     */
    public static void dense(Tensor dy, Tensor x, SparseTensor w, float decay, Tensor dw, Options options) {
        if (!(decay >= 0 && decay <= 1)) {
            throw Check.invalid("decay", decay, "0..1");
        }
        MemorySegment params = params(dy, "x", x, w, decay, options);
        gradient("dw", dw, w.rows(), w.depth());
        output("dw", dw, w, dy, x);
        try {
            Native.check(gatun_nm_backward_dense(
                    params, dy.segment(), x.segment(), w.indices().segment(), dw.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** This thread's struct with checked inputs; {@code x} is x or dx. */
    private static MemorySegment params(
            Tensor dy, String xName, Tensor x, SparseTensor w, float decay, Options options) {
        Check.present("w", w);
        Check.present("dy", dy);
        Check.present(xName, x);
        Check.present("options", options);
        if (w.spec() != null) {
            throw Check.unsupported("w", w, "values of f32, f16 or bf16");
        }
        w.checkReachable("w");
        matrix("dy", dy, -1, w.rows());
        long rows = dy.shape().size(0);
        matrix(xName, x, rows, w.depth());
        MemorySegment params = PARAMS.get();
        gatun_nm_backward_params.n(params, w.pattern().n());
        gatun_nm_backward_params.m(params, w.pattern().m());
        gatun_nm_backward_params.vector(params, w.pattern().vector());
        gatun_nm_backward_params.value_dtype(params, w.values().dtype().code());
        gatun_nm_backward_params.threads(params, options.threads);
        gatun_nm_backward_params.decay(params, decay);
        gatun_nm_backward_params.accumulate(params, options.accumulate ? 1 : 0);
        gatun_nm_backward_params.rows(params, rows);
        gatun_nm_backward_params.columns(params, w.rows());
        gatun_nm_backward_params.depth(params, w.depth());
        gatun_nm_backward_params.x_row_stride(params, Native.rowStride(x));
        gatun_nm_backward_params.dy_row_stride(params, Native.rowStride(dy));
        return params;
    }

    private static void matrix(String name, Tensor matrix, long rows, long columns) {
        Check.dtype(name, matrix, F32);
        Check.matrix(name, matrix, rows, columns);
        Check.rowMajor(name, matrix);
        Check.reachable(name, matrix.segment());
    }

    private static void gradient(String name, Tensor out, long rows, long columns) {
        Check.present(name, out);
        Check.dtype(name, out, F32);
        Check.matrix(name, out, rows, columns);
        Check.contiguous(name, out);
        Check.reachable(name, out.segment());
    }

    private static void output(String name, Tensor out, SparseTensor w, Tensor dy, Tensor x) {
        Check.writable(name, out.segment());
        Check.disjoint(name, out, "w.values", w.values());
        Check.disjoint(name, out, "w.indices", w.indices());
        Check.disjoint(name, out, "dy", dy);
        Check.disjoint(name, out, "x", x);
    }
}
