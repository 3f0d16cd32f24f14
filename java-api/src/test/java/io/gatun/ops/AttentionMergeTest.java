package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Options;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class AttentionMergeTest {
    /** Halves of the keys, merged, are the whole. */
    @Test
    void merge() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            Random random = new Random(5);
            Tensor q = Tensor.of(dtype, random.normal(2 * 3 * 20 * 16, 1), 2, 3, 20, 16);
            Tensor k = Tensor.of(dtype, random.normal(2 * 3 * 50 * 16, 1), 2, 3, 50, 16);
            Tensor v = Tensor.of(dtype, random.normal(2 * 3 * 50 * 24, 1), 2, 3, 50, 24);
            Tensor[] parts = new Tensor[3];
            Tensor[] lses = new Tensor[3];
            int[][] ranges = {{0, 50}, {0, 13}, {13, 50}};
            for (int n = 0; n < 3; n++) {
                parts[n] = Tensor.allocate(dtype, 2, 3, 20, 24);
                lses[n] = Tensor.allocate(DType.F32, 2, 3, 20);
                Attention.run(
                        q,
                        k.slice(2, ranges[n][0], ranges[n][1]),
                        v.slice(2, ranges[n][0], ranges[n][1]),
                        parts[n],
                        Options.DEFAULT.withLse(lses[n]));
            }
            Tensor out = Tensor.allocate(dtype, 2, 3, 20, 24);
            Tensor lse = Tensor.allocate(DType.F32, 2, 3, 20);
            Attention.merge(parts[1], lses[1], parts[2], lses[2], out, lse);
            double bound = dtype == DType.F32 ? 1e-5 : dtype == DType.F16 ? 0.003 : 0.025;
            assertArrayEquals(parts[0].toFloatArray(), out.toFloatArray(), (float) bound, dtype.toString());
            assertArrayEquals(lses[0].toFloatArray(), lse.toFloatArray(), dtype == DType.BF16 ? 0.01f : 1e-5f);
            // By hand, one row: weights are exp(a) and exp(b) over their sum.
            double a = Math.exp(lses[1].getFloat(1, 2, 7));
            double b = Math.exp(lses[2].getFloat(1, 2, 7));
            double right = (a * parts[1].getFloat(1, 2, 7, 5) + b * parts[2].getFloat(1, 2, 7, 5)) / (a + b);
            assertEquals(right, out.getFloat(1, 2, 7, 5), dtype == DType.F32 ? 1e-6 : Math.abs(right) * 0x1p-8 + 1e-6);
            // In place, of three axes, without lse.
            Attention.merge(
                    parts[1].reshape(6, 20, 24),
                    lses[1].reshape(6, 20),
                    parts[2].reshape(6, 20, 24),
                    lses[2].reshape(6, 20),
                    parts[1].reshape(6, 20, 24),
                    null);
            assertArrayEquals(out.toFloatArray(), parts[1].toFloatArray());
        }
    }

    @Test
    void mergeWithNothing() {
        Tensor one = Tensor.of(new float[] {1, 2, 3, 4}, 1, 2, 2);
        Tensor other = Tensor.of(new float[] {5, 6, 7, 8}, 1, 2, 2);
        float none = Float.NEGATIVE_INFINITY;
        Tensor out = Tensor.allocate(DType.F32, 1, 2, 2);
        Tensor lse = Tensor.allocate(DType.F32, 1, 2);
        Attention.merge(
                one,
                Tensor.of(new float[] {1, none}, 1, 2),
                other,
                Tensor.of(new float[] {none, none}, 1, 2),
                out,
                lse);
        assertArrayEquals(new float[] {1, 2, 0, 0}, out.toFloatArray());
        assertArrayEquals(new float[] {1, none}, lse.toFloatArray());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor a = f32(2, 3, 4, 8);
        Tensor b = f32(2, 3, 4, 8);
        Tensor out = f32(2, 3, 4, 8);
        Tensor aLse = f32(2, 3, 4);
        Tensor bLse = f32(2, 3, 4);
        long[] rows = {2, 3, 4, 8};
        long[] sums = {2, 3, 4};
        return new Refusals(() -> out.getFloat(1, 2, 3, 4) == 0)
                .missing("a", () -> Attention.merge(null, aLse, b, bLse, out, null))
                .missing("aLse", () -> Attention.merge(a, null, b, bLse, out, null))
                .missing("b", () -> Attention.merge(a, aLse, null, bLse, out, null))
                .missing("bLse", () -> Attention.merge(a, aLse, b, null, out, null))
                .missing("out", () -> Attention.merge(a, aLse, b, bLse, null, null))
                .add(
                        "a rank",
                        "a",
                        "[24, 8]",
                        "[heads, length, size]",
                        () -> Attention.merge(f32(24, 8), aLse, b, bLse, out, null))
                .add("a dtype", "a", "i8", "bf16", () -> Attention.merge(a.to(DType.I8), aLse, b, bLse, out, null))
                .add(
                        "b dtype",
                        "b",
                        "f16",
                        "f32, as a",
                        () -> Attention.merge(a, aLse, b.to(DType.F16), bLse, out, null))
                .add(
                        "b shape",
                        "b",
                        "[2, 3, 4, 9]",
                        "[2, 3, 4, 8], as a",
                        () -> Attention.merge(a, aLse, f32(2, 3, 4, 9), bLse, out, null))
                .add(
                        "lse shape",
                        "bLse",
                        "[2, 12]",
                        "without the last axis",
                        () -> Attention.merge(a, aLse, b, bLse.reshape(2, 12), out, null))
                .add(
                        "lse gaps",
                        "aLse",
                        "strides",
                        "contiguous",
                        () -> Attention.merge(a, f32(2, 3, 5).slice(2, 0, 4), b, bLse, out, null))
                .add(
                        "lse dtype",
                        "lse",
                        "bf16",
                        "[f32]",
                        () -> Attention.merge(a, aLse, b, bLse, out, aLse.to(DType.BF16)))
                .add("out is b", "out", "overlaps b", "own", () -> Attention.merge(a, aLse, b, bLse, b, null))
                .add("lse is bLse", "lse", "overlaps bLse", "own", () -> Attention.merge(a, aLse, b, bLse, out, bLse))
                .add(
                        "read-only",
                        "out",
                        "read-only",
                        "writable",
                        () -> Attention.merge(a, aLse, b, bLse, Unreachable.readOnly(out), null))
                .add("threads", "threads", "-1", "0..1024", () -> Attention.merge(a, aLse, b, bLse, out, null, -1))
                .add("recall", "kept", "[2, 3, 4]", "[2, 3, 4, 8], as all", () -> Attention.recall(aLse, a))
                .add("recall per head", "all", "[2, 3, 4, 8]", "[batch, heads,", () -> Attention.recallPerHead(a, a))
                .add("correction", "kept", "[2, 3, 4]", "[2, 3, 4, 8], as all", () -> Attention.correction(aLse, a))
                .unreachable("a", DType.F32, rows, bad -> Attention.merge(bad, aLse, b, bLse, out, null))
                .unreachable("b", DType.F32, rows, bad -> Attention.merge(a, aLse, bad, bLse, out, null))
                .unreachable("out", DType.F32, rows, bad -> Attention.merge(a, aLse, b, bLse, bad, null))
                .unreachable("aLse", DType.F32, sums, bad -> Attention.merge(a, bad, b, bLse, out, null))
                .unreachable("lse", DType.F32, sums, bad -> Attention.merge(a, aLse, b, bLse, out, bad))
                .tests();
    }
}
