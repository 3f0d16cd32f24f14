package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.Test;

class CudaCallTest {
    /** Of memory of the CPU; its work does nothing, and fails if it is told so. */
    private static final class CountingDevice extends Device {
        int pinned;
        boolean fails;

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
                if (fails) {
                    throw new GatunException("failed");
                }
            }

            @Override
            protected void transfer(Tensor from, Tensor to) {}
        };

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
            return "counting:0";
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
