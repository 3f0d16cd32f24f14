package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;

/** The scale of a whole tensor whose block scales are F8E4M3: amax / (448 * 6). */
final class TensorScale {
    private static final int CHUNK = 4096;
    /** So that its reciprocal over the smallest block scale, 2^-6, is finite. */
    private static final float SMALLEST = 0x1p-120f;

    private static final int INFINITY = 0x7f800000;

    private TensorScale() {}

    /** Writes it; 1 for a tensor of zeros. What is not finite has no scale: the call after this names the index. */
    static void set(Tensor x, QuantizedTensor out) {
        float amax = amax(x);
        boolean usable = amax > 0 && amax < Float.POSITIVE_INFINITY;
        out.tensorScale().setFloat(usable ? Math.max(amax / (448f * 6f), SMALLEST) : 1, 0);
    }

    private static float amax(Tensor x) {
        long rows = x.shape().size(0);
        long columns = x.shape().size(1);
        int amax = 0;
        if (x.isContiguous()) {
            columns = x.shape().elements();
            rows = Math.min(rows, 1);
        }
        int[] chunk = new int[CHUNK];
        for (long r = 0; r < rows; r++) {
            for (long k = 0; k < columns; k += CHUNK) {
                int count = (int) Math.min(CHUNK, columns - k);
                read(x, r, k, count, chunk);
                amax = Math.max(amax, largest(chunk, count));
            }
        }
        return Float.intBitsToFloat(Math.min(amax, INFINITY));
    }

    /** The f32 patterns of values without their signs, which are in the order of magnitudes. */
    private static void read(Tensor x, long row, long column, int count, int[] patterns) {
        MemorySegment memory = x.segment();
        boolean adjacent = x.isContiguous();
        long first = adjacent ? column : row * x.stride(0) + column * x.stride(1);
        long stride = adjacent ? 1 : x.stride(1);
        switch (x.dtype()) {
            case F32 -> {
                for (int i = 0; i < count; i++) {
                    patterns[i] = Float.floatToRawIntBits(memory.getAtIndex(JAVA_FLOAT, first + i * stride));
                }
            }
            case F16 -> {
                for (int i = 0; i < count; i++) {
                    patterns[i] = Float.floatToRawIntBits(
                            DType.f16ToFloat(memory.getAtIndex(JAVA_SHORT, first + i * stride)));
                }
            }
            default -> {
                for (int i = 0; i < count; i++) {
                    patterns[i] = memory.getAtIndex(JAVA_SHORT, first + i * stride) << 16;
                }
            }
        }
    }

    private static int largest(int[] patterns, int count) {
        int largest = 0;
        for (int i = 0; i < count; i++) {
            largest = Math.max(largest, patterns[i] & Integer.MAX_VALUE);
        }
        return largest;
    }
}
