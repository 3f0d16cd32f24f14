package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
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
