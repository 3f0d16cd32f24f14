package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * Merges tokens that a KV cache evicts into those that it keeps (D2O, Wan et al. 2024). Of each head, an evicted key is
 * compared with all kept ones; u is its cosine similarity to the nearest, n. A threshold follows the mean of u over
 * heads and tokens from call to call, t = beta mean + (1 - beta) t, at first t = mean. Tokens with u below it are
 * dropped. Of the others those that share n are merged into it, keys and values alike,
 *
 * <pre>    (e n + sum of exp(u) x) / (e + sum of exp(u))</pre>
 *
 * <p>An object is for one layer of one sequence and no two threads at a time.
 */
public final class KvMerge {
    private final double beta;
    private double threshold = Double.NaN;

    /** With the paper's rate, 0.7. */
    public KvMerge() {
        this(0.7);
    }

    /**
     * With a rate of one's own.
     *
     * @param beta 0..1: how fast the threshold follows
     */
    public KvMerge(double beta) {
        if (!(beta >= 0 && beta <= 1)) {
            throw Check.invalid("beta", beta, "0..1");
        }
        this.beta = beta;
    }

    /**
     * What is left.
     *
     * @param k [heads, kept tokens, size], of the type of the k given
     * @param v [heads, kept tokens, value size]
     * @param merged tokens of all heads that were merged; the other evicted ones are lost
     */
    public record Merged(Tensor k, Tensor v, long merged) {}

    /** The threshold that the last call used; NaN before one that evicts anything. */
    public double threshold() {
        return threshold;
    }

    /** As {@link #merge(Tensor, Tensor, long[][])} with the same list for all heads. */
    public Merged merge(Tensor k, Tensor v, long[] keep) {
        Check.present("k", k);
        Check.present("keep", keep);
        checkRows("k", k);
        long[][] lists = new long[Math.toIntExact(k.shape().size(0))][];
        Arrays.fill(lists, keep);
        return merge(k, v, lists);
    }

    /**
     * Keeps some tokens and merges others into them. O(heads * evicted * kept * size).
     *
     * @param k f32, bf16 or f16 [heads, tokens, size]; finite
     * @param v f32, bf16 or f16 [heads, tokens, value size]
     * @param keep for each head ascending tokens, as many in each ({@link KvBudget#keepPerHead})
     * @throws IllegalArgumentException if an argument does not fit
     */
    public Merged merge(Tensor k, Tensor v, long[][] keep) {
        Check.present("k", k);
        Check.present("v", v);
        Check.present("keep", keep);
        checkRows("k", k);
        checkRows("v", v);
        int heads = Math.toIntExact(k.shape().size(0));
        int tokens = Math.toIntExact(k.shape().size(1));
        if (v.shape().size(0) != heads || v.shape().size(1) != tokens) {
            throw Check.invalid("v", "shape " + v.shape(), "[" + heads + ", " + tokens + ", any], as k");
        }
        int[][] kept = lists(keep, heads, tokens);
        int count = heads == 0 ? 0 : kept[0].length;
        float[][] keys = rows(k);
        for (int row = 0; row < keys.length; row++) {
            for (float number : keys[row]) {
                if (!Float.isFinite(number)) {
                    throw Check.invalid(
                            "k, token " + row % tokens + " of head " + row / tokens, number, "finite numbers");
                }
            }
        }
        float[][] values = rows(v);
        int[][] nearest = new int[heads][tokens];
        double[][] similarity = new double[heads][tokens];
        double sum = 0;
        for (int h = 0; h < heads; h++) {
            sum += findNearest(keys, h * tokens, kept[h], nearest[h], similarity[h]);
        }
        long evicted = (long) heads * (tokens - count);
        if (evicted > 0 && count > 0) {
            double mean = sum / evicted;
            threshold = Double.isNaN(threshold) ? mean : beta * mean + (1 - beta) * threshold;
        }
        long merged = 0;
        for (int h = 0; h < heads; h++) {
            for (int j = 0; j < tokens; j++) {
                if (nearest[h][j] != j && similarity[h][j] < threshold) {
                    nearest[h][j] = DROPPED;
                }
                merged += nearest[h][j] >= 0 && nearest[h][j] != j ? 1 : 0;
            }
        }
        Tensor newK = weighted(k, keys, kept, nearest, similarity);
        return new Merged(newK, weighted(v, values, kept, nearest, similarity), merged);
    }

    private static final int DROPPED = -1;

    /** Of each token of a head; a kept one's is itself. Returns the sum of the others' similarities. */
    private static double findNearest(float[][] keys, int begin, int[] kept, int[] nearest, double[] similarity) {
        double[] norms = new double[nearest.length];
        for (int j = 0; j < norms.length; j++) {
            norms[j] = Math.sqrt(dot(keys[begin + j], keys[begin + j]));
        }
        double sum = 0;
        for (int j = 0; j < nearest.length; j++) {
            nearest[j] = DROPPED;
            similarity[j] = Double.NEGATIVE_INFINITY;
            if (Arrays.binarySearch(kept, j) >= 0) {
                nearest[j] = j;
                continue;
            }
            for (int candidate : kept) {
                double scale = norms[j] * norms[candidate];
                double cosine = scale == 0 ? 0 : dot(keys[begin + j], keys[begin + candidate]) / scale;
                if (cosine > similarity[j]) {
                    similarity[j] = cosine;
                    nearest[j] = candidate;
                }
            }
            sum += similarity[j];
        }
        return sum;
    }

    private static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    private static Tensor weighted(Tensor like, float[][] rows, int[][] kept, int[][] nearest, double[][] similarity) {
        int size = Math.toIntExact(like.shape().size(2));
        int tokens = Math.toIntExact(like.shape().size(1));
        int count = kept.length == 0 ? 0 : kept[0].length;
        double[][] sums = new double[kept.length * tokens][size];
        double[] weights = new double[kept.length * tokens];
        for (int row = 0; row < sums.length; row++) {
            int token = row % tokens;
            int into = nearest[row / tokens][token];
            if (into == DROPPED) {
                continue;
            }
            double weight = into == token ? Math.E : Math.exp(similarity[row / tokens][token]);
            int target = row - token + into;
            weights[target] += weight;
            for (int i = 0; i < size; i++) {
                sums[target][i] += weight * rows[row][i];
            }
        }
        float[] result = new float[Math.toIntExact((long) kept.length * count * size)];
        int n = 0;
        for (int h = 0; h < kept.length; h++) {
            for (int token : kept[h]) {
                for (double sum : sums[h * tokens + token]) {
                    result[n++] = (float) (sum / weights[h * tokens + token]);
                }
            }
        }
        return Tensor.of(like.dtype(), result, kept.length, count, size);
    }

    private static float[][] rows(Tensor x) {
        int size = Math.toIntExact(x.shape().size(2));
        float[] values = x.toFloatArray();
        float[][] rows = new float[Math.toIntExact(x.shape().size(0) * x.shape().size(1))][];
        for (int row = 0; row < rows.length; row++) {
            rows[row] = Arrays.copyOfRange(values, row * size, (row + 1) * size);
        }
        return rows;
    }

    private static void checkRows(String name, Tensor x) {
        Check.dtype(name, x, AttentionCall.FLOATS);
        if (x.shape().rank() != 3) {
            throw Check.invalid(name, "shape " + x.shape(), "[heads, tokens, size]");
        }
    }

    private static int[][] lists(long[][] keep, int heads, int tokens) {
        if (keep.length != heads) {
            throw Check.invalid("keep", keep.length + " lists", heads + ", one for each head");
        }
        int[][] kept = new int[heads][];
        for (int h = 0; h < heads; h++) {
            Check.present("keep[" + h + "]", keep[h]);
            if (keep[h].length != keep[0].length) {
                throw Check.invalid("keep[" + h + "]", keep[h].length + " tokens", keep[0].length + ", as keep[0]");
            }
            for (int n = 0; n < keep[h].length; n++) {
                Check.range("keep[" + h + "][" + n + "]", keep[h][n], n == 0 ? 0 : keep[h][n - 1] + 1, tokens - 1L);
            }
            kept[h] = Arrays.stream(keep[h]).mapToInt(Math::toIntExact).toArray();
        }
        return kept;
    }
}
