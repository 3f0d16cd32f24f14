package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Window;
import io.gatun.ops.Decode.Options;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** Sizes, pools, tensors and options of one random call of {@link Decode}, with gaps between rows, heads and items. */
final class DecodeProblem implements AutoCloseable {
    /** In each element of an output that no call has written. */
    static final float UNTOUCHED = 77;

    final Random random;
    int batch;
    int heads;
    int queryHeads;
    int queries;
    int pageSize;
    int pagesOfItem;
    int longest;
    int keySize;
    int valueSize;
    DType dtype;
    DType outType;
    KvFormat keyFormat;
    KvFormat valueFormat;
    boolean paged;
    boolean tablePerHead;
    Options options = Options.DEFAULT;
    Tensor q;
    KvPool k;
    KvPool v;
    Tensor table;
    long[] lengths;
    Tensor out;

    DecodeProblem(Random random) {
        this.random = random;
        batch = random.between(1, 3);
        heads = random.between(1, 3);
        queryHeads = heads * random.of(1, 1, 2, 3, 5);
        queries = random.of(1, 1, 1, 2, 5, 9);
        keySize = 8 * random.between(1, 10);
        valueSize = 8 * random.between(1, 10);
        dtype = random.of(DType.F32, DType.BF16, DType.F16);
        outType = random.of(DType.F32, dtype);
        keyFormat = random.of(KvOracle.formats());
        valueFormat = random.of(KvOracle.formats());
        paged = random.chance(0.8);
        tablePerHead = random.chance(0.3);
        pageSize = random.of(1, 3, 16, 32, 64);
        pagesOfItem = random.between(1, 12);
        options = options.withThreads(random.between(0, 3));
    }

    /** So that the oracle has less to do. */
    void makeSmall() {
        batch = random.between(1, 2);
        heads = random.between(1, 2);
        queryHeads = heads * random.between(1, 3);
        queries = random.of(0, 1, 1, 2, 5);
        keySize = 8 * random.between(1, 4);
        valueSize = 8 * random.between(1, 4);
        pagesOfItem = random.between(0, 4);
        pageSize = random.of(1, 3, 16, 16);
    }

    /** Sizes that formats ask for, then all memory. */
    void allocate() {
        keyFormat = fitting(keyFormat, keySize);
        valueFormat = fitting(valueFormat, valueSize);
        if (!paged) {
            pageSize *= Math.max(pagesOfItem, 1);
            pagesOfItem = 1;
        }
        int pages = paged ? batch * heads * pagesOfItem + random.between(1, 3) : batch + random.between(0, 2);
        k = pool(keyFormat, pages, keySize);
        v = pool(valueFormat, pages, valueSize);
        int rows = batch * (tablePerHead ? heads : 1);
        lengths = new long[rows];
        for (int n = 0; n < rows; n++) {
            lengths[n] = random.chance(0.3) ? pageSize * pagesOfItem : random.between(0, pageSize * pagesOfItem);
            longest = (int) Math.max(longest, lengths[n]);
        }
        table = paged ? table(rows, pages) : null;
        q = rows(dtype, keySize, true);
        out = rows(outType, valueSize, false);
    }

    private KvFormat fitting(KvFormat format, int size) {
        if (format.scaling() == KvFormat.Scaling.PER_CHANNEL) {
            pageSize = Math.ceilDiv(pageSize, 32) * 32;
            return format;
        }
        return format.group() > size ? new KvFormat(format.dtype(), format.scaling(), 0, format.zeroPoint()) : format;
    }

    /** Of its own, or of values in somebody's tensor with gaps. */
    private KvPool pool(KvFormat format, int pages, int size) {
        KvPool pool;
        if (format.scaling() == KvFormat.Scaling.NONE && random.chance(0.3)) {
            boolean hnd = random.chance(0.5);
            int[] shape = hnd ? new int[] {pages, heads, pageSize, size} : new int[] {pages, pageSize, heads, size};
            Tensor rows = strided(format.dtype(), false, shape[0], shape[1], shape[2], shape[3]);
            pool = KvPool.of(rows, hnd ? Attention.Layout.HND : Attention.Layout.NHD);
        } else {
            pool = KvPool.allocate(format, heads, pages, pageSize, size);
        }
        KvOracle.fill(pool, random, 1);
        return pool;
    }

    /** Pages in any order, some of them of several items; what does not count is of no page. */
    private Tensor table(int rows, int pages) {
        int[] entries = new int[rows * pagesOfItem];
        for (int n = 0; n < entries.length; n++) {
            long needed = Math.ceilDiv(lengths[n / pagesOfItem], pageSize);
            entries[n] = n % pagesOfItem < needed ? random.between(0, pages - 1) : random.of(-1, pages, 1 << 30);
        }
        return Tensor.of(entries, batch, rows / batch, pagesOfItem);
    }

    private Tensor rows(DType type, int size, boolean filled) {
        return strided(type, filled, batch, queryHeads, queries, size);
    }

    private Tensor strided(DType type, boolean filled, long... shape) {
        long[] strides = new long[shape.length];
        long stride = 1;
        for (int axis = shape.length - 1; axis >= 0; axis--) {
            strides[axis] = stride;
            stride = stride * Math.max(shape[axis], 1) + (random.chance(0.5) ? random.between(0, 9) : 0);
        }
        // Aligned to elements only.
        int offset = random.between(0, 5);
        Tensor whole = Tensor.allocate(type, offset + stride);
        MemorySegment memory = whole.segment().asSlice(type.bytes(offset));
        float[] values = filled
                ? random.normal((int) whole.shape().elements(), 1)
                : untouched((int) whole.shape().elements());
        whole.copyFrom(values);
        for (int axis = 0; axis < shape.length - 1; axis++) {
            // No index reaches them.
            if (shape[axis] <= 1 && random.chance(0.2)) {
                strides[axis] = random.of(0L, 1L, 1L << 40, Long.MAX_VALUE);
            }
        }
        return Tensor.wrap(memory, type, Shape.of(shape), strides);
    }

    private static float[] untouched(int count) {
        float[] values = new float[count];
        Arrays.fill(values, UNTOUCHED);
        return values;
    }

    Tensor sums() {
        return strided(DType.F32, false, batch, queryHeads, queries);
    }

    Tensor logits() {
        return strided(DType.F32, false, batch, queryHeads, queries, longest + random.between(0, 5));
    }

    Tensor perHead(double scale) {
        return Tensor.of(random.normal(queryHeads, scale), queryHeads);
    }

    /** After {@link #allocate}. */
    void addOptions() {
        Options drawn = options.withCausal(random.chance(0.4)).withMode(random.of(Mode.EXACT, Mode.INT8));
        if (random.chance(0.3)) {
            drawn = drawn.withWindow(new Window(random.of(-1L, 0L, 5L, 40L), -1, random.of(0L, 2L, 20L)));
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
        if (random.chance(0.5)) {
            drawn = drawn.withLogits(logits());
        }
        options = drawn;
    }

    /** Without values, if anything else is asked for. */
    void dropValues() {
        if (options.lse() != null || options.logits() != null) {
            out = null;
        }
    }

    void run() {
        if (out == null) {
            Decode.logits(q, k, table, lengths, options);
        } else {
            Decode.run(q, k, v, table, lengths, out, options);
        }
    }

    /** Compares all rows with the oracle's. */
    void check(String context) {
        DecodeOracle oracle = new DecodeOracle(q, k, out == null ? null : v, table, lengths, options);
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < queryHeads; h++) {
                for (int i = 0; i < queries; i++) {
                    String place = context + " [" + b + ", " + h + ", " + i + "]";
                    checkRow(oracle.row(b, h, i), b, h, i, place);
                }
            }
        }
    }

    private void checkRow(DecodeOracle.Row row, int b, int h, int i, String place) {
        for (int c = 0; out != null && c < valueSize; c++) {
            double given = out.getFloat(b, h, i, c);
            double right = row.out()[c];
            double ulp = Math.abs(right) * (outType == DType.F32 ? 0x1p-23 : outType == DType.BF16 ? 0x1p-7 : 0x1p-10);
            assertEquals(right, given, row.outBounds()[c] + ulp + 0x1p-24, place + " element " + c);
        }
        if (options.lse() != null) {
            assertClose(row.lse(), options.lse().getFloat(b, h, i), row.lseBound(), place + " lse");
        }
        if (options.logits() != null) {
            for (int j = 0; j < options.logits().shape().size(3); j++) {
                float given = options.logits().getFloat(b, h, i, j);
                if (j < row.logits().length) {
                    assertClose(row.logits()[j], given, row.logitBounds()[j], place + " logit " + j);
                } else {
                    assertEquals(UNTOUCHED, given, place + " beyond the keys: logit " + j);
                }
            }
        }
    }

    /** Within a bound and the rounding to f32; infinity is only itself. */
    private static void assertClose(double right, double given, double bound, String place) {
        if (Double.isInfinite(right)) {
            assertEquals(right, given, place);
        } else {
            assertTrue(
                    Math.abs(right - given) <= bound + Math.abs(right) * 0x1p-23,
                    () -> place + ": " + given + ", not " + right + " within " + bound);
        }
    }

    @Override
    public void close() {
        k.close();
        v.close();
    }

    /** Without the values of tensors. */
    @Override
    public String toString() {
        return "seed " + random.seed + ": q " + q.describe() + " k " + k + " v " + v + " lengths "
                + Arrays.toString(lengths) + (table == null ? "" : " table " + table.describe()) + " -> " + outType
                + (options.causal() ? " causal " : " ") + options.window() + " scale " + options.scale() + " cap "
                + options.softCap() + named(" slopes", options.slopes()) + named(" sinks", options.sinks())
                + named(" lse", options.lse()) + named(" logits", options.logits()) + " " + options.mode() + " "
                + options.threads() + " threads";
    }

    private static String named(String name, Tensor tensor) {
        return tensor == null ? "" : name + " " + tensor.describe();
    }
}
