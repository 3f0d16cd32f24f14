package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static io.gatun.cuda.Refusals.assertInvalid;
import static io.gatun.cuda.Refusals.assertNoKernel;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Mask;
import io.gatun.ops.Prune;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import io.gatun.ops.SparseTensor;
import io.gatun.ops.Sparsity;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The same calls on the device and on the CPU give the same bytes. */
class SparseTensorOnDeviceTest {
    private static Tensor random(long seed, DType dtype, long... shape) {
        return QuantizeOnDeviceTest.random(seed, dtype, shape);
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor == null ? null : tensor.to(Device.CPU).segment().toArray(ValueLayout.JAVA_BYTE);
    }

    private static void assertSameBytes(SparseTensor expected, SparseTensor actual) {
        assertSame(DEVICE, actual.device());
        assertArrayEquals(bytes(expected.indices()), bytes(actual.indices()), "indices");
        assertArrayEquals(bytes(expected.values()), bytes(actual.values()), "values");
        assertArrayEquals(bytes(expected.scales()), bytes(actual.scales()), "scales");
        assertArrayEquals(bytes(expected.zeroPoints()), bytes(actual.zeroPoints()), "zero points");
    }

    @Test
    void prunesAndCompresses() {
        for (Sparsity.Nm pattern :
                List.of(Sparsity.nm(2, 4), Sparsity.nm(1, 2), Sparsity.nm(3, 16).withVector(3), Sparsity.nm(5, 32))) {
            for (DType dtype : List.of(DType.F32, DType.F16, DType.BF16)) {
                Tensor w = random(1, dtype, 7, 70);
                Tensor norms = Quantize.dequantize(
                                Quantize.run(random(2, DType.F32, 1, 70), QuantSpec.int8()), DType.F32)
                        .reshape(70);
                for (int i = 0; i < 70; i++) {
                    norms.setFloat(Math.abs(norms.getFloat(i)), i);
                }
                Tensor scores = random(3, DType.F32, 7, 70);
                compare(w, Score.magnitude(), Score.magnitude(), pattern);
                compare(w, Score.wanda(norms), Score.wanda(norms.to(DEVICE)), pattern);
                compare(w, Score.given(scores), Score.given(scores.to(DEVICE)), pattern);
            }
        }
        Tensor w = random(1, DType.F32, 10, 22);
        assertSameBytes(
                Prune.compress(w, Score.magnitude(), Sparsity.transposable()),
                Prune.compress(w.to(DEVICE), Score.magnitude(), Sparsity.transposable()));
    }

    private static void compare(Tensor w, Score score, Score there, Sparsity.Nm pattern) {
        SparseTensor expected = Prune.compress(w, score, pattern);
        SparseTensor actual = Prune.compress(w.to(DEVICE), there, pattern);
        assertSameBytes(expected, actual);
        assertArrayEquals(bytes(expected.decompress()), bytes(actual.decompress()), "dense");
        SparseTensor out = actual.to(Device.CPU).to(DEVICE);
        Prune.compress(w.to(DEVICE), there, out, 0);
        assertSameBytes(expected, out);
    }

    @Test
    void compressesByMasks() {
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Tensor w = random(1, DType.BF16, 6, 50);
        Mask mask = Prune.run(w, Score.magnitude(), pattern);
        assertSameBytes(
                SparseTensor.compress(w, mask, pattern), SparseTensor.compress(w.to(DEVICE), mask.to(DEVICE), pattern));
        Tensor kept = mask.apply(w);
        assertSameBytes(SparseTensor.compress(kept, pattern), SparseTensor.compress(kept.to(DEVICE), pattern));
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4(32), QuantSpec.int4Asymmetric(16))) {
            QuantizedTensor codes = Quantize.run(kept.to(DType.F32), spec);
            SparseTensor expected = SparseTensor.compress(codes, mask, pattern);
            SparseTensor actual = SparseTensor.compress(codes.to(DEVICE), mask.to(DEVICE), pattern);
            assertSameBytes(expected, actual);
            assertArrayEquals(
                    bytes(expected.decompressCodes().codes()),
                    bytes(actual.decompressCodes().codes()));
            assertSame(actual, actual.to(DEVICE));
        }
    }

    @Test
    void refusesWhatKeepsTooMuch() {
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Tensor w = random(1, DType.F32, 3, 12);
        for (int r = 0; r < 3; r++) {
            for (int k = 0; k < 12; k += 2) {
                w.setFloat(0, r, k);
            }
        }
        w.setFloat(1, 2, 6);
        assertInvalid(
                "dense: given row 2 with more than 2 weights in group 1 (depth 4 on); allowed: 2:4",
                () -> SparseTensor.compress(w.to(DEVICE), pattern));
        Mask mask = Mask.of(w);
        assertInvalid(
                "mask: given row 2 with more than 2 weights in group 1 (depth 4 on); allowed: 2:4",
                () -> SparseTensor.compress(w.to(DEVICE), mask.to(DEVICE), pattern));
        mask.set(2, 6, false);
        assertInvalid(
                "mask: given rows from 0 on that differ, or have more than 2 weights in group 2 (depth 8 on); allowed:"
                        + " 2:2:4",
                () -> {
                    mask.set(1, 11, false);
                    SparseTensor.compress(w.to(DEVICE), mask.to(DEVICE), pattern.withVector(2));
                });
    }

    @Test
    void refusesBadScoresAndOtherDevices() {
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Tensor w = random(1, DType.F32, 4, 8);
        w.setFloat(Float.NaN, 2, 5);
        Tensor there = w.to(DEVICE);
        assertInvalid(
                "weights[2][5]: given a score that is NaN, or infinite where scores add up; allowed: numbers",
                () -> Prune.compress(there, Score.magnitude(), pattern));
        Tensor norms = Tensor.allocate(DType.F32, 8);
        assertElsewhere("norms", Device.CPU, DEVICE, () -> Prune.compress(there, Score.wanda(norms), pattern));
        Mask mask = Mask.allocate(4, 8);
        assertElsewhere("mask", Device.CPU, DEVICE, () -> SparseTensor.compress(there, mask, pattern));
        assertElsewhere("mask", DEVICE, Device.CPU, () -> SparseTensor.compress(w, mask.to(DEVICE), pattern));
        SparseTensor host = Prune.compress(random(1, DType.F32, 4, 8), Score.magnitude(), pattern);
        assertElsewhere("out.values", Device.CPU, DEVICE, () -> Prune.compress(there, Score.magnitude(), host, 0));
        assertThrows(UnsupportedOperationException.class, () -> Prune.compress(there, Score.lamp(), pattern));
        assertNoKernel("Prune.run", () -> Prune.run(there, Score.magnitude(), pattern));
        assertNoKernel("SparseTensor.mask", host.to(DEVICE)::mask);
        assertNoKernel("SparseTensor.check", host.to(DEVICE)::check);
        assertNoKernel(
                "SparseTensor.toSm80",
                Prune.compress(random(1, DType.BF16, 32, 32), Score.magnitude(), pattern)
                        .to(DEVICE)::toSm80);
    }

    @Test
    void explains() {
        SparseTensor sparse = Prune.compress(random(1, DType.F32, 4, 8), Score.magnitude(), Sparsity.nm(2, 4));
        String text = sparse.to(DEVICE).explain();
        assertTrue(text.contains("2:4"), text);
    }
}
