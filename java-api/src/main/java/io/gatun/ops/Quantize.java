package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_dequantize;
import static io.gatun.bindings.c.gatun_h.gatun_gguf_dequantize;
import static io.gatun.bindings.c.gatun_h.gatun_gguf_explain;
import static io.gatun.bindings.c.gatun_h.gatun_gguf_quantize;
import static io.gatun.bindings.c.gatun_h.gatun_quantize;
import static io.gatun.bindings.c.gatun_h.gatun_quantize_explain;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Quantization of matrices to any format that {@link QuantSpec} describes, and back. */
public final class Quantize {
    private static final long EXPLAIN_BYTES = 1024;

    /** What happens to a value between two codes. */
    public enum Rounding {
        /** The nearest one, ties as the format demands. */
        NEAREST,
        /**
         * One of them at random, the upper one with a probability in proportion to the distance from the lower one. Depends
         * on the seed and the element's index in the matrix alone.
         */
        STOCHASTIC,
        /** The one that the caller says, for methods that calibrate roundings; a value that is a code stays one. */
        GIVEN
    }

    /**
     * How to quantize, beside the format. Immutable; build it once and use it for many calls.
     *
     * @param rounding to which code; GGUF blocks are made with NEAREST only
     * @param seed of stochastic rounding
     * @param roundUp with given rounding u8 of the shape of the values, contiguous, 0 for down, otherwise null
     * @param threads 0 for all, 1 for only the calling one; results do not depend on it
     */
    public record Options(Rounding rounding, long seed, Tensor roundUp, int threads) {
        /** To nearest, all threads. */
        public static final Options DEFAULT = new Options(Rounding.NEAREST, 0, null, 0);

        /** Refuses what no call can take. */
        public Options {
            Check.present("rounding", rounding);
            Check.threads(threads);
            if ((rounding == Rounding.GIVEN) != (roundUp != null)) {
                String allowed = rounding == Rounding.GIVEN ? "a tensor" : "null, as rounding is " + rounding;
                throw Check.invalid("roundUp", roundUp == null ? "null" : roundUp.describe(), allowed);
            }
        }

        /** With stochastic rounding. */
        public Options withStochasticRounding(long seed) {
            return new Options(Rounding.STOCHASTIC, seed, null, threads);
        }

        /** With roundings that the caller says: u8 of the shape of the values, 0 for down. */
        public Options withRoundingGiven(Tensor up) {
            return new Options(Rounding.GIVEN, 0, up, threads);
        }

        /** With this number of threads: 0 for all, 1 for only the calling one. */
        public Options withThreads(int count) {
            return new Options(rounding, seed, roundUp, count);
        }
    }

    private Quantize() {}

    /**
     * Quantizes into new memory; see {@link QuantizedTensor#allocate(QuantSpec, long, long)}.
     *
     * @param x f32, f16 or bf16 [rows, depth]: column stride >= 1, row stride >= 0, so a transposed view too; contiguous if
     *     blocks are flat, with adjacent columns for GGUF
     * @param spec how; scales are not given
     * @throws IllegalArgumentException if x holds NaN or infinity, with the index (of flat blocks [0][i],
     *     i of the flattened tensor), or a scale overflows its type
     */
    public static QuantizedTensor run(Tensor x, QuantSpec spec) {
        Check.present("x", x);
        Check.matrix("x", x, -1, -1);
        Check.present("spec", spec);
        if (spec.rule() == QuantSpec.ScaleRule.GIVEN) {
            throw Check.invalid("spec", spec, "scales that are made, or an out that holds them");
        }
        QuantizedTensor out = QuantizedTensor.allocate(
                x.device(), Arena.ofAuto(), spec, x.shape().size(0), x.shape().size(1));
        run(x, out);
        return out;
    }

    /** As {@link #run(Tensor, QuantizedTensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(Tensor x, QuantizedTensor out) {
        run(x, out, Options.DEFAULT);
    }

    /**
     * Quantizes into existing memory. O(rows * depth), times 8 with code books of 256 values; GGUF types of 256 elements
     * try some tens of scales a block. Allocates nothing once warmed up, but for nested scales and a scale of the whole
     * tensor; a thread's first call allocates its struct of arguments.
     *
     * <p>On a GPU it waits for the work, to know whether there was a value that it refuses; other threads may use the
     * stream meanwhile. A call makes a few small objects, and scratch memory of the device if it needs more than calls
     * before. The GPU has kernels for all but GGUF, nested scales and scales of whole tensors.
     *
     * @param x f32, f16 or bf16 [rows, depth]: column stride >= 1, row stride >= 0; contiguous if blocks are flat, with
     *     adjacent columns for GGUF
     * @param out of the same shape, on the device of x; overlaps neither x nor itself. With
     *     {@link QuantSpec.ScaleRule#GIVEN} its scales and zero points are inputs
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then. Also if x holds NaN or
     *     infinity, with the index, or a scale overflows its type; what {@code out} holds then is unspecified
     * @throws UnsupportedOperationException if no kernel does this combination
     * @throws IllegalStateException if the arena of an argument, or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if the GPU has not enough memory for scratch data, or its work failed
     */
    public static void run(Tensor x, QuantizedTensor out, Options options) {
        QuantizeCall.check("x", x, "out", out);
        Check.present("options", options);
        QuantizeCall.checkOutputs(out, x, options);
        if (x.device() != Device.CPU) {
            CudaQuantize.run(x, out, options);
            return;
        }
        if (out.spec().gguf() != null) {
            runGguf(x, out, options);
            return;
        }
        MemorySegment scales;
        if (out.nested() != null) {
            scales = NestedScales.scratch(out).segment();
        } else {
            scales = out.scales().segment();
        }
        if (out.tensorScale() != null && out.spec().rule() != QuantSpec.ScaleRule.GIVEN) {
            TensorScale.set(x, out, options.threads);
        }
        MemorySegment params = QuantizeCall.forward(x, out, options);
        try {
            Native.check(gatun_quantize(
                    params,
                    x.segment(),
                    QuantizeCall.book(out),
                    Native.segment(options.roundUp),
                    out.codes().segment(),
                    scales,
                    Native.segment(out.zeroPoints())));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
        if (out.nested() != null) {
            NestedScales.quantize(scales, out.nested(), options.threads());
        }
    }

    private static void runGguf(Tensor x, QuantizedTensor out, Options options) {
        Check.rowMajor("x", x);
        if (options.rounding != Rounding.NEAREST) {
            throw Check.invalid("rounding", options.rounding, Rounding.NEAREST + " for GGUF");
        }
        NativeLibrary.load();
        try {
            Native.check(gatun_gguf_quantize(
                    out.spec().gguf().id(),
                    x.dtype().code(),
                    out.rows(),
                    out.depth(),
                    Native.rowStride(x),
                    options.threads,
                    x.segment(),
                    out.codes().segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** The values in new memory, f32, f16 or bf16. */
    public static Tensor dequantize(QuantizedTensor quantized, DType dtype) {
        Check.present("quantized", quantized);
        Check.present("dtype", dtype);
        QuantizeCall.checkValueType("dtype", dtype);
        Tensor out = quantized.device().allocate(dtype, quantized.rows(), quantized.depth());
        dequantize(quantized, out);
        return out;
    }

    /** As {@link #dequantize(QuantizedTensor, Tensor, int)} with all threads. */
    public static void dequantize(QuantizedTensor quantized, Tensor out) {
        dequantize(quantized, out, 0);
    }

    /**
     * The values that codes stand for, computed in f32, rounded to nearest even in f16 and bf16; NaN where a code or a scale
     * is NaN. O(rows * depth). Allocates nothing once warmed up, but for nested scales; a thread's first call allocates its
     * struct of arguments. On a GPU it makes a few small objects, and returns before the work is done, as
     * {@link QMatmul#run(Tensor, PackedWeights, Tensor, QMatmul.Options)} does.
     *
     * @param quantized [rows, depth]
     * @param out f32, f16 or bf16 [rows, depth] with adjacent columns, contiguous if blocks are flat; overlaps no part of
     *     {@code quantized}
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit
     * @throws IllegalStateException if the arena of an argument, or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if earlier work of the GPU failed
     */
    public static void dequantize(QuantizedTensor quantized, Tensor out, int threads) {
        QuantizeCall.check("out", out, "quantized", quantized);
        Check.threads(threads);
        Check.rowMajor("out", out);
        QuantizeCall.checkOutput(out, quantized);
        if (out.device() != Device.CPU) {
            CudaQuantize.dequantize(quantized, out);
            return;
        }
        if (quantized.spec().gguf() != null) {
            dequantizeGguf(quantized, out, threads);
            return;
        }
        MemorySegment scales = quantized.nested() == null
                ? quantized.scales().segment()
                : NestedScales.dequantize(quantized.nested(), threads).segment();
        MemorySegment params = QuantizeCall.inverse(quantized, out, threads);
        try {
            Native.check(gatun_dequantize(
                    params,
                    QuantizeCall.book(quantized),
                    quantized.codes().segment(),
                    scales,
                    Native.segment(quantized.zeroPoints()),
                    out.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    private static void dequantizeGguf(QuantizedTensor quantized, Tensor out, int threads) {
        NativeLibrary.load();
        try {
            Native.check(gatun_gguf_dequantize(
                    quantized.spec().gguf().id(),
                    out.dtype().code(),
                    quantized.rows(),
                    quantized.depth(),
                    Native.rowStride(out),
                    threads,
                    quantized.codes().segment(),
                    out.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** Which kernels {@link #run(Tensor, QuantizedTensor)} uses for these arguments, and why; for a person. */
    public static String explain(Tensor x, QuantSpec spec) {
        Check.present("x", x);
        Check.matrix("x", x, -1, -1);
        Check.present("spec", spec);
        QuantizeCall.checkValueType("x", x.dtype());
        if (x.device() != Device.CPU) {
            return CudaQuantize.explain(x, spec);
        }
        if (spec.gguf() != null) {
            NativeLibrary.load();
            int type = spec.gguf().id();
            int dtype = x.dtype().code();
            return Native.text(EXPLAIN_BYTES, text -> gatun_gguf_explain(type, dtype, text, EXPLAIN_BYTES));
        }
        MemorySegment params = QuantizeCall.forward(x, spec);
        return Native.text(EXPLAIN_BYTES, text -> gatun_quantize_explain(params, text, EXPLAIN_BYTES));
    }
}
