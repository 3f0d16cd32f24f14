package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvMergeTest {
    private final Random random = new Random(24);

    /** Two kept keys along axes, two evicted ones beside the first, one that is like neither. */
    @Test
    void byHand() {
        Tensor k = Tensor.of(new float[] {2, 0, 0, 3, 1, 1, 4, 3, -1, -1}, 1, 5, 2);
        Tensor v = Tensor.of(new float[] {10, 20, 30, 40, 50}, 1, 5, 1);
        KvMerge merge = new KvMerge();
        KvMerge.Merged left = merge.merge(k, v, new long[] {0, 1});
        double u2 = Math.sqrt(0.5); // (1, 1) and (2, 0); as near (0, 3), but that comes later
        double u3 = 0.8; // (4, 3) and (2, 0)
        double u4 = -Math.sqrt(0.5);
        assertEquals((u2 + u3 + u4) / 3, merge.threshold(), 1e-7);
        assertEquals(2, left.merged());
        double sum = Math.E + Math.exp(u2) + Math.exp(u3);
        float[] keys = left.k().toFloatArray();
        assertEquals((2 * Math.E + Math.exp(u2) + 4 * Math.exp(u3)) / sum, keys[0], 1e-6);
        assertEquals((Math.exp(u2) + 3 * Math.exp(u3)) / sum, keys[1], 1e-6);
        assertArrayEquals(new float[] {0, 3}, new float[] {keys[2], keys[3]});
        float[] values = left.v().toFloatArray();
        assertEquals((10 * Math.E + 30 * Math.exp(u2) + 40 * Math.exp(u3)) / sum, values[0], 1e-5);
        assertEquals(20, values[1]);

        // The threshold moves by beta towards the mean of the next call, in which only token 1 goes.
        double before = merge.threshold();
        merge.merge(k.slice(1, 0, 2), v.slice(1, 0, 2), new long[] {0});
        assertEquals(0.3 * before, merge.threshold(), 1e-7); // u = 0
        assertEquals(0, merge.merge(k, v, new long[] {0, 1, 2, 3, 4}).merged());
        assertEquals(0.3 * before, merge.threshold(), 1e-7);
    }

    /** Heads keep lists of their own; nothing of one reaches another. */
    @Test
    void headsAreApart() {
        Tensor k = Tensor.of(random.normal(2 * 30 * 8, 1), 2, 30, 8);
        Tensor v = Tensor.of(random.normal(2 * 30 * 4, 1), 2, 30, 4);
        long[] even = LongStream.range(0, 15).map(n -> 2 * n).toArray();
        long[] odd = LongStream.range(0, 15).map(n -> 2 * n + 1).toArray();
        KvMerge all = new KvMerge(0); // the first threshold, that of both heads, stays
        KvMerge.Merged both = all.merge(k, v, new long[][] {even, odd});
        for (int h = 0; h < 2; h++) {
            KvMerge.Merged one =
                    all.merge(k.slice(0, h, h + 1), v.slice(0, h, h + 1), new long[][] {h == 0 ? even : odd});
            assertArrayEquals(
                    both.k().slice(0, h, h + 1).toFloatArray(), one.k().toFloatArray());
            assertArrayEquals(
                    both.v().slice(0, h, h + 1).toFloatArray(), one.v().toFloatArray());
        }
        assertEquals(
                DType.F16, all.merge(k.to(DType.F16), v.to(DType.F16), even).v().dtype());
    }

    private static double[] attention(float[] q, Tensor k, Tensor v) {
        int size = (int) k.shape().size(2);
        int valueSize = (int) v.shape().size(2);
        double sum = 0;
        double[] out = new double[valueSize];
        for (int j = 0; j < k.shape().size(1); j++) {
            double dot = 0;
            for (int x = 0; x < size; x++) {
                dot += q[x] * k.getFloat(0, j, x);
            }
            double weight = Math.exp(dot / Math.sqrt(size));
            sum += weight;
            for (int x = 0; x < valueSize; x++) {
                out[x] += weight * v.getFloat(0, j, x);
            }
        }
        for (int x = 0; x < valueSize; x++) {
            out[x] /= sum;
        }
        return out;
    }

    /**
     * Keys that nearly repeat 16 others, 4 times each, with values around a value of the group's: what is merged says
     * more of the group than the one that is kept. Keys like no other are dropped.
     */
    @Test
    void losesLessThanDropping() {
        int size = 32;
        float[] centers = random.normal(16 * size, 2);
        float[] means = random.normal(16 * size, 1);
        float[] keys = new float[96 * size];
        float[] values = new float[96 * size];
        for (int n = 0; n < keys.length; n++) {
            int token = n / size;
            double noise = random.source.nextGaussian();
            keys[n] = token < 80 ? centers[n % (16 * size)] + 0.1f * (float) noise : 2 * (float) noise;
            values[n] = (token < 80 ? means[n % (16 * size)] : 0) + (float) random.source.nextGaussian();
        }
        Tensor k = Tensor.of(keys, 1, 96, size);
        Tensor v = Tensor.of(values, 1, 96, size);
        long[] keep = LongStream.range(0, 16).toArray();
        KvMerge.Merged left = new KvMerge().merge(k, v, keep);
        assertEquals(64, left.merged()); // not the 16 that are like no other
        double merged = 0;
        double dropped = 0;
        for (int i = 0; i < 50; i++) {
            float[] q = random.normal(size, 1);
            double[] all = attention(q, k.slice(1, 0, 80), v.slice(1, 0, 80));
            double[] some = attention(q, left.k(), left.v());
            double[] few = attention(q, k.slice(1, 0, 16), v.slice(1, 0, 16));
            for (int x = 0; x < size; x++) {
                merged += Math.pow(some[x] - all[x], 2);
                dropped += Math.pow(few[x] - all[x], 2);
            }
        }
        assertTrue(merged < 0.05 * dropped, merged + " of " + dropped);
    }

    /** Keys of zeros are like no other: u = 0. */
    @Test
    void zeros() {
        Tensor zero = Refusals.f32(1, 3, 8);
        KvMerge merge = new KvMerge();
        assertEquals(2, merge.merge(zero, zero, new long[] {1}).merged());
        assertEquals(0, merge.threshold());
        KvMerge.Merged none = new KvMerge().merge(zero, zero, new long[0]);
        assertEquals("[1, 0, 8]", none.k().shape().toString());
        assertEquals(0, none.merged());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor k = Refusals.f32(2, 5, 8);
        KvMerge some = new KvMerge();
        return new Refusals(() -> true)
                .add("beta", "beta", "1.5", "0..1", () -> new KvMerge(1.5))
                .add("rank", "k", "[5]", "[heads, tokens, size]", () -> some.merge(Refusals.f32(5), k, new long[1]))
                .add("tokens", "v", "[2, 4, 8]", "[2, 5, any]", () -> some.merge(k, Refusals.f32(2, 4, 8), new long[1]))
                .add("lists", "keep", "1 lists", "2, one", () -> some.merge(k, k, new long[1][1]))
                .add("uneven", "keep[1]", "1 tokens", "2, as", () -> some.merge(k, k, new long[][] {{0, 1}, {0}}))
                .add("order", "keep[0][1]", "2", "3..4", () -> some.merge(k, k, new long[] {2, 2}))
                .add("NaN", "k, token 3 of head 1", "NaN", "finite", () -> {
                    Tensor bad = Refusals.f32(2, 5, 8);
                    bad.setFloat(Float.NaN, 1, 3, 7);
                    some.merge(bad, k, new long[1]);
                })
                .missing("v", () -> some.merge(k, null, new long[1]))
                .tests();
    }
}
