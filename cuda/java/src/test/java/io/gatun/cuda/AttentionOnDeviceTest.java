package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertClosed;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.BlockGrid;
import io.gatun.ops.BlockMask;
import io.gatun.ops.Sequences;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

/** The same calls on the device and on the CPU agree. */
class AttentionOnDeviceTest {
    private static Tensor random(long seed, DType dtype, long... shape) {
        return QuantizeOnDeviceTest.random(seed, dtype, shape);
    }

    private static Tensor there(Tensor tensor) {
        return tensor == null ? null : tensor.to(DEVICE);
    }

    /** The same options, with all that they hold on the device. */
    private static Options there(Options options) {
        return options.withSlopes(there(options.slopes()))
                .withSinks(there(options.sinks()))
                .withCorrection(there(options.correction()))
                .withLse(there(options.lse()))
                .withMask(options.mask() == null ? null : options.mask().to(DEVICE))
                .withSequences(
                        options.sequences() == null ? null : options.sequences().to(DEVICE));
    }

    /** Runs both, with the log-sum-exps too, whose shape is that of {@code lse}. */
    private static void assertAgree(Tensor q, Tensor k, Tensor v, Options options, long[] lse, double tolerance) {
        Options host = options.withLse(Tensor.allocate(DType.F32, lse));
        Options far = there(host);
        long[] shape = q.shape().toArray();
        shape[shape.length - 1] = v.shape().size(shape.length - 1);
        Tensor expected = Tensor.allocate(q.dtype(), shape);
        Tensor actual = DEVICE.allocate(q.dtype(), shape);
        Attention.run(q, k, v, expected, host);
        Attention.run(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), actual, far);
        assertNear(host.lse(), far.lse(), tolerance);
        assertNear(expected, actual, tolerance);
    }

    private static void assertNear(Tensor expected, Tensor actual, double tolerance) {
        float[] one = expected.toFloatArray();
        float[] other = actual.toFloatArray();
        assertEquals(one.length, other.length);
        for (int i = 0; i < one.length; i++) {
            if (one[i] != other[i]) { // infinities
                assertEquals(one[i], other[i], tolerance * (1 + Math.abs(one[i])), "[" + i + "]");
            }
        }
    }

    @Test
    void isThatOfTheCpu() {
        for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
            double tolerance = dtype == DType.F32 ? 1e-5 : dtype == DType.F16 ? 0x1p-8 : 0x1p-5;
            Tensor q = random(1, dtype, 2, 4, 37, 32);
            Tensor k = random(2, dtype, 2, 2, 70, 32);
            Tensor v = random(3, dtype, 2, 2, 70, 16);
            assertAgree(q, k, v, Options.DEFAULT.withCausal(), new long[] {2, 4, 37}, tolerance);
        }
    }

    @Test
    void takesEveryOption() {
        Tensor q = random(1, DType.F32, 1, 40, 2, 24);
        Tensor k = random(2, DType.F32, 1, 40, 1, 24);
        Tensor v = random(3, DType.F32, 1, 40, 1, 8);
        Options options = Options.DEFAULT
                .withLayout(Layout.NHD)
                .withWindow(9, 3)
                .withSinkKeys(2)
                .withScale(0.3f)
                .withSoftCap(4)
                .withSlopes(Attention.alibiSlopes(2))
                .withSinks(random(4, DType.F32, 2))
                .withCorrection(random(5, DType.F32, 1, 2, 40));
        assertAgree(q, k, v, options, new long[] {1, 2, 40}, 1e-5);
        assertAgree(q, k, v, Options.DEFAULT.withLayout(Layout.NHD).withMode(Mode.INT8), new long[] {1, 2, 40}, 0x1p-5);
    }

    /** Products with the means' shares and exponentials of three bits: near those of f32 on the CPU. */
    @Test
    void int8AndFp8() {
        Tensor q = random(1, DType.BF16, 1, 4, 70, 72);
        Tensor k = random(2, DType.BF16, 1, 2, 150, 72);
        Tensor v = random(3, DType.BF16, 1, 2, 150, 24);
        for (long channel = 0; channel < 24; channel += 2) { // with means far from 0
            for (long key = 0; key < 150; key++) {
                v.setFloat(v.getFloat(0, 1, key, channel) + 64, 0, 1, key, channel);
            }
        }
        Options options = Options.DEFAULT.withCausal().withSinks(random(4, DType.F32, 4));
        Tensor expected = Tensor.allocate(DType.F32, 1, 4, 70, 24);
        Tensor actual = DEVICE.allocate(DType.F32, 1, 4, 70, 24);
        Attention.run(q, k, v, expected, options);
        Options fp8 = there(options).withMode(Mode.INT8_FP8);
        if (!Attention.explain(q.to(DEVICE), q.to(DEVICE), q.to(DEVICE), q.to(DEVICE), Options.DEFAULT)
                .contains("on compute capability 9.0\n")) {
            UnsupportedOperationException refused = assertThrows(
                    UnsupportedOperationException.class,
                    () -> Attention.run(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), actual, fp8));
            assertTrue(refused.getMessage().contains("allowed: 9.0, or another mode"), refused.getMessage());
            return;
        }
        Attention.run(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), actual, fp8);
        assertNear(expected, actual, 0x1p-4);
        String text = Attention.explain(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), actual, fp8);
        assertTrue(text.contains("\n  kernel attention_i8_f8_m128n128k128_sm90, "), text);

        Tensor wide = DEVICE.allocate(DType.F32, 1, 1, 3, 136);
        UnsupportedOperationException refused = assertThrows(
                UnsupportedOperationException.class,
                () -> Attention.run(wide, wide, wide, DEVICE.allocate(DType.F32, 1, 1, 3, 136), fp8.withSinks(null)));
        assertEquals("params.head_size = 136 in mode INT8_FP8; allowed: up to 128", refused.getMessage());
    }

    @Test
    void takesMasks() {
        Tensor q = random(1, DType.F32, 1, 2, 50, 16);
        BlockGrid grid = new BlockGrid(50, 50, 16, 32);
        BlockMask mask = BlockMask.of(grid, 1, 2, (batch, head, i, j) -> head == 0 ? i % 3 != j % 3 : j / 32 == i / 32);
        assertTrue(mask.partialCount() > 0 && mask.fullCount() > 0);
        assertAgree(q, q, q, Options.DEFAULT.withMask(mask), new long[] {1, 2, 50}, 1e-5);
        // Nothing is seen.
        BlockMask none = BlockMask.ofBlocks(grid, Tensor.allocate(DType.U8, 4, 2));
        assertAgree(q, q, q, Options.DEFAULT.withMask(none), new long[] {1, 2, 50}, 0);

        BlockMask there = mask.to(DEVICE);
        assertSame(DEVICE, there.device());
        assertSame(there, there.to(DEVICE));
        assertEquals(mask, there);
        assertEquals(mask, there.to(Device.CPU));
        assertEquals(mask.repeatHeads(2), there.repeatHeads(2));
        assertArrayEquals(mask.toMap().toFloatArray(), there.toMap().toFloatArray());
    }

    @Test
    void takesSequences() {
        Sequences sequences = Sequences.of(new int[] {0, 5, 5, 30}, new int[] {0, 9, 12, 37});
        Tensor q = random(1, DType.F32, 2, 30, 16);
        Tensor k = random(2, DType.F32, 1, 40, 16);
        assertAgree(q, k, k, Options.DEFAULT.withSequences(sequences).withCausal(), new long[] {2, 30}, 1e-5);
        assertSame(DEVICE, sequences.to(DEVICE).device());
        assertEquals(37, sequences.to(DEVICE).keyEnd());
    }

    @Test
    void logSumExpsAlone() {
        Tensor q = random(1, DType.BF16, 1, 2, 20, 16);
        Tensor expected = Tensor.allocate(DType.F32, 1, 2, 20);
        Tensor actual = DEVICE.allocate(DType.F32, 1, 2, 20);
        Attention.run(q, q, null, null, Options.DEFAULT.withLse(expected));
        Attention.run(q.to(DEVICE), q.to(DEVICE), null, null, Options.DEFAULT.withLse(actual));
        assertNear(expected, actual, 1e-4);
    }

    @Test
    void merges() {
        Tensor a = random(1, DType.F32, 1, 2, 20, 16);
        Tensor b = random(2, DType.F32, 1, 2, 20, 16);
        Tensor aLse = random(3, DType.F32, 1, 2, 20);
        Tensor bLse = random(4, DType.F32, 1, 2, 20);
        bLse.setFloat(Float.NEGATIVE_INFINITY, 0, 1, 3);
        Tensor out = Tensor.allocate(DType.F32, 1, 2, 20, 16);
        Tensor lse = Tensor.allocate(DType.F32, 1, 2, 20);
        Tensor inPlace = a.to(DEVICE);
        Tensor lseInPlace = aLse.to(DEVICE);
        Attention.merge(a, aLse, b, bLse, out, lse);
        Attention.merge(inPlace, lseInPlace, b.to(DEVICE), bLse.to(DEVICE), inPlace, lseInPlace);
        assertNear(out, inPlace, 1e-6);
        assertNear(lse, lseInPlace, 1e-6);
        assertElsewhere(
                "bLse", Device.CPU, DEVICE, () -> Attention.merge(inPlace, lseInPlace, inPlace, bLse, inPlace, null));
    }

    @Test
    void refusesOtherDevices() {
        Tensor host = Tensor.allocate(DType.F32, 1, 2, 32, 16);
        Tensor q = host.to(DEVICE);
        Tensor out = DEVICE.allocate(DType.F32, 1, 2, 32, 16);
        BlockMask mask = BlockMask.slidingWindow(new BlockGrid(32, 32, 16, 16), 4, 4, 0);
        assertElsewhere("k", Device.CPU, DEVICE, () -> Attention.run(q, host, q, out));
        assertElsewhere("v", Device.CPU, DEVICE, () -> Attention.run(q, q, host, out));
        assertElsewhere("out", DEVICE, Device.CPU, () -> Attention.run(host, host, host, out));
        assertElsewhere("mask", Device.CPU, DEVICE, () -> Attention.run(q, q, q, out, Options.DEFAULT.withMask(mask)));
        Tensor sinks = Tensor.allocate(DType.F32, 2);
        assertElsewhere(
                "sinks", Device.CPU, DEVICE, () -> Attention.run(q, q, q, out, Options.DEFAULT.withSinks(sinks)));
        assertElsewhere(
                "sequences",
                DEVICE,
                Device.CPU,
                () -> Attention.explain(
                        host.reshape(2, 32, 16),
                        host.reshape(2, 32, 16),
                        host.reshape(2, 32, 16),
                        Tensor.allocate(DType.F32, 2, 32, 16),
                        Options.DEFAULT.withSequences(Sequences.of(new int[] {0, 32}, new int[] {0, 32})
                                .to(DEVICE))));
    }

    @Test
    void masksOfMapsAreMadeThere() {
        BlockGrid grid = new BlockGrid(50, 70, 16, 32);
        Tensor map = Tensor.of(DType.U8, new byte[] {1, 0, 2, 0, 0, 0, 2, 2, 1, 0, 1, 0}, 4, 3);
        BlockMask expected = BlockMask.ofBlocks(grid, map);
        Tensor q = random(1, DType.F32, 1, 2, 50, 16).to(DEVICE);
        Tensor k = random(2, DType.F32, 1, 2, 70, 16).to(DEVICE);
        Tensor one = DEVICE.allocate(DType.F32, 1, 2, 50, 16);
        Tensor other = DEVICE.allocate(DType.F32, 1, 2, 50, 16);
        BlockMask made = BlockMask.ofBlocks(grid, map.to(DEVICE));
        assertSame(DEVICE, made.device());
        Attention.run(q, k, k, one, Options.DEFAULT.withMask(made));
        Attention.run(q, k, k, other, Options.DEFAULT.withMask(expected.to(DEVICE)));
        assertArrayEquals(other.toFloatArray(), one.toFloatArray());
        assertEquals(expected, made);
        assertEquals(expected.toString(), made.toString());
        assertEquals(expected, made.to(Device.CPU));
        assertSame(Device.CPU, made.to(Device.CPU).device());
    }

    @Test
    void memoryOfAClosedArenaIsRefused() {
        Tensor q = DEVICE.allocate(DType.F32, 1, 2, 32, 16);
        Tensor out = DEVICE.allocate(DType.F32, 1, 2, 32, 16);
        Tensor closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = DEVICE.allocate(arena, DType.F32, 1, 2, 32, 16);
        }
        assertClosed("k", () -> Attention.run(q, closed, q, out));
    }

    @Test
    void explains() {
        Tensor q = DEVICE.allocate(DType.BF16, 1, 2, 32, 64);
        String text = Attention.explain(q, q, q, DEVICE.allocate(DType.BF16, 1, 2, 32, 64), Options.DEFAULT);
        assertTrue(text.startsWith("attention of BF16, 1 x 2 query heads"), text);
        assertTrue(text.contains("\n  kernel attention_"), text);
    }
}
