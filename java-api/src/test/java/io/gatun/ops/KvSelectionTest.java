package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import io.gatun.ops.KvSelection.Budget;
import java.util.Arrays;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvSelectionTest {
    private static final Decode.Options PLAIN = Decode.Options.DEFAULT;

    private final Random random = new Random(27);

    /** Softmax over pages of the products with means, summed over the queries of a head. */
    private static double[] votes(CachedKeys cached, Tensor q, int item, int head) {
        int group = (int) q.shape().size(1) / cached.heads;
        int pages = (int) Math.ceilDiv(cached.lengths[item], (long) cached.pageSize);
        double[] votes = new double[pages];
        for (int h = head * group; h < (head + 1) * group; h++) {
            double[] weights = new double[pages];
            double sum = 0;
            for (int page = 0; page < pages; page++) {
                long begin = (long) page * cached.pageSize;
                long end = Math.min(begin + cached.pageSize, cached.lengths[item]);
                double dot = 0;
                for (long j = begin; j < end; j++) {
                    for (int x = 0; x < cached.size; x++) {
                        dot += q.getFloat(item, h, 0, x) * cached.key(item, head, j, x) / (end - begin);
                    }
                }
                weights[page] = Math.exp(dot / Math.sqrt(cached.size));
                sum += weights[page];
            }
            for (int page = 0; page < pages; page++) {
                votes[page] += weights[page] / sum;
            }
        }
        return votes;
    }

    @Test
    void pagesByTheirMeans() {
        try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 20, 160, 83, 5, 0)) {
            cached.write();
            Tensor q = cached.queries(random, 6);
            KvSelection selection = new KvSelection(cached.k);
            selection.update(cached.table, new long[4], cached.lengths);
            Budget budget = new Budget(6, 1, 2);
            KvChoice choice = selection.select(q, cached.table, cached.lengths, budget);
            KvChoice together = selection.select(q, cached.table, cached.lengths, budget, true);
            Tensor out = cached.out(6);
            Tensor lse = f32(4, 6, 1);
            choice.run(q, cached.k, cached.v, out, PLAIN.withLse(lse));
            for (int item = 0; item < 4; item++) {
                double[] sums = new double[(int) Math.ceilDiv(cached.lengths[item], 8L)];
                long[][] places = new long[2][];
                for (int head = 0; head < 2; head++) {
                    double[] votes = votes(cached, q, item, head);
                    places[head] = cached.places(choice, 2 * item + head);
                    assertArrayEquals(CachedKeys.best(votes, budget), places[head]);
                    Arrays.setAll(sums, page -> sums[page] + votes[page]);
                }
                assertArrayEquals(CachedKeys.best(sums, budget), cached.places(together, item));
                float[][] right = cached.attention(item, q, places);
                for (int h = 0; h < 6 && item < 3; h++) {
                    for (int x = 0; x < 16; x++) {
                        assertEquals(right[h][x], out.getFloat(item, h, 0, x), 1e-5);
                    }
                    assertEquals(right[h][16], lse.getFloat(item, h, 0), 1e-5);
                }
            }
        }
    }

    /** A page of keys that the query looks for, among 40 of other keys: 4 pages hold nearly all attention. */
    @Test
    void findsTheNeedle() {
        try (CachedKeys cached = new CachedKeys(random, 2, 32, 16, 40, 640)) {
            Tensor q = cached.queries(random, 4);
            for (int head = 0; head < 2; head++) {
                for (long j = 16 * (11 + head); j < 16 * (12 + head); j++) {
                    for (int x = 0; x < 32; x++) {
                        float needle = q.getFloat(0, 2 * head, 0, x) + q.getFloat(0, 2 * head + 1, 0, x);
                        cached.setKey(0, head, j, x, 2.5f * needle);
                    }
                }
            }
            cached.write();
            KvSelection selection = new KvSelection(cached.k);
            selection.update(cached.table, new long[1], cached.lengths);
            KvChoice choice = selection.select(q, cached.table, cached.lengths, new Budget(4, 1, 1));
            for (int head = 0; head < 2; head++) {
                long needle = 11 + head;
                assertTrue(LongStream.of(cached.places(choice, head)).anyMatch(place -> place == needle));
            }
            Tensor all = f32(1, 4, 1);
            Tensor kept = f32(1, 4, 1);
            Decode.logits(q, cached.k, cached.table, cached.lengths, PLAIN.withLse(all));
            choice.run(q, cached.k, cached.v, cached.out(4), PLAIN.withLse(kept));
            double recall = Attention.recall(kept, all);
            assertTrue(recall > 0.97, "recall " + recall);
        }
    }

    /** Growing token by token: means are those of a prompt of all tokens, and so is the choice. */
    @Test
    void meansFollowNewKeys() {
        try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 12, 90, 31)) {
            Tensor q = cached.queries(random, 2);
            KvSelection grown = new KvSelection(cached.k);
            long[] start = {37, 0};
            cached.write(0, 0, 37);
            grown.update(cached.table, new long[2], start);
            for (long step = 1; step <= 53; step++) {
                long[] before = {Math.min(36 + step, 90), Math.min(step - 1, 31)};
                long[] now = {Math.min(37 + step, 90), Math.min(step, 31)};
                for (int item = 0; item < 2; item++) {
                    cached.write(item, before[item], now[item]);
                }
                grown.update(cached.table, before, now);
            }
            KvSelection whole = new KvSelection(cached.k);
            whole.update(cached.table, new long[2], cached.lengths);
            Budget budget = new Budget(4, 0, 1);
            KvChoice right = whole.select(q, cached.table, cached.lengths, budget);
            KvChoice given = grown.select(q, cached.table, cached.lengths, budget);
            assertArrayEquals(right.table().toFloatArray(), given.table().toFloatArray());
            for (int row = 0; row < 4; row++) {
                double[] votes = votes(cached, q, row / 2, row % 2);
                assertArrayEquals(CachedKeys.best(votes, budget), cached.places(given, row));
            }
        }
    }

    /** Heads with pages of their own: nothing of a page counts but the head that has it. */
    @Test
    void tablesForEachHead() {
        try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 12, 96)) {
            cached.write();
            int[] entries = new int[2 * 9];
            for (int n = 0; n < 9; n++) {
                entries[n] = cached.table.getInt(0, 0, n);
                entries[9 + n] = cached.table.getInt(0, 0, 11 - n); // some pages are of both, in another place
            }
            Tensor table = Tensor.of(entries, 1, 2, 9);
            long[] lengths = {67, 50};
            KvSelection selection = new KvSelection(cached.k);
            selection.update(table, new long[2], lengths);
            for (int round = 0; round < 10; round++) {
                int head = round % 2;
                Tensor q = cached.queries(random, 2);
                int pages = (int) Math.ceilDiv(lengths[head], 8L);
                double[] votes = new double[pages];
                for (int page = 0; page < pages; page++) {
                    int rows = (int) Math.min(8, lengths[head] - 8 * page);
                    for (int t = 0; t < rows; t++) {
                        long j = 8L * (head == 0 ? page : 11 - page) + t;
                        for (int x = 0; x < 16; x++) {
                            votes[page] += q.getFloat(0, head, 0, x) * cached.key(0, head, j, x) / rows;
                        }
                    }
                }
                for (int most = 1; most <= 9; most++) {
                    Budget budget = new Budget(most, 0, 1);
                    long[] right = Arrays.stream(CachedKeys.best(votes, budget))
                            .map(page -> head == 0 ? page : 11 - page)
                            .toArray();
                    assertArrayEquals(right, cached.places(selection.select(q, table, lengths, budget), head));
                }
            }
        }
    }

    /** DELTA: chosen by the attention of a layer that saw all, the same for all heads or for each. */
    @Test
    void pagesByTheirAttention() {
        try (CachedKeys cached = new CachedKeys(random, 2, 16, 8, 20, 150, 44)) {
            cached.write();
            Tensor q = cached.queries(random, 4);
            Tensor lse = f32(2, 4, 1);
            Tensor logits = f32(2, 4, 1, 160);
            Decode.logits(
                    q,
                    cached.k,
                    cached.table,
                    cached.lengths,
                    PLAIN.withLse(lse).withLogits(logits));
            Budget budget = new Budget(5, 1, 1);
            for (int heads : new int[] {1, 2}) {
                KvChoice choice = KvSelection.attended(logits, lse, cached.table, cached.lengths, 8, budget, heads);
                for (int row = 0; row < 2 * heads; row++) {
                    int item = row / heads;
                    double[] votes = new double[(int) Math.ceilDiv(cached.lengths[item], 8L)];
                    for (int h = 0; h < 4; h++) {
                        for (int j = 0; j < cached.lengths[item] && (heads == 1 || h / 2 == row % 2); j++) {
                            votes[j / 8] += Math.exp(logits.getFloat(item, h, 0, j) - lse.getFloat(item, h, 0));
                        }
                    }
                    assertArrayEquals(CachedKeys.best(votes, budget), cached.places(choice, row));
                }
            }
        }
    }

    /** In the next layer and the next steps: the same pages, and the keys that have come since. */
    @Test
    void choicesAreUsedAgain() {
        try (CachedKeys layer = new CachedKeys(random, 2, 16, 8, 30, 150, 64, 0);
                CachedKeys next = new CachedKeys(random, 2, 16, 8, 30, 150, 64, 0)) {
            layer.write();
            for (int item = 0; item < 3; item++) {
                next.write(item, 0, 240);
            }
            Tensor q = layer.queries(random, 2);
            KvSelection selection = new KvSelection(layer.k);
            selection.update(layer.table, new long[3], layer.lengths);
            for (boolean together : new boolean[] {false, true}) {
                KvChoice choice = selection.select(q, layer.table, layer.lengths, new Budget(4, 1, 1), together);
                int heads = together ? 1 : 2;
                long[][] first = new long[3 * heads][];
                for (int row = 0; row < first.length; row++) {
                    first[row] = next.places(choice, row);
                }
                System.arraycopy(layer.lengths, 0, next.lengths, 0, 3);
                for (int step = 0; step < 90; step += 1 + step / 3) { // more pages than are spare
                    for (int item = 0; item < 3; item++) {
                        next.lengths[item] = layer.lengths[item] + step;
                    }
                    choice.grow(next.table, next.lengths);
                    Tensor out = next.out(2);
                    choice.run(q, next.k, next.v, out, PLAIN);
                    for (int item = 0; item < 3; item++) {
                        long[][] places = new long[2][];
                        for (int head = 0; head < 2; head++) {
                            places[head] = next.places(choice, together ? item : 2 * item + head);
                            long had = Math.ceilDiv(layer.lengths[item], 8L);
                            long has = Math.ceilDiv(next.lengths[item], 8L);
                            assertArrayEquals(
                                    LongStream.concat(
                                                    Arrays.stream(first[together ? item : 2 * item + head]),
                                                    LongStream.range(had, has))
                                            .toArray(),
                                    places[head]);
                        }
                        float[][] right = next.attention(item, q, places);
                        for (int h = 0; h < 2 && next.lengths[item] > 0; h++) {
                            for (int x = 0; x < 16; x++) {
                                assertEquals(right[h][x], out.getFloat(item, h, 0, x), 1e-5);
                            }
                        }
                    }
                }
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        CachedKeys cached = new CachedKeys(random, 2, 16, 8, 4, 20);
        cached.write();
        KvSelection selection = new KvSelection(cached.k);
        selection.update(cached.table, new long[1], cached.lengths);
        Tensor q = cached.queries(random, 2);
        Budget budget = new Budget(2, 0, 1);
        KvChoice choice = selection.select(q, cached.table, cached.lengths, budget);
        long[] twenty = {20};
        return new Refusals(() -> choice.lengths()[0] == 12)
                .add("pages", "pages", "0", "1..", () -> new Budget(0, 0, 1))
                .add("last", "keepLast", "0", "1..", () -> new Budget(1, 0, 0))
                .add("from", "from[0]", "21", "0..20", () -> selection.update(cached.table, new long[] {21}, twenty))
                .add(
                        "beyond",
                        "lengths[0]",
                        "33",
                        "0..32",
                        () -> selection.update(cached.table, new long[1], new long[] {33}))
                .add("many", "from", "2 numbers", "1, as", () -> selection.update(cached.table, new long[2], twenty))
                .add(
                        "size",
                        "q",
                        "[1, 2, 1, 8]",
                        "16",
                        () -> selection.select(f32(1, 2, 1, 8), cached.table, twenty, budget))
                .add("shrunk", "now[0]", "19", "20..32", () -> choice.grow(cached.table, new long[] {19}))
                .add("items", "now", "2 lengths", "1", () -> choice.grow(cached.table, new long[2]))
                .add(
                        "rank",
                        "logits",
                        "[1, 2]",
                        "[batch",
                        () -> KvSelection.attended(f32(1, 2), f32(1, 2), cached.table, twenty, 8, budget, 1))
                .missing("keys", () -> new KvSelection(null))
                .missing("budget", () -> selection.select(q, cached.table, twenty, null))
                .tests();
    }
}
