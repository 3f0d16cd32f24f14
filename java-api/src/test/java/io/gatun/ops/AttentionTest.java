package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Attention.Window;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Every option, alone and together, against {@link AttentionOracle}. */
class AttentionTest {
    private static final float UNTOUCHED = 77;

    /** Sizes and tensors of one call, with gaps between rows, heads and items. */
    static final class Problem {
        final Random random;
        int batch;
        int queryHeads;
        int kvHeads;
        int queries;
        int keys;
        int headSize;
        int valueSize;
        DType dtype;
        DType outType;
        boolean ragged;
        Options options = Options.DEFAULT;
        Tensor q;
        Tensor k;
        Tensor v;
        Tensor out;
        int[] queryOffsets;
        int[] keyOffsets;

        Problem(Random random) {
            this.random = random;
            batch = random.between(1, 2);
            kvHeads = random.between(1, 2);
            queryHeads = kvHeads * random.between(1, 3);
            queries = random.of(0, 1, 2, 17, 40, 65, 80);
            keys = random.of(0, 1, 3, 16, 31, 64, 90, 130);
            headSize = 8 * random.between(1, 9);
            valueSize = 8 * random.between(1, 9);
            dtype = random.of(DType.F32, DType.BF16, DType.F16);
            outType = random.of(DType.F32, dtype);
            options = options.withLayout(random.of(Layout.values())).withThreads(random.between(0, 3));
        }

        void makeRagged() {
            ragged = true;
            batch = random.between(1, 4);
            queryOffsets = offsets(queries);
            keyOffsets = offsets(keys);
            options = options.withSequences(Sequences.of(queryOffsets, keyOffsets));
        }

        private int[] offsets(int length) {
            int[] offsets =
                    random.source.ints(batch + 1, 0, length + 1).sorted().toArray();
            offsets[0] = random.chance(0.5) ? 0 : offsets[0];
            return offsets;
        }

        void allocate() {
            q = rows(dtype, queryHeads, queries, headSize, true);
            k = rows(dtype, kvHeads, keys, headSize, true);
            v = rows(dtype, kvHeads, keys, valueSize, true);
            out = rows(outType, queryHeads, queries, valueSize, false);
        }

        Tensor rows(DType type, int heads, int length, int size, boolean filled) {
            boolean hnd = options.layout() == Layout.HND;
            long[] shape = ragged
                    ? new long[] {hnd ? heads : length, hnd ? length : heads, size}
                    : new long[] {batch, hnd ? heads : length, hnd ? length : heads, size};
            long[] strides = new long[shape.length];
            long stride = 1;
            for (int axis = shape.length - 1; axis >= 0; axis--) {
                strides[axis] = stride;
                stride = stride * Math.max(shape[axis], 1) + (random.chance(0.5) ? random.between(0, 9) : 0);
            }
            MemorySegment memory = Arena.ofAuto().allocate(type.bytes(stride) + 64, 64);
            Tensor whole = Tensor.wrap(memory, type, stride);
            for (long n = 0; n < stride; n++) {
                whole.setFloat(filled ? (float) random.source.nextGaussian() : UNTOUCHED, n);
            }
            return Tensor.wrap(memory, type, Shape.of(shape), strides);
        }

        Tensor sums() {
            return ragged
                    ? Tensor.allocate(DType.F32, queryHeads, queries)
                    : Tensor.allocate(DType.F32, batch, queryHeads, queries);
        }

        /** Gives each item its lengths, and compares all its rows. */
        void check(String context) {
            AttentionOracle oracle = new AttentionOracle(q, k, v, options);
            for (int b = 0; b < batch; b++) {
                int firstQuery = ragged ? queryOffsets[b] : 0;
                int firstKey = ragged ? keyOffsets[b] : 0;
                int itemQueries = ragged ? queryOffsets[b + 1] - firstQuery : queries;
                int itemKeys = ragged ? keyOffsets[b + 1] - firstKey : keys;
                for (int h = 0; h < queryHeads; h++) {
                    for (int i = 0; i < itemQueries; i++) {
                        AttentionOracle.Row row =
                                oracle.row(b, h, i, firstQuery, itemQueries, firstKey, itemKeys, queryHeads, kvHeads);
                        checkRow(oracle, row, b, h, firstQuery + i, context);
                    }
                }
            }
        }

        private void checkRow(AttentionOracle oracle, AttentionOracle.Row row, int b, int h, int i, String context) {
            String place = context + " [" + b + ", " + h + ", " + i + "]";
            if (out != null) {
                for (int x = 0; x < valueSize; x++) {
                    double given = oracle.at(out, b, h, i, x);
                    double ulp = Math.abs(row.out()[x])
                                    * (outType == DType.F32 ? 0x1p-23 : outType == DType.BF16 ? 0x1p-7 : 0x1p-10)
                            + 0x1p-24;
                    assertEquals(row.out()[x], given, row.outBound() + ulp, place + " element " + x);
                }
            }
            if (options.lse() != null) {
                double given =
                        ragged ? options.lse().getFloat(h, i) : options.lse().getFloat(b, h, i);
                assertEquals(row.lse(), given, row.lseBound() + Math.abs(row.lse()) * 0x1p-23, place + " lse");
            }
        }

        @Override
        public String toString() {
            return "seed " + random.seed + ": " + q.describe() + " " + k.describe() + " -> " + outType + " " + options;
        }
    }

    private static Tensor perHead(Problem p, double scale) {
        return Tensor.of(p.random.normal(p.queryHeads, scale), p.queryHeads);
    }

    private static BlockMask mask(Problem p) {
        Random random = p.random;
        BlockGrid grid = new BlockGrid(p.queries, p.keys, 16 * random.between(1, 4), 16 * random.between(1, 4));
        long batch = random.of(1, p.batch);
        long heads = random.of(1, p.queryHeads);
        long seed = random.between(0, 1000);
        return switch (random.between(0, 3)) {
            case 0 -> BlockMask.random(grid, batch, heads, 0.4, random.chance(0.5), seed);
            case 1 ->
                BlockMask.slidingWindow(grid, random.between(0, 40), random.between(0, 40), random.between(0, 20));
            case 2 -> BlockMask.of(grid, batch, heads, (b, h, i, j) -> (i * 31 + j * 17 + b + h + seed) % 5 < 2);
            default -> BlockMask.of(grid, batch, heads, (b, h, i, j) -> i % 7 != 0 && (i / 20 + j / 24 + h) % 3 == 0);
        };
    }

    private static void addOptions(Problem p) {
        Random random = p.random;
        Options options = p.options.withCausal(random.chance(0.4));
        if (random.chance(0.3)) {
            options = options.withWindow(
                    new Window(random.of(-1L, 0L, 5L, 40L), random.of(-1L, 0L, 7L, 30L), random.of(0L, 2L, 20L)));
        }
        if (random.chance(0.3)) {
            options = options.withScale((float) (random.source.nextGaussian() * 0.3));
        }
        if (random.chance(0.2)) {
            options = options.withSoftCap(random.of(0.5f, 3f, 50f));
        }
        if (random.chance(0.3)) {
            options = options.withSlopes(random.chance(0.5) ? Attention.alibiSlopes(p.queryHeads) : perHead(p, 0.1));
        }
        if (random.chance(0.3)) {
            options = options.withSinks(perHead(p, 2));
        }
        if (random.chance(0.6)) {
            options = options.withLse(p.sums());
        }
        if (random.chance(0.2)) {
            Tensor correction = p.sums();
            correction.copyFrom(random.normal((int) correction.shape().elements(), 1));
            options = options.withCorrection(correction);
        }
        if (!p.ragged && random.chance(0.5)) {
            options = options.withMask(mask(p));
        }
        p.options = options;
    }

    private static void run(Problem p) {
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
            Problem p = new Problem(new Random(seed));
            if (seed % 3 == 0) {
                p.makeRagged();
            }
            addOptions(p);
            p.allocate();
            run(p);
        }
    }

    @Test
    @Tag("tier")
    void int8() {
        for (int seed = 1000; seed < 1060; seed++) {
            Problem p = new Problem(new Random(seed));
            if (seed % 3 == 0) {
                p.makeRagged();
            }
            addOptions(p);
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
            Problem p = new Problem(new Random(seed));
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
                assertTrue(written[n] || all.getFloat(n) == UNTOUCHED, p + " element " + n);
            }
        }
    }

    @Test
    void onlyLogSumExp() {
        for (int seed = 0; seed < 30; seed++) {
            Problem p = new Problem(new Random(seed));
            addOptions(p);
            p.options = p.options.withLse(p.sums()).withCorrection(null);
            p.allocate();
            p.v = null;
            p.out = null;
            run(p);
        }
    }

    @Test
    void doesNotDependOnThreads() {
        for (Mode mode : Mode.values()) {
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
