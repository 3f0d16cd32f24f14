package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_quantize_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/** The arguments of a call of {@link Quantize}: checked, and then written into this thread's struct. */
final class QuantizeCall {
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);
    private static final Set<DType> U8 = EnumSet.of(DType.U8);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_quantize_params::layout);

    private QuantizeCall() {}

    static void checkValueType(String argument, DType dtype) {
        if (!FLOATS.contains(dtype)) {
            throw Check.invalid(argument, "dtype " + dtype, FLOATS);
        }
    }

    /** What both directions ask of values and codes. */
    static void check(String valuesName, Tensor values, String quantizedName, QuantizedTensor quantized) {
        Check.present(valuesName, values);
        Check.present(quantizedName, quantized);
        checkValueType(valuesName, values.dtype());
        Check.matrix(valuesName, values, quantized.rows(), quantized.depth());
        Check.reachable(valuesName, values);
        quantized.checkReachable(quantizedName);
        quantized.checkDevice(quantizedName, valuesName, values.device());
        Nibbles.checkOrder(quantizedName, quantized);
        if (quantized.spec().blocks().flat()) {
            Check.contiguous(valuesName, values);
        }
    }

    /** The parts of an output: writable, and apart from each other and from the inputs. */
    static void checkOutputs(QuantizedTensor out, Tensor x, Quantize.Options options) {
        Tensor roundUp = options.roundUp();
        if (roundUp != null) {
            Check.dtype("roundUp", roundUp, U8);
            Check.matrix("roundUp", roundUp, out.rows(), out.depth());
            Check.contiguous("roundUp", roundUp);
            Check.reachable("roundUp", roundUp);
            Check.device("roundUp", roundUp, "x", x.device());
        }
        boolean given = out.spec().rule() == QuantSpec.ScaleRule.GIVEN;
        checkOutput("out.codes", out.codes(), x, roundUp);
        Check.disjoint("out.codes", out.codes(), "out.scales", out.scales());
        Check.disjoint("out.codes", out.codes(), "out.zeroPoints", out.zeroPoints());
        if (given) {
            return;
        }
        if (out.scales() != null) {
            checkOutput("out.scales", out.scales(), x, roundUp);
            Check.disjoint("out.scales", out.scales(), "out.zeroPoints", out.zeroPoints());
        }
        if (out.zeroPoints() != null) {
            checkOutput("out.zeroPoints", out.zeroPoints(), x, roundUp);
        }
        if (out.tensorScale() != null) {
            checkOutput("out.tensorScale", out.tensorScale(), x, roundUp);
            Check.disjoint("out.tensorScale", out.tensorScale(), "out.codes", out.codes());
            Check.disjoint("out.tensorScale", out.tensorScale(), "out.scales", out.scales());
        }
        if (out.nested() != null) {
            QuantizedTensor values = out.nested().values();
            checkOutput("out.nested.values.codes", values.codes(), x, roundUp);
            checkOutput("out.nested.values.scales", values.scales(), x, roundUp);
            checkOutput("out.nested.offset", out.nested().offset(), x, roundUp);
            Check.disjoint("out.nested.values.codes", values.codes(), "out.codes", out.codes());
            Check.disjoint("out.nested.values.scales", values.scales(), "out.codes", out.codes());
            Check.disjoint("out.nested.offset", out.nested().offset(), "out.codes", out.codes());
        }
    }

    private static void checkOutput(String name, Tensor out, Tensor x, Tensor roundUp) {
        Check.writable(name, out);
        Check.disjoint(name, out, "x", x);
        Check.disjoint(name, out, "roundUp", roundUp);
    }

    /** The values as an output. */
    static void checkOutput(Tensor out, QuantizedTensor quantized) {
        Check.writable("out", out);
        Check.disjoint("out", out, "quantized.codes", quantized.codes());
        Check.disjoint("out", out, "quantized.scales", quantized.scales());
        Check.disjoint("out", out, "quantized.zeroPoints", quantized.zeroPoints());
        if (quantized.nested() != null) {
            QuantizedTensor values = quantized.nested().values();
            Check.disjoint("out", out, "quantized.nested.values.codes", values.codes());
            Check.disjoint("out", out, "quantized.nested.values.scales", values.scales());
        }
    }

    /** The values of a code book of one's own. */
    static MemorySegment book(QuantizedTensor quantized) {
        CodeBook book = quantized.spec().book();
        return book == null ? MemorySegment.NULL : book.segment();
    }

    static MemorySegment forward(Tensor x, QuantizedTensor out, Quantize.Options options) {
        MemorySegment params = forward(x, out.spec());
        gatun_quantize_params.rounding(params, options.rounding().ordinal());
        gatun_quantize_params.seed(params, options.seed());
        gatun_quantize_params.threads(params, options.threads());
        if (out.tensorScale() != null) {
            gatun_quantize_params.tensor_scale(params, out.tensorScale().getFloat(0));
        }
        return params;
    }

    static MemorySegment forward(Tensor x, QuantSpec spec) {
        MemorySegment params = params(x, spec, 0);
        long columnStride = x.shape().size(1) > 1 ? x.stride(1) : 1;
        if (columnStride < 1) {
            throw Check.invalid("x", x.describe(), "column stride >= 1");
        }
        gatun_quantize_params.x_column_stride(params, columnStride);
        return params;
    }

    static MemorySegment inverse(QuantizedTensor quantized, Tensor out, int threads) {
        MemorySegment params = params(out, quantized.spec(), threads);
        gatun_quantize_params.x_column_stride(params, 1);
        if (quantized.tensorScale() != null) {
            gatun_quantize_params.tensor_scale(params, quantized.tensorScale().getFloat(0));
        }
        return params;
    }

    private static MemorySegment params(Tensor values, QuantSpec spec, int threads) {
        long rows = values.shape().size(0);
        long depth = values.shape().size(1);
        long rowStride = rows > 1 ? values.stride(0) : depth;
        if (spec.blocks().flat()) {
            depth = values.shape().elements();
            rows = 1;
            rowStride = depth;
        }
        MemorySegment params = PARAMS.get();
        gatun_quantize_params.x_dtype(params, values.dtype().code());
        gatun_quantize_params.code_dtype(params, spec.codes().code());
        gatun_quantize_params.book(params, spec.book() == null ? 0 : spec.book().number());
        gatun_quantize_params.zero_point(params, spec.zeroPoint().ordinal());
        gatun_quantize_params.scale_dtype(params, spec.scales().code());
        gatun_quantize_params.scale_rule(params, spec.rule().ordinal());
        gatun_quantize_params.rounding(params, 0);
        gatun_quantize_params.threads(params, threads);
        gatun_quantize_params.tensor_scale(params, 1);
        gatun_quantize_params.rows(params, rows);
        gatun_quantize_params.depth(params, depth);
        gatun_quantize_params.group(params, spec.groupOf(depth));
        gatun_quantize_params.group_rows(params, spec.rowsOf(rows));
        gatun_quantize_params.x_row_stride(params, rowStride);
        gatun_quantize_params.seed(params, 0);
        return params;
    }
}
