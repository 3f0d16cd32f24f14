package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.NativeMemory;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;

/** Memory of a device, and what goes there and comes back. */
class TensorOnDeviceTest {
    static Tensor counting(long... shape) {
        float[] values = new float[(int) Shape.of(shape).elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = i;
        }
        return Tensor.of(values, shape);
    }

    @Test
    void goesThereAndComesBack() {
        for (long[] shape : new long[][] {{0}, {1}, {3, 5}, {2, 0}, {}, {2, 3, 4}}) {
            Tensor host = counting(shape);
            Tensor there = host.to(DEVICE);
            assertSame(DEVICE, there.device());
            assertEquals(host.describe(), there.describe());
            assertArrayEquals(host.toFloatArray(), there.toFloatArray());
            assertArrayEquals(host.toFloatArray(), there.to(Device.CPU).toFloatArray());
            assertSame(there, there.to(DEVICE));
        }
    }

    @Test
    void viewsComeBackAsTheirElements() {
        Tensor host = counting(6, 8);
        Tensor there = host.to(DEVICE);
        assertArrayEquals(
                host.slice(1, 2, 5).toFloatArray(), there.slice(1, 2, 5).toFloatArray());
        assertArrayEquals(host.transpose().toFloatArray(), there.transpose().toFloatArray());
        assertArrayEquals(
                host.transpose().toFloatArray(), host.transpose().to(DEVICE).toFloatArray(), "a copy is contiguous");
        assertTrue(host.transpose().to(DEVICE).isContiguous());
        Tensor packed = Tensor.of(DType.U4, new byte[] {0x21, 0x03, 0x54, 0x06}, 2, 3);
        assertArrayEquals(packed.toFloatArray(), packed.to(DEVICE).toFloatArray());
    }

    @Test
    void newMemoryIsZero() {
        assertArrayEquals(new float[1000], DEVICE.allocate(DType.F32, 1000).toFloatArray());
        assertEquals(0, DEVICE.allocate(DType.F16, 3).address() % 256);
    }

    @Test
    void copiesIntoMemoryThatIsThere() {
        Tensor from = counting(4, 4);
        Tensor there = DEVICE.allocate(DType.F32, 4, 4);
        DEVICE.copy(from, there);
        Tensor beside = DEVICE.allocate(DType.F32, 4, 4);
        DEVICE.stream().copy(there, beside);
        DEVICE.copy(beside.slice(0, 1, 3), there.slice(0, 2, 4));
        Tensor back = Tensor.allocate(DType.F32, 4, 4);
        DEVICE.stream().copy(there, back);
        DEVICE.stream().synchronize();
        float[] expected = from.toFloatArray();
        System.arraycopy(expected.clone(), 4, expected, 8, 8);
        assertArrayEquals(expected, back.toFloatArray());
    }

    @Test
    void memoryOfOthersIsCheckedWhenItIsWrapped() {
        Tensor owner = counting(4, 6).to(DEVICE);
        Tensor wrapped = Devices.wrap(owner.address() + 4, DType.F32, Shape.of(3, 2), 6, 2);
        assertArrayEquals(new float[] {1, 3, 7, 9, 13, 15}, wrapped.toFloatArray());
        assertSame(DEVICE, wrapped.device());

        Tensor host = counting(4, 6);
        IllegalArgumentException refused = assertThrows(
                IllegalArgumentException.class, () -> Devices.wrap(host.address(), DType.F32, Shape.of(4, 6)));
        assertTrue(refused.getMessage().contains("host memory that device 0 cannot use"), refused::getMessage);
        assertTrue(refused.getMessage().contains(Long.toHexString(host.address())), refused::getMessage);
        IllegalArgumentException misaligned = assertThrows(
                IllegalArgumentException.class, () -> Devices.wrap(owner.address() + 2, DType.F32, Shape.of(1)));
        assertTrue(misaligned.getMessage().endsWith("allowed: a multiple of 4 for f32"), misaligned::getMessage);
    }

    @Test
    void anArenaEndsTheMemory() {
        Tensor kept;
        try (Arena arena = Arena.ofConfined()) {
            kept = DEVICE.allocate(arena, DType.F32, 8);
            assertArrayEquals(new float[8], kept.toFloatArray());
        }
        assertThrows(IllegalStateException.class, kept::toFloatArray);
        assertThrows(IllegalStateException.class, () -> kept.to(Device.CPU));
        assertThrows(IllegalStateException.class, () -> DEVICE.stream().copy(counting(8), kept));
    }

    @Test
    void theWorkspaceGrowsAndStays() {
        synchronized (DEVICE.stream()) {
            Tensor small = DEVICE.stream().workspace(100);
            assertSame(small, DEVICE.stream().workspace(50));
            assertTrue(DEVICE.stream().workspace(1 << 20).byteSize() >= 1 << 20);
        }
    }

    @Test
    @DisabledIfSystemProperty(named = Devices.PROPERTY, matches = "gpu")
    void aWorkspaceThatGrowsSlowlyTakesLittle() {
        EmulatedDevice device = new EmulatedDevice();
        synchronized (device.stream()) {
            for (int bytes = 1; bytes <= 4096; bytes++) {
                device.stream().workspace(bytes);
            }
        }
        assertTrue(device.allocated.get() < 4 * 4096, device.allocated::toString);
    }

    @Test
    @DisabledIfSystemProperty(named = Devices.PROPERTY, matches = "gpu")
    void aWorkspaceTakesWhatThereIs() {
        EmulatedDevice device = new EmulatedDevice(1 << 20);
        synchronized (device.stream()) {
            device.stream().workspace(400_000);
            assertEquals(500_000, device.stream().workspace(500_000).byteSize());
            assertThrows(GatunException.class, () -> device.stream().workspace(600_000));
        }
    }

    @Test
    @DisabledIfSystemProperty(named = Devices.PROPERTY, matches = "gpu")
    void memoryThatNothingRefersToIsFreedWhenItIsNeeded() {
        EmulatedDevice device = new EmulatedDevice(1 << 20);
        for (int i = 0; i < 20; i++) {
            device.allocate(DType.U8, 1 << 18);
        }
        Tensor kept = device.allocate(DType.U8, 1 << 19);
        GatunException refused = assertThrows(GatunException.class, () -> device.allocate(DType.U8, 1 << 20));
        assertTrue(refused.getMessage().contains("a request for 1048576 bytes"), refused::getMessage);
        assertEquals(1 << 19, kept.byteSize());
    }

    @Test
    void anArenaThatRefusesMemoryLosesNone() throws Exception {
        try (Arena confined = Arena.ofConfined()) {
            CompletableFuture.runAsync(() -> {
                        String message = assertThrows(
                                        WrongThreadException.class, () -> DEVICE.allocate(confined, DType.F32, 4))
                                .getMessage();
                        assertTrue(message.startsWith("arena: given another thread's confined arena"), message);
                    })
                    .get();
        }
        Arena closed = Arena.ofConfined();
        closed.close();
        List<Long> freed = new ArrayList<>();
        assertThrows(IllegalStateException.class, () -> NativeMemory.allocate(8, closed, () -> 4096, freed::add));
        assertEquals(List.of(4096L), freed);
    }

    @Test
    void anInterruptedThreadWaitsForMemoryToo() {
        Iterator<Long> addresses = List.of(0L, 0L, 4096L).iterator();
        Thread.currentThread().interrupt();
        assertEquals(
                4096,
                NativeMemory.allocate(8, Arena.ofAuto(), addresses::next, address -> {})
                        .address());
        assertTrue(Thread.interrupted());
    }

    @Test
    void aCopyRefusesOverlaps() {
        Tensor there = counting(4, 6).to(DEVICE);
        IllegalArgumentException refused = assertThrows(
                IllegalArgumentException.class, () -> DEVICE.stream().copy(there.slice(0, 0, 3), there.slice(0, 1, 4)));
        assertEquals("to: given memory that overlaps from; allowed: memory of its own", refused.getMessage());
    }

    /** Nobody waits: memory that is not pinned may change as soon as copy returns. */
    @Test
    void aCopyOfMemoryThatIsNotPinnedIsDone() {
        Tensor from = counting(1000);
        float[] expected = from.toFloatArray();
        Tensor there = DEVICE.allocate(DType.F32, 1000);
        DEVICE.stream().copy(from, there);
        from.segment().fill((byte) -1);
        Tensor back = Tensor.allocate(DType.F32, 1000);
        DEVICE.stream().copy(there, back);
        assertArrayEquals(expected, back.toFloatArray());
    }

    @Test
    void anArenaStaysOpenDuringACopy() throws Exception {
        long size = 1 << 22;
        Tensor host = Tensor.allocate(DType.F32, size);
        for (int i = 0; i < 20; i++) {
            Arena arena = Arena.ofShared();
            Tensor there = DEVICE.allocate(arena, DType.F32, size);
            CompletableFuture<Void> closing = CompletableFuture.runAsync(() -> {
                while (true) {
                    try {
                        arena.close();
                        return;
                    } catch (IllegalStateException inUse) {
                        Thread.onSpinWait();
                    }
                }
            });
            assertThrows(IllegalStateException.class, () -> {
                while (true) {
                    DEVICE.stream().copy(there, host);
                }
            });
            closing.get();
        }
    }
}
