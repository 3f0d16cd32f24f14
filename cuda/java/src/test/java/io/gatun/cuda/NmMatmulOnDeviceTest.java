package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertClosed;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static io.gatun.cuda.Refusals.assertInvalid;
import static io.gatun.cuda.Refusals.assertNoKernel;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Mask;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.SparseTensor;
import io.gatun.ops.Sparsity;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Products with sparse weights on the device, against sums in double of what the weights stand for. */
class NmMatmulOnDeviceTest {
    private static Tensor random(long seed, DType dtype, long... shape) {
        return QuantizeOnDeviceTest.random(seed, dtype, shape);
    }

    private static SparseTensor floats(DType dtype, Sparsity.Nm pattern, long rows, long depth) {
        return Prune.compress(random(5, dtype, rows, depth), Prune.Score.magnitude(), pattern);
    }

    private static SparseTensor codes(QuantSpec spec, Sparsity.Nm pattern, long rows, long depth) {
        Tensor weights = random(5, DType.F32, rows, depth);
        Mask mask = Prune.run(weights, Prune.Score.magnitude(), pattern);
        return SparseTensor.compress(Quantize.run(mask.apply(weights), spec), mask, pattern);
    }

    private static Tensor dense(SparseTensor weights) {
        return weights.spec() == null
                ? weights.decompress()
                : Quantize.dequantize(weights.decompressCodes(), DType.F32);
    }

    /** Of x as it is; the error of an x that is rounded to {@code bits} is allowed, too. */
    private static void assertProduct(Tensor x, Tensor w, Tensor y, int bits) {
        long depth = w.shape().size(1);
        for (long m = 0; m < x.shape().size(0); m++) {
            for (long n = 0; n < w.shape().size(0); n++) {
                double sum = 0;
                double magnitudes = 0;
                for (long k = 0; k < depth; k++) {
                    double product = (double) x.getFloat(m, k) * w.getFloat(n, k);
                    sum += product;
                    magnitudes += Math.abs(product);
                }
                int unit = y.dtype() == DType.F32 ? -23 : y.dtype() == DType.F16 ? -11 : -8;
                double bound = magnitudes * (Math.scalb(1.0, -bits) + Math.scalb(3.0 * depth + 8, -23))
                        + Math.abs(sum) * Math.scalb(1.0, unit);
                assertEquals(sum, y.getFloat(m, n), bound + 1e-30, "[" + m + "][" + n + "]");
            }
        }
    }

    private static void multiplies(SparseTensor weights, DType xType, long rows) {
        Tensor x = random(6, xType, rows, weights.depth());
        Tensor w = dense(weights);
        NmWeights packed = NmMatmul.pack(weights.to(DEVICE));
        assertSame(DEVICE, packed.device());
        for (Mode mode : packed.modes()) {
            Tensor y = DEVICE.allocate(xType, rows, weights.rows());
            NmMatmul.run(x.to(DEVICE), packed, y, Options.DEFAULT.withMode(mode));
            int bits = switch (mode) {
                case PRECISE -> 40;
                case F16 -> 10;
                case BF16 -> 8;
                default -> 5;
            };
            assertProduct(x, w, y.to(Device.CPU), bits);
        }
    }

    @Test
    void multipliesByFloats() {
        multiplies(floats(DType.BF16, Sparsity.nm(2, 4), 24, 128), DType.BF16, 5);
        multiplies(floats(DType.F16, Sparsity.nm(2, 4), 17, 70), DType.F16, 1);
        multiplies(floats(DType.F32, Sparsity.nm(1, 8), 9, 67), DType.F32, 3);
        multiplies(floats(DType.BF16, Sparsity.nm(2, 8).withVector(4), 10, 64), DType.F32, 2);
        multiplies(floats(DType.BF16, Sparsity.nm(2, 4), 8, 64), DType.F32, 0);
    }

    @Test
    void multipliesByCodes() {
        multiplies(codes(QuantSpec.int8(), Sparsity.nm(2, 4), 20, 128), DType.F32, 4);
        multiplies(codes(QuantSpec.int4(64), Sparsity.nm(2, 4), 16, 192), DType.BF16, 2);
        multiplies(codes(QuantSpec.int4Asymmetric(32), Sparsity.nm(1, 4), 9, 96), DType.F16, 1);
    }

    @Test
    void automaticIsTheFirstModeAndF16ForSuchX() {
        NmWeights halves =
                NmMatmul.pack(floats(DType.F16, Sparsity.nm(2, 4), 8, 32)).to(DEVICE);
        NmWeights wide =
                NmMatmul.pack(floats(DType.BF16, Sparsity.nm(2, 4), 8, 32)).to(DEVICE);
        NmWeights bytes =
                NmMatmul.pack(codes(QuantSpec.int8(), Sparsity.nm(2, 4), 8, 32)).to(DEVICE);
        NmWeights singles =
                NmMatmul.pack(floats(DType.F32, Sparsity.nm(2, 4), 8, 32)).to(DEVICE);
        assertEquals(List.of(Mode.F16, Mode.PRECISE), halves.modes());
        assertEquals(List.of(Mode.BF16, Mode.PRECISE), wide.modes());
        assertEquals(List.of(Mode.BF16, Mode.F16, Mode.INT8_ROW, Mode.PRECISE), bytes.modes());
        assertEquals(List.of(Mode.PRECISE), singles.modes());
        Tensor x = DEVICE.allocate(DType.F16, 2, 32);
        Tensor y = DEVICE.allocate(DType.F16, 2, 8);
        for (NmWeights w : List.of(halves, wide, bytes, singles)) {
            Mode expected = w.modes().contains(Mode.F16) ? Mode.F16 : w.modes().getFirst();
            assertEquals(
                    NmMatmul.explain(x, w, y, Options.DEFAULT.withMode(expected)),
                    NmMatmul.explain(x, w, y, Options.DEFAULT));
        }
    }

    @Test
    void appliesEpiloguesToViews() {
        NmWeights host = NmMatmul.pack(floats(DType.F32, Sparsity.nm(2, 4), 32, 64));
        NmWeights w = host.to(DEVICE);
        Tensor x = random(6, DType.F32, 3, 100);
        Tensor residual = random(8, DType.F32, 3, 32);
        Tensor bias = random(7, DType.F32, 32);
        Tensor y = Tensor.allocate(DType.F32, 3, 32);
        Tensor wide = DEVICE.allocate(DType.F32, 3, 40);
        Options options = Options.DEFAULT.withActivation(Activation.SILU);
        NmMatmul.run(x.slice(1, 20, 84), host, y, options.withResidual(residual).withBias(bias));
        NmMatmul.run(
                x.to(DEVICE).slice(1, 20, 84),
                w,
                wide.slice(1, 4, 36),
                options.withResidual(residual.to(DEVICE)).withBias(bias.to(DEVICE)));
        assertArrayEquals(y.toFloatArray(), wide.slice(1, 4, 36).toFloatArray(), 1e-4f);
        assertArrayEquals(new float[12], wide.slice(1, 0, 4).toFloatArray());
        // Columns of a range, residual in place.
        Tensor part = residual.to(DEVICE);
        NmMatmul.run(
                x.to(DEVICE).slice(1, 20, 84),
                w,
                part,
                options.withBias(bias.to(DEVICE)).withResidual(part).withColumns(8, 16));
        assertArrayEquals(y.slice(1, 8, 16).toFloatArray(), part.slice(1, 8, 16).toFloatArray(), 1e-4f);
        assertArrayEquals(
                residual.slice(1, 16, 32).toFloatArray(), part.slice(1, 16, 32).toFloatArray());
    }

    @Test
    void refusesBadNumbers() {
        SparseTensor bad = floats(DType.F32, Sparsity.nm(2, 4), 6, 16);
        bad.values().setFloat(Float.NaN, 4, 3);
        assertInvalid(
                "weights.values[4][3]: given NaN or infinity; allowed: finite values",
                () -> NmMatmul.pack(bad.to(DEVICE)));

        SparseTensor twice = floats(DType.F32, Sparsity.nm(2, 4), 6, 16);
        twice.indices().setFloat(twice.indices().getInt(2, 4), 2, 5);
        assertInvalid(
                "weights.indices[2][5]: given an index that is too large, or not above the one before; allowed:"
                        + " ascending ones below 4 in each group",
                () -> NmMatmul.pack(twice.to(DEVICE)));

        SparseTensor scaled = codes(QuantSpec.int4(32), Sparsity.nm(2, 4), 6, 64);
        scaled.scales().setFloat(Float.POSITIVE_INFINITY, 5, 1);
        assertInvalid(
                "weights.scales[5][1]: given a scale that is NaN or infinite, or a zero point above 15; allowed: finite"
                        + " scales, zero points 0..15",
                () -> NmMatmul.pack(scaled.to(DEVICE)));
    }

    @Test
    void refusesOtherDevicesAndWhatADeviceCannotDo() {
        SparseTensor host = floats(DType.BF16, Sparsity.nm(2, 4), 8, 32);
        NmWeights w = NmMatmul.pack(host).to(DEVICE);
        assertSame(w, w.to(DEVICE));
        Tensor x = DEVICE.allocate(DType.F32, 2, 32);
        Tensor y = DEVICE.allocate(DType.F32, 2, 8);
        Tensor near = Tensor.allocate(DType.F32, 2, 32);
        assertElsewhere("w", DEVICE, Device.CPU, () -> NmMatmul.run(near, w, Tensor.allocate(DType.F32, 2, 8)));
        assertElsewhere("w", Device.CPU, DEVICE, () -> NmMatmul.run(x, NmMatmul.pack(host), y));
        assertElsewhere("y", Device.CPU, DEVICE, () -> NmMatmul.run(x, w, Tensor.allocate(DType.F32, 2, 8)));
        assertThrows(
                UnsupportedOperationException.class,
                () -> NmMatmul.run(x, w, y, Options.DEFAULT.withMode(Mode.INT8_ROW)));
        assertThrows(IllegalArgumentException.class, () -> NmMatmul.run(x, w, x));
        assertNoKernel("NmWeights.segment", w::segment);
        assertNoKernel("NmWeights.unpack", w::unpack);
        assertNoKernel("NmWeights.report", w::report);
    }

    @Test
    void weightsOfAClosedArenaAreRefused() {
        SparseTensor weights = floats(DType.BF16, Sparsity.nm(2, 4), 8, 32).to(DEVICE);
        NmWeights w;
        try (Arena arena = Arena.ofConfined()) {
            w = NmMatmul.pack(weights, NmWeights.Dense.ifFaster(), arena);
        }
        Tensor x = DEVICE.allocate(DType.F32, 2, 32);
        assertClosed("w", () -> NmMatmul.run(x, w, DEVICE.allocate(DType.F32, 2, 8)));
    }

    @Test
    void explains() {
        NmWeights w =
                NmMatmul.pack(floats(DType.BF16, Sparsity.nm(2, 4), 16, 64)).to(DEVICE);
        String text = NmMatmul.explain(
                DEVICE.allocate(DType.BF16, 2, 64), w, DEVICE.allocate(DType.BF16, 2, 16), Options.DEFAULT);
        assertTrue(text.startsWith("nm_matmul of 2 rows, 16 columns, depth 64, "), text);
        assertTrue(text.contains("kernel nm_matmul_"), text);
    }
}
