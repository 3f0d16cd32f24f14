package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Once compiled, a call allocates nothing on the heap. */
class AllocationTest {
    private static final int WARM_UP = 30_000;
    private static final int CALLS = 10_000;
    private static final int ATTEMPTS = 5;

    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    /** The least of several attempts: the compiler may still replace code during one of them. */
    private static long bytesOf(Runnable call) {
        for (int i = 0; i < WARM_UP; i++) {
            call.run();
        }
        long least = Long.MAX_VALUE;
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < CALLS; i++) {
                call.run();
            }
            least = Math.min(least, THREADS.getCurrentThreadAllocatedBytes() - before);
        }
        return least;
    }

    private static void assertNone(String what, Runnable call) {
        long bytes = bytesOf(call);
        assertTrue(bytes < CALLS / 10, what + " allocates " + bytes + " bytes in " + CALLS + " calls");
    }

    @Test
    void seesOneAllocationACall() {
        Object[] kept = new Object[1];
        long bytes = bytesOf(() -> kept[0] = new Object());
        assertTrue(bytes >= 8L * CALLS, bytes + " bytes");
    }

    @Test
    void qmatmul() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 16, 32), QuantSpec.int8());
        Tensor y = Tensor.allocate(DType.F32, 2, 16);
        QMatmul.Options options = QMatmul.Options.DEFAULT
                .withBias(Tensor.allocate(DType.F32, 16))
                .withResidual(y)
                .withActivation(QMatmul.Activation.GELU)
                .withThreads(1);
        assertNone("QMatmul.run", () -> QMatmul.run(x, w, y, options));
    }

    @Test
    void quantize() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        QuantizedTensor out = QuantizedTensor.allocate(QuantSpec.int4Asymmetric(16), 2, 32);
        assertNone("Quantize.run", () -> Quantize.run(x, out, 1));
        assertNone("Quantize.dequantize", () -> Quantize.dequantize(out, x, 1));
    }

    @Test
    void norm() {
        Tensor x = Tensor.allocate(DType.F32, 2, 32);
        Tensor weight = Tensor.allocate(DType.F32, 32);
        assertNone("Norm.layer", () -> Norm.layer(x, weight, weight, 1e-5f, x, 1));
    }
}
