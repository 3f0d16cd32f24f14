package io.gatun.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.function.Executable;

/** What only a GPU has: streams, events, pinned memory, and too little memory. */
@EnabledIfSystemProperty(named = Devices.PROPERTY, matches = ".+")
class CudaTest {
    private final CudaDevice device = Cuda.device(0);

    @Test
    void describesDevices() {
        assertSame(device, Cuda.device(0));
        assertTrue(device.properties().supported(), device.properties()::toString);
        assertTrue(device.freeBytes() > 0
                && device.freeBytes() <= device.properties().memoryBytes());
        assertTrue(Cuda.report().contains(device.properties().name()), Cuda::report);
        int count = Cuda.devices().size();
        assertThrows(IllegalArgumentException.class, () -> Cuda.device(count));
        assertThrows(IllegalArgumentException.class, () -> Cuda.device(-1));
    }

    @Test
    void copiesAsynchronouslyWithPinnedMemory() {
        long size = 1 << 22;
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = device.newStream();
                CudaEvent before = stream.record()) {
            Tensor from = device.pinned(arena, DType.F32, size);
            assertSame(Device.CPU, from.device());
            Tensor back = device.pinned(arena, DType.F32, size);
            from.setFloat(7, size - 1);
            Tensor there = device.allocate(arena, DType.F32, size);
            stream.copy(from, there);
            stream.copy(there, back);
            try (CudaEvent after = stream.record()) {
                after.synchronize();
                assertTrue(after.isDone() && stream.isDone());
                assertTrue(after.millisecondsSince(before) > 0);
                assertEquals(7, back.getFloat(size - 1));
            }
        }
    }

    @Test
    void opsGoToTheStreamOfTheThread() throws Exception {
        Tensor x = QuantizeOnDeviceTest.random(1, DType.F32, 64, 256).to(device);
        QuantizedTensor quantized = Quantize.run(x, QuantSpec.int8());
        float[] expected = Quantize.dequantize(quantized, DType.F32).toFloatArray();
        try (CudaStream first = device.newStream();
                CudaStream second = device.newStream()) {
            Tensor a = device.allocate(DType.F32, 64, 256);
            Tensor b = device.allocate(DType.F32, 64, 256);
            first.run(() -> {
                assertSame(first, device.stream());
                second.run(() -> assertSame(second, device.stream()));
                assertSame(first, device.stream());
                CompletableFuture.runAsync(() -> assertNotSame(first, device.stream()))
                        .join();
                Quantize.dequantize(quantized, a);
            });
            try (CudaEvent done = first.record()) {
                second.await(done);
                second.copy(a, b);
            }
            second.synchronize();
            assertArrayEquals(expected, b.toFloatArray());
        }
    }

    @Test
    void takesStreamsAndPointersOfOthers() {
        Tensor x = QuantizeOnDeviceTest.random(1, DType.F32, 8, 64).to(device);
        try (CudaStream owner = device.newStream();
                CudaStream wrapped = device.wrapStream(owner.address())) {
            Tensor view = device.wrap(x.address(), DType.F32, 8, 64);
            wrapped.run(() -> assertArrayEquals(
                    Quantize.run(x, QuantSpec.int8()).codes().toFloatArray(),
                    Quantize.run(view, QuantSpec.int8()).codes().toFloatArray()));
        }
        assertEquals(0, device.wrapStream(0).address());
    }

    @Test
    void aClosedStreamRefusesWork() {
        CudaStream stream = device.newStream();
        stream.close();
        stream.close();
        assertThrows(IllegalStateException.class, stream::synchronize);
        assertThrows(IllegalStateException.class, () -> stream.run(() -> {}));
    }

    @Test
    void tooLittleMemoryIsAnErrorWithTheNumbers() {
        long bytes = device.properties().memoryBytes() + 1;
        GatunException refused = assertThrows(GatunException.class, () -> device.allocate(DType.U8, bytes));
        assertTrue(refused.getMessage().contains("a request for " + bytes + " bytes on cuda:0"), refused::getMessage);
        assertTrue(refused.getMessage().endsWith(", of " + device.properties().memoryBytes()), refused::getMessage);
        try (Arena arena = Arena.ofShared()) {
            assertArrayEquals(new float[4], device.allocate(arena, DType.F32, 4).toFloatArray());
        }
    }

    @Test
    void aClosedStreamMakesNoEvents() {
        CudaStream stream = device.newStream();
        CudaEvent earlier = stream.record();
        CudaEvent later = stream.record();
        stream.close();
        assertClosed("stream", stream::record);
        assertClosed("stream", stream::handle);
        assertClosed("stream", () -> stream.await(later));
        earlier.close();
        earlier.close();
        assertClosed("event", earlier::isDone);
        assertClosed("event", earlier::synchronize);
        assertClosed("earlier", () -> later.millisecondsSince(earlier));
        later.close();
    }

    private static void assertClosed(String argument, Executable call) {
        IllegalStateException refused = assertThrows(IllegalStateException.class, call);
        assertTrue(refused.getMessage().startsWith(argument + ": given a closed "), refused::getMessage);
    }

    /** Work of the emulated runtime is done when something waits for it: on its last device nothing else does. */
    @Test
    @EnabledIfSystemProperty(named = Devices.PROPERTY, matches = "emulated-runtime")
    void whatIsWrongWithStreamsAndEventsIsNamed() {
        IllegalArgumentException none = assertThrows(IllegalArgumentException.class, () -> device.wrapStream(0x1234));
        assertEquals(
                "handle: given 0x1234, of which CUDA says: invalid resource handle (cudaErrorInvalidResourceHandle);"
                        + " allowed: streams of cuda:0, 0 for its default stream",
                none.getMessage());
        CudaDevice quiet = Cuda.device(2);
        try (CudaStream stream = quiet.newStream();
                CudaStream other = Cuda.device(1).newStream();
                CudaEvent before = stream.record();
                CudaEvent after = stream.record();
                CudaEvent there = other.record()) {
            IllegalStateException early =
                    assertThrows(IllegalStateException.class, () -> after.millisecondsSince(before));
            assertTrue(early.getMessage().startsWith("earlier: given an event that is not done"), early::getMessage);
            IllegalArgumentException foreign =
                    assertThrows(IllegalArgumentException.class, () -> after.millisecondsSince(there));
            assertEquals("earlier: given an event of cuda:1; allowed: events of cuda:2", foreign.getMessage());
            assertThrows(IllegalArgumentException.class, () -> Cuda.device(1).wrapStream(stream.address()));
        }
    }

    @Test
    void theDefaultStreamIsThatOfItsDevice() {
        Tensor x = QuantizeOnDeviceTest.random(1, DType.F32, 8, 64);
        float[] expected = Quantize.dequantize(Quantize.run(x, QuantSpec.int8()), DType.F32)
                .toFloatArray();
        for (CudaDevice each : Cuda.devices()) {
            if (each.properties().supported()) {
                try (CudaStream stream = each.wrapStream(0)) {
                    stream.run(() -> assertArrayEquals(
                            expected,
                            Quantize.dequantize(Quantize.run(x.to(each), QuantSpec.int8()), DType.F32)
                                    .toFloatArray()));
                }
            }
        }
    }

    @Test
    void memoryOfAnotherDeviceStaysUntilItIsCopied() {
        List<CudaDevice> devices = Cuda.devices();
        assumeTrue(devices.size() > 1, "there is one device");
        Tensor from = TensorOnDeviceTest.counting(1000).to(device);
        try (Arena arena = Arena.ofConfined()) {
            device.stream().copy(from, devices.get(1).allocate(arena, DType.F32, 1000));
        }
        device.synchronize();
    }
}
