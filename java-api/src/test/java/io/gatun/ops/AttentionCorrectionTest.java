package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import org.junit.jupiter.api.Test;

/** A mask that is kept across steps, with the share that its keys had of each row's softmax (Re-ttention). */
class AttentionCorrectionTest {
    private static final int LENGTH = 96;
    private static final int SIZE = 16;
    private static final BlockMask MASK = BlockMask.random(new BlockGrid(LENGTH, LENGTH, 16, 16), 1, 2, 0.4, true, 5);

    private final Random random = new Random(31);
    private final Tensor q = Tensor.of(random.normal(2 * LENGTH * SIZE, 1), 1, 2, LENGTH, SIZE);
    private final Tensor k = Tensor.of(random.normal(2 * LENGTH * SIZE, 1), 1, 2, LENGTH, SIZE);
    private final Tensor v = Tensor.of(random.normal(2 * LENGTH * SIZE, 1), 1, 2, LENGTH, SIZE);

    AttentionCorrectionTest() {
        for (int h = 0; h < 2; h++) {
            for (int j = 0; j < LENGTH; j++) {
                k.setFloat(1, 0, h, j, 0); // whatever is added to q there is added to all logits of a row
            }
        }
    }

    @Test
    void keptKeysKeepTheirShare() {
        Tensor correction = Attention.correction(lse(MASK), lse(null));
        for (float drift : new float[] {0, 20, -60}) {
            for (int h = 0; h < 2; h++) {
                for (int i = 0; i < LENGTH; i++) {
                    q.setFloat(q.getFloat(0, h, i, 0) + drift, 0, h, i, 0);
                }
            }
            Tensor out = Tensor.allocate(DType.F32, 1, 2, LENGTH, SIZE);
            Attention.run(q, k, v, out, Attention.Options.DEFAULT.withMask(MASK).withCorrection(correction));
            for (int h = 0; h < 2; h++) {
                for (int i = 0; i < LENGTH; i++) {
                    assertRow(out, h, i);
                }
            }
        }
    }

    @Test
    void rowsThatSawNothing() {
        Tensor none = Tensor.of(new float[] {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY, -1}, 1, 1, 3);
        Tensor all = Tensor.of(new float[] {Float.NEGATIVE_INFINITY, 2, 1}, 1, 1, 3);
        Tensor correction = Attention.correction(none, all);
        assertEquals(1, correction.getFloat(0, 0, 0));
        assertEquals(0, correction.getFloat(0, 0, 1));
        assertEquals(Math.exp(-2), correction.getFloat(0, 0, 2), 1e-8);
    }

    private Tensor lse(BlockMask mask) {
        Tensor lse = Tensor.allocate(DType.F32, 1, 2, LENGTH);
        Attention.run(q, k, null, null, Attention.Options.DEFAULT.withMask(mask).withLse(lse));
        return lse;
    }

    /** The softmax over all keys, of which only the kept ones have a value. */
    private void assertRow(Tensor out, int h, int i) {
        double[] expected = new double[SIZE];
        double sum = 0;
        for (int j = 0; j < LENGTH; j++) {
            double logit = 0;
            for (int x = 0; x < SIZE; x++) {
                logit += (double) q.getFloat(0, h, i, x) * k.getFloat(0, h, j, x);
            }
            double weight = Math.exp(logit / Math.sqrt(SIZE));
            sum += weight;
            for (int x = 0; x < SIZE && MASK.sees(0, h, i, j); x++) {
                expected[x] += weight * v.getFloat(0, h, j, x);
            }
        }
        for (int x = 0; x < SIZE; x++) {
            assertEquals(expected[x] / sum, out.getFloat(0, h, i, x), 2e-5);
        }
    }
}
