package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static io.gatun.cuda.Refusals.assertInvalid;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Decode;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvFormat;
import io.gatun.ops.KvPool;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The same calls on the device and on the CPU agree. */
class DecodeOnDeviceTest {
    private static final int HEADS = 2;
    private static final int PAGES = 6;
    private static final int PAGE = 16;
    private static final long[] LENGTHS = {37, 0, 20};
    private static final Tensor TABLE = Tensor.of(new int[] {4, 1, 3, 0, 0, 0, 5, 2, 0}, 3, 1, 3);

    private static Tensor random(long seed, DType dtype, long... shape) {
        return QuantizeOnDeviceTest.random(seed, dtype, shape);
    }

    /** The same pool on the CPU and on the device. */
    private record Pools(KvPool host, KvPool there) {
        static Pools of(KvFormat format, int size, long seed) {
            Pools pools = new Pools(
                    KvPool.allocate(format, HEADS, PAGES, PAGE, size),
                    KvPool.allocate(DEVICE, format, HEADS, PAGES, PAGE, size));
            Tensor x = random(seed, DType.F32, HEADS, PAGES * PAGE, size);
            pools.host.write(x, slots(0, PAGES * PAGE));
            pools.there.write(x.to(DEVICE), slots(0, PAGES * PAGE));
            return pools;
        }
    }

    private static long[] slots(int begin, int end) {
        long[] slots = new long[end - begin];
        for (int i = 0; i < slots.length; i++) {
            slots[i] = begin + i;
        }
        return slots;
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

    private static Tensor there(Tensor tensor) {
        return tensor == null ? null : tensor.to(DEVICE);
    }

    private static void assertAgree(Pools k, Pools v, Tensor q, Tensor table, long[] lengths, Options options) {
        long batch = q.shape().size(0);
        long heads = q.shape().size(1);
        long queries = q.shape().size(2);
        Options host = options.withLse(Tensor.allocate(DType.F32, batch, heads, queries));
        Options far = host.withLse(there(host.lse()))
                .withSlopes(there(options.slopes()))
                .withSinks(there(options.sinks()));
        Tensor expected = Tensor.allocate(DType.F32, batch, heads, queries, v.host.size());
        Tensor actual = expected.to(DEVICE);
        Decode.run(q, k.host, v.host, table, lengths, expected, host);
        Decode.run(q.to(DEVICE), k.there, v.there, there(table), lengths, actual, far);
        double tolerance = q.dtype() == DType.F32
                        && v.host.scales() == null
                        && v.host.format().dtype() == DType.F32
                ? 1e-5
                : 0x1p-5;
        assertNear(host.lse(), far.lse(), tolerance);
        assertNear(expected, actual, tolerance);
    }

    @Test
    void isThatOfTheCpu() {
        Pools k = Pools.of(KvFormat.F32, 32, 1);
        Pools v = Pools.of(KvFormat.F32, 16, 2);
        Tensor q = random(3, DType.F32, 3, 2 * HEADS, 2, 32);
        assertAgree(k, v, q, TABLE, LENGTHS, Options.DEFAULT);
        assertAgree(k, v, q, TABLE, LENGTHS, Options.DEFAULT.withCausal());
        Options all = Options.DEFAULT
                .withCausal()
                .withWindow(9, 3)
                .withScale(0.2f)
                .withSoftCap(5)
                .withSlopes(Attention.alibiSlopes(2 * HEADS))
                .withSinks(random(4, DType.F32, 2 * HEADS));
        assertAgree(k, v, q, TABLE, LENGTHS, all);
        // A contiguous cache.
        assertAgree(k, v, q, null, new long[] {16, 3, 0}, Options.DEFAULT);
    }

    @Test
    void takesEveryFormat() {
        Tensor q = random(3, DType.BF16, 3, HEADS, 1, 64);
        List<KvFormat> formats = List.of(KvFormat.BF16, KvFormat.int8(), KvFormat.int4(32), KvFormat.F8E4M3);
        for (KvFormat format : formats) {
            Pools k = Pools.of(format, 64, 1);
            Pools v = Pools.of(format, 64, 2);
            assertAgree(k, v, q, TABLE, LENGTHS, Options.DEFAULT.withMode(Mode.INT8));
        }
    }

    @Test
    void exportsLogitsScoresAndChoices() {
        Pools k = Pools.of(KvFormat.F32, 32, 1);
        Tensor q = random(3, DType.F32, 3, 2 * HEADS, 1, 32);
        Tensor logits = Tensor.allocate(DType.F32, 3, 2 * HEADS, 1, 48);
        Tensor lse = Tensor.allocate(DType.F32, 3, 2 * HEADS, 1);
        Tensor farLogits = logits.to(DEVICE);
        Tensor farLse = lse.to(DEVICE);
        Decode.logits(
                q, k.host, TABLE, LENGTHS, Options.DEFAULT.withLogits(logits).withLse(lse));
        Decode.logits(
                q.to(DEVICE),
                k.there,
                TABLE.to(DEVICE),
                LENGTHS,
                Options.DEFAULT.withLogits(farLogits).withLse(farLse));
        assertNear(logits, farLogits, 1e-5);
        Tensor scores = random(5, DType.F32, 3, HEADS, 48);
        Tensor farScores = scores.to(DEVICE);
        Decode.scores(logits, lse, LENGTHS, scores, true);
        Decode.scores(farLogits, farLse, LENGTHS, farScores, true);
        assertNear(scores, farScores, 1e-5);
        // Of one row in all, whose strides say nothing.
        Tensor one = Tensor.allocate(DType.F32, 1, 1, 40);
        Tensor farOne = one.to(DEVICE);
        long[] length = {37};
        Decode.scores(part(logits), part(lse), length, one, false);
        Decode.scores(part(farLogits), part(farLse), length, farOne, false);
        assertNear(one, farOne, 1e-5);

        Tensor pages = random(6, DType.F32, 3, HEADS, 3);
        Tensor chosen = Tensor.allocate(DType.I32, 3, HEADS, 2);
        Tensor farChosen = chosen.to(DEVICE);
        long[] kept = Decode.choose(pages, TABLE, LENGTHS, PAGE, 2, 0, 1, chosen);
        long[] farKept = Decode.choose(pages.to(DEVICE), TABLE.to(DEVICE), LENGTHS, PAGE, 2, 0, 1, farChosen);
        assertArrayEquals(kept, farKept);
        for (long b = 0; b < 3; b++) {
            for (long h = 0; h < HEADS; h++) {
                long count = Math.ceilDiv(kept[(int) (b * HEADS + h)], (long) PAGE);
                assertArrayEquals(row(chosen, b, h, count), row(farChosen, b, h, count));
            }
        }
        Pools v = Pools.of(KvFormat.F32, 16, 2);
        assertAgree(k, v, q, chosen, kept, Options.DEFAULT);
    }

    /** Of the first item and head. */
    private static Tensor part(Tensor tensor) {
        return tensor.slice(0, 0, 1).slice(1, 0, 1);
    }

    private static float[] row(Tensor chosen, long b, long h, long count) {
        return chosen.slice(0, b, b + 1).slice(1, h, h + 1).slice(2, 0, count).toFloatArray();
    }

    @Test
    void refuses() {
        KvPool k = KvPool.allocate(DEVICE, KvFormat.BF16, HEADS, PAGES, PAGE, 32);
        KvPool host = KvPool.allocate(KvFormat.BF16, HEADS, PAGES, PAGE, 32);
        Tensor q = DEVICE.allocate(DType.F32, 3, HEADS, 1, 32);
        Tensor out = DEVICE.allocate(DType.F32, 3, HEADS, 1, 32);
        Tensor table = TABLE.to(DEVICE);
        assertElsewhere("k", Device.CPU, DEVICE, () -> Decode.run(q, host, host, table, LENGTHS, out));
        assertElsewhere("v", Device.CPU, DEVICE, () -> Decode.run(q, k, host, table, LENGTHS, out));
        assertElsewhere("table", Device.CPU, DEVICE, () -> Decode.run(q, k, k, TABLE, LENGTHS, out));
        assertElsewhere(
                "out",
                Device.CPU,
                DEVICE,
                () -> Decode.run(q, k, k, table, LENGTHS, Tensor.allocate(DType.F32, 3, HEADS, 1, 32)));
        assertInvalid(
                "lengths[2]: given 49; allowed: 0..48, the keys of the pages of an item",
                () -> Decode.run(q, k, k, table, new long[] {1, 2, 49}, out));
        Tensor logits = DEVICE.allocate(DType.F32, 3, HEADS, 1, 40);
        assertInvalid(
                "logits: given shape [3, 2, 1, 40]; allowed: that of q [3, 2, 1, 32] with 48, the keys of an item's"
                        + " pages, or more",
                () -> Decode.run(q, k, k, table, LENGTHS, out, Options.DEFAULT.withLogits(logits)));
        Tensor scores = DEVICE.allocate(DType.F32, 3, HEADS, 2);
        assertInvalid(
                "scores: given shape [3, 2, 2]; allowed: 3 on the last axis, the pages of a row of the table",
                () -> Decode.choose(
                        scores, table, new long[] {1, 1, 1}, PAGE, 1, 0, 1, DEVICE.allocate(DType.I32, 3, HEADS, 1)));
        assertElsewhere(
                "table",
                Device.CPU,
                DEVICE,
                () -> Decode.choose(
                        scores, TABLE, new long[] {1, 1, 1}, PAGE, 1, 0, 1, DEVICE.allocate(DType.I32, 3, HEADS, 1)));
        k.close();
        IllegalStateException closed =
                assertThrows(IllegalStateException.class, () -> Decode.run(q, k, k, table, LENGTHS, out));
        assertTrue(closed.getMessage().startsWith("k: given a closed pool"), closed::getMessage);
    }

    @Test
    void explains() {
        KvPool k = KvPool.allocate(DEVICE, KvFormat.int8(), HEADS, PAGES, PAGE, 64);
        Tensor q = DEVICE.allocate(DType.BF16, 3, HEADS, 1, 64);
        Tensor out = DEVICE.allocate(DType.BF16, 3, HEADS, 1, 64);
        String text = Decode.explain(q, k, k, TABLE.to(DEVICE), LENGTHS, out, Options.DEFAULT);
        assertTrue(text.contains("decode_"), text);
    }

    // ---- pools -----------------------------------------------------------------------------------------------------

    @Test
    void rowsAreThoseOfTheCpu() {
        for (KvFormat format : List.of(KvFormat.F16, KvFormat.F8E5M2, KvFormat.int8(), KvFormat.int2(16))) {
            Pools pools = Pools.of(format, 32, 1);
            assertSame(pools);
            Tensor x = random(9, DType.BF16, HEADS, 3, 40).slice(2, 4, 36);
            Tensor far = random(9, DType.BF16, HEADS, 3, 40).to(DEVICE).slice(2, 4, 36);
            long[] slots = {50, -1, 3};
            pools.host.write(x, slots);
            pools.there.write(far, slots);
            pools.host.move(new long[] {90, 3, 91}, new long[] {3, 90, 7});
            pools.there.move(new long[] {90, 3, 91}, new long[] {3, 90, 7});
            assertSame(pools);
        }
    }

    @Test
    void channelsHaveScalesOfWholeGroups() {
        KvFormat format = KvFormat.int4(32).perChannel(16);
        Pools pools = Pools.of(format, 32, 1);
        assertSame(pools);
        Tensor x = DEVICE.allocate(DType.F32, HEADS, 16, 32);
        long[] slots = slots(8, 24);
        assertInvalid(
                "slots[0]: given 8; allowed: multiples of 16, for the first of a group",
                () -> pools.there.write(x, slots));
        long[] torn = slots(16, 32);
        torn[5] = 3;
        assertInvalid("slots[5]: given 3; allowed: 21, in its group", () -> pools.there.write(x, torn));
        assertInvalid(
                "from: given 3 slots; allowed: multiples of 16, the tokens of a scale",
                () -> pools.there.move(slots(0, 3), slots(3, 6)));
    }

    private static void assertSame(Pools pools) {
        int size = pools.host.size();
        Tensor expected = Tensor.allocate(DType.F32, HEADS, PAGES * PAGE, size);
        Tensor actual = expected.to(DEVICE);
        pools.host.read(slots(0, PAGES * PAGE), expected);
        pools.there.read(slots(0, PAGES * PAGE), actual);
        assertArrayEquals(expected.toFloatArray(), actual.toFloatArray());
    }

    @Test
    void poolsTakeMemoryOfOthers() {
        Tensor rows = random(1, DType.F32, PAGES, PAGE, HEADS, 16);
        KvPool host = KvPool.of(rows, Layout.NHD);
        KvPool there = KvPool.of(rows.to(DEVICE), Layout.NHD);
        Tensor expected = Tensor.allocate(DType.F32, HEADS, 4, 16);
        Tensor actual = expected.to(DEVICE);
        long[] slots = {5, 17, 95, 0};
        host.read(slots, expected);
        there.read(slots, actual);
        assertArrayEquals(expected.toFloatArray(), actual.toFloatArray());
    }

    @Test
    void poolsRefuse() {
        KvPool there = KvPool.allocate(DEVICE, KvFormat.int8(), HEADS, PAGES, PAGE, 16);
        Tensor x = random(1, DType.F32, HEADS, 2, 16);
        assertElsewhere("x", Device.CPU, DEVICE, () -> there.write(x, new long[] {0, 1}));
        assertInvalid(
                "slots[1]: given 96; allowed: -1..95", () -> there.write(x.to(DEVICE), new long[] {0, PAGES * PAGE}));
        assertInvalid("to[0]: given -1; allowed: 0..95", () -> there.move(new long[] {0}, new long[] {-1}));
        Tensor bad = random(1, DType.F32, HEADS, 2, 16);
        bad.setFloat(Float.NaN, 1, 0, 7);
        assertInvalid(
                "x[1, 0, 7]: given NaN or infinity; allowed: finite values, as they become codes",
                () -> there.write(bad.to(DEVICE), new long[] {0, 1}));
        bad.setFloat(1e8f, 1, 0, 7);
        assertInvalid(
                "x: given values of head 1, token 0, group 0 of channels whose scale overflows; allowed: scales"
                        + " that fit f16",
                () -> there.write(bad.to(DEVICE), new long[] {0, 1}));
        there.write(x.to(DEVICE), new long[] {0, 1});
        there.close();
        assertThrows(IllegalStateException.class, () -> there.write(x.to(DEVICE), new long[] {0, 1}));
    }
}
