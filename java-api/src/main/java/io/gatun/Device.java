package io.gatun;

import io.gatun.bindings.NativeMemory;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.LongFunction;

/**
 * What the memory of a tensor belongs to: the CPU, or a processor with memory of its own, such as a GPU (artifact
 * gatun-cuda). The ops of {@code io.gatun.ops} run on the device of their tensors, which all arguments of a call share; an
 * op that has no kernel for a device says so.
 *
 * <p>Work of other devices than the CPU is asynchronous: an op returns when its work is in the queue of the calling thread's
 * {@link #stream}. Memory is freed only after all work of its device that was queued before.
 */
public abstract class Device {
    /** The processors that run this program, and their memory. */
    public static final Device CPU = new Cpu();

    /** A device is described and made by the artifact that brings it. */
    protected Device() {}

    // ---- memory ----------------------------------------------------------------------------------------------------

    /**
     * Zeros in memory of this device that is freed when nothing refers to it any more.
     *
     * @throws GatunException with the numbers, if the device has not enough memory
     */
    public final Tensor allocate(DType dtype, long... shape) {
        return allocate(Arena.ofAuto(), dtype, shape);
    }

    /**
     * Zeros in memory of this device that is freed when the arena closes, which waits for the device.
     *
     * @throws GatunException with the numbers, if the device has not enough memory
     * @throws IllegalStateException if the arena is closed
     * @throws WrongThreadException if the arena is confined to another thread
     */
    public final Tensor allocate(Arena arena, DType dtype, long... shape) {
        return allocate(this, bytes -> memory(arena, bytes, true), arena, dtype, shape);
    }

    /** As {@link #pinned(Arena, DType, long...)}, freed when nothing refers to it any more: not for who captures graphs. */
    public final Tensor pinned(DType dtype, long... shape) {
        return pinned(Arena.ofAuto(), dtype, shape);
    }

    /**
     * Zeros in memory of the CPU that is pinned: a {@link DeviceStream#copy} between it and the device returns before it is
     * done. Such memory is scarce, slow to get and, as it waits for all devices, to free. The wait spoils a CUDA graph that
     * is captured meanwhile, by whomever: close the arena outside captures. That of the CPU's own device is not pinned.
     *
     * @throws GatunException with the numbers, if there is not enough memory that can be pinned
     * @throws IllegalStateException if the arena is closed
     * @throws WrongThreadException if the arena is confined to another thread
     */
    public final Tensor pinned(Arena arena, DType dtype, long... shape) {
        return allocate(CPU, bytes -> pinnedMemory(arena, bytes), arena, dtype, shape);
    }

    /** Bytes of this device that hold anything. */
    final Tensor workspace(long bytes) {
        Arena arena = Arena.ofAuto();
        return allocate(this, size -> memory(arena, size, false), arena, DType.U8, bytes);
    }

    private static Tensor allocate(
            Device owner, LongFunction<MemorySegment> memory, Arena arena, DType dtype, long... shape) {
        Check.usable("arena", arena);
        Check.present("dtype", dtype);
        Shape sizes = Shape.of(shape);
        long[] strides = Layout.contiguousStrides(dtype, sizes);
        // One byte at least, so that an empty tensor has an address too.
        long bytes = Math.max(Layout.spanBytes(dtype, sizes, strides), 1);
        return new Tensor(owner, memory.apply(bytes), dtype, sizes, strides);
    }

    /**
     * Copies elements between memory of this device and that of this or another one, after all work of this device, and
     * waits until it is done.
     *
     * @param from contiguous
     * @param to contiguous, of the same type and shape
     */
    public final void copy(Tensor from, Tensor to) {
        synchronize();
        DeviceStream stream = stream();
        stream.copy(from, to);
        stream.synchronize();
    }

    // ---- work ------------------------------------------------------------------------------------------------------

    /**
     * The stream that takes the work of the calling thread's ops.
     *
     * @throws UnsupportedOperationException for the CPU, which has none: ops return when their work is done
     */
    public abstract DeviceStream stream();

    /**
     * Waits until all work of the device is done.
     *
     * @throws GatunException if any of it failed
     */
    public abstract void synchronize();

    /** The number of the device among those of its kind. */
    public abstract int index();

    /** A short name: {@code cpu}, {@code cuda:0}. */
    @Override
    public abstract String toString();

    // ---- for those who bring a device ------------------------------------------------------------------------------

    /**
     * Memory, aligned to 256 bytes, until the arena closes; nothing reads the segment, only its address is used.
     *
     * @param zeros whether the bytes must be zeros
     */
    protected abstract MemorySegment memory(Arena arena, long bytes, boolean zeros);

    /** Zeros of the CPU, pinned where this device knows how to. */
    protected MemorySegment pinnedMemory(Arena arena, long bytes) {
        return Check.allocate(arena, bytes, Tensor.ALIGNMENT);
    }

    /**
     * A view of memory at an address of this device, which its owner keeps; the implementer checks that it is such memory.
     *
     * @param strides in elements, one an axis, or none for a contiguous tensor
     */
    protected final Tensor at(long address, DType dtype, Shape shape, long... strides) {
        Check.present("dtype", dtype);
        Check.present("shape", shape);
        Check.present("strides", strides);
        boolean contiguous = strides.length == 0 && shape.rank() > 0;
        long[] all = contiguous ? Layout.contiguousStrides(dtype, shape) : strides.clone();
        Layout.checkStrides(dtype, shape, all);
        MemorySegment memory = NativeMemory.at(address, Layout.spanBytes(dtype, shape, all), Arena.global(), null);
        return Tensor.view(this, "address", memory, dtype, shape, all);
    }

    private static final class Cpu extends Device {
        @Override
        public DeviceStream stream() {
            throw new UnsupportedOperationException("cpu has no streams: ops return when their work is done");
        }

        @Override
        public void synchronize() {}

        @Override
        public int index() {
            return 0;
        }

        @Override
        protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
            return Check.allocate(arena, bytes, Tensor.ALIGNMENT);
        }

        @Override
        public String toString() {
            return "cpu";
        }
    }
}
