package io.gatun.cuda;

import io.gatun.internal.Check;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.global.cudart;

/** A mark in the work of a stream, made by {@link CudaStream#record}. */
public final class CudaEvent implements AutoCloseable {
    private final CudaDevice device;
    private final CUevent_st event = new CUevent_st();
    private volatile boolean closed;

    CudaEvent(CudaDevice device) {
        this.device = device;
        CudaRuntime.with(
                device.index(),
                () -> CudaRuntime.check(
                        cudart.cudaEventCreateWithFlags(event, cudart.cudaEventDefault),
                        "creating an event of " + device));
    }

    CUevent_st raw() {
        Check.open("event", "event", !closed);
        return event;
    }

    /** Waits until all that was queued before the event is done. */
    public void synchronize() {
        CudaRuntime.check(cudart.cudaEventSynchronize(raw()), "work of " + device + " failed");
    }

    /** Whether all that was queued before the event is done. */
    public boolean isDone() {
        int state = cudart.cudaEventQuery(raw());
        if (state == cudart.cudaErrorNotReady) {
            cudart.cudaGetLastError();
            return false;
        }
        CudaRuntime.check(state, "work of " + device + " failed");
        return true;
    }

    /** The time on the device since an earlier event, both done. */
    public double millisecondsSince(CudaEvent earlier) {
        Check.present("earlier", earlier);
        float[] milliseconds = new float[1];
        CudaRuntime.check(cudart.cudaEventElapsedTime(milliseconds, earlier.raw(), raw()), "cudaEventElapsedTime");
        return milliseconds[0];
    }

    /** Frees the mark; the work goes on. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            cudart.cudaEventDestroy(event);
        }
    }
}
