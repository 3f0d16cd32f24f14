package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * {@link QMatmul} on arrays of the heap, by way of native memory of the thread. A downcall that gets the arrays themselves
 * saves 4 % of the time at most ({@code ./gatun bench heap}), and garbage collection has to wait for it.
 */
final class HeapProduct {
    private static final ThreadLocal<MemorySegment> SCRATCH = ThreadLocal.withInitial(() -> MemorySegment.NULL);

    private HeapProduct() {}

    static void run(float[] x, int xBegin, PackedWeights w, float[] y, int yBegin, int rows, Options options) {
        Check.present("x", x);
        Check.present("w", w);
        Check.present("y", y);
        Check.present("options", options);
        Check.range("rows", rows, 0, Integer.MAX_VALUE);
        checkRange("x", x.length, xBegin, rows * w.depth());
        checkRange("y", y.length, yBegin, rows * w.rows());
        if (x == y && xBegin < yBegin + rows * w.rows() && yBegin < xBegin + rows * w.depth()) {
            throw Check.invalid("y", "a part of the array that x has, too", "another one");
        }
        if (w.device() != Device.CPU) {
            throw Check.unsupported("w", "weights on " + w.device(), "the CPU, with arrays of the heap");
        }
        if (options.residual() != null) {
            throw Check.invalid("options.residual", "a tensor, with arrays of the heap", "null");
        }
        MemorySegment scratch = scratch((long) Float.BYTES * rows * (w.depth() + w.rows()));
        Tensor xCopy = Tensor.wrap(scratch, DType.F32, rows, w.depth());
        Tensor yCopy = Tensor.wrap(scratch.asSlice(xCopy.byteSize()), DType.F32, rows, w.rows());
        MemorySegment.copy(x, xBegin, xCopy.segment(), JAVA_FLOAT, 0, (int) (rows * w.depth()));
        QMatmul.run(xCopy, w, yCopy, options);
        int begin = (int) options.columnBegin();
        int count = (int) (QMatmulCall.columnEnd(options, w.rows()) - begin);
        for (int row = 0; row < rows; row++) {
            int at = (int) (row * w.rows()) + begin;
            MemorySegment.copy(yCopy.segment(), JAVA_FLOAT, (long) Float.BYTES * at, y, yBegin + at, count);
        }
    }

    private static void checkRange(String name, int length, int begin, long count) {
        if (begin < 0 || begin > length || count > length - begin) {
            throw Check.invalid(
                    name, length + " numbers, from " + begin + " on", count + " numbers or more from there on");
        }
    }

    private static MemorySegment scratch(long bytes) {
        MemorySegment scratch = SCRATCH.get();
        if (scratch.byteSize() < bytes) {
            scratch = Arena.ofAuto().allocate(bytes, 64);
            SCRATCH.set(scratch);
        }
        return scratch;
    }
}
