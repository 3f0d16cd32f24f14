package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.CodeBook;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The same calls on the device and on the CPU give the same bytes. */
class QuantizeOnDeviceTest {
    static List<QuantSpec> formats() {
        float[] book = new float[16];
        for (int i = 0; i < 16; i++) {
            book[i] = i * i - 60;
        }
        return List.of(
                QuantSpec.int8(),
                QuantSpec.int8(32),
                QuantSpec.int8Asymmetric(64),
                QuantSpec.int4(32),
                QuantSpec.int4Asymmetric(128),
                QuantSpec.int2(16),
                QuantSpec.nf4(64),
                QuantSpec.dynamic8(256),
                QuantSpec.codeBook(CodeBook.of(book), 32),
                QuantSpec.fp8(DType.F8E4M3),
                QuantSpec.fp8(DType.F8E5M2).withGroup(128),
                QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128),
                QuantSpec.mxfp8(DType.F8E4M3),
                QuantSpec.mxfp6(DType.F6E2M3),
                QuantSpec.mxfp4());
    }

    static Tensor random(long seed, DType dtype, long... shape) {
        Random random = new Random(seed);
        Tensor host = Tensor.allocate(DType.F32, shape);
        for (long i = 0; i < host.shape().elements(); i++) {
            host.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return host.to(dtype);
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor == null ? null : tensor.to(Device.CPU).segment().toArray(ValueLayout.JAVA_BYTE);
    }

    private static void assertSameBytes(QuantizedTensor expected, QuantizedTensor actual) {
        assertArrayEquals(bytes(expected.codes()), bytes(actual.codes()), "codes");
        assertArrayEquals(bytes(expected.scales()), bytes(actual.scales()), "scales");
        assertArrayEquals(bytes(expected.zeroPoints()), bytes(actual.zeroPoints()), "zero points");
    }

    @ParameterizedTest
    @MethodSource("formats")
    void agreesWithTheCpu(QuantSpec spec) {
        for (DType dtype : List.of(DType.F32, DType.F16, DType.BF16)) {
            for (long[] shape : new long[][] {{1, 256}, {3, 300}, {5, 517}, {0, 256}}) {
                Tensor x = random(7, dtype, shape);
                QuantizedTensor expected = Quantize.run(x, spec);
                QuantizedTensor actual = Quantize.run(x.to(DEVICE), spec);
                assertSame(DEVICE, actual.device());
                assertSameBytes(expected, actual);
                assertArrayEquals(
                        bytes(Quantize.dequantize(expected, dtype)), bytes(Quantize.dequantize(actual, dtype)));
                assertSameBytes(expected, actual.to(Device.CPU));
            }
        }
    }

    @Test
    void takesViewsAndOptions() {
        Tensor x = random(9, DType.F32, 40, 70);
        Tensor there = x.to(DEVICE);
        QuantSpec spec = QuantSpec.int4(32);
        assertSameBytes(Quantize.run(x.transpose(), spec), Quantize.run(there.transpose(), spec));
        assertSameBytes(Quantize.run(x.slice(0, 3, 21), spec), Quantize.run(there.slice(0, 3, 21), spec));
        Quantize.Options stochastic = Quantize.Options.DEFAULT.withStochasticRounding(42);
        QuantizedTensor expected = QuantizedTensor.allocate(spec, 40, 70);
        QuantizedTensor actual = QuantizedTensor.allocate(DEVICE, Arena.ofAuto(), spec, 40, 70);
        Quantize.run(x, expected, stochastic);
        Quantize.run(there, actual, stochastic);
        assertSameBytes(expected, actual);
        // A view of the output of dequantize with gaps.
        Tensor wide = DEVICE.allocate(DType.F32, 40, 100);
        Quantize.dequantize(actual, wide.slice(1, 10, 80));
        assertArrayEquals(
                Quantize.dequantize(expected, DType.F32).toFloatArray(),
                wide.slice(1, 10, 80).toFloatArray());
        assertArrayEquals(new float[400], wide.slice(1, 0, 10).toFloatArray());
    }

    @Test
    void refusesWhatIsNotFiniteAndGoesOn() {
        Tensor x = random(3, DType.F32, 6, 40);
        x.setFloat(Float.NaN, 4, 33);
        x.setFloat(Float.POSITIVE_INFINITY, 5, 0);
        Tensor there = x.to(DEVICE);
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> Quantize.run(there, QuantSpec.int8()));
        assertEquals("x[4][33]: given NaN or infinity; allowed: finite values", refused.getMessage());
        float[] large = new float[64];
        large[40] = 1e30f;
        Tensor huge = Tensor.of(large, 2, 32).to(DEVICE);
        IllegalArgumentException overflow =
                assertThrows(IllegalArgumentException.class, () -> Quantize.run(huge, QuantSpec.int4(32)));
        assertEquals(
                "out.scales[1][0]: given values whose scale overflows; allowed: values whose scale fits f16",
                overflow.getMessage());
        assertSameBytes(
                Quantize.run(x.slice(0, 0, 4), QuantSpec.int8()), Quantize.run(there.slice(0, 0, 4), QuantSpec.int8()));
    }

    @Test
    void refusesFormatsWithoutAKernel() {
        Tensor there = random(3, DType.F32, 4, 256).to(DEVICE);
        for (QuantSpec spec : List.of(QuantSpec.nf4(64).withNestedScales(), QuantSpec.nvfp4())) {
            UnsupportedOperationException refused =
                    assertThrows(UnsupportedOperationException.class, () -> Quantize.run(there, spec));
            assertTrue(refused.getMessage().startsWith("out: given " + spec + " on " + DEVICE), refused::getMessage);
        }
        QuantizedTensor nested =
                Quantize.run(random(3, DType.F32, 4, 256), QuantSpec.nf4(64).withNestedScales());
        assertThrows(UnsupportedOperationException.class, () -> nested.to(DEVICE));
    }

    @Test
    void aScaleOfTheWholeTensorStaysOnTheCpu() {
        QuantizedTensor host = Quantize.run(random(5, DType.F32, 8, 64), QuantSpec.nvfp4());
        QuantizedTensor there = host.to(DEVICE);
        assertSame(Device.CPU, there.tensorScale().device());
        assertArrayEquals(
                Quantize.dequantize(host, DType.F32).toFloatArray(),
                Quantize.dequantize(there, DType.F32).toFloatArray());
    }

    /** So that no other thread closes the stream, or changes its workspace, before the work is queued. */
    @Test
    void dequantizingHoldsTheStream() throws Exception {
        QuantizedTensor quantized = Quantize.run(random(1, DType.F32, 4, 64).to(DEVICE), QuantSpec.int4(32));
        Tensor out = DEVICE.allocate(DType.F32, 4, 64);
        FutureTask<Void> task = new FutureTask<>(() -> Quantize.dequantize(quantized, out), null);
        Thread call = new Thread(task);
        synchronized (DEVICE.stream()) {
            call.start();
            while (call.getState() != Thread.State.BLOCKED) {
                assertTrue(call.isAlive());
                Thread.sleep(1);
            }
        }
        task.get();
    }

    @Test
    void explains() {
        Tensor x = random(1, DType.F32, 4, 64).to(DEVICE);
        String text = Quantize.explain(x, QuantSpec.int4(32));
        assertTrue(text.startsWith("quantize_f32_u4_sm80: "), text);
    }
}
