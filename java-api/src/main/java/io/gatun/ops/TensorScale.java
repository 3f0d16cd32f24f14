package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;

/** The scale of a whole tensor whose block scales are F8E4M3: amax / (448 * 6). */
final class TensorScale {
    private static final int CHUNK = 4096;
    private static final QuantSpec.Blocks WHOLE = new QuantSpec.Blocks(0, 0, false);

    /** So that its reciprocal over the smallest block scale, 2^-6, is finite. */
    private static final float SMALLEST = 0x1p-120f;

    private static final int INFINITY = 0x7f800000;

    private TensorScale() {}

    /** Writes it; 1 for a tensor of zeros. What is not finite has no scale: the call after this names the index. */
    static void set(Tensor x, QuantizedTensor out, int threads) {
        float amax = amax(x, threads);
        boolean usable = amax > 0 && amax < Float.POSITIVE_INFINITY;
        out.tensorScale().setFloat(usable ? Math.max(amax / (448f * 6f), SMALLEST) : 1, 0);
    }

    private static float amax(Tensor x, int threads) {
        if (x.shape().elements() == 0) {
            return 0;
        }
        Tensor rows = isRowMajor(x) ? x : x.transpose();
        if (!isRowMajor(rows)) {
            return stridedAmax(x);
        }
        Tensor amax = Tensor.allocate(DType.F32, 1, 1);
        Calibrate.amax(rows, WHOLE, amax, threads);
        return amax.getFloat(0, 0);
    }

    private static boolean isRowMajor(Tensor x) {
        long rows = x.shape().size(0);
        long columns = x.shape().size(1);
        return (columns <= 1 || x.stride(1) == 1) && (rows <= 1 || x.stride(0) >= columns);
    }

    /** Of rows that overlap, or columns that are not adjacent in either direction. */
    private static float stridedAmax(Tensor x) {
        long rows = x.shape().size(0);
        long columns = x.shape().size(1);
        int amax = 0;
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
        long first = row * x.stride(0) + column * x.stride(1);
        long stride = x.stride(1);
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
