package io.gatun.cuda;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_device_count;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_report;

import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * The NVIDIA GPUs of this machine. The first call loads the driver, Gatun's kernels and JavaCPP's presets; each of the
 * methods throws {@link UnsatisfiedLinkError} with what is missing and the remedy if it cannot.
 */
public final class Cuda {
    private static final long REPORT_BYTES = 16384;
    private static final List<CudaDevice> known = new ArrayList<>();

    private Cuda() {}

    /**
     * All devices, those without kernels of Gatun, too; see {@link CudaDevice#properties}.
     *
     * @throws UnsupportedOperationException with the reason if the driver is too old, or knows no device
     */
    public static List<CudaDevice> devices() {
        CudaRuntime.load();
        synchronized (known) {
            if (known.isEmpty()) {
                try (Arena arena = Arena.ofConfined()) {
                    MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
                    Native.checkCuda(gatun_cuda_device_count(count));
                    for (int i = 0; i < count.get(ValueLayout.JAVA_INT, 0); i++) {
                        known.add(new CudaDevice(i));
                    }
                }
            }
            return List.copyOf(known);
        }
    }

    /**
     * A device by its number, as CUDA counts them in this process.
     *
     * @throws IllegalArgumentException if there is none of this number
     * @throws UnsupportedOperationException with the reason if the driver is too old, or knows no device
     */
    public static CudaDevice device(int index) {
        List<CudaDevice> devices = devices();
        Check.range("index", index, 0, devices.size() - 1);
        return devices.get(index);
    }

    /** A few lines for a person: driver, runtime, each device and whether there are kernels for it. */
    public static String report() {
        CudaRuntime.load();
        return Native.cudaText(REPORT_BYTES, text -> gatun_cuda_report(text, REPORT_BYTES));
    }
}
