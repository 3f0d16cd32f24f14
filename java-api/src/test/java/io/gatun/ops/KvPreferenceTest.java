package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvPreferenceTest {
    private final Random random = new Random(23);

    /** Logits and log-sum-exps of 4 heads whose rows are these weights, which add up to 1, but for a constant. */
    private KvPreference of(double[][] rows) {
        int keys = rows[0].length;
        float[] logits = new float[4 * rows.length * keys];
        float[] lse = new float[4 * rows.length];
        for (int row = 0; row < lse.length; row++) {
            lse[row] = random.between(-50, 50);
            for (int j = 0; j < keys; j++) {
                logits[row * keys + j] = (float) (Math.log(rows[row % rows.length][j]) + lse[row]);
            }
        }
        return new KvPreference(Tensor.of(logits, 4, rows.length, keys), Tensor.of(lse, 4, rows.length));
    }

    /** Two queries; the last two keys are theirs and do not count. */
    @Test
    void byHand() {
        KvPreference some = of(new double[][] {{0.5, 0.25, 0, 0.25, 0}, {0.25, 0.25, 0.25, 0, 0.25}});
        double entropy = 4 * (0.5 * Math.log(2) + 4 * 0.25 * Math.log(4));
        double variance = 4 * (2 * 0.125 * 0.125 + 2 * 0.125 * 0.125);
        assertEquals(entropy * variance, some.preference(1, 1), 1e-4);
        assertEquals(Math.sqrt(entropy) * Math.pow(variance, 4), some.preference(2, 0.25), 1e-4);
        Tensor scores = some.scores(2, 10);
        assertEquals("[2, 5]", scores.shape().toString());
        double[] right = {0.375 + 10 * 0.03125, 0.25, 0.125 + 10 * 0.03125, 0.125 + 10 * 0.03125, 0.125 + 10 * 0.03125};
        for (int n = 0; n < 10; n++) {
            assertEquals(right[n % 5], scores.getFloat(n / 5, n % 5), 1e-5);
        }
    }

    /** What the preference is for: attention that spreads and moves wants more room than such that stays. */
    @Test
    void movingAttentionIsPreferred() {
        double[][] fixed = new double[8][40];
        double[][] moving = new double[8][40];
        double[][] spread = new double[8][40];
        for (int i = 0; i < 8; i++) {
            for (int j = 0; j < 40; j++) {
                fixed[i][j] = j == 3 ? 0.99 : 0.01 / 39;
                moving[i][j] = j == 4 * i ? 0.99 : 0.01 / 39;
                spread[i][j] = j / 5 == i ? 0.19 : 0.05 / 35;
            }
        }
        double still = of(fixed).preference(1, 1);
        double moves = of(moving).preference(1, 1);
        double both = of(spread).preference(1, 1);
        assertTrue(still < 1e-3 * moves && moves < both, still + " " + moves + " " + both);
        // A token that mattered to one query beats one that matters evenly as much, the more so by gamma.
        Tensor scores = of(moving).scores(1, 200);
        assertTrue(scores.getFloat(0, 4) > 50 * scores.getFloat(0, 5));
        // One query, and rows that see nothing.
        assertEquals(0, of(new double[][] {{0.5, 0.5}}).preference(1, 1));
        Tensor none = Tensor.of(new float[] {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY}, 1, 1, 2);
        KvPreference blind = new KvPreference(none, Tensor.of(new float[] {Float.NEGATIVE_INFINITY}, 1, 1));
        assertEquals(0, blind.scores(1, 1).getFloat(0, 0));
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor logits = Refusals.f32(4, 2, 5);
        Tensor lse = Refusals.f32(4, 2);
        KvPreference some = new KvPreference(logits.reshape(1, 4, 2, 5), lse.reshape(1, 4, 2));
        return new Refusals(() -> true)
                .add("rank", "logits", "[4, 2]", "[query heads, queries, keys]", () -> new KvPreference(lse, lse))
                .add("lse", "lse", "[4, 2, 5]", "without the keys", () -> new KvPreference(logits, logits))
                .add(
                        "queries",
                        "logits",
                        "[4, 2, 1]",
                        "no more queries",
                        () -> new KvPreference(Refusals.f32(4, 2, 1), lse))
                .add("heads", "kvHeads", "3", "divisors of 4", () -> some.scores(3, 1))
                .add("gamma", "gamma", "-1", ">= 0", () -> some.scores(1, -1))
                .add("tau", "tau2", "0", "> 0", () -> some.preference(1, 0))
                .missing("lse", () -> new KvPreference(logits, null))
                .tests();
    }
}
