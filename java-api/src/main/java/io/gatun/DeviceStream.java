package io.gatun;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** A queue of work of a {@link Device}, done in the order in which it came. Any number of threads may use it. */
public abstract class DeviceStream {
    private final Device device;
    private final List<Tensor> workspaces = new ArrayList<>();

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
     * those of {@code to} are not there yet. With memory of the CPU that is not pinned it waits until it is done. If the
     * other side is of another device, what that device's {@link Device#stream} gets from then on comes after the copy,
     * unless the copy is captured in a graph.
     *
     * @param from contiguous; memory of the device, another one or the CPU
     * @param to contiguous, of the same type and shape; overlaps {@code from} nowhere; one side is memory of the device
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the stream, or the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if earlier work failed
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
        Check.disjoint("to", to, "from", from);
        transfer(from, to);
    }

    /**
     * Waits until all work is done that the stream has now. Other threads may queue more meanwhile.
     *
     * @throws IllegalStateException if the stream is closed
     * @throws GatunException if any of it failed
     */
    public abstract void synchronize();

    // ---- for ops ---------------------------------------------------------------------------------------------------

    /**
     * The stream as C functions take it: a handle, not memory. What gets it is called in {@link #queue}.
     *
     * @throws IllegalStateException if the stream is closed
     */
    public abstract MemorySegment handle();

    /**
     * Runs what queues work here: the caller's thread holds the monitor of this stream, so that neither other work comes
     * between nor the stream is closed, and the device is the current one.
     *
     * @throws IllegalStateException if the stream is closed
     */
    public abstract void queue(Runnable work);

    /**
     * At least so many bytes of the device, aligned to 256, for the scratch data of one op; for what runs in {@link #queue},
     * so that the next op's work comes after it. What they hold is unspecified.
     */
    public final Tensor workspace(long bytes) {
        if (!Thread.holdsLock(this)) {
            throw new IllegalStateException("workspace: given a thread that does not hold the stream's monitor");
        }
        long have = workspaces.isEmpty() ? 0 : workspaces.getLast().byteSize();
        if (have < bytes || workspaces.isEmpty()) {
            // At least twice as large, where that fits: all that were are no larger than this one. They stay, as a
            // captured graph may use them.
            workspaces.add(grown(bytes, 2 * have));
        }
        return workspaces.getLast();
    }

    private Tensor grown(long needed, long wanted) {
        if (needed < wanted) {
            try {
                return device.workspace(wanted);
            } catch (GatunException tooMuch) {
                // what is needed may fit
            }
        }
        return device.workspace(needed);
    }

    /** Lets go of the workspaces of a stream that is closed. */
    protected final synchronized void dropWorkspaces() {
        workspaces.clear();
    }

    /** Queues a copy of tensors that are checked. */
    protected abstract void transfer(Tensor from, Tensor to);
}
