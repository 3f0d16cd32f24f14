package io.gatun.ops;

import io.gatun.DType;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.ToIntFunction;

/** What several ops do to call the CUDA library. */
final class CudaCall {
    /** What comes before the op's own part of a workspace, which stays aligned. */
    static final long FAULTS_BYTES = 256;

    private static final ThreadLocal<MemorySegment> BYTES =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG));
    private static final long FAULTS = 2 * ValueLayout.JAVA_LONG.byteSize();

    private CudaCall() {}

    /** This thread's place for a size. */
    static MemorySegment bytes() {
        return BYTES.get();
    }

    /** The size that a function wrote. */
    static long bytes(ToIntFunction<MemorySegment> function) {
        MemorySegment bytes = BYTES.get();
        Native.checkCuda(function.applyAsInt(bytes));
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    /** Waits for what the stream's work wrote as {@code gatun_cuda_faults} at the start of a workspace. */
    static long[] faults(DeviceStream stream, Tensor workspace) {
        Tensor faults = Tensor.allocate(DType.U8, FAULTS);
        stream.copy(workspace.slice(0, 0, FAULTS), faults);
        stream.synchronize();
        return faults.segment().toArray(ValueLayout.JAVA_LONG);
    }
}
