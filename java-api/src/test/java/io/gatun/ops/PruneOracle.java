package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.ops.Prune.Score;
import java.util.Arrays;
import java.util.Comparator;
import java.util.function.IntPredicate;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/** Scores and masks from their definitions, by sorting everything. */
final class PruneOracle {
    private static final int[] TILES =
            IntStream.range(0, 1 << 16).filter(PruneOracle::isTransposable).toArray();

    private final int rows;
    private final int depth;
    final float[] scores;

    private PruneOracle(int rows, int depth, float[] scores) {
        this.rows = rows;
        this.depth = depth;
        this.scores = scores;
    }

    static PruneOracle of(Tensor weights, Score score) {
        Tensor shaped = weights == null ? score.tensor() : weights;
        int rows = (int) shaped.shape().size(0);
        int depth = (int) shaped.shape().size(1);
        float[] w = weights == null ? null : weights.toFloatArray();
        float[] given = score.tensor() == null ? null : score.tensor().toFloatArray();
        float[] scores = score.kind() == Score.Kind.LAMP ? lamp(w) : new float[rows * depth];
        for (int i = 0; i < scores.length; i++) {
            switch (score.kind()) {
                case MAGNITUDE -> scores[i] = Math.abs(w[i]);
                case WANDA -> scores[i] = Math.abs(w[i]) * given[i % depth];
                case GIVEN -> scores[i] = given[i];
                case LAMP -> {}
            }
        }
        return new PruneOracle(rows, depth, scores);
    }

    /** Weights of one magnitude share a sum, which all of them are in. */
    private static float[] lamp(float[] w) {
        Integer[] descending = IntStream.range(0, w.length).boxed().toArray(Integer[]::new);
        Arrays.sort(descending, Comparator.comparingDouble((Integer k) -> -Math.abs(w[k])));
        float[] scores = new float[w.length];
        double sum = 0;
        for (int begin = 0, end = 0; begin < w.length; begin = end) {
            double square = (double) w[descending[begin]] * w[descending[begin]];
            while (end < w.length && Math.abs(w[descending[end]]) == Math.abs(w[descending[begin]])) {
                sum += square;
                end++;
            }
            for (int i = begin; i < end; i++) {
                scores[descending[i]] = sum == 0 ? 0 : (float) (square / sum);
            }
        }
        return scores;
    }

    /** What {@code pattern} keeps; of transposable tiles any best one is right, see {@link #tileScore}. */
    boolean[] keep(Sparsity pattern) {
        boolean[] kept = new boolean[scores.length];
        switch (pattern) {
            case Sparsity.Nm p -> {
                for (int top = 0; top < rows; top += p.vector()) {
                    int bottom = Math.min(rows, top + p.vector());
                    for (int begin = 0; begin < depth; begin += p.m()) {
                        int size = Math.min(p.m(), depth - begin);
                        int first = top * depth + begin;
                        best(kept, Math.min(p.n(), size), size, bottom - top, i -> first + i, r -> r * depth);
                    }
                }
            }
            case Sparsity.Unstructured p ->
                best(kept, left(scores.length, p.sparsity()), scores.length, 1, i -> i, r -> 0);
            case Sparsity.PerRow p -> {
                for (int r = 0; r < rows; r++) {
                    int first = r * depth;
                    best(kept, left(depth, p.sparsity()), depth, 1, i -> first + i, other -> 0);
                }
            }
            case Sparsity.Rows p -> best(kept, left(rows, p.sparsity()), rows, depth, i -> i * depth, k -> k);
            case Sparsity.Columns p -> best(kept, left(depth, p.sparsity()), depth, rows, i -> i, r -> r * depth);
            case Sparsity.Blocks p -> blocks(kept, (int) p.rows(), (int) p.depth(), p.sparsity());
            case Sparsity.Transposable _ -> throw new AssertionError("more than one mask is right");
        }
        return kept;
    }

    static int left(int count, double sparsity) {
        return count - (int) Math.round(count * sparsity);
    }

    /**
     * Keeps the best {@code n} of {@code count} sets of weights: set i has {@code members} weights, at {@code start(i) +
     * step(j)}.
     */
    private void best(boolean[] kept, int n, int count, int members, IntUnaryOperator start, IntUnaryOperator step) {
        double[] sums = new double[count];
        Integer[] order = new Integer[count];
        for (int i = 0; i < count; i++) {
            order[i] = i;
            for (int j = 0; j < members; j++) {
                sums[i] += scores[start.applyAsInt(i) + step.applyAsInt(j)];
            }
        }
        Arrays.sort(order, Comparator.comparingDouble((Integer i) -> -sums[i])); // stable: lower indices first
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < members; j++) {
                kept[start.applyAsInt(order[i]) + step.applyAsInt(j)] = true;
            }
        }
    }

    private void blocks(boolean[] kept, int blockRows, int blockDepth, double sparsity) {
        int across = Math.ceilDiv(depth, blockDepth);
        int count = Math.ceilDiv(rows, blockRows) * across;
        double[] sums = new double[count];
        IntUnaryOperator blockOf = i -> i / depth / blockRows * across + i % depth / blockDepth;
        for (int i = 0; i < scores.length; i++) {
            sums[blockOf.applyAsInt(i)] += scores[i];
        }
        Integer[] order = IntStream.range(0, count).boxed().toArray(Integer[]::new);
        Arrays.sort(order, Comparator.comparingDouble((Integer i) -> -sums[i]));
        boolean[] keptBlocks = new boolean[count];
        for (int i = 0; i < left(count, sparsity); i++) {
            keptBlocks[order[i]] = true;
        }
        for (int i = 0; i < kept.length; i++) {
            kept[i] = keptBlocks[blockOf.applyAsInt(i)];
        }
    }

    /** The score of what a mask keeps of the 4 x 4 tile at a row and a column. */
    double tileScore(int row, int column, IntPredicate kept) {
        double sum = 0;
        for (int r = row; r < Math.min(rows, row + 4); r++) {
            for (int k = column; k < Math.min(depth, column + 4); k++) {
                sum += kept.test((r - row) * 4 + k - column) ? scores[r * depth + k] : 0;
            }
        }
        return sum;
    }

    /** The highest score that two of four weights in each row and column of a tile have. */
    double bestTileScore(int row, int column) {
        double best = Double.NEGATIVE_INFINITY;
        for (int tile : TILES) {
            best = Math.max(best, tileScore(row, column, i -> (tile >> i & 1) != 0));
        }
        return best;
    }

    static boolean isTransposable(int bits) {
        for (int i = 0; i < 4; i++) {
            if (Integer.bitCount(bits & 0xf << 4 * i) != 2 || Integer.bitCount(bits & 0x1111 << i) != 2) {
                return false;
            }
        }
        return true;
    }
}
