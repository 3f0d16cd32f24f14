package io.gatun.devices;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Tensors that are not on the CPU, without a device that could compute. */
class DeviceTest {
    private final AbsentDevice device = new AbsentDevice("cuda:7");
    private final Tensor x = device.tensor(DType.F32, 4, 6);

    @Test
    void viewsKeepTheDeviceAndAddresses() {
        assertSame(device, x.device());
        Tensor part = x.slice(0, 1, 3);
        assertSame(device, part.device());
        assertEquals(x.address() + 6 * 4, part.address());
        assertEquals(2 * 6 * 4, part.byteSize());
        assertEquals("f32[6, 4] strides [1, 6]", x.transpose().describe());
        assertSame(device, x.reshape(24).device());
        assertEquals(x.address(), x.transpose().address());
        assertEquals(0, x.pointer().byteSize());
        assertThrows(IndexOutOfBoundsException.class, () -> x.pointer().get(ValueLayout.JAVA_BYTE, 0));
        assertEquals("f32[4, 6] on cuda:7", x.toString());
    }

    @Test
    void elementsAreNotReached() {
        Map<String, Executable> accesses = Map.of(
                "getFloat", () -> x.getFloat(0, 0),
                "setFloat", () -> x.setFloat(1, 0, 0),
                "getInt", () -> device.tensor(DType.I32, 1).getInt(0),
                "copyFrom", () -> x.copyFrom(new float[24]),
                "contiguous", () -> x.transpose().contiguous(),
                "segment", x::segment,
                "to", () -> x.to(DType.F16));
        accesses.forEach((name, access) -> assertRefused("Tensor." + name, access));
    }

    @Test
    void theCpuIsADevice() {
        Tensor host = Tensor.of(new float[] {1, 2}, 2);
        assertSame(Device.CPU, host.device());
        assertSame(host, host.to(Device.CPU));
        assertEquals("cpu", Device.CPU.toString());
        assertArrayEquals(
                new float[] {0, 0, 0}, Device.CPU.allocate(DType.F32, 3).toFloatArray());
        assertThrows(UnsupportedOperationException.class, Device.CPU::stream);
        assertEquals(host.address(), host.segment().address());
        assertEquals(8, host.byteSize());
    }

    @Test
    void copiesOfWholeTensorsAskTheDevice() {
        UnsupportedOperationException asked = assertThrows(
                UnsupportedOperationException.class, () -> x.slice(0, 1, 3).toFloatArray());
        assertEquals("copied 48 bytes", asked.getMessage());
        // A column and what lies between its elements.
        asked = assertThrows(
                UnsupportedOperationException.class, () -> x.slice(1, 2, 3).to(Device.CPU));
        assertEquals("copied " + (3 * 6 + 1) * 4 + " bytes", asked.getMessage());
    }

    @Test
    void aStreamRefusesWhatItCannotCopy() {
        Tensor host = Tensor.allocate(DType.F32, 4, 6);
        AbsentDevice other = new AbsentDevice("cuda:8");
        assertBad("to: given f16[4, 6]; allowed: f32[4, 6], as from", x, device.tensor(DType.F16, 4, 6));
        assertBad("to: given f32[6, 4]; allowed: f32[4, 6], as from", x, device.tensor(DType.F32, 6, 4));
        assertBad(
                "from: given f32[6, 4] strides [1, 6]; allowed: a contiguous tensor (see Tensor.contiguous)",
                x.transpose(),
                device.tensor(DType.F32, 6, 4));
        assertBad("to: given memory of cpu for cpu; allowed: one side on cuda:7", host, host);
        assertBad(
                "to: given memory of cuda:8 for cpu; allowed: one side on cuda:7", host, other.tensor(DType.F32, 4, 6));
        Arena arena = Arena.ofConfined();
        Tensor closed = device.allocate(arena, DType.F32, 4, 6);
        arena.close();
        assertEquals("f32[4, 6] (closed)", closed.toString());
        IllegalStateException refused =
                assertThrows(IllegalStateException.class, () -> device.stream().copy(host, closed));
        assertTrue(refused.getMessage().startsWith("to: given memory of a closed arena"), refused::getMessage);
    }

    private void assertBad(String message, Tensor from, Tensor to) {
        IllegalArgumentException refused = assertThrows(
                IllegalArgumentException.class, () -> device.stream().copy(from, to));
        assertEquals(message, refused.getMessage());
    }

    @Test
    void aWorkspaceIsHeldWithItsStream() {
        assertThrows(IllegalStateException.class, () -> device.stream().workspace(1));
        synchronized (device.stream()) {
            Tensor small = device.stream().workspace(1000);
            assertSame(small, device.stream().workspace(10));
            assertTrue(device.stream().workspace(2000).byteSize() >= 2000);
            assertEquals(0, small.address() % 256);
        }
    }

    @Test
    void argumentsShareADevice() {
        QuantSpec spec = QuantSpec.int4(32);
        Tensor values = Tensor.allocate(DType.F32, 8, 64);
        PackedWeights w = QMatmul.pack(values, spec);
        QuantizedTensor onDevice = QuantizedTensor.allocate(device, Arena.global(), spec, 8, 64);
        QuantizedTensor mixed =
                new QuantizedTensor(spec, onDevice.codes(), Tensor.allocate(DType.F16, 8, 2), onDevice.zeroPoints());
        Tensor far = device.tensor(DType.F32, 8, 64);
        assertWrongDevice("out.codes", "cuda:7", "cpu", "x", () -> Quantize.run(values, onDevice));
        assertWrongDevice("out.scales", "cpu", "cuda:7", "x", () -> Quantize.run(far, mixed));
        assertWrongDevice("quantized.codes", "cuda:7", "cpu", "out", () -> Quantize.dequantize(onDevice, values));
        assertWrongDevice("weights.scales", "cpu", "cuda:7", "the codes", () -> QMatmul.pack(mixed));
        Tensor y = Tensor.allocate(DType.F32, 8, 8);
        assertWrongDevice("y", "cpu", "cuda:7", "x", () -> QMatmul.run(far, w, y));
        assertWrongDevice("w", "cpu", "cuda:7", "x", () -> QMatmul.run(far, w, device.tensor(DType.F32, 8, 8)));
        QMatmul.Options bias = QMatmul.Options.DEFAULT.withBias(device.tensor(DType.F32, 8));
        assertWrongDevice("bias", "cuda:7", "cpu", "x", () -> QMatmul.run(values, w, y, bias));
        QMatmul.Options residual = QMatmul.Options.DEFAULT.withResidual(device.tensor(DType.F32, 8, 8));
        assertWrongDevice("residual", "cuda:7", "cpu", "x", () -> QMatmul.explain(values, w, y, residual));
    }

    private static void assertWrongDevice(
            String argument, String given, String allowed, String other, Executable call) {
        IllegalArgumentException refused = assertThrows(IllegalArgumentException.class, call);
        assertEquals(
                argument + ": given memory of " + given + "; allowed: memory of " + allowed + ", as " + other
                        + " (see Tensor.to)",
                refused.getMessage());
    }

    static void assertRefused(String operation, Executable call) {
        UnsupportedOperationException refused =
                assertThrows(UnsupportedOperationException.class, call, () -> operation + " took it");
        String message = refused.getMessage();
        assertTrue(message.startsWith(operation + ": given "), () -> operation + ", but: " + message);
        assertTrue(
                message.endsWith(" on cuda:7; allowed: tensors on cpu (see Tensor.to); it has no kernel for cuda:7"),
                message);
    }
}
