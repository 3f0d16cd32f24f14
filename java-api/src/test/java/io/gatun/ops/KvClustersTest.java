package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import io.gatun.ops.KvClusters.Similarity;
import io.gatun.ops.KvSelection.Budget;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvClustersTest {
    private final Random random = new Random(28);

    /** Of a query head and keys begin .. end - 1, over sqrt(size), by its definition. */
    private static double similarity(
            CachedKeys cached, Tensor q, int item, int h, long begin, long end, Similarity kind) {
        int head = h / (int) (q.shape().size(1) / cached.heads);
        double sum = 0;
        for (int x = 0; x < cached.size; x++) {
            float largest = Float.NEGATIVE_INFINITY;
            float smallest = Float.POSITIVE_INFINITY;
            for (long j = begin; j < end; j++) {
                largest = Math.max(largest, cached.key(item, head, j, x));
                smallest = Math.min(smallest, cached.key(item, head, j, x));
            }
            float number = q.getFloat(item, h, 0, x);
            sum += kind == Similarity.BOUND
                    ? Math.max(number * largest, number * smallest)
                    : number * (0.6 * largest + 0.4 * smallest);
        }
        return sum / Math.sqrt(cached.size);
    }

    private static double product(CachedKeys cached, Tensor q, int h, long j) {
        double dot = 0;
        for (int x = 0; x < cached.size; x++) {
            dot += q.getFloat(0, h, 0, x) * cached.key(0, h / (int) (q.shape().size(1) / cached.heads), j, x);
        }
        return dot / Math.sqrt(cached.size);
    }

    /** As defined, and the bound is one: no key of the page has a larger product. The linear one is not. */
    @Test
    void similarities() {
        try (CachedKeys cached = new CachedKeys(random, 2, 24, 16, 8, 121)) {
            cached.write();
            Tensor q = cached.queries(random, 4);
            int missed = 0;
            for (Similarity kind : Similarity.values()) {
                KvClusters clusters = new KvClusters(cached.k, 2, kind);
                clusters.update(cached.table, new long[1], cached.lengths);
                Tensor given = clusters.similarities(q, cached.table, cached.lengths);
                assertEquals("[1, 4, 1, 8]", given.shape().toString());
                for (int h = 0; h < 4; h++) {
                    for (int page = 0; page < 8; page++) {
                        long end = Math.min(16 * page + 16, 121);
                        double right = similarity(cached, q, 0, h, 16 * page, end, kind);
                        assertEquals(right, given.getFloat(0, h, 0, page), 1e-4);
                        for (long j = 16 * page; j < end; j++) {
                            double least = product(cached, q, h, j) - 1e-5;
                            if (kind == Similarity.BOUND) {
                                assertTrue(given.getFloat(0, h, 0, page) >= least, "head " + h + ", key " + j);
                            } else if (given.getFloat(0, h, 0, page) < least) {
                                missed++;
                            }
                        }
                    }
                }
            }
            assertTrue(missed > 0);
        }
    }

    /** Keys of codes: the bound is one of the values that they stand for. */
    @Test
    void keysInFewBits() {
        try (KvPool keys = KvPool.allocate(KvFormat.int2(16), 2, 8, 16, 32)) {
            keys.write(
                    Tensor.of(random.normal(2 * 128 * 32, 1), 2, 128, 32),
                    LongStream.range(0, 128).toArray());
            Tensor table = Tensor.of(new int[] {3, 1, 7, 0, 2, 6, 4, 5}, 1, 1, 8);
            long[] lengths = {128};
            KvClusters clusters = new KvClusters(keys, 1, Similarity.BOUND);
            clusters.update(table, new long[1], lengths);
            Tensor q = Tensor.of(random.normal(4 * 32, 1), 1, 4, 1, 32);
            Tensor bounds = clusters.similarities(q, table, lengths);
            Tensor logits = Refusals.f32(1, 4, 1, 128);
            Decode.logits(q, keys, table, lengths, Decode.Options.DEFAULT.withLogits(logits));
            for (int n = 0; n < 4 * 128; n++) {
                float bound = bounds.getFloat(0, n / 128, 0, n % 128 / 16);
                assertTrue(bound >= logits.getFloat(0, n / 128, 0, n % 128) - 1e-3, "key " + n);
            }
        }
    }

    /** The largest, the ends aside; of one query to a head scores sort as similarities do. */
    private static long[] best(double[] similarities, long[] among, int count, int first, int last) {
        return IntStream.range(0, among.length)
                .boxed()
                .sorted((a, b) -> {
                    boolean endA = a < first || a >= among.length - last;
                    boolean endB = b < first || b >= among.length - last;
                    return endA != endB
                            ? (endA ? -1 : 1)
                            : Double.compare(similarities[(int) among[b]], similarities[(int) among[a]]);
                })
                .limit(count)
                .mapToLong(n -> among[n])
                .sorted()
                .toArray();
    }

    /** Large clusters first, then the pages in those, with partial ones at the end. */
    @Test
    void twoLevels() {
        for (Similarity kind : Similarity.values()) {
            for (int span : new int[] {1, 2, 3}) {
                try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 31, 245, 101, 3, 0)) {
                    cached.write();
                    Tensor q = cached.queries(random, 2);
                    KvClusters clusters = new KvClusters(cached.k, span, kind);
                    clusters.update(cached.table, new long[4], cached.lengths);
                    KvChoice choice = clusters.select(q, cached.table, cached.lengths, 4, new Budget(6, 1, 2));
                    for (int row = 0; row < 8; row++) {
                        int item = row / 2;
                        long length = cached.lengths[item];
                        long[] large = levels(cached, q, row, 8L * span, kind, null, 0, 0, 0);
                        int keepLast = 1 + Math.ceilDiv(1, span);
                        long[] left = levels(cached, q, row, 8L * span, kind, large, 4 + 1 + keepLast, 1, keepLast);
                        long[] pages = Arrays.stream(left)
                                .flatMap(n -> LongStream.range(n * span, Math.min((n + 1) * span, (length + 7) / 8)))
                                .toArray();
                        long[] right = levels(cached, q, row, 8, kind, pages, 6, 1, 2);
                        assertArrayEquals(right, cached.places(choice, row), kind + ", span " + span + ", row " + row);
                    }
                }
            }
        }
    }

    /** All clusters of so many keys, or the best of some. */
    private static long[] levels(
            CachedKeys cached,
            Tensor q,
            int row,
            long keys,
            Similarity kind,
            long[] among,
            int count,
            int first,
            int last) {
        long length = cached.lengths[row / 2];
        double[] similarities = new double[(int) Math.ceilDiv(length, keys)];
        if (among == null) {
            return LongStream.range(0, similarities.length).toArray();
        }
        for (int n = 0; n < similarities.length; n++) {
            similarities[n] = similarity(cached, q, row / 2, row % 2, n * keys, Math.min((n + 1) * keys, length), kind);
        }
        return best(similarities, among, count, first, last);
    }

    /**
     * What the bound is for: with as many pages chosen as have a bound above the product of the best key, that key is
     * among them, whatever the keys are. Single large keys within pages, which means hide, are found.
     */
    @Test
    void holdsTheTopKeys() {
        for (int round = 0; round < 20; round++) {
            try (CachedKeys cached = new CachedKeys(random, 2, 32, 16, 40, 640)) {
                Tensor q = cached.queries(random, 2);
                long[] needles = new long[2];
                for (int head = 0; head < 2; head++) {
                    needles[head] = random.between(0, 639);
                    for (int x = 0; x < 32; x++) {
                        cached.setKey(0, head, needles[head], x, 4 * q.getFloat(0, head, 0, x));
                    }
                }
                cached.write();
                KvClusters clusters = new KvClusters(cached.k, 2, Similarity.BOUND);
                clusters.update(cached.table, new long[1], cached.lengths);
                KvChoice choice = clusters.select(q, cached.table, cached.lengths, 4, new Budget(3, 0, 1));
                for (int head = 0; head < 2; head++) {
                    long page = needles[head] / 16;
                    assertTrue(LongStream.of(cached.places(choice, head)).anyMatch(place -> place == page));
                }
            }
        }
    }

    /** Boxes after keys came one by one are those of all at once. */
    @Test
    void boxesFollowNewKeys() {
        try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 12, 90)) {
            Tensor q = cached.queries(random, 2);
            KvClusters grown = new KvClusters(cached.k, 3, Similarity.BOUND);
            for (long length = 1; length <= 90; length++) {
                cached.write(0, length - 1, length);
                grown.update(cached.table, new long[] {length - 1}, new long[] {length});
            }
            KvClusters whole = new KvClusters(cached.k, 3, Similarity.BOUND);
            whole.update(cached.table, new long[1], cached.lengths);
            Budget budget = new Budget(4, 0, 1);
            KvChoice right = whole.select(q, cached.table, cached.lengths, 2, budget);
            KvChoice given = grown.select(q, cached.table, cached.lengths, 2, budget);
            assertArrayEquals(right.table().toFloatArray(), given.table().toFloatArray());
            assertArrayEquals(
                    whole.similarities(q, cached.table, cached.lengths).toFloatArray(),
                    grown.similarities(q, cached.table, cached.lengths).toFloatArray());
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        CachedKeys cached = new CachedKeys(random, 2, 16, 8, 4, 20);
        KvPool wide = KvPool.allocate(KvFormat.F32, 1, 1, 1, 136);
        KvClusters some = new KvClusters(cached.k, 2, Similarity.BOUND);
        Tensor q = cached.queries(random, 2);
        Budget budget = new Budget(2, 0, 1);
        return new Refusals(() -> true)
                .add("span", "span", "0", "1..", () -> new KvClusters(cached.k, 0, Similarity.LINEAR))
                .add("size", "similarity", "136", "up to 128", () -> new KvClusters(wide, 1, Similarity.BOUND))
                .add("clusters", "clusters", "0", "1..", () -> some.select(q, cached.table, cached.lengths, 0, budget))
                .add(
                        "lengths",
                        "lengths",
                        "2 lengths",
                        "1, one",
                        () -> some.select(q, cached.table, new long[2], 1, budget))
                .missing("similarity", () -> new KvClusters(cached.k, 1, null))
                .missing("table", () -> some.select(q, null, cached.lengths, 1, budget))
                .tests();
    }
}
