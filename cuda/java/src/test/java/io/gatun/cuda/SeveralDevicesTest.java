package io.gatun.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What takes three devices that are surely late: those of the emulated runtime, of compute capability 9.0, 8.0 and 7.5. */
@EnabledIfSystemProperty(named = Devices.PROPERTY, matches = "emulated-runtime")
class SeveralDevicesTest {
    private final CudaDevice first = Cuda.device(0);
    private final CudaDevice second = Cuda.device(1);

    /**
     * Where work surely waits: no test of any class leaves memory of this device, or pinned memory, to the garbage
     * collector, which would run the device's work.
     */
    private final CudaDevice quiet = Cuda.device(2);

    @AfterEach
    void nothingOfTheRuntimeIsChanged() {
        assertEquals(cudart.cudaSuccess, cudart.cudaGetLastError());
        assertEquals(0, current());
    }

    private static int current() {
        int[] device = new int[1];
        cudart.cudaGetDevice(device);
        return device[0];
    }

    /** Pinned, with 7 in the end. */
    private static Tensor seven(Device device, Arena arena) {
        Tensor tensor = device.pinned(arena, DType.F32, 4);
        tensor.setFloat(7, 3);
        return tensor;
    }

    /** The second one has kernels of 8.0 alone. */
    @Test
    void aModeOfOneArchitecture() {
        Tensor q = second.allocate(DType.BF16, 1, 1, 3, 64);
        Tensor out = second.allocate(DType.BF16, 1, 1, 3, 64);
        Attention.Options options = Attention.Options.DEFAULT.withMode(Attention.Mode.INT8_FP8);
        assertEquals(
                "params.mode = 2 (INT8_FP8) on compute capability 8.0; allowed: 9.0, or another mode",
                assertThrows(UnsupportedOperationException.class, () -> Attention.run(q, q, q, out, options))
                        .getMessage());
    }

    // ---- order -----------------------------------------------------------------------------------------------------

    @Test
    void copiesWithPinnedMemoryReturnBeforeTheyAreDone() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = quiet.newStream()) {
            Tensor from = seven(quiet, arena);
            Tensor there = quiet.allocate(arena, DType.F32, 4);
            Tensor back = quiet.pinned(arena, DType.F32, 4);
            try (CudaEvent begin = stream.record()) {
                stream.copy(from, there);
                stream.copy(there, back);
                try (CudaEvent end = stream.record()) {
                    assertEquals(0, back.getFloat(3));
                    from.setFloat(8, 3);
                    assertFalse(stream.isDone() || end.isDone());
                    assertThrows(IllegalStateException.class, () -> end.millisecondsSince(begin));
                    for (int i = 0; !end.isDone(); i++) {
                        assertTrue(i < 10);
                    }
                    assertTrue(stream.isDone());
                    assertEquals(8, back.getFloat(3), "what was there when the copy ran");
                    assertTrue(end.millisecondsSince(begin) > 0);
                }
            }
        }
    }

    @Test
    void copiesWithOtherMemoryOfTheCpuAreDoneWhenTheyReturn() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = quiet.newStream()) {
            Tensor from = Tensor.of(new float[] {0, 0, 0, 7}, 4);
            Tensor there = quiet.allocate(arena, DType.F32, 4);
            Tensor back = Tensor.allocate(DType.F32, 4);
            stream.copy(from, there);
            from.setFloat(8, 3);
            stream.copy(there, back);
            assertEquals(7, back.getFloat(3));
        }
    }

    @Test
    void eventsOrderStreamsOfDifferentDevices() {
        for (boolean ordered : new boolean[] {true, false}) {
            try (Arena arena = Arena.ofConfined();
                    CudaStream one = quiet.newStream();
                    CudaStream two = second.newStream()) {
                Tensor a = quiet.allocate(arena, DType.F32, 4);
                Tensor b = second.allocate(arena, DType.F32, 4);
                Tensor back = second.pinned(arena, DType.F32, 4);
                one.copy(seven(quiet, arena), a);
                if (ordered) {
                    try (CudaEvent copied = one.record()) {
                        two.await(copied);
                    }
                }
                two.copy(a, b);
                two.copy(b, back);
                two.synchronize();
                assertEquals(ordered ? 7 : 0, back.getFloat(3), "in order: " + ordered);
            }
        }
    }

    @Test
    void opsAreLateToo() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = second.newStream()) {
            Tensor x = QuantizeOnDeviceTest.random(6, DType.F32, 3, 64);
            PackedWeights host = QMatmul.pack(QuantizeOnDeviceTest.random(5, DType.F32, 16, 64), QuantSpec.int8());
            PackedWeights w = host.to(second);
            Tensor there = x.to(second);
            Tensor y = second.allocate(arena, DType.F32, 3, 16);
            Tensor back = second.pinned(arena, DType.F32, 3, 16);
            boolean late = false;
            // The garbage collector may free memory of this device, which runs its work early, but not ten times.
            for (int i = 0; i < 10 && !late; i++) {
                back.segment().fill((byte) 0);
                stream.run(() -> QMatmul.run(there, w, y, Options.DEFAULT.withMode(QMatmul.Mode.PRECISE)));
                stream.copy(y, back);
                late = Arrays.equals(new float[48], back.toFloatArray());
                stream.synchronize();
            }
            assertTrue(late);
            Tensor expected = Tensor.allocate(DType.F32, 3, 16);
            QMatmul.run(x, host, expected, Options.DEFAULT.withMode(QMatmul.Mode.PRECISE));
            assertArrayEquals(expected.toFloatArray(), back.toFloatArray(), 1e-4f);
        }
    }

    // ---- which device ----------------------------------------------------------------------------------------------

    @Test
    void eachDeviceHasItsKernels() {
        PackedWeights host = QMatmul.pack(QuantizeOnDeviceTest.random(5, DType.F32, 16, 64), QuantSpec.int8());
        for (CudaDevice device : new CudaDevice[] {first, second}) {
            PackedWeights w = host.to(device);
            Tensor x = QuantizeOnDeviceTest.random(6, DType.F32, 32, 64).to(device);
            Tensor y = device.allocate(DType.F32, 32, 16);
            String text = QMatmul.explain(x, w, y, Options.DEFAULT);
            assertTrue(text.contains(device == first ? "_sm90" : "_sm80"), text);
        }
        UnsupportedOperationException refused;
        try (Arena arena = Arena.ofConfined()) {
            Tensor x = quiet.allocate(arena, DType.F32, 2, 64);
            QuantizedTensor out = QuantizedTensor.allocate(quiet, arena, QuantSpec.int8(), 2, 64);
            refused = assertThrows(
                    UnsupportedOperationException.class, () -> Quantize.run(x, out, Quantize.Options.DEFAULT));
        }
        assertTrue(refused.getMessage().contains("compute capability 7.5"), refused::getMessage);
    }

    @Test
    void whatIsOfAnotherDeviceIsRefused() {
        Tensor x = second.allocate(DType.F32, 8);
        try (CudaStream one = first.newStream();
                CudaStream two = second.newStream();
                CudaEvent begin = one.record();
                CudaEvent end = two.record()) {
            refused("a stream of cuda:1; allowed: streams of cuda:0", () -> first.wrapStream(two.address()));
            refused("handle", () -> first.wrapStream(12345));
            refused("memory of device 1; allowed: memory of device 0", () -> first.wrap(x.address(), DType.F32, 8));
            refused("one side on cuda:0", () -> one.copy(x, Tensor.allocate(DType.F32, 8)));
            refused("an event of cuda:0; allowed: events of cuda:1", () -> end.millisecondsSince(begin));
        }
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 16, 64), QuantSpec.int8())
                .to(second);
        refused("cuda:0", () -> QMatmul.run(first.allocate(DType.F32, 2, 64), w, second.allocate(DType.F32, 2, 16)));
    }

    private static void refused(String message, Runnable call) {
        IllegalArgumentException refused = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(refused.getMessage().contains(message), refused::getMessage);
    }

    @Test
    void whichDeviceIsCurrentDoesNotMatter() {
        cudart.cudaSetDevice(1);
        try {
            Tensor x = QuantizeOnDeviceTest.random(6, DType.F32, 3, 64);
            assertArrayEquals(
                    Quantize.run(x, QuantSpec.int8()).codes().toFloatArray(),
                    Quantize.run(x.to(first), QuantSpec.int8()).codes().toFloatArray());
            try (CudaStream stream = first.wrapStream(0)) {
                assertThrows(IllegalArgumentException.class, () -> stream.copy(x, x));
                stream.copy(x, first.allocate(DType.F32, 3, 64));
            }
            assertEquals(1, current());
        } finally {
            cudart.cudaSetDevice(0);
        }
    }

    // ---- lifetimes -------------------------------------------------------------------------------------------------

    @Test
    void closingWaitsForWork() {
        try (Arena kept = Arena.ofConfined();
                CudaStream stream = quiet.newStream()) {
            Tensor from = seven(quiet, kept);
            Tensor back = quiet.pinned(kept, DType.F32, 4);
            long free = quiet.freeBytes();
            try (Arena arena = Arena.ofConfined()) {
                Tensor there = quiet.allocate(arena, DType.F32, 4);
                assertTrue(quiet.freeBytes() < free);
                stream.copy(from, there);
                stream.copy(there, back);
            }
            assertEquals(7, back.getFloat(3), "memory is freed after work with it");
            assertEquals(free, quiet.freeBytes());

            Tensor there = quiet.allocate(kept, DType.F32, 4);
            CudaStream closed = quiet.newStream();
            closed.copy(there, back);
            CudaEvent end = closed.record();
            closed.close();
            assertEquals(0, back.getFloat(3), "a stream is closed after its work");
            assertTrue(end.isDone());
            end.close();
            assertThrows(IllegalStateException.class, end::synchronize);
            assertThrows(IllegalStateException.class, () -> stream.await(end));
        }
    }

    @Test
    void memoryOfAnotherDeviceIsFreedAfterACopy() {
        try (Arena kept = Arena.ofConfined();
                CudaStream stream = second.newStream()) {
            Tensor there = second.allocate(kept, DType.F32, 4);
            Tensor back = second.pinned(kept, DType.F32, 4);
            try (Arena arena = Arena.ofConfined()) {
                Tensor far = first.allocate(arena, DType.F32, 4);
                first.copy(seven(first, kept), far);
                stream.copy(far, there);
            }
            stream.copy(there, back);
            stream.synchronize();
            assertEquals(7, back.getFloat(3));
        }
    }

    @Test
    void refusedMemoryIsNotLost() throws Exception {
        long free = quiet.freeBytes();
        try (Arena arena = Arena.ofConfined()) {
            Thread other = new Thread(() -> {
                assertThrows(WrongThreadException.class, () -> quiet.allocate(arena, DType.F32, 4));
                assertThrows(WrongThreadException.class, () -> quiet.pinned(arena, DType.F32, 4));
            });
            Throwable[] failed = new Throwable[1];
            other.setUncaughtExceptionHandler((thread, e) -> failed[0] = e);
            other.start();
            other.join();
            assertEquals(null, failed[0]);
            assertEquals(free, quiet.freeBytes());
            assertThrows(GatunException.class, () -> quiet.pinned(arena, DType.U8, 1L << 40));
            assertThrows(GatunException.class, () -> quiet.allocate(arena, DType.U8, free + 1));
            quiet.allocate(arena, DType.U8, free);
            assertEquals(0, quiet.freeBytes());
        }
        assertEquals(free, quiet.freeBytes());
    }

    @Test
    void forgottenMemoryIsFreed() throws Exception {
        long free = second.freeBytes();
        second.allocate(DType.U8, 1 << 20);
        awaitFree(free);
    }

    @Test
    void aClosedStreamLetsGoOfItsWorkspace() throws Exception {
        long free = second.freeBytes();
        CudaStream stream = second.newStream();
        stream.queue(() -> stream.workspace(1 << 20));
        stream.close();
        awaitFree(free);
        assertThrows(IllegalStateException.class, stream::handle, "the object is still there");
    }

    private void awaitFree(long free) throws Exception {
        for (int i = 0; second.freeBytes() < free; i++) {
            assertTrue(i < 100, () -> second.freeBytes() + " of " + free);
            System.gc();
            Thread.sleep(20);
        }
    }

    /** Another framework captures its stream, which forbids all threads what could spoil the graph. */
    @Test
    void memoryComesAndGoesWhileAStreamIsCaptured() {
        try (CudaStream stream = first.newStream();
                Arena kept = Arena.ofConfined();
                CUgraph_st graph = new CUgraph_st()) {
            CUstream_st raw = CudaRuntime.stream(stream.address());
            first.allocate(kept, DType.F32, 1); // so that the device has its streams
            assertEquals(0, cudart.cudaStreamBeginCapture(raw, cudart.cudaStreamCaptureModeGlobal));
            try (Arena arena = Arena.ofConfined()) {
                assertArrayEquals(
                        new long[] {16},
                        first.allocate(arena, DType.F32, 16).shape().toArray());
                first.pinned(kept, DType.F32, 16);
            }
            assertEquals(cudart.cudaSuccess, cudart.cudaStreamEndCapture(raw, graph));

            assertEquals(0, cudart.cudaStreamBeginCapture(raw, cudart.cudaStreamCaptureModeGlobal));
            assertEquals(cudart.cudaErrorStreamCaptureUnsupported, cudart.cudaMalloc(new Pointer(), 16));
            assertEquals(cudart.cudaErrorStreamCaptureInvalidated, cudart.cudaStreamEndCapture(raw, graph));
            cudart.cudaGetLastError();

            assertEquals(0, cudart.cudaStreamBeginCapture(raw, cudart.cudaStreamCaptureModeGlobal));
            try (Arena arena = Arena.ofConfined()) {
                first.pinned(arena, DType.F32, 16);
            }
            assertEquals(
                    cudart.cudaErrorStreamCaptureInvalidated,
                    cudart.cudaStreamEndCapture(raw, graph),
                    "freeing pinned memory waits");
            cudart.cudaGetLastError();
        }
    }

    @Test
    void aCaptureTakesInNoStreamOfAnotherDevice() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = first.newStream();
                CUgraph_st graph = new CUgraph_st()) {
            Tensor from = second.allocate(arena, DType.F32, 4);
            Tensor to = first.allocate(arena, DType.F32, 4);
            CUstream_st raw = CudaRuntime.stream(stream.address());
            assertEquals(0, cudart.cudaStreamBeginCapture(raw, cudart.cudaStreamCaptureModeGlobal));
            stream.copy(from, to);
            assertEquals(cudart.cudaSuccess, cudart.cudaStreamEndCapture(raw, graph));

            assertEquals(0, cudart.cudaStreamBeginCapture(raw, cudart.cudaStreamCaptureModeGlobal));
            try (CudaEvent captured = stream.record()) {
                second.stream().await(captured);
            }
            assertEquals(cudart.cudaErrorStreamCaptureUnjoined, cudart.cudaStreamEndCapture(raw, graph));
            cudart.cudaGetLastError();
        }
    }
}
