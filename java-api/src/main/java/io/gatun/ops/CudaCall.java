package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_clear;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_store;

import io.gatun.DType;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.IntSupplier;
import java.util.function.ToIntFunction;

/** What several ops do to call the CUDA library. */
final class CudaCall {
    /** Of workspaces, in bytes. */
    private static final long ALIGNMENT = 256;

    private static final long LEAST_PLACE = 64;

    private static final ThreadLocal<MemorySegment> BYTES =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG));
    /** Pinned, and good for every device: as many as there were calls at once. */
    private static final Queue<Tensor> PLACES = new ConcurrentLinkedQueue<>();

    private CudaCall() {}

    /** The size that a function wrote. */
    static long bytes(ToIntFunction<MemorySegment> function) {
        MemorySegment bytes = BYTES.get();
        Native.checkCuda(function.applyAsInt(bytes));
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    /** Calls a function that queues work on a stream. */
    static void queue(DeviceStream stream, IntSupplier function) {
        stream.queue(() -> Native.callCuda(function));
    }

    /** The same with so many bytes of scratch memory. */
    static void queue(DeviceStream stream, long bytes, ToIntFunction<Tensor> function) {
        stream.queue(() -> {
            Tensor workspace = stream.workspace(bytes);
            Native.callCuda(() -> function.applyAsInt(workspace));
        });
    }

    /** Queues the first numbers of native memory, which are read now, into memory of the device. */
    static void store(DeviceStream stream, MemorySegment to, MemorySegment values, long count) {
        Native.callCuda(() -> gatun_cuda_store(to, values, count, stream.handle()));
    }

    /** A copy of this thread's struct, for later calls of any thread. */
    static MemorySegment kept(MemorySegment struct) {
        return Arena.ofAuto()
                .allocate(struct.byteSize(), ValueLayout.JAVA_LONG.byteAlignment())
                .copyFrom(struct);
    }

    /** Scratch memory for what runs in {@link DeviceStream#queue}. */
    static MemorySegment workspace(DeviceStream stream, long bytes) {
        return bytes == 0 ? MemorySegment.NULL : stream.workspace(bytes).pointer();
    }

    /** Zeros, on the stream of its device. */
    static void clear(Tensor tensor) {
        DeviceStream stream = tensor.device().stream();
        queue(stream, () -> gatun_cuda_clear(tensor.pointer(), tensor.byteSize(), stream.handle()));
    }

    /**
     * Calls a function that queues work on a stream, with a workspace at whose start that work writes so many numbers
     * of 64 bits, such as {@code gatun_cuda_faults}. Waits for them and returns them; other threads may use the stream
     * meanwhile.
     *
     * @param bytes of the workspace that are the op's own, see {@link #own}
     */
    static long[] found(DeviceStream stream, int count, long bytes, ToIntFunction<Tensor> function) {
        long found = count * ValueLayout.JAVA_LONG.byteSize();
        Tensor place = place(stream, found);
        boolean[] used = new boolean[1];
        try {
            stream.queue(() -> {
                Tensor workspace = stream.workspace(aligned(count) + bytes);
                Native.callCuda(() -> function.applyAsInt(workspace));
                used[0] = true;
                stream.copy(workspace.slice(0, 0, found), place.slice(0, 0, found));
            });
            stream.synchronize();
        } catch (RuntimeException | Error failed) {
            if (!used[0]) {
                PLACES.add(place);
            }
            throw failed; // of a place that is used nobody knows when it is free again
        }
        long[] numbers = place.segment().asSlice(0, found).toArray(ValueLayout.JAVA_LONG);
        PLACES.add(place);
        return numbers;
    }

    /** What of a workspace for {@link #found} is the op's own. */
    static MemorySegment own(Tensor workspace, int count) {
        return at(workspace, aligned(count));
    }

    /** A part of a workspace. */
    static MemorySegment at(Tensor workspace, long offset) {
        return workspace.slice(0, offset, workspace.byteSize()).pointer();
    }

    /** What so many numbers of 64 bits take of a workspace, so that what follows is aligned. */
    static long aligned(long count) {
        return Math.ceilDiv(count * ValueLayout.JAVA_LONG.byteSize(), ALIGNMENT) * ALIGNMENT;
    }

    /** Pinned memory that nobody else uses. */
    private static Tensor place(DeviceStream stream, long bytes) {
        for (Tensor free : PLACES) {
            if (free.byteSize() >= bytes && PLACES.remove(free)) {
                return free;
            }
        }
        return stream.device().pinned(DType.U8, Math.max(bytes, LEAST_PLACE));
    }
}
