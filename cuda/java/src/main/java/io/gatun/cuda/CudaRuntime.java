package io.gatun.cuda;

import io.gatun.GatunException;
import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * The CUDA runtime as JavaCPP's presets bring it: whether it is there, its errors, its pointers. What functions write to is
 * memory of Java: JavaCPP refuses memory of its own once all of the process takes more than a limit.
 */
final class CudaRuntime {
    private static String problem;
    private static boolean loaded;

    private CudaRuntime() {}

    /** A pointer of the presets to any address, which it neither owns nor frees. */
    static final class Address extends Pointer {
        Address(long value) {
            address = value;
        }

        Address(MemorySegment memory) {
            this(memory.address());
        }
    }

    /**
     * Loads Gatun's libraries and the presets.
     *
     * @throws UnsatisfiedLinkError with what is missing and the remedy; again by each call
     */
    static synchronized void load() {
        if (loaded) {
            return;
        }
        NativeLibrary.load();
        CudaLibrary.load();
        if (problem == null) {
            try {
                cudart.cudaGetLastError();
                loaded = true;
                return;
            } catch (LinkageError e) {
                problem = problem(e);
            }
        }
        throw new UnsatisfiedLinkError(problem);
    }

    private static String problem(LinkageError error) {
        StringBuilder reasons = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            reasons.append("\n  - ").append(cause);
        }
        return "The CUDA runtime of JavaCPP's presets can't be used:" + reasons + "\nRemedies:"
                + "\n  - put org.bytedeco:cuda:13.1-9.19-1.5.13 and org.bytedeco:javacpp:1.5.13 on the class path or module"
                + " path, each also with the classifier " + NativeLibrary.platform()
                + "\n  - install the runtime of CUDA 13, libcudart.so.13, and name its folder, for instance"
                + " LD_LIBRARY_PATH=/usr/local/cuda/lib64";
    }

    /** Turns an error of the runtime into an exception that says what failed. */
    static void check(int error, String what) {
        if (error != cudart.cudaSuccess) {
            cudart.cudaGetLastError(); // so that it is not taken for that of the next call
            throw new GatunException(what + ": " + text(error));
        }
    }

    static String text(int error) {
        return cudart.cudaGetErrorString(error).getString() + " ("
                + cudart.cudaGetErrorName(error).getString() + ")";
    }

    /** Runs with a device current in this thread, and then again what was. */
    static <T> T with(int device, Supplier<T> action) {
        int[] before = new int[1];
        check(cudart.cudaGetDevice(before), "cudaGetDevice");
        if (before[0] == device) {
            return action.get();
        }
        check(cudart.cudaSetDevice(device), "cudaSetDevice(" + device + ")");
        try {
            return action.get();
        } finally {
            cudart.cudaSetDevice(before[0]);
        }
    }

    /**
     * The same, and what makes, fills or frees memory spoils no graph that some thread captures meanwhile. A wait for the
     * whole device, as before pinned memory is freed, does.
     */
    static <T> T relaxed(int device, Supplier<T> action) {
        return with(device, () -> {
            int[] mode = {cudart.cudaStreamCaptureModeRelaxed};
            check(cudart.cudaThreadExchangeStreamCaptureMode(mode), "cudaThreadExchangeStreamCaptureMode");
            try {
                return action.get();
            } finally {
                cudart.cudaThreadExchangeStreamCaptureMode(mode);
            }
        });
    }

    /** The address that a function gives its argument, 0 if it has no memory. */
    static long allocated(String what, ToIntFunction<Pointer> function) {
        Pointer memory = new Pointer();
        int error = function.applyAsInt(memory);
        if (error == cudart.cudaErrorMemoryAllocation) {
            cudart.cudaGetLastError();
            return 0;
        }
        check(error, what);
        return memory.address();
    }

    /** Free and all bytes of the current device. */
    static long[] memory() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment all = arena.allocate(ValueLayout.JAVA_LONG);
            check(
                    cudart.cudaMemGetInfo(new SizeTPointer(new Address(free)), new SizeTPointer(new Address(all))),
                    "cudaMemGetInfo");
            return new long[] {free.get(ValueLayout.JAVA_LONG, 0), all.get(ValueLayout.JAVA_LONG, 0)};
        }
    }

    static CUstream_st stream(long handle) {
        return new CUstream_st(new Address(handle));
    }

    /** A new stream of the current device. */
    static CUstream_st newStream(int flags) {
        CUstream_st stream = new CUstream_st();
        check(cudart.cudaStreamCreateWithFlags(stream, flags), "cudaStreamCreateWithFlags");
        return stream;
    }
}
