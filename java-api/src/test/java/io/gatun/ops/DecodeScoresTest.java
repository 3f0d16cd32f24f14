package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What keys get of the attention, and the pages that are chosen by it. */
class DecodeScoresTest {
    @Test
    @Tag("tier")
    void scores() {
        for (int seed = 0; seed < 60; seed++) {
            try (DecodeProblem p = new DecodeProblem(new Random(seed))) {
                p.allocate();
                p.options =
                        p.options.withCausal(seed % 2 == 0).withLse(p.sums()).withLogits(p.logits());
                p.out = null;
                p.run();
                Tensor scores = Tensor.allocate(DType.F32, p.batch, p.heads, p.longest + 2);
                float[] before = p.random.normal((int) scores.shape().elements(), 1);
                scores.copyFrom(before);
                boolean accumulate = seed % 3 == 0;
                Decode.scores(p.options.logits(), p.options.lse(), p.lengths, scores, accumulate, seed % 4);
                checkScores(p, scores, before, accumulate);
            }
        }
    }

    /** In f32: the difference, its exponential, and the sum in ascending order. */
    private static void checkScores(DecodeProblem p, Tensor scores, float[] before, boolean accumulate) {
        DecodeOracle oracle = new DecodeOracle(p.q, p.k, null, p.table, p.lengths, p.options);
        int group = p.queryHeads / p.heads;
        int n = 0;
        for (int b = 0; b < p.batch; b++) {
            for (int g = 0; g < p.heads; g++) {
                for (int j = 0; j < p.longest + 2; j++, n++) {
                    boolean there = j < oracle.length(b, g);
                    double right = accumulate || !there ? before[n] : 0;
                    double magnitude = Math.abs(right);
                    double error = 0;
                    for (int row = 0; there && row < group * p.queries; row++) {
                        int h = g * group + row / p.queries;
                        double lse = p.options.lse().getFloat(b, h, row % p.queries);
                        double difference = p.options.logits().getFloat(b, h, row % p.queries, j) - lse;
                        if (difference > Double.NEGATIVE_INFINITY) {
                            right += Math.exp(difference);
                            magnitude += Math.exp(difference);
                            error += Math.exp(difference) * (8 + Math.abs(difference));
                        }
                    }
                    error = there ? 0x1p-24 * (error + magnitude * (group * p.queries + 1)) : 0;
                    assertEquals(right, scores.getFloat(b, g, j), error, p + " key " + j);
                }
            }
        }
    }

    @Test
    void choose() {
        Tensor scores = Tensor.of(new float[] {5, 1, 9, Float.NaN, 2, 7, 0, 3, 3, 3, 3, 3, 3, 0}, 1, 2, 7);
        Tensor table = Tensor.of(new int[] {10, 11, 12, 13, 14, 15, 16}, 1, 1, 7);
        Tensor chosen = Tensor.of(new int[10], 1, 2, 5);
        // 7 pages of 16, of which the last has 4.
        long[] lengths = Decode.choose(scores, table, new long[] {100}, 16, 4, 1, 1, chosen);
        assertArrayEquals(new long[] {3 * 16 + 4, 3 * 16 + 4}, lengths);
        assertArrayEquals(new int[] {10, 12, 13, 16}, row(chosen, 0, 4));
        assertArrayEquals(new int[] {10, 11, 12, 16}, row(chosen, 1, 4));
        // The ends are more than the budget; the last ones go first.
        assertArrayEquals(
                new long[] {16 + 4, 16 + 4}, Decode.choose(scores, table, new long[] {100}, 16, 2, 9, 1, chosen));
        assertArrayEquals(new int[] {10, 16}, row(chosen, 0, 2));
        assertArrayEquals(
                new long[] {2 * 16 + 4, 2 * 16 + 4},
                Decode.choose(scores, table, new long[] {100}, 16, 3, 1, 5, chosen));
        assertArrayEquals(new int[] {14, 15, 16}, row(chosen, 0, 3));
        // Fewer pages than the budget: all of them; two of 7 that a longer row of the table has.
        assertArrayEquals(new long[] {20, 20}, Decode.choose(scores, table, new long[] {20}, 16, 5, 0, 1, chosen));
        assertArrayEquals(new int[] {10, 11}, row(chosen, 0, 2));
    }

    private static int[] row(Tensor chosen, int head, int count) {
        return IntStream.range(0, count).map(n -> chosen.getInt(0, head, n)).toArray();
    }

    /** The pages with the largest scores, of heads with tables and lengths of their own. */
    @Test
    void chooseOfManyPages() {
        for (int seed = 0; seed < 100; seed++) {
            Random random = new Random(seed);
            int heads = random.between(1, 3);
            int pages = random.between(1, 20);
            int pageSize = random.of(1, 3, 16);
            int budget = random.between(0, pages + 2);
            int first = random.between(0, 3);
            int last = random.between(1, 3);
            Tensor table = Tensor.of(
                    IntStream.range(0, 2 * heads * pages).map(n -> n * 7 % 1000).toArray(), 2, heads, pages);
            Tensor scores = Tensor.of(random.integers(2 * heads * pages, -4, 4), 2, heads, pages);
            long[] lengths = LongStream.range(0, 2L * heads)
                    .map(n -> random.between(0, pages * pageSize))
                    .toArray();
            Tensor chosen = Tensor.allocate(DType.I32, 2, heads, pages);
            long[] chosenLengths = new long[2 * heads];
            Decode.choose(scores, table, lengths, pageSize, budget, first, last, chosen, chosenLengths, seed % 3);
            for (int n = 0; n < 2 * heads; n++) {
                int count = (int) Math.ceilDiv(lengths[n], pageSize);
                int head = n;
                int from = Math.max(count - last, 0);
                int[] kept = IntStream.range(0, count)
                        .boxed()
                        .sorted((a, b) -> {
                            int byEnd = Integer.compare(rank(a, first, from, count), rank(b, first, from, count));
                            float sa = scores.getFloat(head / heads, head % heads, a);
                            float sb = scores.getFloat(head / heads, head % heads, b);
                            boolean middle = rank(a, first, from, count) == 2 * count;
                            return byEnd != 0 ? byEnd : middle ? Float.compare(sb, sa) : 0;
                        })
                        .limit(budget)
                        .mapToInt(a -> a)
                        .sorted()
                        .toArray();
                long missing = (long) count * pageSize - lengths[n];
                long length = kept.length == 0 ? 0 : (long) kept.length * pageSize - missing;
                assertEquals(length, chosenLengths[n], "seed " + seed + " row " + n);
                for (int m = 0; m < kept.length; m++) {
                    int right = table.getInt(n / heads, n % heads, kept[m]);
                    assertEquals(right, chosen.getInt(n / heads, n % heads, m), "seed " + seed + " row " + n);
                }
            }
        }
    }

    /** Which page is kept before which: the last ones from the end on, the first ones, and all others alike. */
    private static int rank(int page, int first, int from, int count) {
        return page >= from ? count - 1 - page : page < first ? count + page : 2 * count;
    }
}
