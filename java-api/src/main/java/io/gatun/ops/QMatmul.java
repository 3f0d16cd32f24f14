package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_qmatmul;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_concat;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_concat_explain;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_explain;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_grouped;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_grouped_explain;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_scaled;

import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Matrix multiplication with quantized weights, of any format that {@link QuantSpec} describes:
 *
 * <pre>y[m][n] = activation(sum over k of x[m][k] w[n][k] + bias[n]) + residual[m][n]</pre>
 *
 * <p>Weights are quantized and packed once, as {@link PackedWeights}; a {@link PackedStack} holds several for one call.
 * Shapes are free: any number of rows, columns and depth, 0, 1 and primes included; depth 0 gives activation(bias) +
 * residual. A row of x with NaN or infinity makes that row of y NaN and leaves other rows alone. An output depends neither
 * on the threads, nor the range of columns, nor, on the CPU, the other rows, bit for bit. On a GPU other numbers of rows,
 * and other architectures, may give other last bits; the same call gives the same bits each time.
 */
public final class QMatmul {
    /** What is applied to the sum with bias, before the residual is added. */
    public enum Activation {
        /** v */
        NONE,
        /** max(v, 0) */
        RELU,
        /** v (1 + erf(v / sqrt 2)) / 2 */
        GELU,
        /** v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3))) / 2 */
        GELU_TANH,
        /** v / (1 + exp(-v)) */
        SILU
    }

    /**
     * How activations meet the weights. Weights whose codes stand for integers (integers, F4E2M1, GGUF, code books of
     * integers) take the INT8 modes and PRECISE, the others (F8, F6, code books) BF16 and PRECISE; see
     * {@link PackedWeights#modes}.
     */
    public enum Mode {
        /** x is quantized to int8 on the fly, one scale (amax / 127) a row; integer dot products. */
        INT8_ROW,
        /** The same with one scale for each of the weights' groups in each row. */
        INT8_GROUP,
        /**
         * The precision of f32: on the CPU the error of an output is at most 2^-23 ((depth + 8) sum |x w| + 1.01 sum over
         * pieces of max |x| * sum |w|), pieces being the weights' groups, cut every 512 elements. Where 8-bit dot products
         * are one instruction, x is read as 24-bit fixed point with a power of two as the scale of each piece; elsewhere
         * weights are dequantized in registers, one fma per product in ascending depth. On a GPU one fma per product, too,
         * and the error is at most 2^-23 (depth + 2 groups + 8) sum |x w|.
         */
        PRECISE,
        /**
         * x and the values of the codes are rounded to bf16, products are exact, sums f32: the error against the rounded
         * numbers is at most 2^-23 (depth / 2 + 2 pieces + 8) sum |x w| on the CPU, where subnormals of bf16 and f32 count
         * as zeros, and 2^-23 (depth + 2 groups + 8) sum |x w| on a GPU.
         */
        BF16,
        /** As BF16, with f16 instead, which has more bits and less range; on GPUs only. */
        F16,
        /**
         * The first of {@link PackedWeights#modes}: INT8_ROW or BF16; of several weights, that of the first one. On GPUs F16
         * for x of f16, otherwise BF16.
         */
        AUTO
    }

    /**
     * What a call does besides the product. Immutable: each {@code with} returns another one, so build it once and use
     * it for many calls, from any number of threads.
     *
     * @param bias f32 [columns], of {@link #runGrouped} [weights, columns], or null
     * @param residual [rows, columns] of the dtype of y, or null; may be y itself
     * @param activation applied to sum and bias
     * @param mode how x is multiplied
     * @param threads 0 for all, 1 for only the calling one
     * @param columnBegin the first column of y that is written
     * @param columnEnd the column of y after the last one that is written, or -1 for all columns
     */
    public record Options(
            Tensor bias,
            Tensor residual,
            Activation activation,
            Mode mode,
            int threads,
            long columnBegin,
            long columnEnd) {
        /** No bias, residual or activation; {@link Mode#AUTO}, all threads, all columns. */
        public static final Options DEFAULT = new Options(null, null, Activation.NONE, Mode.AUTO, 0, 0, -1);

        /** Refuses what no call can take. */
        public Options {
            Check.present("activation", activation);
            Check.present("mode", mode);
            Check.threads(threads);
            if (columnBegin < 0 || columnEnd != -1 && columnEnd < columnBegin) {
                throw Check.invalid("columns", columnBegin + ".." + columnEnd, "0 <= begin <= end");
            }
        }

        /** With f32 [columns], of {@link #runGrouped} [weights, columns], added to the sums, or null for none. */
        public Options withBias(Tensor added) {
            return new Options(added, residual, activation, mode, threads, columnBegin, columnEnd);
        }

        /** With [rows, columns] of the dtype of y added last, or null for none; may be y itself. */
        public Options withResidual(Tensor added) {
            return new Options(bias, added, activation, mode, threads, columnBegin, columnEnd);
        }

        /** With this activation. */
        public Options withActivation(Activation applied) {
            return new Options(bias, residual, applied, mode, threads, columnBegin, columnEnd);
        }

        /** With this mode. */
        public Options withMode(Mode used) {
            return new Options(bias, residual, activation, used, threads, columnBegin, columnEnd);
        }

        /** With this number of threads: 0 for all, 1 for only the calling one. Results do not depend on it. */
        public Options withThreads(int count) {
            return new Options(bias, residual, activation, mode, count, columnBegin, columnEnd);
        }

        /** Writing only the columns {@code begin..end} of y, {@code end} excluded. */
        public Options withColumns(long begin, long end) {
            Check.range("columns.end", end, 0, Long.MAX_VALUE);
            return new Options(bias, residual, activation, mode, threads, begin, end);
        }
    }

    private static final long EXPLAIN_BYTES = 4096;

    private QMatmul() {}

    /**
     * Packs quantized weights [columns of y, depth] into memory that is freed when nothing refers to it any more. Such
     * memory counts against {@code -XX:MaxDirectMemorySize}, by default the size of the heap; memory of an arena of one's
     * own, see {@link #pack(QuantizedTensor, Arena)}, does not. O(rows * depth).
     *
     * @throws IllegalArgumentException with the index, if a scale, zero point or value of a code book is NaN, infinite or
     *     beyond 2^64, a zero point beyond the codes, or a code NaN or infinite
     * @throws UnsupportedOperationException if blocks of the flattened tensor have no divisor of 16 or more in common with
     *     its rows
     */
    public static PackedWeights pack(QuantizedTensor weights) {
        return PackedWeights.pack(weights, Arena.ofAuto());
    }

    /** As {@link #pack(QuantizedTensor)}, into memory of an arena. */
    public static PackedWeights pack(QuantizedTensor weights, Arena arena) {
        return PackedWeights.pack(weights, arena);
    }

    /** Quantizes and packs weights [columns of y, depth]; a transposed view of [depth, columns] is fine. */
    public static PackedWeights pack(Tensor weights, QuantSpec spec) {
        Check.present("weights", weights);
        return pack(Quantize.run(weights, spec));
    }

    /** As {@link #run(Tensor, PackedWeights, Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(Tensor x, PackedWeights w, Tensor y) {
        run(x, w, y, Options.DEFAULT);
    }

    /**
     * Computes y. O(rows * columns * depth). Allocates nothing once warmed up; a thread's first calls allocate its struct
     * of arguments and native scratch memory, which grow with the rows, up to 256, times depth.
     *
     * <p>On a GPU it returns when the work is in the queue of the thread's {@link Device#stream}: y is there once that is
     * done, and what the arguments hold must stay until then. Memory of {@link Device#allocate} does, as what frees it
     * waits. A call makes a few small objects, and scratch memory of the device if it needs more than calls before.
     *
     * @param x f32 or bf16, on a GPU f16, too, [rows, depth], columns adjacent, rows at any distance
     * @param w [columns, depth], on the device of x
     * @param y f32 or bf16, on a GPU f16, too, [rows, columns], columns adjacent, rows at any distance; overlaps no input,
     *     except that the residual may be y itself
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode, or the GPU has no kernels
     * @throws IllegalStateException if the arena of an argument, or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if the GPU has not enough memory for scratch data, or its earlier work failed
     */
    public static void run(Tensor x, PackedWeights w, Tensor y, Options options) {
        MemorySegment params = QMatmulCall.alone(x, w, y, options);
        if (w.device() != Device.CPU) {
            CudaQMatmul.run(params, x, w, y, options);
            return;
        }
        try {
            Native.check(gatun_qmatmul(
                    params,
                    x.segment(),
                    w.segment(),
                    w.segment().byteSize(),
                    Native.segment(options.bias),
                    Native.segment(options.residual),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * The same on arrays of the heap, as engines in plain Java have them, on the CPU. They are copied to and from native
     * memory of the thread, which is allocated when calls become larger; garbage collection does not wait for the call.
     * Makes a few small objects.
     *
     * @param x rows * depth numbers from {@code xBegin} on, row after row
     * @param y rows * columns numbers from {@code yBegin} on, row after row, apart from those of x
     * @param options without residual
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode, or are on a GPU
     */
    public static void run(float[] x, int xBegin, PackedWeights w, float[] y, int yBegin, int rows, Options options) {
        HeapProduct.run(x, xBegin, w, y, yBegin, rows, options);
    }

    /** As {@link #run(QuantizedTensor, PackedWeights, Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(QuantizedTensor x, PackedWeights w, Tensor y) {
        run(x, w, y, Options.DEFAULT);
    }

    /**
     * The same of rows that are quantized already. To 8-bit floats: mode BF16, so weights are floats of 8 or 6 bits or
     * codes of a code book that is not of integers. To int8, codes -127..127: mode INT8_ROW or INT8_GROUP as x has its
     * scales, so weights are those whose codes stand for integers. Scales of a tensor, of rows, or of 1 x 128 by 128 x 128
     * blocks:
     *
     * <pre>
     * PackedWeights w = QMatmul.pack(weights, QuantSpec.fp8(F8E4M3).withBlocks(128, 128));
     * QMatmul.run(Quantize.run(x, QuantSpec.fp8(F8E4M3).withGroup(128)), w, y);
     * </pre>
     *
     * <p>A row with a code or scale of NaN or infinity, or the int8 code -128, is NaN.
     *
     * @param x [rows, depth], {@link QuantSpec#fp8} or {@link QuantSpec#int8()} with f32 scales: one for each row, one for
     *     each of the weights' groups of a row or, of 8-bit floats, one for all
     * @param w [columns, depth]
     * @param y as for other rows
     * @param options as for other rows
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void run(QuantizedTensor x, PackedWeights w, Tensor y, Options options) {
        MemorySegment params = QMatmulCall.scaled(x, w, y, options);
        try {
            Native.check(gatun_qmatmul_scaled(
                    params,
                    x.spec().groupOf(x.depth()),
                    x.codes().segment(),
                    x.scales().segment(),
                    QMatmulCall.scaleStride(x),
                    w.segment(),
                    w.segment().byteSize(),
                    Native.segment(options.bias),
                    Native.segment(options.residual),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** Which kernel {@link #run} uses for these arguments, which it passed over and why, and how it splits the work. */
    public static String explain(Tensor x, PackedWeights w, Tensor y, Options options) {
        MemorySegment params = QMatmulCall.alone(x, w, y, options);
        if (w.device() != Device.CPU) {
            return CudaQMatmul.explain(params, w);
        }
        return Native.text(
                EXPLAIN_BYTES,
                text -> gatun_qmatmul_explain(params, w.segment(), w.segment().byteSize(), text, EXPLAIN_BYTES));
    }

    /** As {@link #run(Tensor, PackedStack, Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(Tensor x, PackedStack stack, Tensor y) {
        run(x, stack, y, Options.DEFAULT);
    }

    /**
     * Multiplies x, which is quantized once, with every weight of a stack; the products lie side by side: query, key and
     * value, or gate and up projections, as one call. The same bits as a call for each weight. Allocates nothing once
     * warmed up.
     *
     * <pre>
     * PackedStack qkv = PackedStack.of(List.of(query, key, value));
     * Tensor y = Tensor.allocate(DType.F32, tokens, qkv.columns());
     * QMatmul.run(x, qkv, y);
     * Tensor queries = y.slice(1, 0, query.rows()); // a view
     * </pre>
     *
     * @param x as for one weight
     * @param stack weights with {@link PackedStack#columns()} columns of y together
     * @param y [rows, columns of all weights]
     * @param options bias [columns of all weights]; residual and columns are those of y
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void run(Tensor x, PackedStack stack, Tensor y, Options options) {
        MemorySegment params = QMatmulCall.concat(x, stack, y, options);
        try {
            Native.check(gatun_qmatmul_concat(
                    params,
                    stack.size(),
                    x.segment(),
                    stack.segment(),
                    stack.segment().byteSize(),
                    Native.segment(options.bias),
                    Native.segment(options.residual),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** As {@link #explain(Tensor, PackedWeights, Tensor, Options)}, for weights side by side. */
    public static String explain(Tensor x, PackedStack stack, Tensor y, Options options) {
        MemorySegment params = QMatmulCall.concat(x, stack, y, options);
        MemorySegment packed = stack.segment();
        return Native.text(
                EXPLAIN_BYTES,
                text -> gatun_qmatmul_concat_explain(
                        params, stack.size(), packed, packed.byteSize(), text, EXPLAIN_BYTES));
    }

    /** As {@link #runGrouped(Tensor, long[], PackedStack, Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void runGrouped(Tensor x, long[] rows, PackedStack stack, Tensor y) {
        runGrouped(x, rows, stack, y, Options.DEFAULT);
    }

    /**
     * Multiplies groups of consecutive rows of x with a weight each: a mixture of experts on rows sorted by expert. Weight
     * i takes the next {@code rows[i]} rows of x and y; no rows cost nothing. The same bits as a call for each weight.
     * Allocates nothing once warmed up.
     *
     * @param x as for one weight, the rows of all groups one after the other
     * @param rows of each group, as many groups as weights; they add up to the rows of x
     * @param stack weights of equal columns
     * @param y [rows of x, columns of each weight]
     * @param options bias [weights, columns]; residual and columns are those of y
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if weights do not take the mode
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void runGrouped(Tensor x, long[] rows, PackedStack stack, Tensor y, Options options) {
        MemorySegment groups = QMatmulCall.groups(rows, stack);
        MemorySegment params = QMatmulCall.grouped(x, groups, stack, y, options);
        try {
            Native.check(gatun_qmatmul_grouped(
                    params,
                    groups,
                    stack.size(),
                    x.segment(),
                    stack.segment(),
                    stack.segment().byteSize(),
                    Native.segment(options.bias),
                    Native.segment(options.residual),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** As {@link #explain(Tensor, PackedWeights, Tensor, Options)}, for groups of rows. */
    public static String explainGrouped(Tensor x, long[] rows, PackedStack stack, Tensor y, Options options) {
        MemorySegment groups = QMatmulCall.groups(rows, stack);
        MemorySegment params = QMatmulCall.grouped(x, groups, stack, y, options);
        MemorySegment packed = stack.segment();
        return Native.text(
                EXPLAIN_BYTES,
                text -> gatun_qmatmul_grouped_explain(
                        params, groups, stack.size(), packed, packed.byteSize(), text, EXPLAIN_BYTES));
    }
}
