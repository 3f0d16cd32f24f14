package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static io.gatun.cuda.Refusals.assertStarts;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache;
import io.gatun.ops.KvFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The same calls of a cache on the device and of one on the CPU agree. */
class KvCacheOnDeviceTest {
    private static final int HEADS = 2;
    private static final int SIZE = 16;

    private static Tensor random(long seed, long... shape) {
        return QuantizeOnDeviceTest.random(seed, DType.F32, shape);
    }

    private static KvCache cache(Device device, KvFormat format) {
        return KvCache.builder(HEADS, SIZE)
                .device(device)
                .pages(12)
                .pageSize(4)
                .format(format, format)
                .build();
    }

    /** The same sequence of two caches. */
    private record Pair(KvCache.Sequence host, KvCache.Sequence there) {
        void append(long seed, int tokens) {
            Tensor k = random(seed, HEADS, tokens, SIZE);
            Tensor v = random(seed + 1, HEADS, tokens, SIZE);
            host.append(k, v);
            there.append(k.to(DEVICE), v.to(DEVICE));
        }

        Pair fork() {
            return new Pair(host.fork(), there.fork());
        }

        void assertAgree(double tolerance) {
            Tensor q = random(77, 1, 2 * HEADS, 1, SIZE);
            Tensor expected = Tensor.allocate(DType.F32, 1, 2 * HEADS, 1, SIZE);
            Tensor actual = expected.to(DEVICE);
            Tensor scores = Tensor.allocate(DType.F32, 1, HEADS, host.length());
            Tensor farScores = scores.to(DEVICE);
            host.attend(q, expected, Options.DEFAULT.withCausal(), scores, false);
            there.attend(q.to(DEVICE), actual, Options.DEFAULT.withCausal(), farScores, false);
            assertArrayEquals(expected.toFloatArray(), actual.toFloatArray(), (float) tolerance);
            assertArrayEquals(scores.toFloatArray(), farScores.toFloatArray(), (float) tolerance);
            assertEquals(host.length(), there.length());
        }
    }

    @Test
    void isThatOfTheCpu() {
        for (KvFormat format : List.of(KvFormat.F32, KvFormat.int8())) {
            double tolerance = format.equals(KvFormat.F32) ? 1e-5 : 0x1p-6;
            try (KvCache host = cache(Device.CPU, format);
                    KvCache there = cache(DEVICE, format)) {
                Pair one = new Pair(host.newSequence(), there.newSequence());
                one.append(1, 5);
                one.assertAgree(tolerance);
                Pair other = one.fork();
                other.append(3, 6);
                one.append(5, 1);
                one.assertAgree(tolerance);
                other.assertAgree(tolerance);
                long[][] keep = {{0, 3, 4, 7, 10}, {1, 2, 4, 8, 9}};
                other.host.evict(keep);
                other.there.evict(keep);
                other.assertAgree(tolerance);
                one.host.truncate(3);
                one.there.truncate(3);
                one.append(9, 2);
                one.assertAgree(tolerance);
                assertEquals(host.memory(), there.memory());
                assertArrayEquals(
                        one.host.table().toFloatArray(), one.there.table().toFloatArray());
                assertSame(DEVICE, one.there.table().device());

                Tensor q = random(8, 2, HEADS, 1, SIZE);
                Tensor expected = Tensor.allocate(DType.F32, 2, HEADS, 1, SIZE);
                Tensor actual = expected.to(DEVICE);
                host.attend(List.of(one.host, other.host), q, expected, Options.DEFAULT);
                there.attend(List.of(one.there, other.there), q.to(DEVICE), actual, Options.DEFAULT);
                assertArrayEquals(expected.toFloatArray(), actual.toFloatArray(), (float) tolerance);
                assertTrue(one.there
                        .explain(
                                q.slice(0, 0, 1).to(DEVICE),
                                DEVICE.allocate(DType.F32, 1, HEADS, 1, SIZE),
                                Options.DEFAULT)
                        .contains("decode_"));
            }
        }
    }

    @Test
    void refusedTokensAreNotThere() {
        try (KvCache cache = cache(DEVICE, KvFormat.int8())) {
            KvCache.Sequence sequence = cache.newSequence();
            Tensor good = random(1, HEADS, 3, SIZE);
            sequence.append(good.to(DEVICE), good.to(DEVICE));
            Tensor bad = random(2, HEADS, 3, SIZE);
            bad.setFloat(Float.NaN, 1, 2, 3);
            Tensor far = bad.to(DEVICE);
            assertStarts(
                    IllegalArgumentException.class,
                    "x[1, 2, 3]: given NaN",
                    () -> sequence.append(good.to(DEVICE), far));
            assertEquals(3, sequence.length());
            assertElsewhere("k", Device.CPU, DEVICE, () -> sequence.append(good, good.to(DEVICE)));
            Tensor many = DEVICE.allocate(DType.F32, HEADS, 60, SIZE);
            assertThrows(GatunException.class, () -> sequence.append(many, many));
            assertEquals(3, sequence.length());
        }
    }

    @Test
    void takesOneFormatWithoutScalesPerChannel() {
        assertStarts(
                UnsupportedOperationException.class,
                "formats: given 2 on " + DEVICE,
                () -> cache(DEVICE, KvFormat.int8().perChannel(16)));
    }

    @Test
    void closedCachesRefuse() {
        KvCache cache = cache(DEVICE, KvFormat.BF16);
        KvCache.Sequence sequence = cache.newSequence();
        cache.close();
        Tensor x = DEVICE.allocate(DType.F32, HEADS, 1, SIZE);
        assertStarts(IllegalStateException.class, "cache: given a closed KvCache", () -> sequence.append(x, x));
    }
}
