package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Options;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Every option, alone and together, against {@link AttentionOracle}. */
class AttentionTest {
    private static void run(AttentionProblem p) {
        Tensor lse = p.options.lse();
        if (lse != null) {
            lse.segment().fill((byte) 7);
        }
        Attention.run(p.q, p.k, p.v, p.out, p.options);
        p.check(p.toString());
    }

    @Test
    @Tag("tier")
    void options() {
        for (int seed = 0; seed < 250; seed++) {
            AttentionProblem p = new AttentionProblem(new Random(seed));
            if (seed % 3 == 0) {
                p.makeRagged();
            }
            p.addOptions();
            p.allocate();
            run(p);
        }
    }

    @Test
    @Tag("tier")
    void int8() {
        for (int seed = 1000; seed < 1060; seed++) {
            AttentionProblem p = new AttentionProblem(new Random(seed));
            if (seed % 3 == 0) {
                p.makeRagged();
            }
            p.addOptions();
            p.options = p.options.withMode(Mode.INT8);
            p.allocate();
            run(p);
        }
    }

    /** At most a fiftieth of the norm away from exact products, also where keys share a large mean. */
    @Test
    void int8IsNear() {
        Random random = new Random(21);
        Tensor q = Tensor.of(random.normal(2 * 64 * 64, 1), 1, 2, 64, 64);
        Tensor v = Tensor.of(random.normal(2 * 256 * 64, 1), 1, 2, 256, 64);
        for (float mean : new float[] {0, 20}) {
            float[] keys = random.normal(2 * 256 * 64, 1);
            for (int n = 0; n < keys.length; n++) {
                keys[n] += n % 64 < 32 ? mean : 0;
            }
            Tensor k = Tensor.of(keys, 1, 2, 256, 64);
            Tensor exact = Tensor.allocate(DType.F32, 1, 2, 64, 64);
            Attention.run(q, k, v, exact);
            Tensor out = Tensor.allocate(DType.F32, 1, 2, 64, 64);
            Attention.run(q, k, v, out, Options.DEFAULT.withMode(Mode.INT8));
            float[] exactValues = exact.toFloatArray();
            float[] values = out.toFloatArray();
            double squares = 0;
            double differences = 0;
            for (int n = 0; n < 2 * 64 * 64; n++) {
                double right = exactValues[n];
                squares += right * right;
                differences += Math.pow(values[n] - right, 2);
            }
            double error = Math.sqrt(differences / squares);
            assertTrue(error > 1e-4 && error < 0.02, "mean " + mean + ": " + error);
        }
    }

    /** What lies between rows, and rows of no item, stays as it was. */
    @Test
    void writesOnlyItsRows() {
        for (int seed = 0; seed < 30; seed++) {
            AttentionProblem p = new AttentionProblem(new Random(seed));
            p.makeRagged();
            p.allocate();
            Tensor all = Tensor.wrap(p.out.segment(), p.outType, p.out.segment().byteSize() / p.outType.bytes(1));
            Attention.run(p.q, p.k, p.v, p.out, p.options);
            boolean[] written = new boolean[(int) all.shape().elements()];
            boolean hnd = p.options.layout() == Layout.HND;
            for (int i = p.queryOffsets[0]; i < p.queryOffsets[p.batch]; i++) {
                for (int h = 0; h < p.queryHeads; h++) {
                    for (int x = 0; x < p.valueSize; x++) {
                        long at = h * p.out.stride(hnd ? 0 : 1) + i * p.out.stride(hnd ? 1 : 0) + x;
                        written[(int) at] = true;
                    }
                }
            }
            for (int n = 0; n < written.length; n++) {
                assertTrue(written[n] || all.getFloat(n) == AttentionProblem.UNTOUCHED, p + " element " + n);
            }
        }
    }

    @Test
    void onlyLogSumExp() {
        for (int seed = 0; seed < 30; seed++) {
            AttentionProblem p = new AttentionProblem(new Random(seed));
            p.addOptions();
            p.options = p.options.withLse(p.sums()).withCorrection(null);
            p.allocate();
            p.v = null;
            p.out = null;
            run(p);
        }
    }

    @Test
    void doesNotDependOnThreads() {
        for (Mode mode : List.of(Mode.EXACT, Mode.INT8)) {
            Random random = new Random(9);
            Tensor q = Tensor.of(DType.BF16, random.normal(4 * 300 * 64, 1), 1, 4, 300, 64);
            Tensor k = Tensor.of(DType.BF16, random.normal(2 * 700 * 64, 1), 1, 2, 700, 64);
            BlockMask mask = BlockMask.random(new BlockGrid(300, 700, 64, 64), 1, 4, 0.5, true, 3);
            Tensor one = Tensor.allocate(DType.F32, 1, 4, 300, 64);
            Options options = Options.DEFAULT.withCausal().withMask(mask).withMode(mode);
            Attention.run(q, k, k, one, options.withThreads(1));
            for (int threads = 2; threads <= 8; threads++) {
                Tensor many = Tensor.allocate(DType.F32, 1, 4, 300, 64);
                Attention.run(q, k, k, many, options.withThreads(threads));
                QuantizeTest.assertSameBytes(one, many);
            }
        }
    }

    @Test
    void aModeOfGpusAlone() {
        Tensor q = Tensor.allocate(DType.F32, 1, 1, 3, 8);
        Tensor out = Tensor.of(new float[] {7, 7, 7, 7, 7, 7, 7, 7}, 1, 1, 1, 8);
        Tensor one = q.slice(2, 0, 1);
        Options options = Options.DEFAULT.withMode(Mode.INT8_FP8);
        for (Executable call : List.<Executable>of(
                () -> Attention.run(one, q, q, out, options), () -> Attention.explain(one, q, q, out, options))) {
            UnsupportedOperationException refused = assertThrows(UnsupportedOperationException.class, call);
            assertEquals(
                    "params.mode = 2 (INT8_FP8) is of GPUs alone; allowed: 0 (EXACT) or 1 (INT8)",
                    refused.getMessage());
        }
        assertEquals(7, out.getFloat(0, 0, 0, 0));
    }

    /** The mask hides keys with NaN; a row that sees one becomes NaN. */
    @Test
    void notANumber() {
        Random random = new Random(3);
        Tensor q = Tensor.of(random.normal(64 * 16, 1), 1, 1, 64, 16);
        Tensor k = Tensor.of(random.normal(64 * 16, 1), 1, 1, 64, 16);
        k.setFloat(Float.NaN, 0, 0, 40, 3);
        Tensor out = Tensor.allocate(DType.F32, 1, 1, 64, 16);
        Attention.run(q, k, q, out, Options.DEFAULT.withCausal());
        for (int i = 0; i < 64; i++) {
            assertEquals(i >= 40, Float.isNaN(out.getFloat(0, 0, i, 5)), "row " + i);
        }
    }

    @Test
    void alibi() {
        assertArrayEquals(
                new float[] {.5f, .25f, .125f, .0625f, .03125f, .015625f, .0078125f, .00390625f},
                Attention.alibiSlopes(8).toFloatArray());
        // 4 heads: 2^-2 and so on; two more of the 8 heads' every other one.
        assertArrayEquals(
                new float[] {0x1p-2f, 0x1p-4f, 0x1p-6f, 0x1p-8f, 0x1p-1f, 0x1p-3f},
                Attention.alibiSlopes(6).toFloatArray());
        assertEquals(0, Attention.alibiSlopes(0).shape().size(0));
    }

    @Test
    void recall() {
        float none = Float.NEGATIVE_INFINITY;
        Tensor all = Tensor.of(new float[] {1, 2, none, 0}, 4);
        Tensor kept = Tensor.of(new float[] {1, none, none, (float) Math.log(0.5)}, 4);
        assertEquals(0.5, Attention.recall(kept, all), 1e-7);
        assertEquals(1, Attention.recall(Tensor.allocate(DType.F32, 0), Tensor.allocate(DType.F32, 0)));
        float half = (float) Math.log(0.5);
        Tensor many = Tensor.of(new float[] {0, half, none, 0, half, half, 0, none, none, none, none, 0}, 2, 3, 2);
        Tensor zeros = Tensor.of(new float[] {0, 0, none, none, 0, 0, 0, 0, none, none, none, 0}, 2, 3, 2);
        assertArrayEquals(new double[] {0.625, 1, 2 / 3.0}, Attention.recallPerHead(many, zeros), 1e-7);
        assertArrayEquals(
                new double[] {0.75, 1, 0.5},
                Attention.recallPerHead(
                        Tensor.of(new float[] {0, half, none, 0, half, half}, 3, 2),
                        Tensor.of(new float[] {0, 0, none, none, 0, 0}, 3, 2)),
                1e-7);
    }

    @Test
    @Tag("tier")
    void explains() {
        Tensor q = Tensor.allocate(DType.F32, 1, 2, 100, 64);
        String text = Attention.explain(q, q, q, q.to(DType.F32), Options.DEFAULT.withCausal());
        assertTrue(text.startsWith("attention_"), text);
        assertTrue(text.contains(Gatun.tier().toString()), text);
        String both = Attention.explain(q, q, q, q.to(DType.F32), Options.DEFAULT.withSelection(Selection.means()));
        assertTrue(both.startsWith("attention_") && both.contains("\n"), both);
    }

    @Test
    void sequences() {
        Sequences items = Sequences.of(new int[] {2, 5, 5, 9}, new int[] {0, 1, 9, 9});
        assertEquals("3 sequences of 9 queries and 9 keys", items.toString());
        assertEquals(3, items.items());
        assertEquals(4, items.longestQuery());
        assertEquals(8, items.longestKey());
        assertEquals(
                4,
                Sequences.of(new long[] {2, 5, 5, 9}, new long[] {0, 1, 9, 9}).longestQuery());
        assertEquals(0, items.keys().get(ValueLayout.JAVA_LONG, 0));
    }
}
