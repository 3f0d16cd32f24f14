package io.gatun.jlama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.BFloat16BufferTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.Q8ByteBufferTensor;
import com.github.tjake.jlama.tensor.operations.TensorOperations;
import java.util.Random;

/** Tensors, and what their products are: in double, from the values that the tensors decode to. */
final class Oracle {
    private Oracle() {}

    static FloatBufferTensor random(Random random, int rows, int columns) {
        FloatBufferTensor tensor = new FloatBufferTensor(rows, columns);
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                tensor.set((float) random.nextGaussian(), i, j);
            }
        }
        return tensor;
    }

    static AbstractTensor as(DType dtype, AbstractTensor tensor) {
        return switch (dtype) {
            case F32 -> tensor;
            case BF16 -> new BFloat16BufferTensor(tensor);
            case I8 -> new Q8ByteBufferTensor(tensor);
            case Q4 -> new Q4ByteBufferTensor(tensor);
            default -> throw new IllegalArgumentException(dtype.name());
        };
    }

    /** The arguments of batchDotProduct. */
    record Call(
            AbstractTensor a,
            AbstractTensor b,
            int aColumn,
            int bColumn,
            int depth,
            int rRowOffset,
            int bRow,
            int rows) {
        void run(TensorOperations operations, AbstractTensor result) {
            operations.batchDotProduct(result, a, b, aColumn, bColumn, depth, rRowOffset, bRow, rows);
        }

        /** Computes, then compares: outputs within the bound of sums in f32, all other elements as they were. */
        void check(TensorOperations operations, AbstractTensor result) {
            float before = 1.25f;
            for (int m = 0; m < result.shape().first(); m++) {
                for (int n = 0; n < width(result); n++) {
                    result.set(before, m, n + result.shape().sparseColumnOffset());
                }
            }
            run(operations, result);
            for (int m = 0; m < result.shape().first(); m++) {
                for (int i = 0; i < width(result); i++) {
                    int column = i + result.shape().sparseColumnOffset();
                    int n = column - rRowOffset;
                    float actual = result.get(m, column);
                    if (n < bRow || n >= bRow + rows) {
                        assertEquals(before, actual, "outside, at " + m + ", " + column);
                        continue;
                    }
                    double sum = 0;
                    double magnitude = 0;
                    for (int k = 0; k < depth; k++) {
                        double term = (double) a.get(m, aColumn + k) * b.get(n, bColumn + k);
                        sum += term;
                        magnitude += Math.abs(term);
                    }
                    double unit = result.dType() == DType.BF16 ? 0x1p-8 : 0x1p-23;
                    // Jlama's own products of BF16 and F32 round in places of their own: 16 sums in parallel.
                    double allowed = 0x1p-23 * (depth / 16.0 + 16) * magnitude + unit * Math.abs(sum);
                    double difference = Math.abs(actual - sum);
                    assertTrue(
                            difference <= allowed,
                            () -> this + ": " + actual + " instead of " + (actual - difference) + ", allowed "
                                    + allowed);
                }
            }
        }

        private static int width(AbstractTensor result) {
            return result.shape().sparseColumnLength();
        }
    }
}
