package io.gatun.ops;

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
    /** What comes before the op's own part of a workspace, which stays aligned. */
    static final long FAULTS_BYTES = 256;

    private static final ThreadLocal<MemorySegment> BYTES =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG));
    private static final long FAULTS = 2 * ValueLayout.JAVA_LONG.byteSize();
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

    /**
     * Calls a function that queues work on a stream, with a workspace at whose start that work writes a
     * {@code gatun_cuda_faults}, for which this waits; other threads may use the stream meanwhile.
     */
    static long[] faults(DeviceStream stream, long bytes, ToIntFunction<Tensor> function) {
        Tensor free = PLACES.poll();
        Tensor place = free == null ? stream.device().pinned(DType.U8, FAULTS) : free;
        boolean[] used = new boolean[1];
        try {
            stream.queue(() -> {
                Tensor workspace = stream.workspace(FAULTS_BYTES + bytes);
                Native.callCuda(() -> function.applyAsInt(workspace));
                used[0] = true;
                stream.copy(workspace.slice(0, 0, FAULTS), place);
            });
            stream.synchronize();
        } catch (RuntimeException | Error failed) {
            if (!used[0]) {
                PLACES.add(place);
            }
            throw failed; // of a place that is used nobody knows when it is free again
        }
        long[] faults = place.segment().toArray(ValueLayout.JAVA_LONG);
        PLACES.add(place);
        return faults;
    }
}
