package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** Methods that choose what to keep or to read, on sequences of a {@link KvCache}. */
class KvMethodsTest {
    private static final int SIZE = 32;

    private final Random random = new Random(29);

    private Tensor rows(int tokens) {
        return Tensor.of(random.normal(2 * tokens * SIZE, 1), 2, tokens, SIZE);
    }

    /** Queries of 4 heads near a direction that each KV head has, which 12 tokens of it have, too. */
    private Tensor query(float[] directions) {
        float[] q = random.normal(4 * SIZE, 0.3);
        for (int n = 0; n < q.length; n++) {
            q[n] += directions[n / (2 * SIZE) * SIZE + n % SIZE];
        }
        return Tensor.of(q, 1, 4, 1, SIZE);
    }

    /** Tokens of each head, in order. */
    private static Tensor gathered(Tensor rows, long[][] keep) {
        Tensor some = f32(2, keep[0].length, SIZE);
        for (int h = 0; h < 2; h++) {
            for (int n = 0; n < keep[h].length; n++) {
                for (int x = 0; x < SIZE; x++) {
                    some.setFloat(rows.getFloat(h, keep[h][n], x), h, n, x);
                }
            }
        }
        return some;
    }

    /**
     * H2O: tokens that got the most attention stay. What is left attends as a cache of them alone, bit for bit, and holds
     * most of the attention to come; the same number of last tokens does not.
     */
    @Test
    void evictsByAttention() {
        float[] directions = random.normal(2 * SIZE, 1);
        Tensor k = rows(200);
        Tensor v = rows(200);
        for (int n = 0; n < 2 * 12 * SIZE; n++) {
            int head = n / (12 * SIZE);
            int token = 11 * (n / SIZE % 12) + 7 + head;
            k.setFloat(1.5f * directions[head * SIZE + n % SIZE], head, token, n % SIZE);
        }
        try (KvCache cache = KvCache.builder(2, SIZE).pages(60).build()) {
            KvCache.Sequence sequence = cache.newSequence();
            sequence.append(k.slice(1, 0, 190), v.slice(1, 0, 190));
            Tensor scores = f32(1, 2, 200);
            Tensor out = f32(1, 4, 1, SIZE);
            for (int step = 190; step < 200; step++) {
                sequence.append(k.slice(1, step, step + 1), v.slice(1, step, step + 1));
                sequence.attend(query(directions), out, Decode.Options.DEFAULT, scores, true);
            }
            Tensor q = query(directions);
            Tensor all = f32(1, 4, 1);
            sequence.attend(q, out, Decode.Options.DEFAULT.withLse(all));

            long[][] keep = new KvBudget(2, 8).keepPerHead(scores, 30);
            KvCache.Sequence last = sequence.fork();
            last.evict(LongStream.range(170, 200).toArray());
            sequence.evict(keep);
            assertEquals(30, sequence.length());
            Tensor kept = f32(1, 4, 1);
            sequence.attend(q, out, Decode.Options.DEFAULT.withLse(kept));
            double recall = Attention.recall(kept, all);
            assertTrue(recall > 0.8, "recall " + recall);
            KvCache.Sequence alone = cache.newSequence();
            alone.append(gathered(k, keep), gathered(v, keep));
            Tensor right = f32(1, 4, 1, SIZE);
            alone.attend(q, right, Decode.Options.DEFAULT);
            assertArrayEquals(right.toFloatArray(), out.toFloatArray());
            last.attend(q, out, Decode.Options.DEFAULT.withLse(kept));
            assertTrue(Attention.recall(kept, all) < 0.5 * recall);
        }
    }

    /** Pages of a sequence that grows: all of them chosen give what the sequence gives, bit for bit, step by step. */
    @Test
    void choosesPages() {
        try (KvCache cache = KvCache.builder(2, SIZE).pages(60).build()) {
            cache.newSequence().append(rows(50), rows(50)); // the other one's pages come after these
            KvCache.Sequence sequence = cache.newSequence();
            sequence.append(rows(100), rows(100));
            Tensor q = Tensor.of(random.normal(4 * SIZE, 1), 1, 4, 1, SIZE);
            KvSelection selection = new KvSelection(cache.keys());
            long[] before = {0};
            long[] now = {100};
            selection.update(sequence.table(), before, now);
            KvChoice all = selection.select(q, sequence.table(), now, new KvSelection.Budget(100, 0, 1));
            KvChoice few = selection.select(q, sequence.table(), now, new KvSelection.Budget(3, 1, 1));
            assertTrue(Arrays.stream(few.lengths()).allMatch(length -> length == 2 * 16 + 4));
            Tensor out = f32(1, 4, 1, SIZE);
            Tensor right = f32(1, 4, 1, SIZE);
            for (int step = 0; step < 20; step++) {
                sequence.append(rows(1), rows(1));
                before[0] = now[0]++;
                selection.update(sequence.table(), before, now);
                all.grow(sequence.table(), now);
                all.run(q, cache.keys(), cache.values(), out, Decode.Options.DEFAULT);
                sequence.attend(q, right, Decode.Options.DEFAULT);
                assertArrayEquals(right.toFloatArray(), out.toFloatArray());
            }
        }
    }

    /** D2O on a prompt: what is left of it is a sequence of the tokens that stay. */
    @Test
    void mergesPrompts() {
        try (KvCache cache = KvCache.builder(2, SIZE).pages(60).build()) {
            Tensor k = rows(120);
            long[][] keep = new KvBudget(4, 16).keepPerHead(Tensor.of(random.normal(2 * 120, 1), 2, 120), 40);
            KvMerge.Merged left = new KvMerge().merge(k, k, keep);
            KvCache.Sequence sequence = cache.newSequence();
            sequence.append(left.k(), left.v());
            assertEquals(40, sequence.length());
            Tensor q = Tensor.of(random.normal(4 * SIZE, 1), 1, 4, 1, SIZE);
            Tensor out = f32(1, 4, 1, SIZE);
            sequence.attend(q, out, Decode.Options.DEFAULT);
            Tensor right = f32(1, 4, 1, SIZE);
            Tensor rows = left.k().reshape(1, 2, 40, SIZE);
            Attention.run(q, rows, rows, right);
            assertArrayEquals(right.toFloatArray(), out.toFloatArray(), 0.02f); // the cache is in bf16
        }
    }
}
