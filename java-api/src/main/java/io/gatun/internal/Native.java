package io.gatun.internal;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_last_error;
import static io.gatun.bindings.c.gatun_h.GATUN_INVALID_ARGUMENT;
import static io.gatun.bindings.c.gatun_h.GATUN_OK;
import static io.gatun.bindings.c.gatun_h.GATUN_UNSUPPORTED;
import static io.gatun.bindings.c.gatun_h.gatun_last_error;
import static io.gatun.bindings.c.gatun_h.gatun_prefer_huge_pages;

import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;

/** What every call of a C function needs: the library, a params struct, optional pointers, status to exception, text. */
public final class Native {
    private Native() {}

    /** One struct per thread for the arguments of a call. Reused, so that calls allocate nothing. */
    public static ThreadLocal<MemorySegment> params(Supplier<GroupLayout> layout) {
        return ThreadLocal.withInitial(() -> struct(layout));
    }

    /** A struct of zeros but for its first field, {@code struct_size}. Whoever gets it has the library loaded. */
    public static MemorySegment struct(Supplier<GroupLayout> layout) {
        // Before the layout: the generated classes cannot be initialized without the library.
        NativeLibrary.load();
        MemorySegment struct = Arena.ofAuto().allocate(layout.get());
        struct.set(ValueLayout.JAVA_INT, 0, (int) struct.byteSize());
        return struct;
    }

    /** Asks for huge pages under memory that long loops will read: on small ones they lose up to a third of their speed. */
    public static void preferHugePages(MemorySegment memory) {
        NativeLibrary.load();
        call(() -> gatun_prefer_huge_pages(memory, memory.byteSize()));
    }

    /** The same of a tensor on the CPU; of other devices nothing. */
    public static void preferHugePages(Tensor tensor) {
        if (tensor.device() == Device.CPU) {
            preferHugePages(tensor.segment());
        }
    }

    /** The memory of an optional argument, of the CPU; the null pointer without one. */
    public static MemorySegment segment(Tensor tensor) {
        return tensor == null ? MemorySegment.NULL : tensor.segment();
    }

    /** The same on any device. */
    public static MemorySegment pointer(Tensor tensor) {
        return tensor == null ? MemorySegment.NULL : tensor.pointer();
    }

    /** From a row of a matrix to the next one, in elements; of a single row, whose stride is free, its length. */
    public static long rowStride(Tensor matrix) {
        return matrix.shape().size(0) > 1 ? matrix.stride(0) : matrix.shape().size(1);
    }

    /**
     * Calls a C function, with all that may go wrong turned into exceptions. It may allocate the lambda, so the calls that
     * must not allocate have the same body themselves.
     */
    public static void call(IntSupplier function) {
        try {
            check(function.getAsInt());
        } catch (AssertionError e) {
            throw closedMeanwhile(e);
        }
    }

    /**
     * What a downcall threw before it reached C: another thread closed an arena after its check. The generated methods
     * wrap that in an {@link AssertionError}.
     */
    public static RuntimeException closedMeanwhile(AssertionError thrown) {
        if (thrown.getCause() instanceof IllegalStateException cause) {
            return new IllegalStateException(
                    "an argument: given memory of an arena that was closed when the call began; allowed: memory whose"
                            + " arena stays open during the call",
                    cause);
        }
        throw thrown;
    }

    /** Turns the status of the call that this thread has just made into an exception. */
    public static void check(int status) {
        if (status != GATUN_OK()) {
            throw failure(status, gatun_last_error().getString(0));
        }
    }

    /** The same of a function of the CUDA library. */
    public static void checkCuda(int status) {
        if (status != GATUN_OK()) {
            throw failure(status, gatun_cuda_last_error().getString(0));
        }
    }

    /** As {@link #call}, of a function of the CUDA library. */
    public static void callCuda(IntSupplier function) {
        try {
            checkCuda(function.getAsInt());
        } catch (AssertionError e) {
            throw closedMeanwhile(e);
        }
    }

    private static RuntimeException failure(int status, String message) {
        if (status == GATUN_INVALID_ARGUMENT()) {
            return new IllegalArgumentException(message);
        }
        if (status == GATUN_UNSUPPORTED()) {
            return new UnsupportedOperationException(message);
        }
        return new GatunException(message);
    }

    /** The text that a call writes into a buffer of {@code capacity} bytes. */
    public static String text(long capacity, ToIntFunction<MemorySegment> function) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(capacity);
            call(() -> function.applyAsInt(buffer));
            return buffer.getString(0).stripTrailing();
        }
    }

    /** The same of a function of the CUDA library. */
    public static String cudaText(long capacity, ToIntFunction<MemorySegment> function) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(capacity);
            checkCuda(function.applyAsInt(buffer));
            return buffer.getString(0).stripTrailing();
        }
    }
}
