package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Tensors that the current thread must not use: of a closed arena, of another thread's arena, or for reading only. */
final class Unreachable {
    private static final long BYTES = 1 << 20;
    private static MemorySegment closed;
    private static MemorySegment foreign;

    private Unreachable() {}

    static Tensor closed(DType dtype, long... shape) {
        if (closed == null) {
            try (Arena arena = Arena.ofConfined()) {
                closed = arena.allocate(BYTES, 64);
            }
        }
        return Tensor.wrap(closed, dtype, shape);
    }

    static Tensor foreign(DType dtype, long... shape) {
        if (foreign == null) {
            Thread owner = new Thread(() -> foreign = Arena.ofConfined().allocate(BYTES, 64));
            owner.start();
            try {
                owner.join();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
        return Tensor.wrap(foreign, dtype, shape);
    }

    static Tensor readOnly(Tensor tensor) {
        return Tensor.wrap(tensor.segment().asReadOnly(), tensor.dtype(), tensor.shape(), tensor.strides());
    }
}
