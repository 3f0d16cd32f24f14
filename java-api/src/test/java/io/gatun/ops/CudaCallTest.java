package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
            assertThrows(IllegalArgumentException.class, () -> CudaCall.found(device.stream(), 2, 0, refused));
            CudaCall.found(device.stream(), 2, 0, workspace -> 0);
        }
        assertEquals(1, device.pinned);
        device.fails = true;
        assertThrows(GatunException.class, () -> CudaCall.found(device.stream(), 2, 0, workspace -> 0));
        device.fails = false;
        CudaCall.found(device.stream(), 2, 0, workspace -> 0);
        assertEquals(2, device.pinned);
    }

    @Test
    void thereIsRoomForAnyNumberOfNumbers() {
        CountingDevice device = new CountingDevice();
        for (int count : new int[] {1, 500, 3, 500}) {
            long[] found = CudaCall.found(device.stream(), count, 40, workspace -> {
                assertTrue(workspace.byteSize() >= count * 8L + 40);
                assertEquals(0, CudaCall.own(workspace, count).address() % 256);
                assertTrue(CudaCall.own(workspace, count).address() >= workspace.address() + count * 8L);
                return 0;
            });
            assertEquals(count, found.length);
        }
        assertTrue(device.pinned <= 2, device.pinned + " places");
    }
}
