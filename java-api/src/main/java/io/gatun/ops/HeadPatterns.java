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
 * System.out.println(patterns); // what each head chose, and how much of its attention that keeps
 * Attention.run(q, k, v, out, options.withMask(patterns.select(q, k, options)));
 * }</pre>
 *
 * @param candidates that heads choose from; of equal block sizes
 * @param choices for each query head, the place of its candidate; to be kept with a model
 * @param recalls for each head, which share of its attention the choice kept in the search; empty if not known
 * @param densities for each head, which share of its allowed blocks the choice kept in the search; empty if not known
 */
public record HeadPatterns(List<Selection> candidates, int[] choices, double[] recalls, double[] densities) {
    private static final double[] UNKNOWN = {};

    /** Refuses places that are none. */
    public HeadPatterns {
        checkCandidates(candidates);
        candidates = List.copyOf(candidates);
        Check.present("choices", choices);
        choices = choices.clone();
        for (int h = 0; h < choices.length; h++) {
            Check.range("choices[" + h + "]", choices[h], 0, candidates.size() - 1);
        }
        recalls = copy("recalls", recalls, choices.length);
        densities = copy("densities", densities, choices.length);
    }

    private static double[] copy(String name, double[] perHead, int heads) {
        Check.present(name, perHead);
        if (perHead.length != 0 && perHead.length != heads) {
            throw Check.invalid(name, perHead.length + " numbers", heads + ", one for each head, or none");
        }
        return perHead.clone();
    }

    /** Choices that were kept, without what they keep. */
    public HeadPatterns(List<Selection> candidates, int[] choices) {
        this(candidates, choices, UNKNOWN, UNKNOWN);
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
     * budget; where none does, the one with the fewest blocks. Sinks as logits do not count. Each candidate costs a
     * selection and the log-sum-exps over its blocks, the search those over all blocks.
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
        AttentionCall.checkInputs(q, k, options);
        long batch = AttentionCall.batch(q, options);
        int heads = Math.toIntExact(AttentionCall.heads(q, options));
        Tensor all = Tensor.allocate(DType.F32, batch, heads, AttentionCall.length(q, options));
        Tensor kept = Tensor.allocate(DType.F32, all.shape().toArray());
        Tensor density = Tensor.allocate(DType.F32, batch, heads);
        Attention.Options plain =
                options.withMask(null).withSelection(null).withCorrection(null).withSinks(null);
        Attention.run(q, k, null, null, plain.withLse(all));
        int[] choices = new int[heads];
        double[] bestRecall = new double[heads];
        double[] bestDensity = new double[heads];
        Arrays.fill(bestDensity, Double.POSITIVE_INFINITY);
        for (int n = 0; n < candidates.size(); n++) {
            Selection candidate = candidates.get(n).withDensity(density);
            Attention.run(q, k, null, null, plain.withLse(kept).withSelection(candidate));
            double[] recalls = Attention.recallPerHead(kept, all);
            for (int h = 0; h < heads; h++) {
                double share = mean(density, h);
                boolean fits = share <= budget;
                boolean bestFits = bestDensity[h] <= budget;
                if (fits ? !bestFits || recalls[h] > bestRecall[h] : !bestFits && share < bestDensity[h]) {
                    choices[h] = n;
                    bestRecall[h] = recalls[h];
                    bestDensity[h] = share;
                }
            }
        }
        return new HeadPatterns(candidates, choices, bestRecall, bestDensity);
    }

    /** Of a head, over the batch. */
    private static double mean(Tensor density, int head) {
        double sum = 0;
        long batch = density.shape().size(0);
        for (long b = 0; b < batch; b++) {
            sum += density.getFloat(b, head);
        }
        return batch == 0 ? 0 : sum / batch;
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

    /** For each query head, which share of its attention the choice kept; empty if not known. */
    @Override
    public double[] recalls() {
        return recalls.clone();
    }

    /** For each query head, which share of its allowed blocks the choice kept; empty if not known. */
    @Override
    public double[] densities() {
        return densities.clone();
    }

    /** Whether candidates, choices, recalls and densities are the same. */
    @Override
    public boolean equals(Object other) {
        return other instanceof HeadPatterns patterns
                && candidates.equals(patterns.candidates)
                && Arrays.equals(choices, patterns.choices)
                && Arrays.equals(recalls, patterns.recalls)
                && Arrays.equals(densities, patterns.densities);
    }

    @Override
    public int hashCode() {
        return candidates.hashCode() * 31 + Arrays.hashCode(choices);
    }

    /** {@code patterns [0, 2] of 3 candidates, keeping 98.1 % by 9.8 % of the blocks, 91.0 % by 9.9 %}. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("patterns ")
                .append(Arrays.toString(choices))
                .append(" of ")
                .append(candidates.size())
                .append(" candidates");
        for (int h = 0; h < Math.min(recalls.length, densities.length); h++) {
            String form = h == 0 ? ", keeping %.1f %% by %.1f %% of the blocks" : ", %.1f %% by %.1f %%";
            text.append(form.formatted(100 * recalls[h], 100 * densities[h]));
        }
        return text.toString();
    }
}
