package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Random shapes, strides and slices, up to the ends of the range of long. */
class RandomViewsTest {
    /** Any shape and strides: refused, or a view whose last element is inside the memory. */
    @Test
    void views() {
        MemorySegment memory = Arena.ofAuto().allocate(4096, 64);
        RandomCalls.run("views", random -> {
            DType dtype = random.of(DType.values());
            long[] sizes = new long[random.between(1, 3)];
            long[] strides = new long[sizes.length];
            for (int axis = 0; axis < sizes.length; axis++) {
                sizes[axis] = random.chance(0.8)
                        ? random.between(0, 9)
                        : random.of(-1L, 1L << 31, 1L << 62, Long.MAX_VALUE - 1, Long.MAX_VALUE);
                strides[axis] = random.chance(0.8)
                        ? random.between(0, 9)
                        : random.of(-1L, 1L << 31, 1L << 62, Long.MAX_VALUE - 1, Long.MAX_VALUE);
            }
            boolean strided = random.chance(0.5);
            Supplier<Tensor> view = () ->
                    strided ? Tensor.wrap(memory, dtype, Shape.of(sizes), strides) : Tensor.wrap(memory, dtype, sizes);
            String context = dtype + Arrays.toString(sizes) + (strided ? " strides " + Arrays.toString(strides) : "");
            return new Call(
                    context, Outcome.EITHER, view::get, () -> assertInside(view.get(), memory, context), () -> true);
        });
    }

    private static void assertInside(Tensor view, MemorySegment memory, String context) {
        BigInteger last = BigInteger.ZERO;
        for (int axis = 0; axis < view.shape().rank(); axis++) {
            BigInteger steps = BigInteger.valueOf(view.shape().size(axis) - 1);
            last = last.add(steps.multiply(BigInteger.valueOf(view.stride(axis))));
        }
        BigInteger bits = last.add(BigInteger.ONE)
                .multiply(BigInteger.valueOf(view.dtype().bits()));
        boolean empty = view.shape().elements() == 0;
        assertTrue(empty || bits.compareTo(BigInteger.valueOf(8 * memory.byteSize())) <= 0, context);
    }

    /** Part of a matrix of 4 bits: refused, or its rows' bytes hold no element of another part. */
    @Test
    void slicesOfU4() {
        RandomCalls.run("slices of u4", random -> {
            int rows = random.between(1, 4);
            int columns = random.between(1, 12);
            Tensor parent = Tensor.of(DType.U4, random.integers(rows * columns, 1, 15), rows, columns);
            int begin = random.between(-1, columns);
            int end = random.between(begin, columns + 1);
            String context = parent.describe() + " columns " + begin + ".." + end;
            float[] before = parent.toFloatArray();
            return new Call(
                    context,
                    Outcome.EITHER,
                    () -> parent.slice(1, begin, end),
                    () -> {
                        Tensor part = parent.slice(1, begin, end);
                        int rowBytes = Math.ceilDiv(end - begin, 2);
                        for (int r = 0; r < rows && end > begin; r++) {
                            long at = part.stride(0) / 2 * r;
                            part.segment().asSlice(at, rowBytes).fill((byte) 0);
                        }
                        for (int i = 0; i < before.length; i++) {
                            int c = i % columns;
                            float expected = c >= begin && c < end ? 0 : before[i];
                            assertEquals(expected, parent.getFloat(i / columns, c), context);
                        }
                    },
                    () -> Arrays.equals(before, parent.toFloatArray()));
        });
    }
}
