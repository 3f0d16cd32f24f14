package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;

/**
 * What CAKE (Qin et al. 2025) reads from the attention of the last queries of a prompt, A = exp(logits - lse), as
 * {@link Decode#logits} gives it: how many tokens a layer should keep beside others, and which. Attention to the last
 * tokens, as many as queries, is not looked at.
 */
public final class KvPreference {
    private final float[] logits;
    private final float[] sums;
    private final int heads;
    private final int queries;
    private final int keys;

    /**
     * Of a layer.
     *
     * @param logits f32 [query heads, queries, keys], or with an axis of one batch item before them
     * @param lse f32 of the same shape without the last axis
     */
    public KvPreference(Tensor logits, Tensor lse) {
        Check.present("logits", logits);
        Check.present("lse", lse);
        Check.dtype("logits", logits, AttentionCall.F32);
        Check.dtype("lse", lse, AttentionCall.F32);
        int rank = logits.shape().rank();
        if (rank != 3 && (rank != 4 || logits.shape().size(0) != 1)) {
            throw Check.invalid("logits", "shape " + logits.shape(), "[query heads, queries, keys]");
        }
        heads = Math.toIntExact(logits.shape().size(rank - 3));
        queries = Math.toIntExact(logits.shape().size(rank - 2));
        keys = Math.toIntExact(logits.shape().size(rank - 1));
        if (queries > keys) {
            throw Check.invalid("logits", "shape " + logits.shape(), "no more queries than keys");
        }
        if (lse.shape().rank() != rank - 1
                || lse.shape().size(rank - 3) != heads
                || lse.shape().size(rank - 2) != queries) {
            throw Check.invalid(
                    "lse", "shape " + lse.shape(), "that of logits " + logits.shape() + " without the keys");
        }
        this.logits = logits.toFloatArray();
        sums = lse.toFloatArray();
    }

    private double weight(int head, int query, int key) {
        int row = head * queries + query;
        return sums[row] == Float.NEGATIVE_INFINITY ? 0 : Math.exp((double) logits[row * keys + key] - sums[row]);
    }

    private double mean(int head, int key) {
        double sum = 0;
        for (int i = 0; i < queries; i++) {
            sum += weight(head, i, key);
        }
        return sum / queries;
    }

    /** Over the queries, by n - 1; 0 of one. */
    private double variance(int head, int key, double mean) {
        double squares = 0;
        for (int i = 0; i < queries; i++) {
            double difference = weight(head, i, key) - mean;
            squares += difference * difference;
        }
        return queries < 2 ? 0 : squares / (queries - 1);
    }

    /**
     * The layer's preference, H^(1 / tau1) V^(1 / tau2), for {@link KvLayerBudgets#cascade}: H is the sum of -A ln A
     * (how attention spreads over tokens), V that of the variances of each token's attention over the queries (how it
     * moves in time), both over heads and tokens.
     *
     * @param tau1 > 0; the less, the more spreading counts
     * @param tau2 > 0
     */
    public double preference(double tau1, double tau2) {
        positive("tau1", tau1);
        positive("tau2", tau2);
        double entropy = 0;
        double variance = 0;
        for (int h = 0; h < heads; h++) {
            for (int j = 0; j < keys - queries; j++) {
                for (int i = 0; i < queries; i++) {
                    double weight = weight(h, i, j);
                    entropy -= weight == 0 ? 0 : weight * Math.log(weight);
                }
                variance += variance(h, j, mean(h, j));
            }
        }
        return Math.pow(entropy, 1 / tau1) * Math.pow(variance, 1 / tau2);
    }

    private static void positive(String name, double value) {
        if (!(value > 0)) {
            throw Check.invalid(name, value, "numbers > 0");
        }
    }

    /**
     * Scores of tokens for {@link KvBudget}: the mean of a token's attention over the queries plus {@code gamma}
     * times its variance, so that tokens whose importance comes and goes stay; of the query heads that share a head
     * the mean. Keep the last tokens, as many as queries, whatever they score.
     *
     * @param kvHeads a divisor of the query heads
     * @param gamma 0 or more; 200 in the paper
     * @return f32 [kvHeads, keys]
     */
    public Tensor scores(int kvHeads, double gamma) {
        if (kvHeads < 1 || heads % kvHeads != 0) {
            throw Check.invalid("kvHeads", kvHeads, "divisors of " + heads + ", the query heads");
        }
        if (!(gamma >= 0 && gamma < Double.POSITIVE_INFINITY)) {
            throw Check.invalid("gamma", gamma, "finite numbers >= 0");
        }
        int group = heads / kvHeads;
        float[] scores = new float[kvHeads * keys];
        for (int n = 0; n < scores.length; n++) {
            double sum = 0;
            for (int h = n / keys * group; h < (n / keys + 1) * group; h++) {
                double mean = mean(h, n % keys);
                sum += mean + gamma * variance(h, n % keys, mean);
            }
            scores[n] = (float) (sum / group);
        }
        return Tensor.of(scores, kvHeads, keys);
    }
}
