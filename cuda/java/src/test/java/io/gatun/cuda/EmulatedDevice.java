package io.gatun.cuda;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.GatunException;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeMemory;
import io.gatun.bindings.c.gatun_cuda_h;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicLong;

/** The device of libgatun_cuda_emulated: the CUDA kernels, run by the CPU when they are launched. */
final class EmulatedDevice extends Device {
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;

    private final MethodHandle allocate;
    private final MethodHandle free;
    private final long most;
    /** The bytes that are allocated now. */
    final AtomicLong allocated = new AtomicLong();

    private final DeviceStream stream = new DeviceStream(this) {
        @Override
        public MemorySegment handle() {
            return MemorySegment.NULL;
        }

        @Override
        public synchronized void queue(Runnable work) {
            work.run();
        }

        @Override
        public void synchronize() {
            if (Thread.holdsLock(this)) {
                throw new IllegalStateException("waits while it keeps other threads from queueing work");
            }
        }

        @Override
        protected void transfer(Tensor from, Tensor to) {
            queue(() -> Native.callCuda(
                    () -> gatun_cuda_h.gatun_cuda_copy(to.pointer(), from.pointer(), from.byteSize(), handle())));
        }
    };

    EmulatedDevice() {
        this(Long.MAX_VALUE);
    }

    /** With so many bytes of memory. */
    EmulatedDevice(long most) {
        this.most = most;
        CudaLibrary.load();
        allocate = function("gatun_emulator_allocate", FunctionDescriptor.of(LONG, LONG));
        free = function("gatun_emulator_free", FunctionDescriptor.ofVoid(LONG));
    }

    private static MethodHandle function(String name, FunctionDescriptor descriptor) {
        MemorySegment symbol = SymbolLookup.loaderLookup().find(name).orElseThrow();
        return Linker.nativeLinker().downcallHandle(symbol, descriptor);
    }

    private static Object call(MethodHandle function, Object... arguments) {
        try {
            return function.invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    @Override
    protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
        MemorySegment memory = NativeMemory.allocate(
                bytes,
                arena,
                () -> {
                    if (allocated.addAndGet(bytes) > most) {
                        allocated.addAndGet(-bytes);
                        return 0;
                    }
                    return (long) call(allocate, bytes);
                },
                address -> {
                    call(free, address);
                    allocated.addAndGet(-bytes);
                });
        if (memory == null) {
            throw new GatunException("memory: given a request for " + bytes + " bytes; allowed: " + most + " in all");
        }
        return memory.fill((byte) (zeros ? 0 : -1));
    }

    /** As {@link CudaDevice#wrap(long, DType, Shape, long...)}. */
    Tensor wrap(long address, DType dtype, Shape shape, long... strides) {
        Tensor tensor = at(address, dtype, shape, strides);
        Native.checkCuda(gatun_cuda_h.gatun_cuda_check_memory(0, tensor.pointer(), tensor.byteSize()));
        return tensor;
    }

    @Override
    public DeviceStream stream() {
        return stream;
    }

    @Override
    public void synchronize() {}

    @Override
    public int index() {
        return 0;
    }

    @Override
    public String toString() {
        return "emulated:0";
    }
}
