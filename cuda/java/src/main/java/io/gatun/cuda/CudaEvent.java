package io.gatun.cuda;

import io.gatun.GatunException;
import io.gatun.internal.Check;
import java.util.function.ToIntFunction;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;

/** A mark in the work of a stream, made by {@link CudaStream#record}. Any number of threads may use it. */
public final class CudaEvent implements AutoCloseable {
    private final CudaDevice device;
    private final CUevent_st event = new CUevent_st();
    private int users; // calls that use the event now; the last one destroys it if it is closed
    private boolean closed;

    /** At the end of what a stream has; its device is current. */
    CudaEvent(CudaDevice device, CUstream_st stream) {
        this.device = device;
        CudaRuntime.check(
                cudart.cudaEventCreateWithFlags(event, cudart.cudaEventDefault), "creating an event of " + device);
        int error = cudart.cudaEventRecord(event, stream);
        if (error != cudart.cudaSuccess) {
            cudart.cudaEventDestroy(event);
        }
        CudaRuntime.check(error, "recording an event of " + device);
    }

    /** Calls a function with the event, which stays until it returns. */
    int use(String argument, ToIntFunction<CUevent_st> function) {
        synchronized (this) {
            Check.open(argument, "event", !closed);
            users++;
        }
        try {
            return function.applyAsInt(event);
        } finally {
            synchronized (this) {
                users--;
                destroyUnlessUsed();
            }
        }
    }

    /**
     * Waits until all that was queued before the event is done.
     *
     * @throws IllegalStateException if the event is closed
     * @throws GatunException if work of the device failed
     */
    public void synchronize() {
        CudaRuntime.check(use("event", cudart::cudaEventSynchronize), "work of " + device + " failed");
    }

    /**
     * Whether all that was queued before the event is done.
     *
     * @throws IllegalStateException if the event is closed
     * @throws GatunException if work of the device failed
     */
    public boolean isDone() {
        return isDone("event");
    }

    private boolean isDone(String argument) {
        int state = use(argument, cudart::cudaEventQuery);
        if (state == cudart.cudaErrorNotReady) {
            cudart.cudaGetLastError();
            return false;
        }
        CudaRuntime.check(state, "work of " + device + " failed");
        return true;
    }

    /**
     * The time on the device since an earlier event.
     *
     * @throws IllegalArgumentException if the other event is of another device
     * @throws IllegalStateException if an event is closed, or not done yet
     * @throws GatunException if work of the device failed
     */
    public double millisecondsSince(CudaEvent earlier) {
        Check.present("earlier", earlier);
        if (earlier.device != device) {
            throw Check.invalid("earlier", "an event of " + earlier.device, "events of " + device);
        }
        earlier.checkDone("earlier");
        checkDone("event");
        float[] milliseconds = new float[1];
        int error = use(
                "event", end -> earlier.use("earlier", begin -> cudart.cudaEventElapsedTime(milliseconds, begin, end)));
        CudaRuntime.check(error, "cudaEventElapsedTime");
        return milliseconds[0];
    }

    private void checkDone(String argument) {
        if (!isDone(argument)) {
            throw new IllegalStateException(
                    argument + ": given an event that is not done; allowed: events that are done, see synchronize");
        }
    }

    /** Frees the mark; the work goes on. */
    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            destroyUnlessUsed();
        }
    }

    private void destroyUnlessUsed() {
        if (closed && users == 0) {
            cudart.cudaEventDestroy(event);
        }
    }
}
