package io.gatun.cuda;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_check_memory;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_describe_device;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.NativeMemory;
import io.gatun.bindings.c.gatun_cuda_device;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.bytedeco.cuda.cudart.cudaDeviceProp;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * An NVIDIA GPU. Its work is asynchronous: what goes wrong in it is an exception of whatever waits for it next, and the
 * CUDA runtime says whether the process can go on with the device.
 *
 * <p>Ops of a thread go to the device's own stream, or to the one in whose {@link CudaStream#run} the thread is. Both are
 * ordered with CUDA's default stream unless they were made otherwise. Which device is current in a thread does not matter
 * to this class, and stays as it was.
 */
public final class CudaDevice extends Device {
    /**
     * What a device is.
     *
     * @param name of the product
     * @param major compute capability, before the point
     * @param minor after the point
     * @param multiprocessors how many
     * @param memoryBytes in all
     * @param l2Bytes of its second-level cache
     * @param sharedBytes that a block of threads may have
     * @param clockKhz of the multiprocessors, at most; 0 if unknown
     * @param supported whether Gatun has kernels for it: compute capability 8.0 and newer
     */
    public record Properties(
            String name,
            int major,
            int minor,
            int multiprocessors,
            long memoryBytes,
            long l2Bytes,
            long sharedBytes,
            int clockKhz,
            boolean supported) {}

    private final int index;
    private final Properties properties;
    private final ThreadLocal<CudaStream> current = new ThreadLocal<>();
    private CudaStream own;

    CudaDevice(int index) {
        this.index = index;
        this.properties = describe(index);
    }

    private static Properties describe(int index) {
        MemorySegment struct = Native.struct(gatun_cuda_device::layout);
        Native.checkCuda(gatun_cuda_describe_device(index, struct));
        try (cudaDeviceProp more = new cudaDeviceProp()) {
            CudaRuntime.check(cudart.cudaGetDeviceProperties(more, index), "cudaGetDeviceProperties(" + index + ")");
            return new Properties(
                    more.name().getString(),
                    gatun_cuda_device.major(struct),
                    gatun_cuda_device.minor(struct),
                    gatun_cuda_device.multiprocessors(struct),
                    gatun_cuda_device.memory_bytes(struct),
                    gatun_cuda_device.l2_bytes(struct),
                    gatun_cuda_device.shared_bytes(struct),
                    gatun_cuda_device.clock_khz(struct),
                    gatun_cuda_device.supported(struct) == 1);
        }
    }

    /** What it is. */
    public Properties properties() {
        return properties;
    }

    /** The bytes of memory that nobody uses now. */
    public long freeBytes() {
        long[] free = new long[1];
        CudaRuntime.with(index, () -> free[0] = CudaRuntime.memory()[0]);
        return free[0];
    }

    // ---- memory ----------------------------------------------------------------------------------------------------

    @Override
    protected MemorySegment memory(Arena arena, long bytes) {
        long[] address = new long[1];
        CudaRuntime.with(index, () -> {
            try (PointerPointer<Pointer> place = new PointerPointer<>(1)) {
                allocated(cudart.cudaMalloc(place, bytes), bytes);
                address[0] = place.get().address();
            }
            try {
                CudaRuntime.Address memory = new CudaRuntime.Address(address[0]);
                CudaRuntime.check(cudart.cudaMemset(memory, 0, bytes), "cudaMemset");
                CudaRuntime.check(cudart.cudaStreamSynchronize(null), "cudaStreamSynchronize");
            } catch (GatunException e) {
                cudart.cudaFree(new CudaRuntime.Address(address[0]));
                throw e;
            }
        });
        return NativeMemory.at(address[0], bytes, arena, () -> release(address[0], false));
    }

    /** Refuses with the numbers what the device has no memory for. */
    private void allocated(int error, long bytes) {
        if (error == cudart.cudaErrorMemoryAllocation) {
            cudart.cudaGetLastError();
            long[] memory = CudaRuntime.memory();
            throw new GatunException("memory: given a request for " + bytes + " bytes on " + this + "; allowed: the "
                    + memory[0] + " bytes that are free, of " + memory[1]);
        }
        CudaRuntime.check(error, "allocating " + bytes + " bytes on " + this);
    }

    /** Nobody asks for errors here, and those of earlier work come again where somebody waits for it. */
    private void release(long address, boolean pinned) {
        CudaRuntime.with(index, () -> {
            cudart.cudaDeviceSynchronize();
            CudaRuntime.Address memory = new CudaRuntime.Address(address);
            int error = pinned ? cudart.cudaFreeHost(memory) : cudart.cudaFree(memory);
            if (error != cudart.cudaSuccess) {
                cudart.cudaGetLastError();
            }
        });
    }

    /** Zeros in pinned memory of the CPU, which copies to and from the device pass by, freed as {@link #allocate}'s. */
    public Tensor pinned(DType dtype, long... shape) {
        return pinned(Arena.ofAuto(), dtype, shape);
    }

    /**
     * Zeros in pinned memory of the CPU, which is freed when the arena closes. A {@link CudaStream#copy} between it and the
     * device returns before it is done.
     */
    public Tensor pinned(Arena arena, DType dtype, long... shape) {
        Check.open("arena", arena);
        Check.present("dtype", dtype);
        // The size and strides of a tensor of this shape, without memory.
        long bytes = Math.max(at(0, dtype, Shape.of(shape)).byteSize(), 1);
        long[] address = new long[1];
        CudaRuntime.with(index, () -> {
            try (PointerPointer<Pointer> place = new PointerPointer<>(1)) {
                int error = cudart.cudaHostAlloc(place, bytes, cudart.cudaHostAllocPortable);
                CudaRuntime.check(error, "allocating " + bytes + " bytes of pinned memory");
                address[0] = place.get().address();
            }
        });
        MemorySegment memory = NativeMemory.at(address[0], bytes, arena, () -> release(address[0], true));
        return Tensor.wrap(memory.fill((byte) 0), dtype, shape);
    }

    /**
     * A view of memory of another framework on this device; nothing is copied. It is checked here and never again: its
     * owner keeps it until all work with it is done, and orders its own work on it by streams.
     *
     * @param address of the first element, aligned to the element
     * @throws IllegalArgumentException with what it is instead, if it is no memory that this device can use
     */
    public Tensor wrap(long address, DType dtype, long... shape) {
        return wrap(address, dtype, Shape.of(shape));
    }

    /** As {@link #wrap(long, DType, long...)}, with strides in elements, one an axis; none for a contiguous tensor. */
    public Tensor wrap(long address, DType dtype, Shape shape, long... strides) {
        Tensor tensor = at(address, dtype, shape, strides);
        Native.checkCuda(gatun_cuda_check_memory(index, tensor.pointer(), tensor.byteSize()));
        return tensor;
    }

    // ---- streams ---------------------------------------------------------------------------------------------------

    /** A new stream, which is ordered with CUDA's default stream; its owner closes it. */
    public CudaStream newStream() {
        return CudaStream.create(this);
    }

    /**
     * A stream of another framework, which keeps it: a cudaStream_t or CUstream, 0 for CUDA's default stream.
     *
     * @throws IllegalArgumentException if it is a stream of another device
     */
    public CudaStream wrapStream(long handle) {
        return CudaStream.wrap(this, handle);
    }

    @Override
    public CudaStream stream() {
        CudaStream ofThread = current.get();
        return ofThread == null ? own() : ofThread;
    }

    private synchronized CudaStream own() {
        if (own == null) {
            own = newStream();
        }
        return own;
    }

    /** Makes a stream that of this thread's ops, null for the device's own; returns the one before. */
    CudaStream swap(CudaStream stream) {
        CudaStream before = current.get();
        if (stream == null) {
            current.remove();
        } else {
            current.set(stream);
        }
        return before;
    }

    @Override
    public void synchronize() {
        CudaRuntime.with(index, () -> CudaRuntime.check(cudart.cudaDeviceSynchronize(), "work of " + this + " failed"));
    }

    // ---- description -----------------------------------------------------------------------------------------------

    @Override
    public int index() {
        return index;
    }

    /** {@code cuda:0} */
    @Override
    public String toString() {
        return "cuda:" + index;
    }
}
