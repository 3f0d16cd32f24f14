package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;
import java.util.List;
import java.util.PriorityQueue;

/**
 * How many tokens of a KV cache to keep of each layer, by the attention that they got, for {@link KvBudget#keep} to
 * choose: PrefixKV (Wang et al. 2024), DynamicKV (Zhou et al. 2024), CAKE (Qin et al. 2025). Scores are as for
 * {@link KvBudget}. Budgets are tokens of one head, with those always kept among them, and add up to the total, unless
 * there are fewer tokens.
 *
 * @param always what is kept of each layer whatever it scores
 */
public record KvLayerBudgets(KvBudget always) {
    /** Refuses null. */
    public KvLayerBudgets {
        Check.present("always", always);
    }

    /**
     * PrefixKV's budgets: all layers keep the same share of their scores, the largest one that the total allows (which
     * the paper finds by bisection). What the total has left then goes to layers of the least share.
     *
     * @param layers scores of each layer; negative ones, NaN and infinity are refused
     * @param total of the budgets; with fewer tokens all are kept
     * @throws IllegalArgumentException if the total is less than what is always kept
     */
    public long[] prefix(List<Tensor> layers, long total) {
        long[] lengths = lengths(layers);
        double[][] shares = new double[layers.size()][];
        for (int l = 0; l < shares.length; l++) {
            float[] sums = KvBudget.summed(layers.get(l));
            shares[l] = KvBudget.shares("layers[" + l + "]", sums, always.order(sums));
        }
        return allot(lengths, total, (layer, kept) -> -shares[layer][(int) kept]);
    }

    /**
     * DynamicKV's budgets: the largest scores of all layers and heads are counted by layer, as many as the total has
     * room for; budgets are in proportion. What is always kept is not counted. The paper does so after every few
     * layers, with those so far.
     *
     * @param layers scores of each layer by the last queries; as many heads in each, the product of the axes before the
     *     last
     * @param total of the budgets; with fewer tokens all are kept
     * @param most no budget is larger, as a layer's cache had so much room until now; at least what is always kept
     * @throws IllegalArgumentException if the total is less than what is always kept
     */
    public long[] dynamic(List<Tensor> layers, long total, long most) {
        long[] lengths = lengths(layers);
        int[] counts = new int[layers.size()];
        int[] ends = new int[layers.size()];
        long free = total;
        int heads = 0;
        int candidates = 0;
        float[][] all = new float[layers.size()][];
        for (int l = 0; l < all.length; l++) {
            float[][] scores = KvBudget.heads("layers[" + l + "]", layers.get(l));
            if (l > 0 && scores.length != heads) {
                throw Check.invalid("layers[" + l + "]", scores.length + " heads", heads + ", as the first layer");
            }
            heads = scores.length;
            int forced = always.forced((int) lengths[l]);
            int first = Math.min(always.keepFirst(), forced);
            all[l] = new float[Math.toIntExact((lengths[l] - forced) * heads)];
            for (int h = 0; h < heads; h++) {
                int count = (int) lengths[l] - forced;
                System.arraycopy(scores[h], first, all[l], h * count, count);
            }
            candidates = Math.addExact(candidates, all[l].length);
            ends[l] = candidates;
            free -= forced;
            lengths[l] = Math.min(lengths[l], Math.max(most, forced));
        }
        int n = 0;
        long[] keys = new long[candidates];
        for (float[] scores : all) {
            for (float score : scores) {
                keys[n] = KvBudget.key(score, n);
                n++;
            }
        }
        Arrays.sort(keys);
        for (long i = 0; i < Math.min(Math.max(free, 0) * heads, candidates); i++) {
            int layer = Arrays.binarySearch(ends, (int) keys[(int) i]);
            // A place that is an end belongs to a later layer, the first one that is not empty.
            for (layer = layer < 0 ? -layer - 1 : layer; ends[layer] <= (int) keys[(int) i]; layer++) {}
            counts[layer]++;
        }
        return allot(
                lengths, total, (layer, kept) -> counts[layer] / (kept - always.forced((int) lengths[layer]) + 1.0));
    }

    /**
     * CAKE's budgets: in proportion to preferences, as layer after layer is prefilled. Budgets of layers so far only
     * shrink when there is one more, so their caches can be cut to them at once.
     *
     * @param preferences {@link KvPreference#preference} of each layer so far, 0 or more
     * @param lengths tokens in the cache of each layer before that
     * @param total of all budgets, the same for all layers so far
     * @throws IllegalArgumentException if the total is less than what is always kept
     */
    public long[] cascade(double[] preferences, long[] lengths, long total) {
        Check.present("preferences", preferences);
        Check.present("lengths", lengths);
        if (lengths.length != preferences.length) {
            throw Check.invalid("lengths", lengths.length + " numbers", preferences.length + ", as preferences");
        }
        for (int l = 0; l < lengths.length; l++) {
            if (!(preferences[l] >= 0 && preferences[l] < Double.POSITIVE_INFINITY)) {
                throw Check.invalid("preferences[" + l + "]", preferences[l], "finite numbers >= 0");
            }
            Check.range("lengths[" + l + "]", lengths[l], 0, Integer.MAX_VALUE);
        }
        // The highest averages of D'Hondt: adding a layer takes from others and gives none of them more.
        return allot(
                lengths,
                total,
                (layer, kept) -> preferences[layer] / (kept - always.forced((int) lengths[layer]) + 1.0));
    }

    /** What the next token is worth to a layer that keeps so many; never more than the one before it. */
    private interface Worth {
        double next(int layer, long kept);
    }

    /** Token by token to the layer that it is worth most to, the earlier one where equal. */
    private long[] allot(long[] lengths, long total, Worth worth) {
        record Bid(double worth, int layer) {}
        PriorityQueue<Bid> bids = new PriorityQueue<>(
                (a, b) -> a.worth != b.worth ? Double.compare(b.worth, a.worth) : Integer.compare(a.layer, b.layer));
        long[] budgets = new long[lengths.length];
        long left = total;
        for (int l = 0; l < lengths.length; l++) {
            budgets[l] = always.forced((int) lengths[l]);
            left -= budgets[l];
            if (budgets[l] < lengths[l]) {
                bids.add(new Bid(worth.next(l, budgets[l]), l));
            }
        }
        if (left < 0) {
            throw Check.invalid("total", total, "at least " + (total - left) + ", which are always kept");
        }
        for (; left > 0 && !bids.isEmpty(); left--) {
            int layer = bids.remove().layer;
            if (++budgets[layer] < lengths[layer]) {
                bids.add(new Bid(worth.next(layer, budgets[layer]), layer));
            }
        }
        return budgets;
    }

    private static long[] lengths(List<Tensor> layers) {
        Check.present("layers", layers);
        long[] lengths = new long[layers.size()];
        for (int l = 0; l < lengths.length; l++) {
            Check.present("layers[" + l + "]", layers.get(l));
            lengths[l] = layers.get(l).shape().size(layers.get(l).shape().rank() - 1);
        }
        return lengths;
    }
}
