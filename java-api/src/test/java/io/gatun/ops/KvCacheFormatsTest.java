package io.gatun.ops;

import static io.gatun.ops.KvCacheTest.HEADS;
import static io.gatun.ops.KvCacheTest.SIZE;
import static io.gatun.ops.KvCacheTest.aging;
import static io.gatun.ops.KvCacheTest.attend;
import static io.gatun.ops.KvCacheTest.builder;
import static io.gatun.ops.KvCacheTest.tokens;
import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvCache.Memory;
import io.gatun.ops.KvCache.Sequence;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What formats take, and which tokens are in which. */
class KvCacheFormatsTest {
    private static final KvFormat PER_CHANNEL = KvFormat.int4(0).perChannel(16);

    private final Random random = new Random(32);

    private Tensor rows(int tokens) {
        return KvCacheTest.rows(random, tokens);
    }

    /** What has no code is refused at once, whenever it would become one, and nothing is lost. */
    @Test
    void whatHasNoCodeChangesNothing() {
        for (KvCache.Builder built : List.of(
                builder(9).format(KvFormat.int8(), KvFormat.int4(0)),
                builder(9).format(PER_CHANNEL, KvFormat.int4(0)),
                builder(9).ages(List.of(new Age(20, KvFormat.int8(), KvFormat.int4(0)))))) {
            try (KvCache cache = built.build()) {
                Sequence sequence = cache.newSequence();
                sequence.append(rows(41), rows(41));
                Sequence fork = sequence.fork();
                Tensor q = KvCacheTest.queries(random, 1, 1);
                float[] before = attend(sequence, q, Options.DEFAULT);
                Memory memory = cache.memory();
                for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, 1e30f}) {
                    for (boolean keys : new boolean[] {true, false}) {
                        Tensor k = rows(20);
                        Tensor v = rows(20);
                        (keys ? k : v).setFloat(bad, 1, 17, 3);
                        assertThrows(IllegalArgumentException.class, () -> fork.append(k, v));
                        assertEquals(memory, cache.memory());
                        assertArrayEquals(before, attend(fork, q, Options.DEFAULT));
                        assertArrayEquals(before, attend(sequence, q, Options.DEFAULT));
                    }
                }
            }
        }
    }

    /** The largest number that is sure to have a code, in each type of rows, and the next one. */
    @Test
    void numbersThatBecomeCodes() {
        try (KvCache cache = builder(9)
                .ages(List.of(
                        new Age(0, KvFormat.int8(), KvFormat.int2(0)),
                        new Age(1, KvFormat.int4(0), KvFormat.int4(0)),
                        new Age(2, KvFormat.int2(0), KvFormat.int2(0).withoutZeroPoint())))
                .build()) {
            Sequence sequence = cache.newSequence();
            for (DType dtype : List.of(DType.F32, DType.BF16, DType.F16)) {
                float most = 32768;
                float next = dtype == DType.F32 ? Math.nextUp(most) : dtype == DType.F16 ? 32768 + 32 : 32768 + 256;
                for (int sign = -1; sign <= 1; sign += 2) {
                    Tensor k = Tensor.allocate(dtype, HEADS, 16, SIZE);
                    k.setFloat(sign * most, 1, 3, 5);
                    sequence.append(k, k);
                    sequence.append(rows(32), rows(32));
                    assertArrayEquals(new long[] {0, 16, 0, 32}, tokens(sequence, cache));
                    k.setFloat(sign * next, 1, 15, 15);
                    for (Tensor bad : List.of(k, k.slice(1, 15, 16))) {
                        Tensor good = f32(HEADS, bad.shape().size(1), SIZE);
                        assertThrows(IllegalArgumentException.class, () -> sequence.append(bad, good));
                        assertThrows(IllegalArgumentException.class, () -> sequence.append(good, bad));
                    }
                    k.setFloat(Float.NaN, 1, 15, 15);
                    assertThrows(IllegalArgumentException.class, () -> sequence.append(k, k));
                    sequence.truncate(0);
                }
            }
        }
    }

    // ---- ages ------------------------------------------------------------------------------------------------------

    /** Scales per channel are of whole groups: until then tokens are in bf16. */
    @Test
    void groupsAreWhole() {
        try (KvCache cache = builder(8).format(PER_CHANNEL, KvFormat.int4(0)).build()) {
            assertEquals(
                    "2 heads x 16 in pages of 16 tokens: 8 of keys bf16, values bf16; 8 of keys u4 per channel in"
                            + " groups of 16 tokens with zero points, values u4 per token with zero points",
                    cache.toString());
            Sequence sequence = cache.newSequence();
            for (int length = 1; length <= 50; length++) {
                sequence.append(rows(1), rows(1));
                assertArrayEquals(new long[] {length % 16, length - length % 16}, tokens(sequence, cache));
            }
            // A group that is cut stays as it is, and is followed by others.
            sequence.truncate(20);
            assertArrayEquals(new long[] {0, 20}, tokens(sequence, cache));
            sequence.append(rows(40), rows(40));
            assertArrayEquals(new long[] {8, 52}, tokens(sequence, cache));
        }
    }

    /** A page moves on when all its tokens are old enough. */
    @Test
    void olderTokensMoveOn() {
        try (KvCache cache = aging(30)) {
            Sequence sequence = cache.newSequence();
            int[][] expected = {{35, 35, 0, 0}, {36, 20, 16, 0}, {85, 21, 64, 0}, {86, 22, 48, 16}, {150, 22, 48, 80}};
            for (int[] at : expected) {
                int more = (int) (at[0] - sequence.length());
                sequence.append(rows(more), rows(more));
                assertArrayEquals(new long[] {at[1], at[2], at[3]}, tokens(sequence, cache), "at " + at[0]);
            }
        }
    }

    /** So many sequences never need more pages of the newer formats than they get. */
    @Test
    void pagesForSequences() {
        try (KvCache cache = builder(100)
                .sequences(2)
                .pageSize(2)
                .format(KvFormat.F32, KvFormat.F32)
                .ages(List.of(new Age(5, KvFormat.BF16, KvFormat.BF16), new Age(16, KvFormat.int8(), KvFormat.int8())))
                .build()) {
            assertTrue(cache.toString().contains(": 12 of keys f32, values f32; 22 of keys bf16"), cache.toString());
            Sequence one = cache.newSequence();
            one.append(rows(33), rows(33));
            Sequence two = one.fork();
            for (int t = 0; t < 40; t++) {
                one.append(rows(1), rows(1));
                two.append(rows(t % 5), rows(t % 5));
            }
            assertEquals(73, one.length());
        }
    }

    // ---- memory ----------------------------------------------------------------------------------------------------

    /** What is counted is what the pools' memory is. */
    @Test
    void memoryIsThatOfThePools() {
        for (KvFormat format : KvOracle.formats()) {
            KvFormat v = KvFormat.int4(0);
            try (KvCache cache = KvCache.builder(3, 64)
                    .valueSize(40)
                    .pageSize(32)
                    .pages(5)
                    .format(format, v)
                    .build()) {
                long bytes = 0;
                for (KvTier tier : cache.tiers()) {
                    bytes += bytes(tier.k) + bytes(tier.v);
                    assertEquals((bytes(tier.k) + bytes(tier.v)) / 5, tier.pageBytes());
                }
                assertEquals(bytes, cache.memory().reservedBytes(), format.toString());
            }
        }
    }

    private static long bytes(KvPool pool) {
        long bytes = pool.rows().segment().byteSize();
        bytes += pool.scales() == null ? 0 : pool.scales().segment().byteSize();
        return bytes
                + (pool.zeroPoints() == null ? 0 : pool.zeroPoints().segment().byteSize());
    }

    /** The table of README: bytes of a token's keys and values with 8 heads of 128, all pages full. */
    @Test
    void bytesOfAToken() {
        KvFormat int4 = KvFormat.int4(32);
        KvFormat int2 = KvFormat.int2(32);
        assertEquals(8192, bytesPerToken(KvFormat.F32, KvFormat.F32));
        assertEquals(4096, bytesPerToken(KvFormat.BF16, KvFormat.F16));
        assertEquals(2048, bytesPerToken(KvFormat.F8E4M3, KvFormat.F8E5M2));
        assertEquals(2080, bytesPerToken(KvFormat.int8(), KvFormat.int8()));
        assertEquals(2176, bytesPerToken(KvFormat.int8(32), KvFormat.int8(32)));
        assertEquals(1680, bytesPerToken(KvFormat.int8(), int4));
        assertEquals(1280, bytesPerToken(int4, int4));
        assertEquals(1152, bytesPerToken(int4.withoutZeroPoint(), int4.withoutZeroPoint()));
        assertEquals(1088, bytesPerToken(KvFormat.int4(0), KvFormat.int4(0)));
        assertEquals(1280, bytesPerToken(KvFormat.int4(0).perChannel(32), int4));
        assertEquals(1024, bytesPerToken(int4, int2));
        assertEquals(768, bytesPerToken(int2, int2));
        assertEquals(768, bytesPerToken(KvFormat.int2(0).perChannel(32), int2));
    }

    private static double bytesPerToken(KvFormat k, KvFormat v) {
        try (KvCache cache =
                KvCache.builder(8, 128).pageSize(32).pages(2).format(k, v).build()) {
            Sequence sequence = cache.newSequence();
            sequence.append(f32(8, 64, 128), f32(8, 64, 128));
            assertEquals(64, sequence.length());
            return cache.memory().bytesPerToken();
        }
    }
}
