package io.gatun.cuda;

import io.gatun.DeviceStream;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
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
    }

    static CudaStream create(CudaDevice device) {
        CUstream_st stream = new CUstream_st();
        CudaRuntime.with(
                device.index(),
                () -> CudaRuntime.check(
                        cudart.cudaStreamCreateWithFlags(stream, cudart.cudaStreamDefault),
                        "creating a stream of " + device));
        return new CudaStream(device, stream.address(), true);
    }

    static CudaStream wrap(CudaDevice device, long handle) {
        if (handle != 0) {
            int[] index = new int[1];
            CudaRuntime.check(cudart.cudaStreamGetDevice(CudaRuntime.stream(handle), index), "cudaStreamGetDevice");
            if (index[0] != device.index()) {
                throw Check.invalid("handle", "a stream of cuda:" + index[0], "streams of " + device);
            }
        }
        return new CudaStream(device, handle, false);
    }

    /** Runs something whose ops of this thread on this device are queued here. */
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

    /** Marks the end of what is queued now. */
    public synchronized CudaEvent record() {
        CudaEvent event = new CudaEvent(device);
        onDevice(
                () -> CudaRuntime.check(cudart.cudaEventRecord(event.raw(), raw()), "recording an event of " + device));
        return event;
    }

    /** What is queued from now on waits for an event, also of another stream or device; this does not wait. */
    public synchronized void await(CudaEvent event) {
        Check.present("event", event);
        onDevice(() -> CudaRuntime.check(cudart.cudaStreamWaitEvent(raw(), event.raw(), 0), "waiting for an event"));
    }

    @Override
    public void synchronize() {
        onDevice(() -> CudaRuntime.check(cudart.cudaStreamSynchronize(raw()), "work of " + this + " failed"));
    }

    /** Whether all work is done. */
    public synchronized boolean isDone() {
        boolean[] done = new boolean[1];
        onDevice(() -> {
            int state = cudart.cudaStreamQuery(raw());
            done[0] = state == cudart.cudaSuccess;
            if (state == cudart.cudaErrorNotReady) {
                cudart.cudaGetLastError();
            } else {
                CudaRuntime.check(state, "work of " + this + " failed");
            }
        });
        return done[0];
    }

    /** Waits until all work is done; a stream of another framework stays open there. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        try {
            synchronize();
        } finally {
            closed = true;
            if (owned) {
                cudart.cudaStreamDestroy(CudaRuntime.stream(handle.address()));
            }
        }
    }

    @Override
    protected synchronized void copy(long from, long to, long bytes) {
        if (bytes > 0) {
            onDevice(() -> CudaRuntime.check(
                    cudart.cudaMemcpyAsync(
                            new CudaRuntime.Address(to),
                            new CudaRuntime.Address(from),
                            bytes,
                            cudart.cudaMemcpyDefault,
                            raw()),
                    "copying " + bytes + " bytes on " + this));
        }
    }

    private void onDevice(CudaRuntime.Action action) {
        checkOpen();
        CudaRuntime.with(device.index(), action);
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
