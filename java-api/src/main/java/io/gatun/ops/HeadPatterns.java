package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;
import java.util.List;

/**
 * A selection for each head, found once on sample inputs (MInference's offline search, Jiang et al. 2024) and used on
 * others:
 *
 * <pre>{@code
 * var patterns = HeadPatterns.search(q, k, options, 0.15, List.of(
 *         Selection.aShape(128, 1024), Selection.verticalSlash(500, 700), Selection.means().withKeepFraction(0.1)));
 * Attention.run(q, k, v, out, options.withMask(patterns.select(q, k, options)));
 * }</pre>
 *
 * @param candidates that heads choose from; of equal block sizes
 * @param choices for each query head, the place of its candidate; to be kept with a model
 */
public record HeadPatterns(List<Selection> candidates, int[] choices) {
    /** Refuses places that are none. */
    public HeadPatterns {
        checkCandidates(candidates);
        candidates = List.copyOf(candidates);
        Check.present("choices", choices);
        choices = choices.clone();
        for (int h = 0; h < choices.length; h++) {
            Check.range("choices[" + h + "]", choices[h], 0, candidates.size() - 1);
        }
    }

    private static void checkCandidates(List<Selection> candidates) {
        Check.present("candidates", candidates);
        if (candidates.isEmpty()) {
            throw Check.invalid("candidates", "none", "one or more");
        }
        Selection first = candidates.getFirst();
        for (int n = 0; n < candidates.size(); n++) {
            Selection other = candidates.get(n);
            Check.present("candidates[" + n + "]", other);
            if (other.queryBlock() != first.queryBlock() || other.keyBlock() != first.keyBlock()) {
                throw Check.invalid(
                        "candidates[" + n + "]",
                        "blocks of " + other.queryBlock() + " x " + other.keyBlock(),
                        first.queryBlock() + " x " + first.keyBlock() + ", as the first one");
            }
        }
    }

    /**
     * For each head the candidate that keeps most of its attention among those that keep no more blocks than the
     * budget; where none does, the one with the fewest blocks. Each candidate costs a selection and the log-sum-exps
     * over its blocks, the search those over all blocks.
     *
     * @param q as of {@link Attention#run}, of all batch items together
     * @param k likewise
     * @param options as of {@link Selection#select}; without sequences
     * @param budget the most that a head keeps of its allowed blocks, 0..1
     */
    public static HeadPatterns search(
            Tensor q, Tensor k, Attention.Options options, double budget, List<Selection> candidates) {
        Check.present("options", options);
        checkCandidates(candidates);
        if (!(budget >= 0 && budget <= 1)) {
            throw Check.invalid("budget", budget, "0..1");
        }
        if (options.sequences() != null) {
            throw Check.invalid("options.sequences", options.sequences(), "null");
        }
        Attention.Options plain = options.withMask(null).withSelection(null).withCorrection(null);
        double[][] all = logSumExps(q, k, plain);
        int[] choices = new int[all.length];
        double[] bestRecall = new double[all.length];
        double[] bestDensity = new double[all.length];
        Arrays.fill(bestDensity, Double.POSITIVE_INFINITY);
        for (int n = 0; n < candidates.size(); n++) {
            BlockMask mask = candidates.get(n).select(q, k, plain);
            double[][] kept = logSumExps(q, k, plain.withMask(mask));
            for (int h = 0; h < all.length; h++) {
                double density = density(mask, h, options.causal());
                double recall = recall(kept[h], all[h]);
                boolean fits = density <= budget;
                boolean bestFits = bestDensity[h] <= budget;
                if (fits ? !bestFits || recall > bestRecall[h] : !bestFits && density < bestDensity[h]) {
                    choices[h] = n;
                    bestRecall[h] = recall;
                    bestDensity[h] = density;
                }
            }
        }
        return new HeadPatterns(candidates, choices);
    }

    /** Of each head the log-sum-exps of all its queries, of all batch items. */
    private static double[][] logSumExps(Tensor q, Tensor k, Attention.Options options) {
        AttentionCall.checkInputs(q, k, options);
        long batch = AttentionCall.batch(q, options);
        long heads = AttentionCall.heads(q, options);
        Tensor lse = Tensor.allocate(DType.F32, batch, heads, AttentionCall.length(q, options));
        Attention.run(q, k, null, null, options.withLse(lse));
        float[] values = lse.toFloatArray();
        int rows = (int) lse.shape().size(2);
        double[][] perHead = new double[(int) heads][(int) batch * rows];
        for (int i = 0; i < values.length; i++) {
            int head = i / rows;
            perHead[head % (int) heads][head / (int) heads * rows + i % rows] = values[i];
        }
        return perHead;
    }

    private static double recall(double[] kept, double[] all) {
        double sum = 0;
        for (int i = 0; i < all.length; i++) {
            sum += all[i] == Double.NEGATIVE_INFINITY ? 1 : Math.exp(kept[i] - all[i]);
        }
        return sum / all.length;
    }

    private static double density(BlockMask mask, int head, boolean causal) {
        long kept = 0;
        long allowed = 0;
        for (int b = 0; b < mask.batch(); b++) {
            for (int qb = 0; qb < mask.grid().queryBlocks(); qb++) {
                kept += mask.fullBlocks(b, head, qb).length;
                allowed += causal ? mask.grid().causalBlocks(qb) : mask.grid().keyBlocks();
            }
        }
        return allowed == 0 ? 0 : (double) kept / allowed;
    }

    /** The blocks that each head's selection chooses from these inputs. */
    public BlockMask select(Tensor q, Tensor k, Attention.Options options) {
        AttentionCall.checkInputs(q, k, options);
        long heads = AttentionCall.heads(q, options);
        Check.range("heads of q", heads, choices.length, choices.length);
        BlockMask[] made = new BlockMask[candidates.size()];
        BlockMask[] perHead = new BlockMask[choices.length];
        for (int h = 0; h < perHead.length; h++) {
            int n = choices[h];
            if (made[n] == null) {
                made[n] = candidates.get(n).select(q, k, options);
            }
            perHead[h] = made[n];
        }
        return perHead.length == 0 ? candidates.getFirst().select(q, k, options) : MaskParts.ofEach(perHead);
    }

    /** For each query head, the place of its candidate. */
    @Override
    public int[] choices() {
        return choices.clone();
    }

    /** Whether candidates and choices are the same. */
    @Override
    public boolean equals(Object other) {
        return other instanceof HeadPatterns patterns
                && candidates.equals(patterns.candidates)
                && Arrays.equals(choices, patterns.choices);
    }

    @Override
    public int hashCode() {
        return candidates.hashCode() * 31 + Arrays.hashCode(choices);
    }

    /** {@code patterns [0, 2, 1, 1] of 3 candidates}. */
    @Override
    public String toString() {
        return "patterns " + Arrays.toString(choices) + " of " + candidates.size() + " candidates";
    }
}
