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
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.cudart.cudaDeviceProp;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

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
    private volatile boolean works;
    private CudaStream own;
    private CUstream_st clearing;

    CudaDevice(int index) {
        this.index = index;
        this.properties = describe(index);
    }

    private static Properties describe(int index) {
        MemorySegment struct = Native.struct(gatun_cuda_device::layout);
        Native.checkCuda(gatun_cuda_describe_device(index, struct));
        try (Arena arena = Arena.ofConfined()) {
            cudaDeviceProp more = new cudaDeviceProp(
                    new CudaRuntime.Address(arena.allocate(Loader.sizeof(cudaDeviceProp.class), Long.BYTES)));
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

    /**
     * The bytes of memory that nobody uses now.
     *
     * @throws GatunException if earlier work failed
     */
    public long freeBytes() {
        return CudaRuntime.with(index, CudaRuntime::memory)[0];
    }

    // ---- memory ----------------------------------------------------------------------------------------------------

    @Override
    protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
        MemorySegment memory = NativeMemory.allocate(bytes, arena, () -> allocate(bytes, zeros), this::free);
        if (memory == null) {
            long[] sizes = CudaRuntime.with(index, CudaRuntime::memory);
            throw new GatunException("memory: given a request for " + bytes + " bytes on " + this + "; allowed: the "
                    + sizes[0] + " bytes that are free, of " + sizes[1]);
        }
        return memory;
    }

    @Override
    protected MemorySegment pinnedMemory(Arena arena, long bytes) {
        int flags = cudart.cudaHostAllocPortable;
        MemorySegment memory = NativeMemory.allocate(
                bytes,
                arena,
                () -> allocate(bytes, "pinned ", place -> cudart.cudaHostAlloc(place, bytes, flags)),
                address -> {
                    // Any device may still copy.
                    Cuda.devices().forEach(CudaDevice::finish);
                    release(() -> cudart.cudaFreeHost(new CudaRuntime.Address(address)));
                });
        if (memory == null) {
            throw new GatunException("memory: given a request for " + bytes + " pinned bytes; allowed: what the system"
                    + " has left and lets a process pin");
        }
        return memory.fill((byte) 0);
    }

    /** Cleared before anybody can close the arena. */
    private long allocate(long bytes, boolean zeros) {
        long address = allocate(bytes, "", place -> cudart.cudaMalloc(place, bytes));
        if (zeros && address != 0) {
            try {
                clear(address, bytes);
            } catch (GatunException failed) {
                free(address);
                throw failed;
            }
        }
        return address;
    }

    private void free(long address) {
        release(() -> cudart.cudaFree(new CudaRuntime.Address(address)));
    }

    private long allocate(long bytes, String kind, ToIntFunction<Pointer> function) {
        String what = "allocating " + bytes + " " + kind + "bytes for " + this;
        return CudaRuntime.relaxed(index, () -> CudaRuntime.allocated(what, function));
    }

    /** On a stream for nothing else, so that it neither waits for work nor is part of a graph that is captured. */
    private void clear(long address, long bytes) {
        CudaRuntime.relaxed(index, () -> {
            CUstream_st stream = clearing();
            CudaRuntime.check(
                    cudart.cudaMemsetAsync(new CudaRuntime.Address(address), 0, bytes, stream), "cudaMemsetAsync");
            CudaRuntime.check(cudart.cudaStreamSynchronize(stream), "clearing " + bytes + " bytes on " + this);
            return null;
        });
    }

    private synchronized CUstream_st clearing() {
        if (clearing == null) {
            clearing = CudaRuntime.newStream(cudart.cudaStreamNonBlocking);
        }
        return clearing;
    }

    /**
     * Frees memory, for which the runtime waits until the device has done its work. Nobody asks for errors here, and those
     * of earlier work come again where somebody waits for it.
     */
    private void release(Supplier<Integer> free) {
        try {
            CudaRuntime.relaxed(index, () -> {
                CudaRuntime.check(free.get(), "freeing memory");
                return null;
            });
        } catch (GatunException failed) {
            // as said above
        }
    }

    /** Waits for the device if it ever had work, whether or not that failed. */
    private void finish() {
        if (works) {
            release(cudart::cudaDeviceSynchronize);
        }
    }

    /** There is a stream that may have work. */
    void mayWork() {
        works = true;
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

    /**
     * A new stream, which is ordered with CUDA's default stream; its owner closes it.
     *
     * @throws GatunException if CUDA has none left, or earlier work failed
     */
    public CudaStream newStream() {
        return CudaStream.create(this);
    }

    /**
     * A stream of another framework, which keeps it: a cudaStream_t or CUstream, 0 for CUDA's default stream. Who captures
     * a graph keeps what this returns as long as the graph is used, see {@link CudaStream#run}.
     *
     * @throws IllegalArgumentException if it is a stream of another device, or where CUDA notices that it is none
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
        int error = CudaRuntime.with(index, cudart::cudaDeviceSynchronize);
        CudaRuntime.check(error, "work of " + this + " failed");
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
