package io.gatun.cuda;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_copy;

import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.function.Supplier;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;

/**
 * A CUDA stream, Gatun's own or that of another framework.
 *
 * <pre>
 * try (CudaStream stream = device.newStream()) {
 *     stream.run(() -> QMatmul.run(x, w, y)); // queued there
 * } // waits
 * </pre>
 */
public final class CudaStream extends DeviceStream implements AutoCloseable {
    private final CudaDevice device;
    private final boolean owned;
    private final MemorySegment handle;
    private volatile boolean closed;

    private CudaStream(CudaDevice device, long handle, boolean owned) {
        super(device);
        this.device = device;
        this.handle = MemorySegment.ofAddress(handle);
        this.owned = owned;
        device.mayWork();
    }

    static CudaStream create(CudaDevice device) {
        CUstream_st stream = CudaRuntime.with(device.index(), () -> CudaRuntime.newStream(cudart.cudaStreamDefault));
        return new CudaStream(device, stream.address(), true);
    }

    static CudaStream wrap(CudaDevice device, long handle) {
        int[] index = new int[1];
        // The default streams are those of the current device.
        int error =
                CudaRuntime.with(device.index(), () -> cudart.cudaStreamGetDevice(CudaRuntime.stream(handle), index));
        if (error != cudart.cudaSuccess) {
            cudart.cudaGetLastError();
            String given = "0x" + Long.toHexString(handle) + ", of which CUDA says: " + CudaRuntime.text(error);
            throw Check.invalid("handle", given, "streams of " + device + ", 0 for its default stream");
        }
        if (index[0] != device.index()) {
            throw Check.invalid("handle", "a stream of cuda:" + index[0], "streams of " + device);
        }
        return new CudaStream(device, handle, false);
    }

    /**
     * Runs something whose ops of this thread on this device are queued here. Who captures them in a graph keeps this
     * object, and does not close it, as long as the graph is used: it owns the memory of their scratch data.
     *
     * @throws IllegalStateException if the stream is closed
     */
    public void run(Runnable work) {
        Check.present("work", work);
        checkOpen();
        CudaStream before = device.swap(this);
        try {
            work.run();
        } finally {
            device.swap(before);
        }
    }

    /** The cudaStream_t. */
    public long address() {
        return handle.address();
    }

    @Override
    public synchronized MemorySegment handle() {
        checkOpen();
        return handle;
    }

    @Override
    public synchronized void queue(Runnable work) {
        onDevice(() -> {
            work.run();
            return null;
        });
    }

    /**
     * Marks the end of what is queued now; who gets the event closes it.
     *
     * @throws IllegalStateException if the stream is closed
     * @throws GatunException if CUDA has no event left, or earlier work failed
     */
    public synchronized CudaEvent record() {
        return onDevice(() -> new CudaEvent(device, raw()));
    }

    /**
     * What is queued from now on waits for an event, also of another stream or device; this does not wait.
     *
     * @throws IllegalStateException if the stream or the event is closed
     * @throws GatunException if earlier work failed
     */
    public void await(CudaEvent event) {
        Check.present("event", event);
        queue(() -> CudaRuntime.check(
                event.use("event", mark -> cudart.cudaStreamWaitEvent(raw(), mark, 0)), "cudaStreamWaitEvent"));
    }

    @Override
    public void synchronize() {
        // An event, as the stream may be closed meanwhile.
        try (CudaEvent end = record()) {
            end.synchronize();
        }
    }

    /**
     * Whether all work is done.
     *
     * @throws IllegalStateException if the stream is closed
     * @throws GatunException if any of it failed
     */
    public synchronized boolean isDone() {
        int state = onDevice(() -> cudart.cudaStreamQuery(raw()));
        if (state == cudart.cudaErrorNotReady) {
            cudart.cudaGetLastError();
            return false;
        }
        CudaRuntime.check(state, "work of " + this + " failed");
        return true;
    }

    /**
     * Waits until all work is done; a stream of another framework stays open there.
     *
     * @throws GatunException if any of it failed; the stream is closed nevertheless
     */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        try {
            synchronize();
        } finally {
            closed = true;
            dropWorkspaces();
            if (owned) {
                cudart.cudaStreamDestroy(raw());
            }
        }
    }

    @Override
    protected void transfer(Tensor from, Tensor to) {
        queue(() -> Native.callCuda(() -> gatun_cuda_copy(to.pointer(), from.pointer(), from.byteSize(), handle)));
        Device other = from.device() == device ? to.device() : from.device();
        if (other instanceof CudaDevice far && far != device && !isCapturing()) {
            // What frees its memory waits for that device. A capture would take in the other device's stream.
            try (CudaEvent copied = record()) {
                far.stream().await(copied);
            }
        }
    }

    private synchronized boolean isCapturing() {
        int[] status = new int[1];
        CudaRuntime.check(
                onDevice(() -> cudart.cudaStreamIsCapturing(raw(), status)), "cudaStreamIsCapturing of " + this);
        return status[0] != cudart.cudaStreamCaptureStatusNone;
    }

    private <T> T onDevice(Supplier<T> action) {
        checkOpen();
        return CudaRuntime.with(device.index(), action);
    }

    private CUstream_st raw() {
        return CudaRuntime.stream(handle.address());
    }

    private void checkOpen() {
        Check.open("stream", "stream", !closed);
    }

    /** Device and handle: {@code stream 0x55d0 of cuda:0}. */
    @Override
    public String toString() {
        return "stream 0x" + Long.toHexString(handle.address()) + " of " + device;
    }
}
