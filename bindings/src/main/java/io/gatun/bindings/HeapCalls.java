package io.gatun.bindings;

import io.gatun.bindings.c.gatun_h;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Calls that take arrays of the heap as they are. Garbage collection and whatever else needs a safepoint wait until they
 * return, so they are for calls that are certain to be short.
 */
public final class HeapCalls {
    private static final MethodHandle QMATMUL = Linker.nativeLinker()
            .downcallHandle(
                    gatun_h.gatun_qmatmul$address(), gatun_h.gatun_qmatmul$descriptor(), Linker.Option.critical(true));

    private HeapCalls() {}

    /** {@link gatun_h#gatun_qmatmul} with {@code x} and {@code y} on the heap or not. */
    public static int qmatmul(
            MemorySegment params,
            MemorySegment x,
            MemorySegment packed,
            long packedBytes,
            MemorySegment bias,
            MemorySegment y) {
        try {
            return (int) QMATMUL.invokeExact(params, x, packed, packedBytes, bias, MemorySegment.NULL, y);
        } catch (Throwable thrown) {
            throw new AssertionError("should not reach here", thrown);
        }
    }
}
