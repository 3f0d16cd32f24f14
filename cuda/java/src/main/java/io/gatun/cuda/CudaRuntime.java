package io.gatun.cuda;

import io.gatun.GatunException;
import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeLibrary;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;

/** The CUDA runtime as JavaCPP's presets bring it: whether it is there, its errors, its pointers. */
final class CudaRuntime {
    private static String problem;
    private static boolean loaded;

    private CudaRuntime() {}

    /** A pointer of the presets to any address, which it neither owns nor frees. */
    static final class Address extends Pointer {
        Address(long value) {
            address = value;
        }
    }

    /** Whatever runs with a device current. */
    @FunctionalInterface
    interface Action {
        void run();
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
    static void with(int device, Action action) {
        int[] before = new int[1];
        check(cudart.cudaGetDevice(before), "cudaGetDevice");
        if (before[0] == device) {
            action.run();
            return;
        }
        check(cudart.cudaSetDevice(device), "cudaSetDevice(" + device + ")");
        try {
            action.run();
        } finally {
            cudart.cudaSetDevice(before[0]);
        }
    }

    /** Free and all bytes of the current device. */
    static long[] memory() {
        try (SizeTPointer free = new SizeTPointer(1);
                SizeTPointer total = new SizeTPointer(1)) {
            check(cudart.cudaMemGetInfo(free, total), "cudaMemGetInfo");
            return new long[] {free.get(), total.get()};
        }
    }

    static CUstream_st stream(long handle) {
        return new CUstream_st(new Address(handle));
    }
}
