package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Regrow;
import io.gatun.ops.Prune.Score;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** DSnoT against its definition: a pair of weights at a time, found by trying all pairs. */
class RegrowTest {
    private static final Sparsity.Nm[] GROUPS = {
        null, Sparsity.nm(1, 2), Sparsity.nm(2, 4), Sparsity.nm(3, 8), Sparsity.nm(5, 16), Sparsity.nm(16, 32)
    };

    /** Inputs whose means are not 0, so that pruned weights leave an error. */
    private static ActivationStats inputs(Random random, int depth) {
        ActivationStats inputs = ActivationStats.of(depth);
        float[] x = random.normal(20 * depth, 1);
        for (int i = 0; i < x.length; i++) {
            x[i] += i % depth % 5 - 1.5f;
        }
        inputs.observe(Tensor.of(x, 20, depth));
        return inputs;
    }

    @Test
    @Tag("tier")
    void changesPairsWhileThatHelps() {
        Random random = new Random(141);
        int changes = 0;
        for (int depth : new int[] {0, 1, 8, 33, 70}) {
            ActivationStats inputs = inputs(random, depth);
            for (Sparsity.Nm groups : GROUPS) {
                for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
                    Tensor w = Tensor.of(dtype, random.normal(6 * depth, 1), 6, depth);
                    Mask mask = Prune.run(w, Score.wanda(inputs), groups == null ? Sparsity.perRow(0.5) : groups);
                    Regrow options = new Regrow(
                            groups, random.of(0, 1, 3, 50), random.of(0f, 0.1f, 1f), random.of(0f, 1f, 2f), 1);
                    boolean[] before = NmOracle.bits(mask);
                    boolean[] expected = before.clone();
                    for (int r = 0; r < 6; r++) {
                        changes += regrowRow(w, inputs, expected, r, options);
                    }
                    Mask parallel = Mask.of(before, 6, depth);
                    Prune.regrow(w, inputs, mask, options);
                    String context = groups + " " + options + " " + w.describe();
                    assertArrayEquals(expected, NmOracle.bits(mask), context);
                    Prune.regrow(
                            w,
                            inputs,
                            parallel,
                            new Regrow(groups, options.maxCycles(), options.threshold(), options.variancePower(), 3));
                    QuantizeTest.assertSameBytes(mask.bits(), parallel.bits());
                    assertNumbersStay(before, expected, groups == null ? depth : groups.m(), depth);
                }
            }
        }
        assertTrue(changes > 100, changes + " pairs");
    }

    private static void assertNumbersStay(boolean[] before, boolean[] after, int size, int depth) {
        for (int r = 0; r * depth < before.length; r++) {
            for (int begin = 0; begin < depth; begin += size) {
                int change = 0;
                for (int i = r * depth + begin; i < r * depth + Math.min(depth, begin + size); i++) {
                    change += (after[i] ? 1 : 0) - (before[i] ? 1 : 0);
                }
                assertEquals(0, change);
            }
        }
    }

    /**
     * While the expected output that pruned weights would have given is beyond the threshold: of the pruned weights that would
     * bring it nearer to 0 grows the one with the largest |w mean| / variance^power; for it goes the kept weight of its group
     * with the smallest |w| norm that brings it nearer, too. Nothing changes twice, or for a larger error.
     */
    private static int regrowRow(Tensor w, ActivationStats inputs, boolean[] mask, int r, Regrow options) {
        int depth = (int) w.shape().size(1);
        double[] outputs = new double[depth];
        double error = 0;
        for (int k = 0; k < depth; k++) {
            outputs[k] = (double) w.getFloat(r, k) * inputs.means().getFloat(k);
            error += mask[r * depth + k] ? 0 : outputs[k];
        }
        boolean[] fixed = new boolean[depth];
        int size = options.groups() == null ? depth : options.groups().m();
        int pairs = 0;
        while (pairs < options.maxCycles() && Math.abs(error) > options.threshold()) {
            int grown = -1;
            int pruned = -1;
            double best = 0;
            for (int k = 0; k < depth; k++) {
                double growth =
                        Math.abs(outputs[k]) / Math.pow(inputs.variances().getFloat(k), options.variancePower());
                int end = Math.min(depth, k / size * size + size);
                int cheapest = -1;
                for (int j = k / size * size; j < end; j++) {
                    boolean helps = !fixed[j] && mask[r * depth + j] && outputs[j] * Math.signum(error) < 0;
                    if (helps && (cheapest < 0 || cost(w, inputs, r, j) < cost(w, inputs, r, cheapest))) {
                        cheapest = j;
                    }
                }
                boolean helps = !fixed[k] && !mask[r * depth + k] && outputs[k] * Math.signum(error) > 0;
                if (helps && cheapest >= 0 && (grown < 0 || growth > best)) {
                    grown = k;
                    pruned = cheapest;
                    best = growth;
                }
            }
            double after = grown < 0 ? error : error + outputs[pruned] - outputs[grown];
            if (Math.abs(after) >= Math.abs(error)) {
                return pairs;
            }
            error = after;
            mask[r * depth + grown] = true;
            mask[r * depth + pruned] = false;
            fixed[grown] = true;
            fixed[pruned] = true;
            pairs++;
        }
        return pairs;
    }

    private static double cost(Tensor w, ActivationStats inputs, int r, int k) {
        return Math.abs((double) w.getFloat(r, k)) * inputs.norms().getFloat(k);
    }
}
