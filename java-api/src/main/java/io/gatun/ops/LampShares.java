package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.Prune.Score;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * What {@link Prune#lampSparsities} returns: of all layers' scores together the lowest are pruned, counted by layer.
 *
 * <p>Scores are f32 from 0 to 1, so their bits, as integers, are in the same order. The highest score that is pruned is found
 * by its upper bits first, from a count of each layer's scores for each value of them, then by its lower bits.
 */
final class LampShares {
    private static final int LOWER_BITS = 15;
    private static final int LOWER = (1 << LOWER_BITS) - 1;
    private static final int BINS = (Float.floatToRawIntBits(1) >> LOWER_BITS) + 1;

    /** A bin, and how many of its scores are among the lowest. */
    private record Place(int bin, long left) {}

    private LampShares() {}

    static double[] of(List<Tensor> weights, double sparsity) {
        Check.present("weights", weights);
        Tensor[] layers = weights.toArray(Tensor[]::new);
        long all = 0;
        for (int i = 0; i < layers.length; i++) {
            PruneCall.checkWeights(name(i), layers[i]);
            all += layers[i].shape().elements();
        }
        long pruned = PruneCall.pruned(all, new Sparsity.Unstructured(sparsity).sparsity());
        double[] shares = new double[layers.length];
        long[][] uppers = new long[layers.length][BINS];
        for (int i = 0; i < layers.length; i++) {
            count(i, layers[i], uppers[i], -1);
        }
        Place upper = place(uppers, pruned);
        long[][] lowers = new long[layers.length][LOWER + 1];
        for (int i = 0; i < layers.length; i++) {
            count(i, layers[i], lowers[i], upper.bin);
        }
        Place lower = place(lowers, upper.left);
        long equal = lower.left; // scores that are pruned of those at the limit
        for (int i = layers.length - 1; i >= 0; i--) {
            long ofThese = Math.min(lowers[i][lower.bin], equal);
            equal -= ofThese;
            long count = sum(uppers[i], upper.bin) + sum(lowers[i], lower.bin) + ofThese;
            shares[i] = count == 0 ? 0 : (double) count / layers[i].shape().elements();
        }
        return shares;
    }

    private static String name(int layer) {
        return "weights[" + layer + "]";
    }

    /** Counts a layer's scores by their upper bits; or, of those in a bin, by their lower bits. */
    private static void count(int layer, Tensor weights, long[] counts, int bin) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment scores = Prune.scores(arena, weights, Score.lamp()).segment();
            for (long at = 0; at < scores.byteSize(); at += Float.BYTES) {
                int bits = scores.get(JAVA_INT, at);
                int upper = bits >> LOWER_BITS;
                if (bin < 0) {
                    counts[upper]++;
                } else if (upper == bin) {
                    counts[bits & LOWER]++;
                }
            }
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(name(layer) + ": " + e.getMessage(), e);
        }
    }

    /** The bin of all layers that the last of the {@code lowest} scores is in. */
    private static Place place(long[][] counts, long lowest) {
        long left = lowest;
        for (int bin = 0; ; bin++) {
            int at = bin;
            long inBin = Arrays.stream(counts).mapToLong(layer -> layer[at]).sum();
            if (inBin >= left) {
                return new Place(bin, left);
            }
            left -= inBin;
        }
    }

    /** Of the bins below one. */
    private static long sum(long[] counts, int end) {
        return Arrays.stream(counts, 0, end).sum();
    }
}
