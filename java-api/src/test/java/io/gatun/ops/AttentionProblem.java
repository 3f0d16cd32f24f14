package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Attention.Window;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** Sizes, tensors and options of one random call of {@link Attention}, with gaps between rows, heads and items. */
final class AttentionProblem {
    /** In each element of an output that no call has written. */
    static final float UNTOUCHED = 77;

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
    private final long sumsGap;

    AttentionProblem(Random random) {
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
        sumsGap = random.of(0, 0, 7);
    }

    /** So that the oracle has less to do. */
    void makeSmall() {
        queries = random.of(0, 1, 2, 7, 17, 33);
        keys = random.of(0, 1, 3, 16, 31, 50);
        headSize = 8 * random.between(1, 4);
        valueSize = 8 * random.between(1, 4);
        queryHeads = kvHeads * random.between(1, 2);
    }

    void makeRagged() {
        ragged = true;
        batch = random.between(1, 4);
        queryOffsets = offsets(queries);
        keyOffsets = offsets(keys);
        options = options.withSequences(Sequences.of(queryOffsets, keyOffsets));
    }

    private int[] offsets(int length) {
        int[] offsets = random.source.ints(batch + 1, 0, length + 1).sorted().toArray();
        offsets[0] = random.chance(0.5) ? 0 : offsets[0];
        return offsets;
    }

    int firstQuery(int b) {
        return ragged ? queryOffsets[b] : 0;
    }

    int firstKey(int b) {
        return ragged ? keyOffsets[b] : 0;
    }

    int queriesOf(int b) {
        return ragged ? queryOffsets[b + 1] - queryOffsets[b] : queries;
    }

    int keysOf(int b) {
        return ragged ? keyOffsets[b + 1] - keyOffsets[b] : keys;
    }

    void allocate() {
        q = rows(dtype, queryHeads, queries, headSize, true);
        k = rows(dtype, kvHeads, keys, headSize, true);
        v = rows(dtype, kvHeads, keys, valueSize, true);
        out = rows(outType, queryHeads, queries, valueSize, false);
    }

    private Tensor rows(DType type, int heads, int length, int size, boolean filled) {
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
        // Aligned to elements only.
        long offset = type.bytes(random.between(0, 5));
        MemorySegment memory =
                Arena.ofAuto().allocate(offset + type.bytes(stride) + 64, 64).asSlice(offset);
        Tensor whole = Tensor.wrap(memory, type, stride);
        for (long n = 0; n < stride; n++) {
            whole.setFloat(filled ? (float) random.source.nextGaussian() : UNTOUCHED, n);
        }
        for (int axis = 0; axis < shape.length - 1; axis++) {
            // No index reaches them.
            if (shape[axis] <= 1 && random.chance(0.2)) {
                strides[axis] = random.of(0L, 1L, 1L << 40, Long.MAX_VALUE);
            }
        }
        return Tensor.wrap(memory, type, Shape.of(shape), strides);
    }

    /** For log-sum-exps and corrections, which share strides. */
    Tensor sums() {
        long row = queries + sumsGap;
        Tensor whole = Tensor.allocate(DType.F32, (ragged ? 1 : batch) * queryHeads * row);
        whole.copyFrom(filled((int) whole.shape().elements()));
        if (ragged) {
            return Tensor.wrap(whole.segment(), DType.F32, Shape.of(queryHeads, queries), row, 1);
        }
        // Of one item no index reaches it, so that these may differ.
        long item = batch == 1 && random.chance(0.3) ? random.of(0L, 1L, 1L << 40) : queryHeads * row;
        return Tensor.wrap(whole.segment(), DType.F32, Shape.of(batch, queryHeads, queries), item, row, 1);
    }

    private static float[] filled(int count) {
        float[] values = new float[count];
        Arrays.fill(values, UNTOUCHED);
        return values;
    }

    Tensor normalSums() {
        Tensor sums = sums();
        return sums.copyFrom(random.normal((int) sums.shape().elements(), 1));
    }

    private Tensor perHead(double scale) {
        return Tensor.of(random.normal(queryHeads, scale), queryHeads);
    }

    private BlockGrid grid() {
        int longestQuery = 0;
        int longestKey = 0;
        for (int b = 0; b < batch; b++) {
            longestQuery = Math.max(longestQuery, queriesOf(b));
            longestKey = Math.max(longestKey, keysOf(b));
        }
        return new BlockGrid(longestQuery, longestKey, 16 * random.between(1, 4), 16 * random.between(1, 4));
    }

    private BlockMask mask() {
        BlockGrid grid = grid();
        long heads = random.of(1, queryHeads);
        long seed = random.between(0, 1000);
        if (ragged) {
            // Lists end where the keys of each item do.
            return BlockMask.of(
                    grid, batch, heads, (b, h, i, j) -> j < keysOf((int) b) && (i / 20 + j / 24 + h + seed) % 3 != 0);
        }
        long items = random.of(1, batch);
        return switch (random.between(0, 3)) {
            case 0 -> BlockMask.random(grid, items, heads, 0.4, random.chance(0.5), seed);
            case 1 ->
                BlockMask.slidingWindow(grid, random.between(0, 40), random.between(0, 40), random.between(0, 20));
            case 2 -> BlockMask.of(grid, items, heads, (b, h, i, j) -> (i * 31 + j * 17 + b + h + seed) % 5 < 2);
            default -> BlockMask.of(grid, items, heads, (b, h, i, j) -> i % 7 != 0 && (i / 20 + j / 24 + h) % 3 == 0);
        };
    }

    void addOptions() {
        Options drawn = options.withCausal(random.chance(0.4));
        if (random.chance(0.3)) {
            drawn = drawn.withWindow(
                    new Window(random.of(-1L, 0L, 5L, 40L), random.of(-1L, 0L, 7L, 30L), random.of(0L, 2L, 20L)));
        }
        if (random.chance(0.3)) {
            drawn = drawn.withScale((float) (random.source.nextGaussian() * 0.3));
        }
        if (random.chance(0.2)) {
            drawn = drawn.withSoftCap(random.of(0.5f, 3f, 50f));
        }
        if (random.chance(0.3)) {
            drawn = drawn.withSlopes(random.chance(0.5) ? Attention.alibiSlopes(queryHeads) : perHead(0.1));
        }
        if (random.chance(0.3)) {
            drawn = drawn.withSinks(perHead(2));
        }
        if (random.chance(0.6)) {
            drawn = drawn.withLse(sums());
        }
        if (random.chance(0.2)) {
            drawn = drawn.withCorrection(normalSums());
        }
        if (random.chance(0.5)) {
            drawn = drawn.withMask(mask());
        }
        options = drawn;
    }

    /** Compares all rows of all items with the oracle's. */
    void check(String context) {
        check(options, context);
    }

    /** The same, with options that say otherwise what was asked for. */
    void check(Options asked, String context) {
        AttentionOracle oracle = new AttentionOracle(q, k, v, asked);
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < queryHeads; h++) {
                for (int i = 0; i < queriesOf(b); i++) {
                    AttentionOracle.Row row = oracle.row(
                            b, h, i, firstQuery(b), queriesOf(b), firstKey(b), keysOf(b), queryHeads, kvHeads);
                    checkRow(oracle, row, b, h, firstQuery(b) + i, context);
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
                boolean fits = outType != DType.F16 || Math.abs(row.out()[x]) < 65000;
                if (fits) {
                    assertEquals(row.out()[x], given, row.outBound() + ulp, place + " element " + x);
                } else {
                    assertTrue(Math.signum(row.out()[x]) * given > 64000, place + " element " + x + ": " + given);
                }
            }
        }
        if (options.lse() != null) {
            double given = ragged ? options.lse().getFloat(h, i) : options.lse().getFloat(b, h, i);
            assertEquals(row.lse(), given, row.lseBound() + Math.abs(row.lse()) * 0x1p-23, place + " lse");
        }
    }

    /** Without the values of tensors. */
    @Override
    public String toString() {
        return "seed " + random.seed + ": " + options.layout() + " q " + q.describe() + " k " + k.describe() + " -> "
                + outType + (options.causal() ? " causal " : " ") + options.window() + " scale " + options.scale()
                + " cap " + options.softCap() + named(" slopes", options.slopes()) + named(" sinks", options.sinks())
                + named(" correction", options.correction()) + named(" lse", options.lse()) + " " + options.mode() + " "
                + options.mask() + " " + options.sequences() + " " + options.threads() + " threads"
                + (options.selection() == null ? "" : " " + options.selection().kind());
    }

    private static String named(String name, Tensor tensor) {
        return tensor == null ? "" : name + " " + tensor.describe();
    }
}
