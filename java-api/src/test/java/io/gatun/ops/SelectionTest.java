package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Selections by their definitions in plain Java, and in one call as in two. */
class SelectionTest {
    private static final int HEADS = 4;
    private static final int KV_HEADS = 2;
    private static final int LENGTH = 200;
    private static final int SIZE = 32;

    private final Random random = new Random(11);
    private final Tensor q = Tensor.of(random.normal(HEADS * LENGTH * SIZE, 1), 1, HEADS, LENGTH, SIZE);
    private final Tensor k = Tensor.of(random.normal(KV_HEADS * LENGTH * SIZE, 1), 1, KV_HEADS, LENGTH, SIZE);
    private final Tensor v = Tensor.of(random.normal(KV_HEADS * LENGTH * SIZE, 1), 1, KV_HEADS, LENGTH, SIZE);
    private final Options causal = Options.DEFAULT.withCausal();

    private static double[] mean(Tensor rows, int head, int begin, int end) {
        double[] mean = new double[SIZE];
        for (int i = begin; i < end; i++) {
            for (int x = 0; x < SIZE; x++) {
                mean[x] += rows.getFloat(0, head, i, x) / (end - begin);
            }
        }
        return mean;
    }

    /** Softmax of the products of means over the allowed blocks, and the blocks of the largest scores. */
    @Test
    void means() {
        Selection selection = Selection.means().withBlocks(32, 16).withKeepFraction(0.3);
        Tensor scores = selection.scores(q, k, causal);
        BlockMask mask = selection.select(q, k, causal);
        BlockGrid grid = mask.grid();
        assertEquals(new BlockGrid(LENGTH, LENGTH, 32, 16), grid);
        for (int h = 0; h < HEADS; h++) {
            for (int qb = 0; qb < grid.queryBlocks(); qb++) {
                int allowed = grid.causalBlocks(qb);
                double[] query = mean(q, h, qb * 32, Math.min(qb * 32 + 32, LENGTH));
                double[] expected = new double[allowed];
                double sum = 0;
                for (int kb = 0; kb < allowed; kb++) {
                    double[] key = mean(k, h / 2, kb * 16, Math.min(kb * 16 + 16, LENGTH));
                    double dot = IntStream.range(0, SIZE)
                            .mapToDouble(x -> query[x] * key[x])
                            .sum();
                    expected[kb] = Math.exp(dot / Math.sqrt(SIZE));
                    sum += expected[kb];
                }
                for (int kb = 0; kb < grid.keyBlocks(); kb++) {
                    double right = kb < allowed ? expected[kb] / sum : 0;
                    assertEquals(right, scores.getFloat(0, h, qb, kb), 1e-5, "[" + h + ", " + qb + ", " + kb + "]");
                }
                int[] best = IntStream.range(0, allowed)
                        .boxed()
                        .sorted(Comparator.comparingDouble(kb -> -expected[kb]))
                        .limit(Math.max(1, (int) (0.3f * allowed)))
                        .mapToInt(kb -> kb)
                        .sorted()
                        .toArray();
                assertArrayEquals(best, mask.fullBlocks(0, h, qb), "[" + h + ", " + qb + "]");
            }
        }
        assertEquals(mask, selection.choose(scores, q, k, causal));
    }

    private List<Selection> all() {
        Tensor lse = f32(1, HEADS, LENGTH);
        Attention.run(q, k, null, null, causal.withLse(lse));
        return List.of(
                Selection.means().withBlocks(64, 32).withKeepFraction(0.4),
                Selection.means().withBlocks(64, 32).withKeepBelowMass(0.5).withSimilarity(0.01),
                Selection.antidiagonal().withBlocks(64, 64).withStride(8).withKeepMass(0.6),
                Selection.verticalSlash(31, 40).withBlocks(16, 16).withLines(20, 20, 4, 4),
                Selection.aShape(16, 40).withBlocks(16, 16),
                Selection.proxy(2).withBlocks(32, 32).withKeepFraction(0.5),
                Selection.mass(lse).withBlocks(32, 32).withKeepMass(0.7));
    }

    /** Choosing within the call is choosing before it. */
    @Test
    void fusedOrApart() {
        for (Selection selection : all()) {
            Tensor density = f32(1, HEADS);
            Tensor lse = f32(1, HEADS, LENGTH);
            Tensor fused = f32(1, HEADS, LENGTH, SIZE);
            Attention.run(q, k, v, fused, causal.withLse(lse).withSelection(selection.withDensity(density)));
            BlockMask mask = selection.select(q, k, causal);
            Tensor apartLse = f32(1, HEADS, LENGTH);
            Tensor apart = f32(1, HEADS, LENGTH, SIZE);
            Attention.run(q, k, v, apart, causal.withLse(apartLse).withMask(mask));
            String context = selection.kind() + " " + mask;
            assertArrayEquals(apart.toFloatArray(), fused.toFloatArray(), context);
            assertArrayEquals(apartLse.toFloatArray(), lse.toFloatArray(), context);
            double kept = IntStream.range(0, HEADS)
                    .mapToDouble(h -> density.getFloat(0, h))
                    .average()
                    .orElse(0);
            assertEquals(mask.causalDensity(), kept, 1e-6, context);
            assertTrue(kept > 0 && kept < 1, context);
            if (selection.kind() != Selection.Kind.VERTICAL_SLASH) {
                assertEquals(mask, selection.choose(selection.scores(q, k, causal), q, k, causal), context);
            }
            Tensor dense = f32(1, HEADS, LENGTH);
            Attention.run(q, k, null, null, causal.withLse(dense));
            double recall = Attention.recall(lse, dense);
            assertTrue(recall > 0.1 && recall < 1, context + " recall " + recall);
        }
    }

    /** The mass of a block is what the exponentials of its logits, over the row's sum, add up to. */
    @Test
    void mass() {
        Selection selection = all().get(6);
        Tensor scores = selection.scores(q, k, causal);
        Tensor lse = selection.lseBefore();
        for (int h = 0; h < HEADS; h++) {
            double[] expected = new double[7];
            for (int i = 64; i < 96; i++) {
                for (int j = 0; j <= i; j++) {
                    double dot = 0;
                    for (int x = 0; x < SIZE; x++) {
                        dot += (double) q.getFloat(0, h, i, x) * k.getFloat(0, h / 2, j, x);
                    }
                    expected[j / 32] += Math.exp(dot / Math.sqrt(SIZE) - lse.getFloat(0, h, i)) / 32;
                }
            }
            assertEquals(1, Arrays.stream(expected).sum(), 1e-5);
            for (int kb = 0; kb < 7; kb++) {
                assertEquals(expected[kb], scores.getFloat(0, h, 2, kb), 1e-5, "[" + h + ", " + kb + "]");
            }
        }
    }

    /** Sinks and a window, as whole blocks. */
    @Test
    void aShape() {
        BlockMask mask = Selection.aShape(16, 40).withBlocks(16, 16).select(q, k, causal);
        int[] zero = new int[0];
        BlockMask cover = BlockMask.coverVerticalSlash(
                mask.grid(), 1, new int[][] {IntStream.range(0, 16).toArray()}, new int[][] {
                    IntStream.range(0, 40).toArray()
                });
        for (int h = 0; h < HEADS; h++) {
            for (int qb = 0; qb < mask.grid().queryBlocks(); qb++) {
                int causalEnd = mask.grid().causalBlocks(qb);
                int[] expected = Arrays.stream(cover.fullBlocks(0, 0, qb))
                        .filter(kb -> kb < causalEnd)
                        .toArray();
                assertArrayEquals(expected, mask.fullBlocks(0, h, qb), "[" + h + ", " + qb + "]");
                assertArrayEquals(zero, mask.partialBlocks(0, h, qb));
            }
        }
    }

    /** Heads that look at few blocks get small budgets, which then are their shares. */
    @Test
    void budgets() {
        Tensor sharp = q.to(DType.F32);
        for (int i = 0; i < LENGTH; i++) {
            for (int x = 0; x < SIZE; x++) {
                sharp.setFloat(0, 0, 0, i, x); // the same of all keys
                sharp.setFloat(20 * k.getFloat(0, 1, 5, x), 0, 3, i, x); // key 5
            }
        }
        Selection selection =
                Selection.proxy(2).withBlocks(16, 16).withKeepMass(0.9).withLastQueries(64);
        Tensor budgets = selection.budgets(sharp, k, causal);
        assertTrue(budgets.getFloat(0, 0) > 0.7, budgets::toString);
        assertTrue(budgets.getFloat(0, 3) < 0.2, budgets::toString);
        BlockMask mask = selection.withKeepFraction(1).withBudgets(budgets).select(sharp, k, causal);
        for (int h = 0; h < HEADS; h++) {
            int expected = Math.max(1, (int) (budgets.getFloat(0, h) * 13));
            assertEquals(expected, mask.fullBlocks(0, h, 12).length, "head " + h);
        }
    }

    /**
     * Head 0 sees its neighbours, head 3 one key, the others anything: a window, the block of that key, and what keeps
     * most.
     */
    @Test
    void patterns() {
        Tensor looking = q.to(DType.F32);
        Tensor keys = k.to(DType.F32);
        for (int i = 0; i < LENGTH; i++) {
            for (int x = 0; x < SIZE; x++) {
                double turn = i / 40.0 + x % 2 * Math.PI / 2;
                // Circles: the logit is largest where positions are the same.
                looking.setFloat((float) (6 * Math.cos(turn)), 0, 0, i, x);
                keys.setFloat((float) (6 * Math.cos(turn)), 0, 0, i, x);
                looking.setFloat(20 * keys.getFloat(0, 1, 5, x), 0, 3, i, x);
            }
        }
        List<Selection> candidates = List.of(
                Selection.aShape(0, 48).withBlocks(16, 16),
                Selection.aShape(16, 16).withBlocks(16, 16),
                Selection.means().withBlocks(16, 16).withKeepFraction(1));
        HeadPatterns patterns = HeadPatterns.search(looking, keys, causal, 0.7, candidates);
        assertEquals(0, patterns.choices()[0], patterns::toString);
        assertEquals(1, patterns.choices()[3], patterns::toString);
        assertTrue(Arrays.stream(patterns.choices()).noneMatch(n -> n == 2), patterns::toString); // beyond the budget
        int[] free = HeadPatterns.search(looking, keys, causal, 1, candidates).choices();
        assertTrue(free[1] == 2 && free[2] == 2, Arrays.toString(free));
        // The fewest blocks, where no candidate is within the budget.
        assertArrayEquals(
                new int[] {1, 1, 1, 1},
                HeadPatterns.search(looking, keys, causal, 0, candidates).choices());
        BlockMask mask = patterns.select(looking, keys, causal);
        for (int h = 0; h < HEADS; h++) {
            BlockMask own = candidates.get(patterns.choices()[h]).select(looking, keys, causal);
            assertArrayEquals(own.fullBlocks(0, h, 9), mask.fullBlocks(0, h, 9), "head " + h);
        }
        assertEquals(
                patterns, new HeadPatterns(candidates, patterns.choices(), patterns.recalls(), patterns.densities()));
    }

    /** Each item of ragged tensors is chosen as if it were alone. */
    @Test
    void sequences() {
        Sequences items = Sequences.of(new int[] {0, 120, 200}, new int[] {0, 150, 200});
        Selection selection = Selection.means().withBlocks(16, 16).withKeepFraction(0.5);
        Tensor flatQ = q.reshape(HEADS, LENGTH, SIZE);
        Tensor flatK = k.reshape(KV_HEADS, LENGTH, SIZE);
        BlockMask mask = selection.select(flatQ, flatK, causal.withSequences(items));
        assertEquals(2, mask.batch());
        BlockMask second = selection.select(q.slice(2, 120, 200), k.slice(2, 150, 200), causal);
        for (int h = 0; h < HEADS; h++) {
            for (int qb = 0; qb < 5; qb++) {
                assertArrayEquals(second.fullBlocks(0, h, qb), mask.fullBlocks(1, h, qb), "[" + h + ", " + qb + "]");
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Selection means = Selection.means();
        Options none = Options.DEFAULT;
        Tensor out = f32(1, HEADS, LENGTH, SIZE);
        Tensor perHead = f32(1, HEADS);
        Tensor lse = f32(1, HEADS, LENGTH);
        Selection mass = Selection.mass(lse);
        return new Refusals(() -> true)
                .add("fraction", "amount", "1.5", "0..1", () -> means.withKeepFraction(1.5))
                .add("NaN", "amount", "NaN", "0..1", () -> means.withKeepMass(Double.NaN))
                .add("blocks", "queryBlock", "8", "multiples of 16", () -> means.withBlocks(8, 16))
                .add(
                        "stride",
                        "stride",
                        "3",
                        "divide blocks of 128 x 128",
                        () -> Selection.antidiagonal().withStride(3))
                .add("similarity", "similarity", "NaN", "finite", () -> means.withSimilarity(Double.NaN))
                .add("queries", "lastQueries", "0", "1..1024", () -> means.withLastQueries(0))
                .add("lines", "slashes", "-1", "0..", () -> means.withLines(1, -1, 0, 0))
                .add("no lse", "lseBefore", "null", "one for MASS", () -> Selection.mass(null))
                .add(
                        "proxies",
                        "proxyHeads",
                        "3",
                        "divisors of the 4 heads",
                        () -> Selection.proxy(3).select(q, k, none))
                .add(
                        "no scores",
                        "kind",
                        "VERTICAL_SLASH",
                        "all but it",
                        () -> Selection.aShape(1, 1).scores(q, k, none))
                .add("scores shape", "scores", "[1, 4]", "[1, 4, 2, 4]", () -> means.choose(perHead, q, k, none))
                .add(
                        "budgets shape",
                        "selection.budgets",
                        "[4, 1]",
                        "[1, 4]",
                        () -> means.withBudgets(f32(HEADS, 1)).select(q, k, none))
                .add(
                        "lse shape",
                        "selection.lseBefore",
                        "[1, 4]",
                        "[1, 4, 200]",
                        () -> Selection.mass(perHead).select(q, k, none))
                .add(
                        "lse strides",
                        "selection.lseBefore",
                        "strides",
                        "strides of lse",
                        () -> Attention.run(
                                q,
                                k,
                                v,
                                out,
                                none.withLse(lse)
                                        .withSelection(Selection.mass(
                                                f32(1, HEADS, 201).slice(2, 0, LENGTH)))))
                .add(
                        "density in budgets",
                        "selection.density",
                        "overlaps",
                        "own",
                        () -> Attention.run(
                                q,
                                k,
                                v,
                                out,
                                none.withSelection(means.withBudgets(perHead).withDensity(perHead))))
                .add("k heads", "k", "3 heads", "divides the 4", () -> means.select(q, f32(1, 3, LENGTH, SIZE), none))
                .add(
                        "no candidates",
                        "candidates",
                        "none",
                        "one or more",
                        () -> new HeadPatterns(List.of(), new int[1]))
                .add(
                        "blocks differ",
                        "candidates[1]",
                        "64 x 64",
                        "128 x 64, as the first",
                        () -> HeadPatterns.search(q, k, none, 1, List.of(means, Selection.aShape(1, 1))))
                .add("budget", "budget", "-0.1", "0..1", () -> HeadPatterns.search(q, k, none, -0.1, List.of(means)))
                .add("choice", "choices[1]", "1", "0..0", () -> new HeadPatterns(List.of(means), new int[] {0, 1}))
                .add(
                        "pattern heads",
                        "heads of q",
                        "4",
                        "3..3",
                        () -> new HeadPatterns(List.of(means), new int[3]).select(q, k, none))
                .missing("q", () -> means.select(null, k, none))
                .missing("options", () -> means.scores(q, k, null))
                .missing("scores", () -> means.choose(null, q, k, none))
                .unreachable("q", DType.F32, q.shape().toArray(), bad -> means.select(bad, k, none))
                .unreachable(
                        "selection.budgets",
                        DType.F32,
                        new long[] {1, HEADS},
                        bad -> means.withBudgets(bad).select(q, k, none))
                .unreachable(
                        "selection.lseBefore",
                        DType.F32,
                        new long[] {1, HEADS, LENGTH},
                        bad -> Selection.mass(bad).select(q, k, none))
                .add(
                        "read-only",
                        "selection.density",
                        "read-only",
                        "writable",
                        () -> Attention.run(
                                q, k, v, out, none.withSelection(mass.withDensity(Unreachable.readOnly(perHead)))))
                .tests();
    }
}
