package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.KvFormat.Scaling;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

class KvPoolTest {
    private static final int HEADS = 2;
    private static final int PAGES = 3;

    private static KvFormat fitting(KvFormat format, int size) {
        return format.group() > size && format.scaling() == Scaling.PER_TOKEN
                ? new KvFormat(format.dtype(), format.scaling(), 0, format.zeroPoint())
                : format;
    }

    /** Distinct slots, and -1 for some tokens; per channel whole groups in any order. */
    private static long[] slots(Random random, KvPool pool) {
        int group =
                pool.format().scaling() == Scaling.PER_CHANNEL ? pool.format().group() : 1;
        long[] groups = LongStream.range(0, (long) pool.pages() * pool.pageSize() / group)
                .boxed()
                .sorted((a, b) -> Long.compareUnsigned(mixed(a, random), mixed(b, random)))
                .mapToLong(n -> n)
                .limit(random.between(1, 2 * pool.pageSize() / group))
                .toArray();
        return LongStream.of(groups)
                .flatMap(n -> n % 7 == 3
                        ? LongStream.generate(() -> -1).limit(group)
                        : LongStream.range(n * group, (n + 1) * group))
                .toArray();
    }

    private static long mixed(long n, Random random) {
        return (n + random.seed) * 0x9e3779b97f4a7c15L;
    }

    /** Rows of [heads, tokens, size] with gaps, in a larger tensor. */
    private static Tensor rows(DType dtype, int tokens, int size, float[] values) {
        Tensor whole = Tensor.allocate(dtype, HEADS, tokens + 1, size + 3);
        return whole.slice(1, 0, tokens).slice(2, 0, size).copyFrom(values);
    }

    @Test
    @Tag("tier")
    void writeAndRead() {
        int seed = 0;
        for (KvFormat given : KvOracle.formats()) {
            for (int size : new int[] {8, 40, 136}) {
                for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
                    Random random = new Random(seed++);
                    try (KvPool pool = KvPool.allocate(fitting(given, size), HEADS, PAGES, 32, size)) {
                        KvOracle.fill(pool, random, 1);
                        writeAndRead(pool, dtype, random);
                    }
                }
            }
        }
    }

    private static void writeAndRead(KvPool pool, DType dtype, Random random) {
        String what = pool + " seed " + random.seed;
        long[] slots = slots(random, pool);
        float[] drawn = random.normal(HEADS * slots.length * pool.size(), random.of(0.01, 1.0, 300.0));
        Tensor x = rows(dtype, slots.length, pool.size(), drawn);
        double[][] before = KvOracle.numbers(pool);
        pool.write(x, slots, random.between(0, 3));
        double[][] right = before.clone();
        KvOracle.write(pool, x, slots, right);
        double[][] after = KvOracle.numbers(pool);
        for (int part = 0; part < 3; part++) {
            assertArrayEquals(right[part], after[part], what + " part " + part);
        }

        for (DType into : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            Tensor read = rows(into, slots.length, pool.size(), new float[HEADS * slots.length * pool.size()]);
            pool.read(slots, read, random.between(0, 3));
            for (int head = 0; head < HEADS; head++) {
                for (int t = 0; t < slots.length; t++) {
                    for (int c = 0; c < pool.size(); c++) {
                        float value =
                                slots[t] < 0 ? 0 : KvOracle.rounded(into, KvOracle.value(pool, slots[t], head, c));
                        assertEquals(value, read.getFloat(head, t, c), what + " " + into + " token " + t);
                    }
                }
            }
        }
    }

    /** Slots change places, some of them round in a circle. */
    @Test
    @Tag("tier")
    void move() {
        for (KvFormat given : KvOracle.formats()) {
            Random random = new Random(given.hashCode());
            KvFormat format = fitting(given, 24);
            int group = format.scaling() == Scaling.PER_CHANNEL ? format.group() : 1;
            try (KvPool pool = KvPool.allocate(format, HEADS, PAGES, 32, 24)) {
                KvOracle.fill(pool, random, 1);
                int count = PAGES * 32 / group;
                long[] from = LongStream.range(0, (long) count * group).toArray();
                long[] to = LongStream.range(0, (long) count * group)
                        .map(n -> (n / group + 1) % count * group + n % group)
                        .toArray();
                moveAndCheck(pool, from, to);
                // Compaction: the same slot may go to several, and slots that are read are overwritten.
                long[] third = LongStream.range(0, count)
                        .filter(n -> n % 3 == 0)
                        .flatMap(n -> LongStream.range(n * group, (n + 1) * group))
                        .toArray();
                moveAndCheck(pool, third, LongStream.range(0, third.length).toArray());
            }
        }
    }

    private static void moveAndCheck(KvPool pool, long[] from, long[] to) {
        double[][] before = KvOracle.numbers(pool);
        pool.move(from, to);
        double[][] after = KvOracle.numbers(pool);
        int row = HEADS * pool.size();
        for (int part = 0; part < 3; part++) {
            double[] right = before[part].clone();
            for (int t = 0; t < from.length; t++) {
                System.arraycopy(before[part], (int) from[t] * row, right, (int) to[t] * row, row);
            }
            assertArrayEquals(right, after[part], pool + " part " + part);
        }
    }

    /** Pages of an engine, with gaps: what is written is where it looks for it, and nowhere else. */
    @Test
    void wrapped() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16, DType.F8E4M3, DType.F8E5M2}) {
            for (Attention.Layout order : Attention.Layout.values()) {
                boolean hnd = order == Attention.Layout.HND;
                Tensor whole = Tensor.allocate(dtype, 3, hnd ? HEADS : 4, hnd ? 4 : HEADS, 19);
                Tensor rows = whole.slice(3, 0, 16);
                float[] zeros = rows.toFloatArray();
                KvPool pool = KvPool.of(rows, order);
                assertEquals(HEADS, pool.heads());
                assertEquals(3, pool.pages());
                assertEquals(4, pool.pageSize());
                assertEquals(16, pool.size());
                assertEquals(dtype, pool.format().dtype());
                assertEquals(3L * HEADS * 4 * 16 * dtype.bits() / 8, pool.bytes());
                assertNull(pool.scales());
                Tensor x = Tensor.of(new Random(6).normal(HEADS * 2 * 16, 2), HEADS, 2, 16);
                pool.write(x, new long[] {9, 3});
                for (int head = 0; head < HEADS; head++) {
                    for (int c = 0; c < 16; c++) {
                        float ninth = hnd ? rows.getFloat(2, head, 1, c) : rows.getFloat(2, 1, head, c);
                        float third = hnd ? rows.getFloat(0, head, 3, c) : rows.getFloat(0, 3, head, c);
                        assertEquals(KvOracle.rounded(dtype, x.getFloat(head, 0, c)), ninth, dtype + " " + order);
                        assertEquals(KvOracle.rounded(dtype, x.getFloat(head, 1, c)), third, dtype + " " + order);
                    }
                }
                Tensor nothing = Tensor.of(new float[HEADS * 2 * 16], HEADS, 2, 16);
                pool.write(nothing, new long[] {9, 3});
                assertArrayEquals(zeros, rows.toFloatArray());
                assertArrayEquals(
                        new float[3 * HEADS * 4 * 3], whole.slice(3, 16, 19).toFloatArray(), "gaps");
                pool.close();
            }
        }
    }

    @Test
    void saturates() {
        try (KvPool pool = KvPool.allocate(KvFormat.F8E4M3, 1, 1, 2, 8)) {
            Tensor x = Tensor.of(new float[] {1e9f, -1e9f, 449, 448, 0, 1, 2, 3}, 1, 1, 8);
            pool.write(x, new long[] {1});
            Tensor read = Tensor.allocate(DType.F32, 1, 1, 8);
            pool.read(new long[] {1}, read);
            assertArrayEquals(new float[] {448, -448, 448, 448, 0, 1, 2, 3}, read.toFloatArray());
        }
    }

    /** By hand: codes, a scale of 2 bytes for each group, a zero point of 2 bytes where there is one. */
    @Test
    void bytes() {
        assertEquals(128 * 4, KvFormat.F32.bytesPerToken(128));
        assertEquals(128 * 2, KvFormat.BF16.bytesPerToken(128));
        assertEquals(128, KvFormat.F8E4M3.bytesPerToken(128));
        assertEquals(128 + 2, KvFormat.int8().bytesPerToken(128));
        assertEquals(128 + 8, KvFormat.int8(32).bytesPerToken(128));
        assertEquals(64 + 4 * 4, KvFormat.int4(32).bytesPerToken(128));
        assertEquals(64 + 4 * 2, KvFormat.int4(32).withoutZeroPoint().bytesPerToken(128));
        assertEquals(20 + 3 * 4, KvFormat.int4(16).bytesPerToken(40));
        assertEquals(32 + 4, KvFormat.int2(0).bytesPerToken(128));
        assertEquals(32 * (32 + 128 / 32 * 4), KvFormat.int2(0).perChannel(32).bytes(32, 128));
        assertEquals(33 * 32 + 2 * 128 * 4, KvFormat.int2(0).perChannel(32).bytes(33, 128));
        assertEquals(64 + 8, KvFormat.int4(0).perChannel(64).bytesPerToken(128));
        for (KvFormat format : KvOracle.formats()) {
            try (KvPool pool = KvPool.allocate(format, 3, 7, 32, 64)) {
                long bytes = 0;
                for (Tensor part : new Tensor[] {pool.rows(), pool.scales(), pool.zeroPoints()}) {
                    bytes += part == null ? 0 : part.segment().byteSize();
                }
                assertEquals(bytes, pool.bytes(), format.toString());
                assertEquals(3 * format.bytes(7 * 32, 64), pool.bytes(), format.toString());
            }
        }
    }

    @Test
    void formats() {
        assertEquals(
                "u4 per token in groups of 32 with zero points",
                KvFormat.int4(32).toString());
        assertEquals(
                "u2 per channel in groups of 64 tokens",
                KvFormat.int2(16).withoutZeroPoint().perChannel(64).toString());
        assertEquals("i8 per token", KvFormat.int8().toString());
        assertEquals(new KvFormat(DType.F16, Scaling.NONE, 0, false), KvFormat.F16);
        try (KvPool pool = KvPool.allocate(KvFormat.int8(), 8, 4, 16, 128)) {
            assertEquals(KvFormat.int8(), pool.format());
            assertEquals("8 heads x 4 pages of 16 tokens x 128 of i8 per token", pool.toString());
            assertEquals(0, pool.rows().segment().address() % 64);
            assertEquals(Shape.of(4, 8, 16, 1), pool.scales().shape());
        }
    }

    /** Pools without pages, heads or tokens to write are pools. */
    @Test
    void nothing() {
        try (KvPool pool = KvPool.allocate(KvFormat.int4(0), 2, 0, 16, 32);
                KvPool headless = KvPool.allocate(KvFormat.F16, 0, 2, 16, 32)) {
            Tensor none = Tensor.allocate(DType.F32, 2, 0, 32);
            pool.write(none, new long[0]);
            pool.read(new long[0], none);
            pool.move(new long[0], new long[0]);
            float[] values = new Random(1).normal(2 * 2 * 32, 1);
            Tensor two = Tensor.of(values, 2, 2, 32);
            pool.write(two, new long[] {-1, -1});
            pool.read(new long[] {-1, -1}, two);
            assertArrayEquals(values, two.toFloatArray());
            headless.write(Tensor.allocate(DType.F32, 0, 3, 32), new long[] {1, 2, 3});
            assertEquals(0, pool.bytes() + headless.bytes());
        }
    }
}
