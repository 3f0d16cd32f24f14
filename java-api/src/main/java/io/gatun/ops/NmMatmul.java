package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.GATUN_NM_F16;
import static io.gatun.bindings.c.gatun_h.GATUN_NM_BF16;
import static io.gatun.bindings.c.gatun_h.GATUN_NM_F32;
import static io.gatun.bindings.c.gatun_h.GATUN_NM_INT8;
import static io.gatun.bindings.c.gatun_h.gatun_nm_matmul;
import static io.gatun.bindings.c.gatun_h.gatun_nm_matmul_explain;

import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_nm_matmul_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Matrix multiplication with N:M sparse weights:
 *
 * <pre>y[m][n] = activation(sum over kept k of x[m][k] w[n][k] + bias[n]) + residual[m][n]</pre>
 *
 * <p>Weights are packed once, as {@link NmWeights}, from a {@link SparseTensor}. Shapes are free: any number of rows,
 * columns and depth, 0, 1 and primes included; depth 0 gives activation(bias) + residual. NaN and infinity in x go
 * where the formula takes them: to the columns that keep their depth, with INT8_ROW to their whole row; other rows are
 * left alone. An output depends neither on the threads, nor the range of columns, nor, on the CPU, the other rows, bit
 * for bit. On a GPU other numbers of rows, and other architectures, may give other last bits, and NaN may reach all
 * columns of its row; the same call gives the same bits each time.
 *
 * <p>Options are those of {@link QMatmul}; of its modes, weights take (see {@link NmWeights#modes})
 * <ul>
 * <li>{@link QMatmul.Mode#INT8_ROW}: codes. Rows of x are quantized to int8 on the fly; integer dot products;
 * <li>{@link QMatmul.Mode#BF16}: bf16. x is rounded to bf16, products are exact, sums f32: the error against the rounded
 *     numbers is at most 2^-23 (K + 8) sum |x w| with K kept weights; subnormals may count as zeros;
 * <li>{@link QMatmul.Mode#PRECISE}: all. Sums in f32 in ascending depth, one fma for each kept weight, codes as their exact
 *     products with the scale, rounded once: the error is at most 2^-23 (K + 8) sum |x w|.
 * </ul>
 *
 * <p>On a GPU codes take BF16 and F16, too, as they are before their scales, which is exact, and weights of f16 take
 * F16; the errors are at most 2^-23 (K + 2 groups + 8) sum |x w|. AUTO is the first of {@link NmWeights#modes}, and F16
 * for x of f16 where weights take it.
 */
public final class NmMatmul {
    private static final long EXPLAIN_BYTES = 2048;
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_nm_matmul_params::layout);

    private NmMatmul() {}

    /**
     * Packs sparse weights [columns of y, depth] into memory that is freed when nothing refers to it any more. Such memory
     * counts against {@code -XX:MaxDirectMemorySize}, by default the size of the heap; memory of an arena of one's own, see
     * {@link #pack(SparseTensor, NmWeights.Dense, Arena)}, does not. O(rows * depth). {@link NmWeights#report} says where
     * dense weights would be faster.
     *
     * <p>Weights on a GPU are packed there, into its memory, and waited for, to know whether there is something to
     * refuse.
     *
     * @throws IllegalArgumentException with the place, if indices are not below M and ascending within a group, a value or
     *     scale is NaN or infinite, or a zero point is above 15; if codes have groups that are no multiple of M
     */
    public static NmWeights pack(SparseTensor weights) {
        return NmWeights.pack(weights, NmWeights.Dense.NEVER, Arena.ofAuto());
    }

    /** As {@link #pack(SparseTensor)}, stored dense if that is allowed and faster; on a GPU never. */
    public static NmWeights pack(SparseTensor weights, NmWeights.Dense dense) {
        return NmWeights.pack(weights, dense, Arena.ofAuto());
    }

    /** As {@link #pack(SparseTensor, NmWeights.Dense)}, into memory of an arena. */
    public static NmWeights pack(SparseTensor weights, NmWeights.Dense dense, Arena arena) {
        return NmWeights.pack(weights, dense, arena);
    }

    /** As {@link #run(Tensor, NmWeights, Tensor, QMatmul.Options)} with {@link QMatmul.Options#DEFAULT}. */
    public static void run(Tensor x, NmWeights w, Tensor y) {
        run(x, w, y, Options.DEFAULT);
    }

    /**
     * Computes y. O(rows * columns * depth * N / M). Allocates nothing once warmed up; a thread's first calls allocate its
     * struct of arguments and native scratch memory.
     *
     * <p>On a GPU it returns before the work is done, which uses what the arguments hold then: close no arena of
     * theirs, and change no element, before {@link Device#synchronize}, but by work of the same stream. A call makes a
     * few small objects, and scratch memory of the device if it needs more than calls before.
     *
     * @param x f32 or bf16, on a GPU f16, too, [rows, depth], columns adjacent, rows at any distance
     * @param w [columns, depth], on the device of x
     * @param y f32 or bf16, on a GPU f16, too, [rows, columns], columns adjacent, rows at any distance; overlaps no
     *     input, except that the residual may be y itself
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode
     * @throws IllegalStateException if the arena of an argument, or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if earlier work of the GPU failed, or it has not enough memory for scratch data
     */
    public static void run(Tensor x, NmWeights w, Tensor y, Options options) {
        MemorySegment params = params(x, w, y, options);
        if (w.device() != Device.CPU) {
            CudaNmMatmul.run(params, x, w, y, options);
            return;
        }
        try {
            Native.check(gatun_nm_matmul(
                    params,
                    x.segment(),
                    w.segment(),
                    w.segment().byteSize(),
                    Native.segment(options.bias()),
                    Native.segment(options.residual()),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * Which kernel {@link #run} uses for these arguments, which it passed over and why, whether weights are stored sparse or
     * dense, and how it splits the work.
     */
    public static String explain(Tensor x, NmWeights w, Tensor y, Options options) {
        MemorySegment params = params(x, w, y, options);
        if (w.device() != Device.CPU) {
            return CudaNmMatmul.explain(params, w);
        }
        return Native.text(
                EXPLAIN_BYTES,
                text -> gatun_nm_matmul_explain(params, w.segment(), w.segment().byteSize(), text, EXPLAIN_BYTES));
    }

    /** This thread's struct with checked arguments. */
    static MemorySegment params(Tensor x, NmWeights w, Tensor y, Options options) {
        Check.present("w", w);
        Check.present("x", x);
        QMatmulCall.Weights weights = w.argument();
        QMatmulCall.check(x, QMatmulCall.floats(w.device()), weights, y, options);
        Tensor residual = options.residual();
        MemorySegment params = PARAMS.get();
        gatun_nm_matmul_params.x_dtype(params, x.dtype().code());
        gatun_nm_matmul_params.y_dtype(params, y.dtype().code());
        gatun_nm_matmul_params.mode(params, mode(QMatmulCall.mode(x, options, weights)));
        gatun_nm_matmul_params.activation(params, options.activation().ordinal());
        gatun_nm_matmul_params.threads(params, options.threads());
        gatun_nm_matmul_params.rows(params, x.shape().size(0));
        gatun_nm_matmul_params.columns(params, weights.columns());
        gatun_nm_matmul_params.depth(params, weights.depth());
        gatun_nm_matmul_params.x_row_stride(params, Native.rowStride(x));
        gatun_nm_matmul_params.y_row_stride(params, Native.rowStride(y));
        gatun_nm_matmul_params.residual_row_stride(params, residual == null ? 0 : Native.rowStride(residual));
        gatun_nm_matmul_params.column_begin(params, options.columnBegin());
        gatun_nm_matmul_params.column_end(params, QMatmulCall.columnEnd(options, weights.columns()));
        return params;
    }

    private static int mode(QMatmul.Mode mode) {
        return switch (mode) {
            case BF16 -> GATUN_NM_BF16();
            case F16 -> GATUN_NM_F16();
            case INT8_ROW -> GATUN_NM_INT8();
            default -> GATUN_NM_F32();
        };
    }
}
