package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class HyperAttentionTest {
    private final Random random = new Random(8);

    private Tensor normal(double scale, int... shape) {
        long[] sizes = new long[shape.length];
        int elements = 1;
        for (int axis = 0; axis < shape.length; axis++) {
            sizes[axis] = shape[axis];
            elements *= shape[axis];
        }
        return Tensor.of(random.normal(elements, scale), sizes);
    }

    /** With all keys as samples nothing is estimated: each is in the block of a query, or a sample of weight 1. */
    @Test
    void allSamplesAreExact() {
        for (boolean causal : new boolean[] {false, true}) {
            Tensor q = normal(1, 2, 4, 211, 32);
            Tensor k = normal(1, 2, 2, causal ? 211 : 170, 32);
            Tensor v = normal(1, 2, 2, causal ? 211 : 170, 24);
            Tensor exact = f32(2, 4, 211, 24);
            Tensor exactLse = f32(2, 4, 211);
            Attention.run(q, k, v, exact, Options.DEFAULT.withCausal(causal).withLse(exactLse));
            Tensor out = f32(2, 4, 211, 24);
            Tensor lse = new HyperAttention(20, 500, 30, 7, 3, 0).run(q, k, v, out, causal);
            assertArrayEquals(exact.toFloatArray(), out.toFloatArray(), 1e-5f);
            assertArrayEquals(exactLse.toFloatArray(), lse.toFloatArray(), 1e-5f);
        }
    }

    /** A block that holds everything needs no samples. */
    @Test
    void oneBlockIsExact() {
        Tensor q = normal(1, 1, 2, 100, 16);
        Tensor exact = f32(1, 2, 100, 16);
        Attention.run(q, q, q, exact);
        Tensor out = f32(1, 2, 100, 16);
        new HyperAttention(128, 1, 1, 7, 3, 1).run(q, q, q, out, false);
        assertArrayEquals(exact.toFloatArray(), out.toFloatArray(), 1e-5f);
    }

    private static double error(Tensor exact, Tensor out) {
        float[] right = exact.toFloatArray();
        float[] given = out.toFloatArray();
        double squares = 0;
        double differences = 0;
        for (int n = 0; n < right.length; n++) {
            squares += (double) right[n] * right[n];
            differences += Math.pow(given[n] - right[n], 2);
        }
        return Math.sqrt(differences / squares);
    }

    /**
     * Queries in 16 directions, and the keys of each direction elsewhere, with values of their own: hashes bring them
     * together, blocks in the given order do not.
     */
    @Test
    void findsWhatBelongsTogether() {
        Tensor q = normal(0.01, 1, 1, 1024, 32);
        Tensor k = normal(0.01, 1, 1, 1024, 32);
        Tensor v = normal(0.1, 1, 1, 1024, 32);
        float[] directions = random.normal(16 * 32, 2);
        float[] values = random.normal(16 * 32, 1);
        for (int i = 0; i < 1024; i++) {
            for (int x = 0; x < 32; x++) {
                q.setFloat(q.getFloat(0, 0, i, x) + directions[i / 64 * 32 + x], 0, 0, i, x);
                k.setFloat(k.getFloat(0, 0, i, x) + directions[(15 - i / 64) * 32 + x], 0, 0, i, x);
                v.setFloat(v.getFloat(0, 0, i, x) + values[i / 64 * 32 + x], 0, 0, i, x);
            }
        }
        Tensor exact = f32(1, 1, 1024, 32);
        Attention.run(q, k, v, exact);
        Tensor out = f32(1, 1, 1024, 32);
        new HyperAttention(128, 64, 64, 7, 5, 0).run(q, k, v, out, false);
        Tensor unsorted = f32(1, 1, 1024, 32);
        BlockMask diagonal = BlockMask.blockDiagonal(new BlockGrid(1024, 1024, 64, 64), 128, 128);
        Attention.run(q, k, v, unsorted, Options.DEFAULT.withMask(diagonal));
        double sorted = error(exact, out);
        assertTrue(sorted < 0.25 * error(exact, unsorted), sorted + " of " + error(exact, unsorted));
    }

    /** Places of samples among so many keys, drawn as by Knuth's algorithm S. */
    private static int[] places(int keys, int samples, long seed) {
        SplittableRandom source = new SplittableRandom(seed);
        int[] places = new int[samples];
        for (int place = 0, chosen = 0; chosen < samples; place++) {
            if (source.nextInt(keys - place) < samples - chosen) {
                places[chosen++] = place;
            }
        }
        return places;
    }

    /** Sorted keys by their weight for a query: 1 in its block, that of a sample elsewhere, or 0. */
    private static double[] weights(int keys, int query, int queryGroup, int block, int[] places, boolean weighted) {
        double[] weights = new double[keys];
        int group = query / queryGroup;
        int own = 0;
        for (int j = group * block; j < Math.min((group + 1) * block, keys); j++) {
            weights[j] = 1;
            own++;
        }
        long others = Arrays.stream(places).filter(p -> p / block != group).count();
        for (int place : places) {
            if (place / block != group) {
                weights[place] = weighted ? (double) (keys - own) / others : 1;
            }
        }
        return weights;
    }

    /** By its definition, from the order of the hashes and the places of the samples. */
    @Test
    void sortedBlocksAndSamples() {
        int queries = 90;
        int keys = 150;
        int block = 40;
        int size = 16;
        Tensor q = normal(1, 1, 4, queries, size);
        Tensor k = normal(1, 1, 2, keys, size);
        Tensor v = normal(1, 1, 2, keys, 24);
        Tensor out = f32(1, 4, queries, 24);
        HyperAttention some = new HyperAttention(block, 25, 4096, 5, 9, 0);
        Tensor lse = some.run(q, k, v, out, false);
        Tensor queryOrder = RowOrder.lsh(q, 5, 9);
        Tensor keyOrder = RowOrder.lsh(k, 5, 9);
        int[] places = places(keys, 25, 9);
        int queryGroup = Math.ceilDiv(queries, Math.ceilDiv(keys, block));
        double kept = 0;
        for (int h = 0; h < 4; h++) {
            for (int i = 0; i < queries; i++) {
                int query = queryOrder.getInt(0, h, i);
                double[] weights = weights(keys, i, queryGroup, block, places, true);
                double[] bare = weights(keys, i, queryGroup, block, places, false);
                double sum = 0;
                double seen = 0;
                double all = 0;
                double[] right = new double[24];
                for (int j = 0; j < keys; j++) {
                    int key = keyOrder.getInt(0, h / 2, j);
                    double dot = 0;
                    for (int x = 0; x < size; x++) {
                        dot += (double) q.getFloat(0, h, query, x) * k.getFloat(0, h / 2, key, x);
                    }
                    double e = Math.exp(dot / Math.sqrt(size));
                    sum += weights[j] * e;
                    seen += bare[j] * e;
                    all += e;
                    for (int x = 0; x < 24; x++) {
                        right[x] += weights[j] * e * v.getFloat(0, h / 2, key, x);
                    }
                }
                kept += seen / all / (4 * queries);
                assertEquals(Math.log(sum), lse.getFloat(0, h, query), 1e-5, "[" + h + ", " + query + "]");
                for (int x = 0; x < 24; x++) {
                    assertEquals(right[x] / sum, out.getFloat(0, h, query, x), 1e-5, "[" + h + ", " + query + "]");
                }
            }
        }
        assertEquals(kept, some.recall(q, k, false), 1e-5);
        Tensor one = f32(1, 4, queries, 24);
        new HyperAttention(block, 25, 4096, 5, 9, 1).run(q, k, v, one, false);
        assertArrayEquals(out.toFloatArray(), one.toFloatArray());
    }

    /** Halves: what the second one does not see of the first one is all that a causal call leaves out. */
    @Test
    void causalRecall() {
        Tensor q = normal(1, 1, 2, 200, 16);
        assertEquals(1, new HyperAttention(20, 500, 30, 7, 3, 0).recall(q, q, true), 1e-5);
        double part = new HyperAttention(20, 10, 100, 7, 3, 0).recall(q, q, true);
        assertTrue(part > 0.5 && part < 1, "recall " + part); // the first half, and what queries see of their own
    }

    @Test
    void nothing() {
        Tensor none = f32(1, 2, 0, 16);
        Tensor lse = HyperAttention.DEFAULT.run(none, none, none, none.contiguous(), true);
        assertEquals("[1, 2, 0]", lse.shape().toString());
        Tensor out = f32(1, 2, 5, 16);
        out.segment().fill((byte) 1);
        HyperAttention.DEFAULT.run(f32(1, 2, 5, 16), none, none, out, false);
        assertArrayEquals(new float[160], out.toFloatArray());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor q = f32(1, 2, 20, 16);
        Tensor out = f32(1, 2, 20, 16);
        HyperAttention some = HyperAttention.DEFAULT;
        return new Refusals(() -> true)
                .add("block", "block", "0", "1..", () -> new HyperAttention(0, 1, 1, 7, 1, 0))
                .add("samples", "samples", "0", "1..", () -> new HyperAttention(1, 0, 1, 7, 1, 0))
                .add("projections", "projections", "17", "1..16", () -> new HyperAttention(1, 1, 1, 17, 1, 0))
                .add(
                        "causal lengths",
                        "k",
                        "[1, 2, 21, 16]",
                        "length of q",
                        () -> some.run(q, f32(1, 2, 21, 16), f32(1, 2, 21, 16), out, true))
                .add(
                        "out dtype",
                        "out",
                        "f32",
                        "bf16, as q",
                        () -> some.run(q.to(DType.BF16), q.to(DType.BF16), q.to(DType.BF16), out, true))
                .missing("q", () -> some.run(null, q, q, out, false))
                .missing("v", () -> some.run(q, q, null, out, false))
                .missing("out", () -> some.run(q, q, q, null, false))
                .tests();
    }
}
