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
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Products on the device, against sums in double of what the weights stand for. */
class QMatmulOnDeviceTest {
    static List<QuantSpec> formats() {
        return List.of(
                QuantSpec.int8(),
                QuantSpec.int4(32),
                QuantSpec.int4Asymmetric(128),
                QuantSpec.nf4(64).withGroup(64),
                QuantSpec.fp8(DType.F8E4M3),
                QuantSpec.mxfp4());
    }

    private static Tensor random(long seed, DType dtype, long... shape) {
        return QuantizeOnDeviceTest.random(seed, dtype, shape);
    }

    /** Of x as it is; the error of a row of x that is rounded to {@code bits} is allowed, too. */
    private static void assertProduct(Tensor x, QuantizedTensor weights, Tensor bias, Tensor y, int bits) {
        Tensor w = Quantize.dequantize(weights, DType.F32);
        long depth = weights.depth();
        for (long m = 0; m < x.shape().size(0); m++) {
            for (long n = 0; n < weights.rows(); n++) {
                double sum = bias == null ? 0 : bias.getFloat(n);
                double magnitudes = 0;
                for (long k = 0; k < depth; k++) {
                    double product = (double) x.getFloat(m, k) * w.getFloat(n, k);
                    sum += product;
                    magnitudes += Math.abs(product);
                }
                double bound = magnitudes * (Math.scalb(1.0, -bits) + Math.scalb(3.0 * depth + 8, -23))
                        + Math.abs(sum)
                                * Math.scalb(1.0, y.dtype() == DType.F32 ? -23 : y.dtype() == DType.F16 ? -11 : -8);
                assertEquals(sum, y.getFloat(m, n), bound + 1e-30, "[" + m + "][" + n + "]");
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void multiplies(QuantSpec spec) {
        for (long[] shape : new long[][] {{1, 40, 128}, {3, 17, 200}, {19, 24, 160}, {0, 8, 128}}) {
            QuantizedTensor weights = Quantize.run(random(5, DType.F32, shape[1], shape[2]), spec);
            PackedWeights w = QMatmul.pack(weights.to(DEVICE));
            assertSame(DEVICE, w.device());
            for (DType dtype : List.of(DType.F32, DType.F16, DType.BF16)) {
                Tensor x = random(6, dtype, shape[0], shape[2]);
                Tensor bias = random(7, DType.F32, shape[1]);
                Tensor y = DEVICE.allocate(dtype, shape[0], shape[1]);
                QMatmul.run(x.to(DEVICE), w, y, Options.DEFAULT.withBias(bias.to(DEVICE)));
                assertProduct(x, weights, bias, y.to(Device.CPU), dtype == DType.F16 ? 10 : 8);
            }
        }
    }

    @Test
    void withoutDepthGivesTheBias() {
        PackedWeights w =
                QMatmul.pack(Tensor.allocate(DType.F32, 3, 0), QuantSpec.int8()).to(DEVICE);
        Tensor bias = random(7, DType.F32, 3);
        Tensor y = DEVICE.allocate(DType.F32, 1, 3);
        QMatmul.run(DEVICE.allocate(DType.F32, 1, 0), w, y, Options.DEFAULT.withBias(bias.to(DEVICE)));
        assertArrayEquals(bias.toFloatArray(), y.toFloatArray());
    }

    @Test
    void takesEachMode() {
        QuantizedTensor weights = Quantize.run(random(5, DType.F32, 24, 128), QuantSpec.int4(32));
        PackedWeights w = QMatmul.pack(weights).to(DEVICE);
        assertEquals(List.of(Mode.BF16, Mode.F16, Mode.INT8_ROW, Mode.INT8_GROUP, Mode.PRECISE), w.modes());
        Tensor x = random(6, DType.F32, 4, 128);
        for (Mode mode : w.modes()) {
            Tensor y = DEVICE.allocate(DType.F32, 4, 24);
            QMatmul.run(x.to(DEVICE), w, y, Options.DEFAULT.withMode(mode));
            int bits = switch (mode) {
                case PRECISE -> 40;
                case F16 -> 10;
                case BF16 -> 8;
                default -> 5;
            };
            assertProduct(x, weights, null, y.to(Device.CPU), bits);
        }
    }

    @Test
    void appliesEpiloguesToViews() {
        PackedWeights host = QMatmul.pack(random(5, DType.F32, 32, 64), QuantSpec.int8());
        PackedWeights w = host.to(DEVICE);
        Tensor x = random(6, DType.F32, 5, 100);
        Tensor residual = random(8, DType.F32, 5, 32);
        Tensor y = Tensor.allocate(DType.F32, 5, 32);
        Tensor wide = DEVICE.allocate(DType.F32, 5, 40);
        Options options = Options.DEFAULT.withActivation(Activation.GELU).withMode(Mode.PRECISE);
        QMatmul.run(x.slice(1, 20, 84), host, y, options.withResidual(residual));
        QMatmul.run(x.to(DEVICE).slice(1, 20, 84), w, wide.slice(1, 4, 36), options.withResidual(residual.to(DEVICE)));
        assertArrayEquals(y.toFloatArray(), wide.slice(1, 4, 36).toFloatArray(), 1e-4f);
        assertArrayEquals(new float[20], wide.slice(1, 0, 4).toFloatArray());
        assertArrayEquals(new float[20], wide.slice(1, 36, 40).toFloatArray());
        // Columns of a range, residual in place.
        Tensor part = residual.to(DEVICE);
        QMatmul.run(
                x.to(DEVICE).slice(1, 20, 84),
                w,
                part,
                options.withResidual(part).withColumns(8, 16));
        assertArrayEquals(y.slice(1, 8, 16).toFloatArray(), part.slice(1, 8, 16).toFloatArray(), 1e-4f);
        assertArrayEquals(
                residual.slice(1, 16, 32).toFloatArray(), part.slice(1, 16, 32).toFloatArray());
    }

    @Test
    void refusesWhatTheDeviceCannotDo() {
        PackedWeights w =
                QMatmul.pack(random(5, DType.F32, 16, 64), QuantSpec.nf4(64)).to(DEVICE);
        Tensor x = random(6, DType.F32, 2, 64).to(DEVICE);
        Tensor y = DEVICE.allocate(DType.F32, 2, 16);
        assertThrows(
                UnsupportedOperationException.class,
                () -> QMatmul.run(x, w, y, Options.DEFAULT.withMode(Mode.INT8_ROW)));
        assertThrows(IllegalArgumentException.class, () -> QMatmul.run(x, w, x));
        assertThrows(UnsupportedOperationException.class, w::segment);
        assertThrows(UnsupportedOperationException.class, w::unpack);
        QuantizedTensor flat = QuantizedTensor.allocate(
                DEVICE, Arena.ofAuto(), QuantSpec.nf4(64).withFlatBlocks(64), 4, 64);
        assertThrows(UnsupportedOperationException.class, () -> QMatmul.pack(flat));
        QMatmul.run(x, w, y); // flat blocks, made blocks of rows on the CPU
        assertProduct(
                x.to(Device.CPU),
                Quantize.run(random(5, DType.F32, 16, 64), QuantSpec.nf4(64)),
                null,
                y.to(Device.CPU),
                8);
    }

    @Test
    void refusesBadScales() {
        QuantizedTensor weights = Quantize.run(random(5, DType.F32, 16, 64), QuantSpec.int4(32));
        weights.scales().setFloat(Float.NaN, 3, 1);
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> QMatmul.pack(weights.to(DEVICE)));
        assertTrue(refused.getMessage().startsWith("weights.scales[3][1]: given "), refused::getMessage);
    }

    @Test
    void weightsOfAClosedArenaAreRefused() {
        QuantizedTensor weights = Quantize.run(random(5, DType.F32, 16, 64).to(DEVICE), QuantSpec.int4(32));
        PackedWeights w;
        try (Arena arena = Arena.ofConfined()) {
            w = QMatmul.pack(weights, arena);
        }
        Tensor x = DEVICE.allocate(DType.F32, 2, 64);
        Tensor y = DEVICE.allocate(DType.F32, 2, 16);
        IllegalStateException refused = assertThrows(IllegalStateException.class, () -> QMatmul.run(x, w, y));
        assertTrue(refused.getMessage().startsWith("w: given memory of a closed arena"), refused::getMessage);
    }

    @Test
    void explains() {
        PackedWeights w =
                QMatmul.pack(random(5, DType.F32, 16, 64), QuantSpec.int4(32)).to(DEVICE);
        Tensor x = DEVICE.allocate(DType.F16, 2, 64);
        String text = QMatmul.explain(x, w, DEVICE.allocate(DType.F16, 2, 16), Options.DEFAULT);
        assertTrue(text.startsWith("qmatmul of 2 rows, 16 columns, depth 64, codes U4, mode F16, on "), text);
        assertTrue(text.contains("\n  kernel qmatmul_f16_m"), text);
    }
}
