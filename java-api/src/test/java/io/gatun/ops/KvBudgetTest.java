package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvBudgetTest {
    private final Random random = new Random(21);

    private static long[] list(long... tokens) {
        return tokens;
    }

    @Test
    void keepsTheEndsAndTheLargest() {
        Tensor scores = Tensor.of(new float[] {0, 5, 1, 9, 9, 2, 7, 0, 0}, 9);
        assertArrayEquals(list(), new KvBudget(1, 2).keep(scores, 0));
        assertArrayEquals(list(8), new KvBudget(1, 2).keep(scores, 1));
        assertArrayEquals(list(7, 8), new KvBudget(1, 2).keep(scores, 2));
        assertArrayEquals(list(0, 7, 8), new KvBudget(1, 2).keep(scores, 3));
        assertArrayEquals(list(0, 3, 7, 8), new KvBudget(1, 2).keep(scores, 4));
        assertArrayEquals(list(0, 3, 4, 6, 7, 8), new KvBudget(1, 2).keep(scores, 6));
        assertArrayEquals(list(0, 1, 2, 3, 4, 5, 6, 7, 8), new KvBudget(1, 2).keep(scores, 100));
        assertArrayEquals(list(6, 7, 8), new KvBudget(5, 6).keep(scores, 3));
        assertArrayEquals(list(), new KvBudget(5, 6).keep(Tensor.allocate(DType.F32, 0), 3));
    }

    /** NaN before all, -infinity last, -0 as 0, so that the earlier one goes first. */
    @Test
    void unusualScores() {
        Tensor scores = Tensor.of(new float[] {-0f, 0, Float.NEGATIVE_INFINITY, Float.NaN, -1, 3}, 6);
        KvBudget none = new KvBudget(0, 0);
        assertArrayEquals(list(3), none.keep(scores, 1));
        assertArrayEquals(list(3, 5), none.keep(scores, 2));
        assertArrayEquals(list(0, 3, 5), none.keep(scores, 3));
        assertArrayEquals(list(0, 1, 3, 5), none.keep(scores, 4));
        assertArrayEquals(list(0, 1, 3, 4, 5), none.keep(scores, 5));
        assertArrayEquals(list(0, 3, 5), none.keepPerHead(scores, 3)[0]);
    }

    /** By its definition: the largest of those left, again and again. */
    private static long[] largest(float[] scores, int first, int last, int budget) {
        TreeSet<Long> kept = new TreeSet<>();
        for (int n = 0; n < Math.min(last, scores.length) && kept.size() < budget; n++) {
            kept.add((long) scores.length - 1 - n);
        }
        for (int n = 0; n < Math.min(first, scores.length) && kept.size() < budget; n++) {
            kept.add((long) n);
        }
        while (kept.size() < Math.min(budget, scores.length)) {
            int best = -1;
            for (int j = 0; j < scores.length; j++) {
                if (!kept.contains((long) j) && (best < 0 || scores[j] > scores[best])) {
                    best = j;
                }
            }
            kept.add((long) best);
        }
        return kept.stream().mapToLong(j -> j).toArray();
    }

    @Test
    void headsTogetherAndByThemselves() {
        for (int round = 0; round < 200; round++) {
            int heads = random.between(1, 3);
            int length = random.between(1, 20);
            int first = random.between(0, 4);
            int last = random.between(0, 4);
            int budget = random.between(0, 22);
            float[] scores = random.integers(heads * length, 0, 5); // with many ties
            Tensor tensor = Tensor.of(scores, heads, length);
            KvBudget some = new KvBudget(first, last);
            float[] sums = new float[length];
            long[][] lists = some.keepPerHead(tensor, budget);
            for (int h = 0; h < heads; h++) {
                float[] head = Arrays.copyOfRange(scores, h * length, (h + 1) * length);
                assertArrayEquals(largest(head, first, last, budget), lists[h]);
                for (int j = 0; j < length; j++) {
                    sums[j] += head[j];
                }
            }
            assertArrayEquals(largest(sums, first, last, budget), some.keep(tensor, budget));
        }
    }

    /** The fewest tokens: the list has the share, and without its least token it has not. */
    @Test
    void share() {
        for (int round = 0; round < 200; round++) {
            float[] scores = random.integers(2 * 30, 0, 9);
            Tensor tensor = Tensor.of(scores, 2, 30);
            int first = random.between(0, 3);
            int last = random.between(0, 3);
            double share = random.between(0, 100) / 100.0;
            long[] kept = new KvBudget(first, last).keepShare(tensor, share);
            double sum = 0;
            for (float score : scores) {
                sum += score;
            }
            double held = 0;
            for (long j : kept) {
                held += scores[(int) j] + scores[30 + (int) j];
            }
            assertEquals(held / sum, KvBudget.share(tensor, kept), 1e-12);
            assertTrue(held >= share * sum - 1e-9);
            assertTrue(kept.length >= first + last);
            if (kept.length > first + last) {
                double least = Arrays.stream(kept, first, kept.length - last)
                        .mapToDouble(j -> scores[(int) j] + scores[30 + (int) j])
                        .min()
                        .getAsDouble();
                assertTrue(held - least < share * sum, held + " without " + least);
            }
            assertArrayEquals(new KvBudget(first, last).keep(tensor, kept.length), kept);
        }
        assertEquals(1, KvBudget.share(Tensor.of(new float[4], 4), list()));
        assertArrayEquals(list(), new KvBudget(0, 0).keepShare(Tensor.of(new float[4], 4), 1));
    }

    @Test
    void pooled() {
        Tensor scores = Tensor.of(new float[] {3, 0, 0, 6, 9, 0, 30, 0}, 2, 4);
        assertArrayEquals(
                new float[] {1, 1, 2, 2, 3, 13, 10, 10},
                KvBudget.pooled(scores, 3).toFloatArray());
        assertArrayEquals(scores.toFloatArray(), KvBudget.pooled(scores, 1).toFloatArray());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        KvBudget some = new KvBudget(1, 1);
        Tensor scores = Tensor.of(new float[] {1, 2, Float.NaN}, 3);
        Tensor good = Tensor.of(new float[] {1, 2, 3}, 3);
        return new Refusals(() -> true)
                .add("first", "keepFirst", "-1", "0..", () -> new KvBudget(-1, 0))
                .add("last", "keepLast", "-2", "0..", () -> new KvBudget(0, -2))
                .add("budget", "budget", "-1", "0..", () -> some.keep(good, -1))
                .add("share", "share", "1.5", "0..1", () -> some.keepShare(good, 1.5))
                .add("NaN", "token 2", "NaN", "finite", () -> some.keepShare(scores, 0.5))
                .add("width", "width", "4", "1, 3, 5", () -> KvBudget.pooled(good, 4))
                .add("order", "keep[1]", "0", "1..2", () -> KvBudget.share(good, list(0, 0)))
                .add("beyond", "keep[0]", "3", "0..2", () -> KvBudget.share(good, list(3)))
                .add("dtype", "scores", "f16", "f32", () -> some.keep(good.to(DType.F16), 1))
                .missing("scores", () -> some.keep(null, 1))
                .tests();
    }
}
