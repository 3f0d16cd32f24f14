package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.Decode;
import io.gatun.ops.KvFormat;
import io.gatun.ops.KvPool;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.Optimizer;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Parameter;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Sparsity;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Once warmed up, a call on the device makes a few small objects, whatever its arguments are. */
class AllocationOnDeviceTest {
    private static final int CALLS = 8;
    private static final int ROUNDS = 5;
    /** Of calls that nothing has compiled yet; those that wait take the most. */
    private static final long MOST_BYTES = 16384;

    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static void assertFew(String what, Runnable call) {
        run(call);
        long least = Long.MAX_VALUE;
        for (int round = 0; round < ROUNDS && least > MOST_BYTES; round++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            run(call);
            least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / CALLS);
        }
        assertTrue(least <= MOST_BYTES, what + " allocates " + least + " bytes");
    }

    private static void run(Runnable call) {
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
    }

    @Test
    void products() {
        Tensor x = DEVICE.allocate(DType.F32, 1, 32);
        Tensor y = DEVICE.allocate(DType.F32, 1, 8);
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 8, 32), QuantSpec.int8())
                .to(DEVICE);
        assertFew("QMatmul.run", () -> QMatmul.run(x, w, y));
        Tensor dense = Tensor.allocate(DType.F32, 8, 32);
        NmWeights sparse = NmMatmul.pack(Prune.compress(dense, Prune.Score.magnitude(), Sparsity.nm(2, 4)))
                .to(DEVICE);
        assertFew("NmMatmul.run", () -> NmMatmul.run(x, sparse, y));
    }

    @Test
    void steps() {
        Optimizer adam = Optimizer.adam(Parameter.of("w", DEVICE.allocate(DType.F32, 16)));
        assertFew("Optimizer.step", adam::step);
        assertFew("Optimizer.stepClipped", () -> adam.stepClipped(1));
    }

    @Test
    void attention() {
        Tensor q = DEVICE.allocate(DType.F32, 1, 1, 1, 8);
        Tensor out = DEVICE.allocate(DType.F32, 1, 1, 1, 8);
        assertFew("Attention.run", () -> Attention.run(q, q, q, out));
        Tensor lse = DEVICE.allocate(DType.F32, 1, 1, 1);
        assertFew("Attention.merge", () -> Attention.merge(q, lse, q, lse, out, null));
        KvPool pool = KvPool.allocate(DEVICE, KvFormat.F32, 1, 2, 16, 8);
        long[] lengths = {5};
        assertFew("Decode.run", () -> Decode.run(q, pool, pool, null, lengths, out));
        Tensor x = DEVICE.allocate(DType.F32, 1, 1, 8);
        long[] slots = {3};
        long[] others = {4};
        assertFew("KvPool.write", () -> pool.write(x, slots));
        assertFew("KvPool.read", () -> pool.read(slots, x));
        assertFew("KvPool.move", () -> pool.move(slots, others));
        KvPool codes = KvPool.allocate(DEVICE, KvFormat.int8(), 1, 2, 16, 8);
        assertFew("KvPool.write of codes", () -> codes.write(x, slots));
    }
}
