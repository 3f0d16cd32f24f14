package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/** Scales that are quantized in turn: less their mean, by {@link CodeBook#DYNAMIC}, in blocks of 256. */
final class NestedScales {
    private NestedScales() {}

    /** Room for the scales themselves. */
    static Tensor scratch(QuantizedTensor quantized) {
        return Tensor.allocate(DType.F32, 1, quantized.nested().values().depth());
    }

    /** The mean is that of exact sums, rounded to f32 once. */
    static void quantize(MemorySegment scales, QuantizedTensor.NestedScales out, int threads) {
        long count = out.values().depth();
        double sum = 0;
        for (long i = 0; i < count; i++) {
            sum += scales.getAtIndex(JAVA_FLOAT, i);
        }
        float mean = count == 0 ? 0 : (float) (sum / count);
        for (long i = 0; i < count; i++) {
            scales.setAtIndex(JAVA_FLOAT, i, scales.getAtIndex(JAVA_FLOAT, i) - mean);
        }
        out.offset().setFloat(mean, 0);
        Tensor less = Tensor.wrap(scales, DType.F32, 1, count);
        Quantize.run(less, out.values(), Quantize.Options.DEFAULT.withThreads(threads));
    }

    /** Each value and the offset, with one rounding for the sum. */
    static Tensor dequantize(QuantizedTensor.NestedScales nested, int threads) {
        Tensor scales = Tensor.allocate(DType.F32, 1, nested.values().depth());
        Quantize.dequantize(nested.values(), scales, threads);
        float offset = nested.offset().getFloat(0);
        MemorySegment values = scales.segment();
        for (long i = 0; i < nested.values().depth(); i++) {
            values.setAtIndex(JAVA_FLOAT, i, values.getAtIndex(JAVA_FLOAT, i) + offset);
        }
        return scales;
    }

    /** The same matrix with the scales themselves instead of nested ones. */
    static QuantizedTensor unnested(QuantizedTensor quantized) {
        if (quantized.nested() == null) {
            return quantized;
        }
        Check.reachable("nested.offset", quantized.nested().offset().segment());
        QuantSpec spec = quantized.spec();
        QuantSpec plain = new QuantSpec(
                spec.codes(),
                spec.book(),
                spec.zeroPoint(),
                spec.blocks(),
                spec.scales(),
                spec.rule(),
                false,
                spec.nibbles(),
                null);
        boolean flat = spec.blocks().flat();
        long rows = flat ? 1 : Math.ceilDiv(quantized.rows(), spec.rowsOf(quantized.rows()));
        long groups = spec.groups(flat ? quantized.shape().elements() : quantized.depth());
        Tensor scales = dequantize(quantized.nested(), 0).reshape(rows, groups);
        return new QuantizedTensor(
                plain,
                quantized.shape(),
                quantized.codes(),
                scales,
                quantized.zeroPoints(),
                quantized.tensorScale(),
                null);
    }
}
