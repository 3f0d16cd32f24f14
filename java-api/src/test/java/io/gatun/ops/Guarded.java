package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A matrix inside a larger buffer of sentinel bytes: an element before it, gaps between rows, elements after it. Says
 * whether a call wrote anything at all, and whether it wrote outside the matrix.
 */
final class Guarded {
    private static final byte SENTINEL = (byte) 0xA5;

    final Tensor tensor;
    private final MemorySegment whole;
    private byte[] before;

    private Guarded(Arena arena, DType dtype, long rows, long columns, long rowStride, long offset) {
        long bytes = dtype.bytes(1) * (offset + rows * rowStride + columns + 16);
        whole = arena.allocate(bytes, 64).fill(SENTINEL);
        tensor = Tensor.wrap(whole.asSlice(offset * dtype.bytes(1)), dtype, Shape.of(rows, columns), rowStride, 1);
        snapshot();
    }

    /** Rows at {@code rowStride} elements, the first one {@code offset} elements after a 64-byte boundary. */
    static Guarded matrix(Arena arena, DType dtype, long rows, long columns, long rowStride, long offset) {
        return new Guarded(arena, dtype, rows, columns, rowStride, offset);
    }

    static Guarded matrix(DType dtype, long rows, long columns) {
        return new Guarded(Arena.ofAuto(), dtype, rows, columns, columns, 1);
    }

    /** Fills the matrix, rounding to its type. */
    Guarded fill(float[] values) {
        tensor.copyFrom(values);
        snapshot();
        return this;
    }

    void snapshot() {
        before = whole.toArray(JAVA_BYTE);
    }

    /** Changes a byte of the element at a distance from the first one, inside or outside the matrix. */
    void poke(long element) {
        long start = tensor.segment().address() - whole.address();
        long at = start + element * tensor.dtype().bytes(1);
        whole.set(JAVA_BYTE, at, (byte) ~whole.get(JAVA_BYTE, at));
    }

    boolean unchanged() {
        return Arrays.equals(before, whole.toArray(JAVA_BYTE));
    }

    /** Whether the bytes around the columns {@code begin..end} of every row are as they were. */
    boolean unchangedOutside(long begin, long end) {
        byte[] now = whole.toArray(JAVA_BYTE);
        long element = tensor.dtype().bytes(1);
        long start = tensor.segment().address() - whole.address();
        for (long row = 0; row < tensor.shape().size(0); row++) {
            int from = (int) (start + (row * tensor.stride(0) + begin) * element);
            System.arraycopy(before, from, now, from, (int) ((end - begin) * element));
        }
        return Arrays.equals(before, now);
    }
}
