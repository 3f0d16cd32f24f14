package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.HeapCalls;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * {@link QMatmul} on arrays of the heap. A short call gets the arrays themselves; others go through native memory of the
 * thread, as garbage collection would have to wait for them.
 */
final class HeapProduct {
    /** What garbage collection may wait for, in nanoseconds. */
    private static final double SHORT = 100_000;
    /** At least so many bytes of weights, and products of one number by another, in a nanosecond and by one thread. */
    private static final double BYTES = 10;

    private static final double PRODUCTS = 40;

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
        // Tensors that a call could have, which the checks are made with.
        MemorySegment scratch = scratch(Float.BYTES * rows * (w.depth() + w.rows()));
        Tensor xCopy = Tensor.wrap(scratch, DType.F32, rows, w.depth());
        Tensor yCopy = Tensor.wrap(scratch.asSlice(xCopy.byteSize()), DType.F32, rows, w.rows());
        MemorySegment params = QMatmulCall.alone(xCopy, w, yCopy, options);
        if (isShort(w, rows, options)) {
            Native.call(() -> HeapCalls.qmatmul(
                    params,
                    slice(x, xBegin, rows * w.depth()),
                    w.segment(),
                    w.segment().byteSize(),
                    Native.segment(options.bias()),
                    slice(y, yBegin, rows * w.rows())));
            return;
        }
        MemorySegment.copy(x, xBegin, xCopy.segment(), JAVA_FLOAT, 0, (int) (rows * w.depth()));
        QMatmul.run(xCopy, w, yCopy, options);
        int begin = (int) options.columnBegin();
        int count = (int) (QMatmulCall.columnEnd(options, w.rows()) - begin);
        for (int row = 0; row < rows; row++) {
            int at = (int) (row * w.rows()) + begin;
            MemorySegment.copy(yCopy.segment(), JAVA_FLOAT, (long) Float.BYTES * at, y, yBegin + at, count);
        }
    }

    /** Whether a call is certain to be short: at the rates of one slow core, however many threads it has. */
    static boolean isShort(PackedWeights w, int rows, Options options) {
        double columns = QMatmulCall.columnEnd(options, w.rows()) - options.columnBegin();
        double bytes = w.segment().byteSize() * columns / Math.max(w.rows(), 1);
        return Math.max(bytes / BYTES, rows * columns * w.depth() / PRODUCTS) <= SHORT;
    }

    private static void checkRange(String name, int length, int begin, long count) {
        if (begin < 0 || begin > length || count > length - begin) {
            throw Check.invalid(
                    name, length + " numbers, from " + begin + " on", count + " numbers or more from there on");
        }
    }

    private static MemorySegment slice(float[] array, int begin, long count) {
        return MemorySegment.ofArray(array).asSlice((long) Float.BYTES * begin, Float.BYTES * count);
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
