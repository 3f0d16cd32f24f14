package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.Prune.Score;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * What {@link Prune#lampSparsities} returns: of all layers' scores together the lowest are pruned, counted by layer.
 *
 * <p>Scores are f32 from 0 to 1, so their bits, as integers, are in the same order. The highest score that is pruned is found
 * by its upper bits first, from a count of all scores for each value of them, then by its lower bits; then each layer's scores
 * up to it are counted. Counts by layer and value would spare the third time, but take as much memory as many a layer.
 */
final class LampShares {
    private static final int LOWER_BITS = 15;
    private static final int LOWER = (1 << LOWER_BITS) - 1;
    private static final int BINS = (Float.floatToRawIntBits(1) >> LOWER_BITS) + 1;

    /** The scores of a layer, f32, in memory of the arena. */
    @FunctionalInterface
    interface Scorer {
        Tensor scores(Arena arena, Tensor layer);
    }

    /** A bin, and how many of its scores are among the lowest. */
    private record Place(int bin, long left) {}

    private LampShares() {}

    static double[] of(List<Tensor> weights, double sparsity) {
        return of(weights, sparsity, (arena, layer) -> Prune.scores(arena, layer, Score.lamp()));
    }

    /** Of any scorer; the scores of a layer are to be the same each time. */
    static double[] of(List<Tensor> weights, double sparsity, Scorer scorer) {
        Check.present("weights", weights);
        Tensor[] layers = weights.toArray(Tensor[]::new);
        long all = 0;
        for (int i = 0; i < layers.length; i++) {
            PruneCall.checkWeights(name(i), layers[i]);
            all += layers[i].shape().elements();
        }
        long pruned = PruneCall.pruned(all, new Sparsity.Unstructured(sparsity).sparsity());
        long[] uppers = new long[BINS];
        for (int i = 0; i < layers.length; i++) {
            forEachScore(i, layers[i], scorer, bits -> uppers[bits >> LOWER_BITS]++);
        }
        Place upper = place(uppers, pruned);
        long[] lowers = new long[LOWER + 1];
        for (int i = 0; i < layers.length; i++) {
            forEachScore(i, layers[i], scorer, bits -> {
                if (bits >> LOWER_BITS == upper.bin) {
                    lowers[bits & LOWER]++;
                }
            });
        }
        Place lower = place(lowers, upper.left);
        return shares(layers, scorer, upper.bin << LOWER_BITS | lower.bin, lower.left, pruned);
    }

    /** All scores below the limit are pruned, and so many that equal it, those of later layers first. */
    private static double[] shares(Tensor[] layers, Scorer scorer, int limit, long equal, long pruned) {
        double[] shares = new double[layers.length];
        long left = equal;
        long all = 0;
        for (int i = layers.length - 1; i >= 0; i--) {
            long[] counts = new long[2]; // below the limit, at it
            forEachScore(i, layers[i], scorer, bits -> {
                if (bits <= limit) {
                    counts[bits == limit ? 1 : 0]++;
                }
            });
            long ofThese = Math.min(counts[1], left);
            left -= ofThese;
            long count = counts[0] + ofThese;
            all += count;
            shares[i] = count == 0 ? 0 : (double) count / layers[i].shape().elements();
        }
        if (all != pruned) {
            throw changed();
        }
        return shares;
    }

    private static String name(int layer) {
        return "weights[" + layer + "]";
    }

    private static GatunException changed() {
        return new GatunException(
                "weights: given ones that changed during the call; allowed: weights that nobody writes to");
    }

    /** Each score of a layer, as its bits. */
    private static void forEachScore(int layer, Tensor weights, Scorer scorer, IntConsumer visit) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment scores = scorer.scores(arena, weights).segment();
            for (long at = 0; at < scores.byteSize(); at += Float.BYTES) {
                int bits = scores.get(JAVA_INT, at);
                // Of weights that are NaN since they were checked.
                if (bits < 0 || bits >> LOWER_BITS >= BINS) {
                    throw changed();
                }
                visit.accept(bits);
            }
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(name(layer) + ": " + e.getMessage(), e);
        }
    }

    /** The bin that the last of the {@code lowest} scores is in. */
    private static Place place(long[] counts, long lowest) {
        long left = lowest;
        for (int bin = 0; bin < counts.length; bin++) {
            if (counts[bin] >= left) {
                return new Place(bin, left);
            }
            left -= counts[bin];
        }
        throw changed();
    }
}
