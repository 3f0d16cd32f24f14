package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.LongStream;

/**
 * Parameters and gradients of the steps of a case, the same for everybody and in every run. All have at most eight
 * significant bits, so that f32 and bf16 hold them exactly.
 */
public final class OptimizerData {
    private static final long CHUNK = 1 << 16;
    private static final int PARAMETER = 0;

    private OptimizerData() {}

    /** The parameter at an index: evenly spread over -1/32..1/32. */
    static double parameter(long i) {
        return eightBits(PARAMETER, i) * 0x1p-13;
    }

    /** Its gradient at a step, from 1 on: of either sign and of magnitudes over several decades. */
    static double gradient(int step, long i) {
        return eightBits(step, i) * Math.scalb(1.0, -14 - (int) (mix(~i * 31 + step) & 7));
    }

    /** -255..256. */
    private static int eightBits(int series, long i) {
        return (int) (mix(i * 8 + series) & 511) - 255;
    }

    /** A bijection that leaves nothing of the order of its arguments (Steele, Lea and Flood 2014, SplitMix). */
    private static long mix(long i) {
        long z = i * 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /** Zeros on huge pages. */
    public static Tensor allocate(Arena arena, DType dtype, long count) {
        return Tensor.wrap(HugePages.allocate(arena, count * dtype.bits() / Byte.SIZE), dtype, count);
    }

    /** Fills a tensor of f32 or bf16 with the parameters. */
    public static void fillParameters(Tensor p) {
        fill(p, OptimizerData::parameter);
    }

    /** Fills it with the gradients of a step. */
    public static void fillGradients(Tensor g, int step) {
        fill(g, i -> gradient(step, i));
    }

    private interface Values {
        double at(long i);
    }

    private static void fill(Tensor tensor, Values values) {
        MemorySegment memory = tensor.segment();
        boolean f32 = tensor.dtype() == DType.F32;
        long count = tensor.shape().size(0);
        LongStream.range(0, Math.ceilDiv(count, CHUNK)).parallel().forEach(chunk -> {
            for (long i = chunk * CHUNK; i < Math.min(count, (chunk + 1) * CHUNK); i++) {
                float value = (float) values.at(i);
                if (f32) {
                    memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
                } else {
                    memory.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
                }
            }
        });
    }
}
