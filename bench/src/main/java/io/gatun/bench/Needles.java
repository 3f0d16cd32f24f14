package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.BlockGrid;
import io.gatun.ops.BlockMask;
import io.gatun.ops.Selection;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code ./gatun bench needles}: do selections of a tenth of the blocks find the few keys that matter, and is the
 * attention over what they keep right? 8 needles among 32768 keys, 4 heads, seeds 1 to 5; see {@link Haystack}.
 */
final class Needles {
    static final String OP = "needles";

    private static final int HEADS = 4;
    private static final int LENGTH = 32768;
    private static final int SEEDS = 5;
    private static final int SAMPLED_ROWS = 256;
    private static final double DENSITY = 0.1;
    private static final double MAX_ERROR = 0.05;

    private final Haystack haystack;
    private final Haystack.Row[] rows;

    Needles(Haystack haystack, int sampledRows) {
        this.haystack = haystack;
        rows = haystack.rows(sampledRows / haystack.heads, 77);
    }

    /** What came of a mask; shares are 0..1. */
    record Outcome(String method, double density, boolean keepsNeedles, double recall, double relativeError) {
        /** A tenth of the blocks at most, all needles among them, and the attention right. */
        boolean passes() {
            return density <= DENSITY && keepsNeedles && relativeError <= MAX_ERROR;
        }

        Result record(String caseName) {
            return new Result(
                    OP,
                    caseName + " " + method,
                    Result.OURS + " " + Gatun.version(),
                    Runtime.getRuntime().availableProcessors(),
                    "recall",
                    "%",
                    100 * recall,
                    100 * recall,
                    100 * recall,
                    null,
                    null,
                    relativeError,
                    "%.2f %% of the blocks, %s"
                            .formatted(100 * density, keepsNeedles ? "all needles" : "not all needles"),
                    "nothing");
        }

        @Override
        public String toString() {
            return "%-15s %5.2f %% of the blocks  %-15s  keeps %6.2f %% of the attention  error %7.3f %%  %s"
                    .formatted(
                            method,
                            100 * density,
                            keepsNeedles ? "all needles" : "loses needles",
                            100 * recall,
                            100 * relativeError,
                            passes() ? "right" : "wrong");
        }
    }

    /** SpargeAttn's block means, MInference's vertical lines and slashes, and as many blocks by chance. */
    List<Outcome> outcomes(long seed) {
        Selection means = Selection.means().withKeepFraction(DENSITY);
        // 30 columns in one block and 8 others, 30 diagonals in two and 20 others in two each: 51 of 512.
        Selection lines = Selection.verticalSlash(30 + Haystack.NEEDLES, 50);
        BlockGrid grid = new BlockGrid(haystack.length, haystack.length, 64, 64);
        BlockMask chance = BlockMask.random(grid, 1, haystack.heads, DENSITY, false, seed);
        return List.of(
                outcome(
                        "means",
                        haystack.options.withSelection(means),
                        means.select(haystack.q, haystack.k, haystack.options)),
                outcome(
                        "vertical-slash",
                        haystack.options.withSelection(lines),
                        lines.select(haystack.q, haystack.k, haystack.options)),
                outcome("random", haystack.options.withMask(chance), chance));
    }

    private Outcome outcome(String method, Attention.Options options, BlockMask mask) {
        Tensor out = Tensor.allocate(DType.F32, haystack.q.shape().toArray());
        Attention.run(haystack.q, haystack.k, haystack.v, out, options);
        double error = 0;
        double magnitude = 0;
        double recall = 0;
        for (Haystack.Row row : rows) {
            for (int x = 0; x < Haystack.SIZE; x++) {
                double right = row.out()[x];
                magnitude += right * right;
                error += Math.pow(out.getFloat(0, row.head(), row.query(), x) - right, 2);
            }
            recall += kept(mask, row) / rows.length;
        }
        return new Outcome(method, mask.density(), keepsNeedles(mask), recall, Math.sqrt(error / magnitude));
    }

    private static double kept(BlockMask mask, Haystack.Row row) {
        int size = mask.grid().keyBlock();
        double kept = 0;
        for (int block :
                mask.fullBlocks(0, row.head(), row.query() / mask.grid().queryBlock())) {
            for (int j = block * size; j < Math.min((block + 1) * size, row.weights().length); j++) {
                kept += row.weights()[j];
            }
        }
        return kept;
    }

    private boolean keepsNeedles(BlockMask mask) {
        for (int head = 0; head < haystack.heads; head++) {
            for (int needle : haystack.needles(head)) {
                for (int qb = 0; qb < mask.grid().queryBlocks(); qb++) {
                    if (!mask.isFull(0, head, qb, needle / mask.grid().keyBlock())) {
                        return false;
                    }
                }
            }
        }
        return true;
    }

    /** Runs all seeds; exit code 1 if a selection is wrong, or chance is right. */
    public static void main(String[] words) throws IOException {
        if (words.length > 0) {
            System.err.println("gatun bench needles: given " + words[0] + "; allowed: no arguments");
            System.exit(2);
        }
        System.out.printf(
                "%d needles among %d keys, %d heads of %d, f32, scale %.1f; error of %d rows against double%n",
                Haystack.NEEDLES, LENGTH, HEADS, Haystack.SIZE, Haystack.SCALE, SAMPLED_ROWS);
        List<Result> results = new ArrayList<>();
        boolean asExpected = true;
        for (long seed = 1; seed <= SEEDS; seed++) {
            Needles needles = new Needles(new Haystack(seed, HEADS, LENGTH, 128, 0), SAMPLED_ROWS);
            for (Outcome outcome : needles.outcomes(seed)) {
                System.out.println("seed " + seed + "  " + outcome);
                asExpected &= outcome.passes() != outcome.method().equals("random");
                results.add(outcome.record("f32 " + LENGTH + " seed=" + seed));
            }
        }
        Path folder = BuildTree.results();
        Records.write(folder, OP, results);
        System.out.println("records: " + folder.resolve(OP + ".json"));
        if (!asExpected) {
            System.err.println("gatun bench needles: a selection is wrong, or a random one is right");
            System.exit(1);
        }
    }
}
