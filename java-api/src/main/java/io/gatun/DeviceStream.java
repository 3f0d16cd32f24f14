package io.gatun;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/** A queue of work of a {@link Device}, done in the order in which it came. Any number of threads may use it. */
public abstract class DeviceStream {
    private final Device device;
    private Tensor workspace;

    /** A stream of a device. */
    protected DeviceStream(Device device) {
        this.device = device;
    }

    /** The device whose work it queues. */
    public final Device device() {
        return device;
    }

    /**
     * Queues a copy and returns, perhaps before it is done: then the elements of {@code from} must stay as they are, and
     * those of {@code to} are not there yet. Memory of the CPU that is not pinned is read and written before this returns.
     *
     * @param from contiguous; memory of the device or the CPU
     * @param to contiguous, of the same type and shape; memory of the device or the CPU
     */
    public final void copy(Tensor from, Tensor to) {
        Check.present("from", from);
        Check.present("to", to);
        if (from.dtype() != to.dtype() || !from.shape().equals(to.shape())) {
            throw Check.invalid("to", to.describe(), from.dtype() + "" + from.shape() + ", as from");
        }
        Check.contiguous("from", from);
        Check.contiguous("to", to);
        Check.reachable("from", from);
        Check.reachable("to", to);
        Check.writable("to", to);
        if (from.device() != device && to.device() != device) {
            throw Check.invalid("to", "memory of " + to.device() + " for " + from.device(), "one side on " + device);
        }
        copy(from.address(), to.address(), from.byteSize());
        Reference.reachabilityFence(from);
        Reference.reachabilityFence(to);
    }

    /**
     * Waits until all work of the stream is done.
     *
     * @throws GatunException if any of it failed
     */
    public abstract void synchronize();

    // ---- for ops ---------------------------------------------------------------------------------------------------

    /** The stream as C functions take it: a handle, not memory. */
    public abstract MemorySegment handle();

    /**
     * At least so many bytes of the device, aligned to 256, for the scratch data of one op. The caller holds the monitor of
     * this stream from here until its work is queued, so that the next op's work comes after it.
     */
    public final Tensor workspace(long bytes) {
        if (!Thread.holdsLock(this)) {
            throw new IllegalStateException("workspace: given a thread that does not hold the stream's monitor");
        }
        if (workspace == null || workspace.byteSize() < bytes) {
            // The old one is freed when nothing refers to it, after the work that uses it.
            workspace = device.allocate(DType.U8, bytes);
        }
        return workspace;
    }

    /** Queues a copy of bytes between addresses of the device or the CPU. */
    protected abstract void copy(long from, long to, long bytes);
}
