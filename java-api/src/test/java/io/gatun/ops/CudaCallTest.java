package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.devices.FakeDevice;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.Test;

class CudaCallTest {
    /** Of memory of the CPU; its work does nothing, and fails if it is told so. */
    private static final class CountingDevice extends FakeDevice {
        int pinned;
        boolean fails;

        CountingDevice() {
            super("counting:0");
        }

        @Override
        protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
            return arena.allocate(bytes, 256);
        }

        @Override
        protected MemorySegment pinnedMemory(Arena arena, long bytes) {
            pinned++;
            return super.pinnedMemory(arena, bytes);
        }

        @Override
        public void synchronize() {
            if (fails) {
                throw new GatunException("failed");
            }
        }
    }

    /** Pinned memory that is garbage would wait for all devices at any time. */
    @Test
    void pinnedMemoryIsLostOnlyToWorkThatMayStillWriteThere() {
        CountingDevice device = new CountingDevice();
        ToIntFunction<Tensor> refused = workspace -> {
            throw Check.invalid("x", 1, 2);
        };
        for (int i = 0; i < 3; i++) {
            assertThrows(IllegalArgumentException.class, () -> CudaCall.faults(device.stream(), 0, refused));
            CudaCall.faults(device.stream(), 0, workspace -> 0);
        }
        assertEquals(1, device.pinned);
        device.fails = true;
        assertThrows(GatunException.class, () -> CudaCall.faults(device.stream(), 0, workspace -> 0));
        device.fails = false;
        CudaCall.faults(device.stream(), 0, workspace -> 0);
        assertEquals(2, device.pinned);
    }
}
