package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_norm;
import static io.gatun.bindings.c.gatun_h.gatun_norm_explain;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_norm_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * Normalization of rows. A row with NaN or infinity gives a row of NaN and leaves other rows alone, and so does a
 * constant row under {@link Kind#LAYER} with epsilon 0.
 */
public final class Norm {
    /** What is normalized. */
    public enum Kind {
        /** (x - mean) / sqrt(var + epsilon) * weight + bias, var the mean of (x - mean)^2 (Ba et al. 2016). */
        LAYER,
        /** x / sqrt(mean of x^2 + epsilon) * weight + bias (Zhang and Sennrich 2019). */
        RMS
    }

    private static final long EXPLAIN_BYTES = 1024;
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.BF16);
    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_norm_params::layout);

    private Norm() {}

    /** As {@link #layer(Tensor, Tensor, Tensor, float, Tensor, int)} with all threads. */
    public static void layer(Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y) {
        run(Kind.LAYER, x, weight, bias, epsilon, y, 0);
    }

    /**
     * LayerNorm: y = (x - mean) / sqrt(var + epsilon) * weight + bias, row by row. O(rows * columns). Allocates
     * nothing once warmed up; a thread's first call allocates its struct of arguments.
     *
     * @param x f32 or bf16 [rows, columns], columns adjacent, rows at any distance
     * @param weight f32 [columns], or null for 1
     * @param bias f32 [columns], or null for 0
     * @param epsilon finite, >= 0
     * @param y f32 or bf16 [rows, columns]; may be x itself, and overlaps no input otherwise
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void layer(Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y, int threads) {
        run(Kind.LAYER, x, weight, bias, epsilon, y, threads);
    }

    /** As {@link #rms(Tensor, Tensor, Tensor, float, Tensor, int)} with all threads. */
    public static void rms(Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y) {
        run(Kind.RMS, x, weight, bias, epsilon, y, 0);
    }

    /**
     * RMSNorm: y = x / sqrt(mean of x^2 + epsilon) * weight + bias, row by row. Arguments and exceptions as for
     * {@link #layer(Tensor, Tensor, Tensor, float, Tensor, int)}.
     */
    public static void rms(Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y, int threads) {
        run(Kind.RMS, x, weight, bias, epsilon, y, threads);
    }

    /** Which kernel a call uses for these arguments, and why; for a person. */
    public static String explain(Kind kind, Tensor x, Tensor y) {
        MemorySegment params = params(kind, x, null, null, 0, y, 0);
        return Native.text(EXPLAIN_BYTES, text -> gatun_norm_explain(params, text, EXPLAIN_BYTES));
    }

    private static void run(Kind kind, Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y, int threads) {
        MemorySegment params = params(kind, x, weight, bias, epsilon, y, threads);
        try {
            Native.check(gatun_norm(params, x.segment(), Native.segment(weight), Native.segment(bias), y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    private static MemorySegment params(
            Kind kind, Tensor x, Tensor weight, Tensor bias, float epsilon, Tensor y, int threads) {
        Check.present("kind", kind);
        Check.present("x", x);
        Check.present("y", y);
        Check.dtype("x", x, FLOATS);
        Check.matrix("x", x, -1, -1);
        Check.rowMajor("x", x);
        long rows = x.shape().size(0);
        long columns = x.shape().size(1);
        Check.dtype("y", y, FLOATS);
        Check.matrix("y", y, rows, columns);
        Check.rowMajor("y", y);
        if (!(epsilon >= 0 && epsilon <= Float.MAX_VALUE)) {
            throw Check.invalid("epsilon", epsilon, "finite numbers >= 0");
        }
        Check.threads(threads);
        Check.reachable("x", x.segment());
        Check.reachable("y", y.segment());
        Check.writable("y", y.segment());
        long xStride = Native.rowStride(x);
        long yStride = Native.rowStride(y);
        boolean inPlace =
                x.segment().address() == y.segment().address() && x.dtype() == y.dtype() && xStride == yStride;
        if (!inPlace) {
            Check.disjoint("y", y, "x", x);
        }
        checkVector("weight", weight, columns, y);
        checkVector("bias", bias, columns, y);

        MemorySegment params = PARAMS.get();
        gatun_norm_params.kind(params, kind.ordinal());
        gatun_norm_params.x_dtype(params, x.dtype().code());
        gatun_norm_params.y_dtype(params, y.dtype().code());
        gatun_norm_params.threads(params, threads);
        gatun_norm_params.epsilon(params, epsilon);
        gatun_norm_params.rows(params, rows);
        gatun_norm_params.columns(params, columns);
        gatun_norm_params.x_row_stride(params, xStride);
        gatun_norm_params.y_row_stride(params, yStride);
        return params;
    }

    private static void checkVector(String name, Tensor vector, long columns, Tensor y) {
        if (vector != null) {
            Check.dtype(name, vector, F32);
            Check.vector(name, vector, columns);
            Check.reachable(name, vector.segment());
            Check.disjoint("y", y, name, vector);
        }
    }
}
