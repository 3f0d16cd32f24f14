package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_dequantize;
import static io.gatun.bindings.c.gatun_h.gatun_quantize;
import static io.gatun.bindings.c.gatun_h.gatun_quantize_explain;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_quantize_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/** Quantization of matrices to 8 and 4 bits, per row or per group, as {@link QuantSpec} defines it, and back. */
public final class Quantize {
    private static final long EXPLAIN_BYTES = 1024;
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_quantize_params::layout);

    private Quantize() {}

    /**
     * Quantizes into new memory; see {@link QuantizedTensor#allocate(QuantSpec, long, long)}.
     *
     * @param x f32, f16 or bf16 [rows, depth], column stride >= 1, row stride >= 0, so a transposed view too
     * @param spec how
     * @throws IllegalArgumentException if x holds NaN or infinity, with the index, or a scale overflows its type
     */
    public static QuantizedTensor run(Tensor x, QuantSpec spec) {
        Check.present("x", x);
        Check.matrix("x", x, -1, -1);
        QuantizedTensor out =
                QuantizedTensor.allocate(spec, x.shape().size(0), x.shape().size(1));
        run(x, out);
        return out;
    }

    /** As {@link #run(Tensor, QuantizedTensor, int)} with all threads. */
    public static void run(Tensor x, QuantizedTensor out) {
        run(x, out, 0);
    }

    /**
     * Quantizes into existing memory. O(rows * depth). Allocates nothing once warmed up; a thread's first call allocates
     * its struct of arguments.
     *
     * @param x f32, f16 or bf16 [rows, depth], column stride >= 1, row stride >= 0
     * @param out of the same shape; overlaps neither x nor itself
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit, x holds NaN or infinity, with the index, or a scale
     *     overflows its type; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void run(Tensor x, QuantizedTensor out, int threads) {
        MemorySegment params = params("x", x, "out", out, threads);
        long columnStride = x.shape().size(1) > 1 ? x.stride(1) : 1;
        if (columnStride < 1) {
            throw Check.invalid("x", x.describe(), "column stride >= 1");
        }
        gatun_quantize_params.x_column_stride(params, columnStride);
        writable("out.codes", out.codes(), x, "x");
        writable("out.scales", out.scales(), x, "x");
        Check.disjoint("out.codes", out.codes(), "out.scales", out.scales());
        if (out.zeroPoints() != null) {
            writable("out.zeroPoints", out.zeroPoints(), x, "x");
            Check.disjoint("out.codes", out.codes(), "out.zeroPoints", out.zeroPoints());
            Check.disjoint("out.scales", out.scales(), "out.zeroPoints", out.zeroPoints());
        }
        try {
            Native.check(gatun_quantize(
                    params,
                    x.segment(),
                    out.codes().segment(),
                    out.scales().segment(),
                    Native.segment(out.zeroPoints())));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** As {@link #dequantize(QuantizedTensor, Tensor, int)} with all threads. */
    public static void dequantize(QuantizedTensor quantized, Tensor out) {
        dequantize(quantized, out, 0);
    }

    /**
     * The values that codes stand for: (q - z) s, exact in f32, rounded to nearest even in f16 and bf16. O(rows * depth).
     * Allocates nothing once warmed up; a thread's first call allocates its struct of arguments.
     *
     * @param quantized [rows, depth]
     * @param out f32, f16 or bf16 [rows, depth] with adjacent columns; overlaps no part of {@code quantized}
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void dequantize(QuantizedTensor quantized, Tensor out, int threads) {
        MemorySegment params = params("out", out, "quantized", quantized, threads);
        Check.rowMajor("out", out);
        gatun_quantize_params.x_column_stride(params, 1);
        writable("out", out, quantized.codes(), "quantized.codes");
        Check.disjoint("out", out, "quantized.scales", quantized.scales());
        Check.disjoint("out", out, "quantized.zeroPoints", quantized.zeroPoints());
        try {
            Native.check(gatun_dequantize(
                    params,
                    quantized.codes().segment(),
                    quantized.scales().segment(),
                    Native.segment(quantized.zeroPoints()),
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
        Check.dtype("x", x, FLOATS);
        MemorySegment params = params(x, spec, 0);
        gatun_quantize_params.x_column_stride(params, x.shape().size(1) > 1 ? x.stride(1) : 1);
        return Native.text(EXPLAIN_BYTES, text -> gatun_quantize_explain(params, text, EXPLAIN_BYTES));
    }

    private static MemorySegment params(
            String valuesName, Tensor values, String quantizedName, QuantizedTensor quantized, int threads) {
        Check.present(valuesName, values);
        Check.present(quantizedName, quantized);
        Check.dtype(valuesName, values, FLOATS);
        Check.matrix(valuesName, values, quantized.rows(), quantized.depth());
        Check.threads(threads);
        Check.reachable(valuesName, values.segment());
        quantized.checkReachable(quantizedName);
        return params(values, quantized.spec(), threads);
    }

    private static MemorySegment params(Tensor values, QuantSpec spec, int threads) {
        long rows = values.shape().size(0);
        long depth = values.shape().size(1);
        MemorySegment params = PARAMS.get();
        gatun_quantize_params.x_dtype(params, values.dtype().code());
        gatun_quantize_params.code_dtype(params, spec.codes().code());
        gatun_quantize_params.asymmetric(params, spec.asymmetric() ? 1 : 0);
        gatun_quantize_params.scale_dtype(params, spec.scales().code());
        gatun_quantize_params.threads(params, threads);
        gatun_quantize_params.rows(params, rows);
        gatun_quantize_params.depth(params, depth);
        gatun_quantize_params.group(params, spec.groupOf(depth));
        gatun_quantize_params.x_row_stride(params, rows > 1 ? values.stride(0) : depth);
        return params;
    }

    private static void writable(String name, Tensor out, Tensor input, String inputName) {
        Check.writable(name, out.segment());
        Check.disjoint(name, out, inputName, input);
    }
}
