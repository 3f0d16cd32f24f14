package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * Which tokens of a KV cache to keep, by the attention that they got ({@link Decode#scores}). The first tokens (which
 * many heads use as sinks) and the last ones are kept whatever they score. {@link KvLayerBudgets} says how many to keep
 * of each layer.
 *
 * <p>Scores are f32 with the tokens along the last axis, heads along the others. Lists ascend; they are what a sequence
 * of {@link KvCache} keeps when it evicts the rest. Budgets are tokens of one head, with those always kept among them.
 *
 * <p>H2O (Zhang et al. 2023) is {@link #keep} of scores accumulated over all steps, SnapKV (Li et al. 2024)
 * {@link #keepPerHead} of those of the last queries, {@link #pooled}.
 *
 * @param keepFirst tokens at the start
 * @param keepLast tokens at the end
 */
public record KvBudget(int keepFirst, int keepLast) {
    /** Refuses negative numbers. */
    public KvBudget {
        Check.range("keepFirst", keepFirst, 0, Integer.MAX_VALUE);
        Check.range("keepLast", keepLast, 0, Integer.MAX_VALUE);
    }

    /**
     * The tokens to keep in all heads: those always kept, then those with the largest sums over heads (the earlier one
     * where equal, NaN before all), up to the budget. With a budget below those always kept the last ones go first.
     */
    public long[] keep(Tensor scores, long budget) {
        return keep(summed(scores), budget);
    }

    /** As {@link #keep}, each head by itself, in the order of the axes before the last. */
    public long[][] keepPerHead(Tensor scores, long budget) {
        float[][] heads = heads("scores", scores);
        long[][] lists = new long[heads.length][];
        for (int h = 0; h < heads.length; h++) {
            lists[h] = keep(heads[h], budget);
        }
        return lists;
    }

    private long[] keep(float[] scores, long budget) {
        Check.range("budget", budget, 0, Long.MAX_VALUE);
        return ascending(order(scores), (int) Math.min(budget, scores.length));
    }

    /**
     * The fewest tokens to keep in all heads whose scores make up {@code share} of all, in the order of {@link #keep};
     * at least those always kept.
     *
     * @param share 0..1
     */
    public long[] keepShare(Tensor scores, double share) {
        if (!(share >= 0 && share <= 1)) {
            throw Check.invalid("share", share, "0..1");
        }
        float[] sums = summed(scores);
        int[] order = order(sums);
        double[] shares = shares("scores", sums, order);
        int count = forced(sums.length);
        while (shares[count] < share) {
            count++;
        }
        return ascending(order, count);
    }

    /** Which share of all scores the tokens of a list have; 1 if all are 0. */
    public static double share(Tensor scores, long[] keep) {
        float[] sums = summed(scores);
        int[] order = new int[sums.length];
        int n = 0;
        for (long token : keep) {
            Check.range("keep[" + n + "]", token, n == 0 ? 0 : keep[n - 1] + 1, sums.length - 1L);
            order[n++] = (int) token;
        }
        for (int j = 0; j < sums.length; j++) {
            if (Arrays.binarySearch(keep, j) < 0) {
                order[n++] = j;
            }
        }
        return shares("scores", sums, order)[keep.length];
    }

    /**
     * Means of each token's score and its neighbours', so that what stands beside important tokens is kept, too
     * (SnapKV, DynamicKV and CAKE take a width of 5 or 7). Beyond the ends there are zeros.
     *
     * @param width odd
     */
    public static Tensor pooled(Tensor scores, int width) {
        if (width < 1 || width % 2 == 0) {
            throw Check.invalid("width", width, "1, 3, 5, ...");
        }
        float[][] heads = heads("scores", scores);
        float[] means = new float[Math.toIntExact(scores.shape().elements())];
        int n = 0;
        for (float[] head : heads) {
            for (int j = 0; j < head.length; j++) {
                double sum = 0;
                for (int i = Math.max(j - width / 2, 0); i <= Math.min(j + width / 2, head.length - 1); i++) {
                    sum += head[i];
                }
                means[n++] = (float) (sum / width);
            }
        }
        return Tensor.of(means, scores.shape().toArray());
    }

    // ---- the parts -------------------------------------------------------------------------------------------------

    int forced(int length) {
        return (int) Math.min((long) keepFirst + keepLast, length);
    }

    /** Tokens as they are kept: the last ones, the first ones, then by score. */
    int[] order(float[] scores) {
        int forced = forced(scores.length);
        int last = Math.min(keepLast, forced);
        int first = forced - last;
        int[] order = new int[scores.length];
        long[] keys = new long[scores.length - forced];
        for (int n = 0; n < last; n++) {
            order[n] = scores.length - 1 - n;
        }
        for (int j = 0; j < first; j++) {
            order[last + j] = j;
        }
        for (int n = 0; n < keys.length; n++) {
            keys[n] = key(scores[first + n], first + n);
        }
        Arrays.sort(keys);
        for (int n = 0; n < keys.length; n++) {
            order[forced + n] = (int) keys[n];
        }
        return order;
    }

    /** Sorts by descending score, NaN before all, then by ascending index, its low half. */
    static long key(float score, int index) {
        int bits = Float.floatToIntBits(score + 0f); // -0 becomes 0
        return (long) ~(bits ^ bits >> 31 & Integer.MAX_VALUE) << 32 | index;
    }

    private static long[] ascending(int[] order, int count) {
        return Arrays.stream(order, 0, count).sorted().asLongStream().toArray();
    }

    /** Of the first 0, 1, ... tokens of an order; the last one is 1. */
    static double[] shares(String name, float[] scores, int[] order) {
        double[] shares = new double[scores.length + 1];
        for (int n = 0; n < order.length; n++) {
            float score = scores[order[n]];
            if (!(score >= 0 && score < Float.POSITIVE_INFINITY)) {
                throw Check.invalid(name + ", token " + order[n], score, "finite numbers >= 0");
            }
            shares[n + 1] = shares[n] + score;
        }
        double sum = shares[scores.length];
        for (int n = 0; n < shares.length; n++) {
            shares[n] = sum == 0 ? 1 : shares[n] / sum;
        }
        return shares;
    }

    static float[][] heads(String name, Tensor scores) {
        Check.present(name, scores);
        Check.dtype(name, scores, AttentionCall.F32);
        int rank = scores.shape().rank();
        if (rank == 0) {
            throw Check.invalid(name, "shape " + scores.shape(), "[..., tokens]");
        }
        int length = Math.toIntExact(scores.shape().size(rank - 1));
        int count = 1;
        for (int axis = 0; axis < rank - 1; axis++) {
            count = Math.toIntExact(count * scores.shape().size(axis));
        }
        float[] values = scores.toFloatArray();
        float[][] heads = new float[count][];
        for (int h = 0; h < heads.length; h++) {
            heads[h] = Arrays.copyOfRange(values, h * length, (h + 1) * length);
        }
        return heads;
    }

    static float[] summed(Tensor scores) {
        float[][] heads = heads("scores", scores);
        float[] sums =
                new float[Math.toIntExact(scores.shape().size(scores.shape().rank() - 1))];
        for (int j = 0; j < sums.length; j++) {
            double sum = 0;
            for (float[] head : heads) {
                sum += head[j];
            }
            sums[j] = (float) sum;
        }
        return sums;
    }
}
