package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * What a quantized matrix stands for, element by element: code[i] * scale[i] + offset[i], times the scale of the tensor.
 * Codes are read from their bytes, whatever order of nibbles, blocks or format of files they have.
 */
final class Decoder {
    /** What the codes stand for: integers less their zero point, floats, values of a code book. */
    final double[] codes;

    final float[] scales;
    final float[] offsets;
    float tensorScale = 1;

    private final QuantizedTensor q;
    private final int elements;
    private final int depth;

    Decoder(QuantizedTensor quantized) {
        q = quantized;
        elements = (int) q.shape().elements();
        depth = (int) q.depth();
        codes = new double[elements];
        scales = new float[elements];
        offsets = new float[elements];
        if (q.spec().gguf() != null) {
            readBlocks();
            return;
        }
        if (q.tensorScale() != null) {
            tensorScale = q.tensorScale().getFloat(0);
        }
        CodeTable table = CodeTable.of(q.spec());
        float[] stored = scalesOf(q);
        float[] zeroPoints = q.zeroPoints() == null ? null : q.zeroPoints().toFloatArray();
        int[] patterns = patterns(q);
        for (int i = 0; i < elements; i++) {
            int block = blockOf(i);
            scales[i] = stored[block];
            if (table != null) {
                codes[i] = table.values[patterns[i]];
            } else if (q.spec().zeroPoint() == QuantSpec.ZeroPoint.FLOAT) {
                codes[i] = patterns[i];
                offsets[i] = zeroPoints[block];
            } else {
                codes[i] = patterns[i] - (zeroPoints == null ? QuantizeOracle.zeroOf(q.spec()) : zeroPoints[block]);
            }
        }
    }

    private void readBlocks() {
        GgufType type = q.spec().gguf();
        byte[] bytes = q.codes().segment().toArray(JAVA_BYTE);
        for (int block = 0; block * type.elements() < elements; block++) {
            GgufOracle read = new GgufOracle(type, bytes, block * type.bytes());
            System.arraycopy(read.codes, 0, codes, block * type.elements(), type.elements());
            System.arraycopy(read.scales, 0, scales, block * type.elements(), type.elements());
            System.arraycopy(read.offsets, 0, offsets, block * type.elements(), type.elements());
        }
    }

    private int blockOf(int element) {
        QuantSpec spec = q.spec();
        if (spec.blocks().flat()) {
            return element / (int) Math.max(1, spec.groupOf(elements));
        }
        int row = element / depth / (int) spec.rowsOf(q.rows());
        return row * (int) spec.groups(depth) + element % depth / (int) spec.groupOf(depth);
    }

    /** The scales of all blocks, nested or not. */
    static float[] scalesOf(QuantizedTensor q) {
        if (q.nested() == null) {
            return q.scales().toFloatArray();
        }
        Decoder nested = new Decoder(q.nested().values());
        float[] scales = new float[nested.elements];
        for (int i = 0; i < scales.length; i++) {
            scales[i] = nested.value(i) + q.nested().offset().getFloat(0);
        }
        return scales;
    }

    /** The bits of each code, those of I8 with their sign. */
    static int[] patterns(QuantizedTensor q) {
        int[] patterns = new int[(int) q.shape().elements()];
        for (int i = 0; i < patterns.length; i++) {
            int bits = q.spec().codes().bits();
            long at = bitOf(q, i);
            int pattern = 0;
            for (int b = 0; b < bits; b++) {
                long bit = at + b;
                pattern |= (q.codes().segment().get(JAVA_BYTE, bit / 8) >> bit % 8 & 1) << b;
            }
            patterns[i] = q.spec().codes() == DType.I8 ? (byte) pattern : pattern;
        }
        return patterns;
    }

    static void setCodes(QuantizedTensor q, int[] patterns) {
        MemorySegment memory = q.codes().segment();
        for (int i = 0; i < patterns.length; i++) {
            long at = bitOf(q, i);
            for (int b = 0; b < q.spec().codes().bits(); b++) {
                long bit = at + b;
                int other = memory.get(JAVA_BYTE, bit / 8) & ~(1 << bit % 8);
                memory.set(JAVA_BYTE, bit / 8, (byte) (other | (patterns[i] >> b & 1) << bit % 8));
            }
        }
    }

    /** Where a code begins, in bits. */
    private static long bitOf(QuantizedTensor q, int element) {
        QuantSpec spec = q.spec();
        int bits = spec.codes().bits();
        long width = spec.blocks().flat() ? q.shape().elements() : q.depth();
        long row = element / width;
        long k = element % width;
        long start = row * ((width * bits + 7) / 8) * 8;
        long block = spec.groupOf(width);
        return start
                + switch (spec.nibbles()) {
                    case LOW_FIRST -> k * bits;
                    case HIGH_FIRST -> (k ^ 1) * bits;
                    case SPLIT_HALF_BLOCK -> {
                        long i = k % block;
                        yield (k / block * block + (i < block / 2 ? 2 * i : 2 * i - block + 1)) * bits;
                    }
                };
    }

    /** The value in f32, each operation rounded once. */
    float value(int i) {
        float product = (float) (codes[i] * scales[i]);
        if (q.spec().gguf() != null) {
            return hasOffset() ? product + offsets[i] : product;
        }
        return q.spec().zeroPoint() == QuantSpec.ZeroPoint.FLOAT ? product + offsets[i] : product * tensorScale;
    }

    private boolean hasOffset() {
        return GgufOracle.hasOffset(q.spec().gguf());
    }

    float value(int r, int k) {
        return value(r * depth + k);
    }

    /** The values as elements of another type. */
    static float rounded(float value, DType dtype) {
        return switch (dtype) {
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(value));
            case BF16 -> DType.bf16ToFloat(DType.floatToBf16(value));
            default -> value;
        };
    }

    static Tensor values(QuantizedTensor q, DType dtype) {
        Decoder decoder = new Decoder(q);
        float[] values = new float[decoder.elements];
        for (int i = 0; i < values.length; i++) {
            values[i] = decoder.value(i);
        }
        return Tensor.of(dtype, values, q.rows(), q.depth());
    }
}
