package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.KvFormat.Scaling;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvPoolBadInputTest {
    private static final long[] X = {2, 3, 32};

    private final KvPool pool = KvPool.allocate(KvFormat.int4(16), 2, 4, 16, 32);
    private final KvPool grouped = KvPool.allocate(KvFormat.int8().perChannel(16), 2, 4, 32, 32);
    private final Tensor x = Tensor.of(new Random(1).normal(2 * 3 * 32, 1), X);
    private final long[] slots = {5, 6, 63};

    private Refusals refusals() {
        byte[] before = KvOracle.bytes(pool);
        byte[] groupedBefore = KvOracle.bytes(grouped);
        float[] rows = x.toFloatArray();
        return new Refusals(() -> Arrays.equals(before, KvOracle.bytes(pool))
                && Arrays.equals(groupedBefore, KvOracle.bytes(grouped))
                && Arrays.equals(rows, x.toFloatArray()));
    }

    @TestFactory
    Stream<DynamicTest> formats() {
        return refusals()
                .missing("dtype", () -> new KvFormat(null, Scaling.NONE, 0, false))
                .missing("scaling", () -> new KvFormat(DType.I8, null, 0, false))
                .add("dtype", "dtype", "i32", "u4", () -> new KvFormat(DType.I32, Scaling.PER_TOKEN, 0, false))
                .add("unscaled", "scaling", "NONE of i8", "PER_", () -> new KvFormat(DType.I8, Scaling.NONE, 0, false))
                .add(
                        "scaled values",
                        "scaling",
                        "PER_TOKEN of f16",
                        "NONE",
                        () -> new KvFormat(DType.F16, Scaling.PER_TOKEN, 0, false))
                .add("group of values", "group", "16", "0", () -> new KvFormat(DType.F32, Scaling.NONE, 16, false))
                .add("group", "group", "24", "multiples of 16", () -> KvFormat.int8(24))
                .add("negative group", "group", "-16", "multiples of 16", () -> KvFormat.int4(-16))
                .add(
                        "tokens",
                        "group",
                        "0 PER_CHANNEL",
                        "multiples of 16",
                        () -> KvFormat.int8().perChannel(0))
                .add("tokens of values", "scaling", "f32", "NONE", () -> KvFormat.F32.perChannel(16))
                .add(
                        "zero point",
                        "zeroPoint",
                        "true of i8",
                        "u4",
                        () -> new KvFormat(DType.I8, Scaling.PER_TOKEN, 0, true))
                .add("tokens", "tokens", "-1", "0..", () -> KvFormat.F32.bytes(-1, 32))
                .add("size", "size", "12", "multiples of 8", () -> KvFormat.F32.bytesPerToken(12))
                .add(
                        "no whole number",
                        "size",
                        "8 i8",
                        "bytes(tokens, size)",
                        () -> KvFormat.int8().perChannel(64).bytesPerToken(8))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> pools() {
        KvFormat f16 = KvFormat.F16;
        return refusals()
                .missing("format", () -> KvPool.allocate(null, 2, 4, 16, 32))
                .add("heads", "heads", "-1", "0..", () -> KvPool.allocate(f16, -1, 4, 16, 32))
                .add("pages", "pages", "-1", "0..", () -> KvPool.allocate(f16, 2, -1, 16, 32))
                .add("page size", "pageSize", "0", "1..", () -> KvPool.allocate(f16, 2, 4, 0, 32))
                .add("size", "size", "20", "multiples of 8 in 8..256", () -> KvPool.allocate(f16, 2, 4, 16, 20))
                .add("large", "size", "264", "multiples of 8 in 8..256", () -> KvPool.allocate(f16, 2, 4, 16, 264))
                .add("group", "format", "groups of 48", "row", () -> KvPool.allocate(KvFormat.int4(48), 2, 4, 16, 32))
                .add(
                        "part of a group",
                        "pageSize",
                        "40",
                        "multiples of 16",
                        () -> KvPool.allocate(KvFormat.int8().perChannel(16), 2, 4, 40, 32))
                .add(
                        "more than there is",
                        "shape",
                        "2147483647",
                        "at most",
                        () -> KvPool.allocate(f16, Integer.MAX_VALUE, Integer.MAX_VALUE, Integer.MAX_VALUE, 256))
                .missing("rows", () -> KvPool.of(null, Layout.HND))
                .missing("order", () -> KvPool.of(f32(4, 2, 16, 32), null))
                .add(
                        "dtype",
                        "rows",
                        "i8",
                        "f8e4m3",
                        () -> KvPool.of(Tensor.allocate(DType.I8, 4, 2, 16, 32), Layout.HND))
                .add(
                        "rank",
                        "rows",
                        "[4, 32]",
                        "[pages, pageSize, heads, size]",
                        () -> KvPool.of(f32(4, 32), Layout.NHD))
                .add("row size", "rows", "12]", "multiples of 8", () -> KvPool.of(f32(4, 2, 16, 12), Layout.HND))
                .add("no tokens", "pageSize", "0", "1..", () -> KvPool.of(f32(4, 2, 0, 16), Layout.HND))
                .add(
                        "transposed",
                        "rows",
                        "strides",
                        "stride 1",
                        () -> KvPool.of(f32(32, 16, 2, 4).transpose(), Layout.HND))
                .add(
                        "overlap",
                        "rows",
                        "strides",
                        "rows apart",
                        () -> KvPool.of(view(f32(4, 2, 16, 32), Shape.of(4, 2, 16, 32), 1024, 512, 16, 1), Layout.HND))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> rows() {
        return refusals()
                .missing("x", () -> pool.write(null, slots))
                .missing("slots", () -> pool.write(x, null))
                .missing("x", () -> pool.read(slots, null))
                .missing("slots", () -> pool.read(null, x))
                .add("dtype", "x", "i8", "bf16", () -> pool.write(Tensor.allocate(DType.I8, X), slots))
                .add("rank", "x", "[6, 32]", "[2, 3, 32]", () -> pool.write(x.reshape(6, 32), slots))
                .add("tokens", "x", "[2, 3, 32]", "[2, 2, 32]", () -> pool.write(x, new long[2]))
                .add("heads", "x", "[3, 3, 32]", "[2, 3, 32]", () -> pool.read(slots, f32(3, 3, 32)))
                .add("size", "x", "[2, 3, 40]", "[2, 3, 32]", () -> pool.read(slots, f32(2, 3, 40)))
                .add(
                        "transposed",
                        "x",
                        "strides",
                        "stride 1",
                        () -> pool.read(slots, f32(32, 3, 2).transpose()))
                .add("overlap", "x", "strides", "rows apart", () -> pool.read(slots, view(x, Shape.of(X), 96, 16, 1)))
                .add("threads", "threads", "-1", "0..1024", () -> pool.write(x, slots, -1))
                .add("beyond", "slots[1]", "64", "-1..63", () -> pool.write(x, new long[] {1, 64, 2}))
                .add("before", "slots[2]", "-2", "-1..63", () -> pool.read(new long[] {1, 5, -2}, x))
                .add("read-only", "x", "read-only", "writable", () -> pool.read(slots, Unreachable.readOnly(x)))
                .add("group", "tokens", "3", "multiples of", () -> grouped.write(x, slots))
                .add(
                        "start of a group",
                        "slots[0]",
                        "8",
                        "multiples of 16",
                        () -> grouped.write(f32(2, 16, 32), ascending(8, 16)))
                .add("gap in a group", "slots[9]", "40", "25", () -> {
                    long[] broken = ascending(16, 16);
                    broken[9] = 40;
                    grouped.write(f32(2, 16, 32), broken);
                })
                .missing("from", () -> pool.move(null, slots))
                .missing("to", () -> pool.move(slots, null))
                .add("counts", "to", "2 slots", "3, as from", () -> pool.move(slots, new long[2]))
                .add("from beyond", "from[0]", "64", "0..63", () -> pool.move(new long[] {64}, new long[1]))
                .add("to nowhere", "to[1]", "-1", "0..63", () -> pool.move(new long[2], new long[] {0, -1}))
                .add("part of a group", "tokens", "1", "multiples", () -> grouped.move(new long[1], new long[1]))
                .unreachable("x", DType.F32, X, bad -> pool.write(bad, slots))
                .unreachable("x", DType.F16, X, bad -> pool.read(slots, bad))
                .tests();
    }

    private static long[] ascending(long first, int count) {
        long[] slots = new long[count];
        Arrays.setAll(slots, n -> first + n);
        return slots;
    }

    /** Memory of others may be closed, foreign or read-only. */
    @TestFactory
    Stream<DynamicTest> memory() {
        long[] shape = {4, 2, 16, 32};
        Tensor own = f32(shape);
        KvPool readOnly = KvPool.of(Unreachable.readOnly(own), Layout.HND);
        Tensor part = view(own, Shape.of(X), 96, 32, 1);
        return refusals()
                .unreachable(
                        "pool",
                        DType.F32,
                        shape,
                        bad -> KvPool.of(bad, Layout.HND).write(x, slots))
                .unreachable(
                        "pool",
                        DType.F32,
                        shape,
                        bad -> KvPool.of(bad, Layout.HND).read(slots, x))
                .unreachable(
                        "pool",
                        DType.F32,
                        shape,
                        bad -> KvPool.of(bad, Layout.HND).move(slots, slots))
                .add("write", "pool", "read-only", "writable", () -> readOnly.write(x, slots))
                .add("move", "pool", "read-only", "writable", () -> readOnly.move(slots, slots))
                .add(
                        "itself",
                        "x",
                        "overlaps pool",
                        "own",
                        () -> KvPool.of(own, Layout.HND).write(part, slots))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> closed() {
        KvPool gone = KvPool.allocate(KvFormat.int8(), 2, 4, 16, 32);
        gone.close();
        KvPool wrapped = KvPool.of(f32(4, 2, 16, 32), Layout.HND);
        wrapped.close();
        Refusals refusals = refusals();
        for (KvPool bad : new KvPool[] {gone, wrapped}) {
            String which = bad == gone ? " of its own memory" : " of others' memory";
            Class<IllegalStateException> type = IllegalStateException.class;
            refusals.add(type, "write" + which, "pool", "a closed pool", "an open one", () -> bad.write(x, slots))
                    .add(type, "read" + which, "pool", "a closed pool", "an open one", () -> bad.read(slots, x))
                    .add(type, "move" + which, "pool", "a closed pool", "an open one", () -> bad.move(slots, slots))
                    .add(type, "close" + which, "pool", "a closed pool", "an open one", bad::close);
        }
        return refusals.tests();
    }

    /** What the slots hold then is unspecified, but not what others do. */
    @Test
    void whatIsNoNumberHasNoCode() {
        KvOracle.fill(pool, new Random(2), 1);
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            Tensor values = f32(X).copyFrom(x.toFloatArray());
            values.setFloat(bad, 1, 2, 7);
            double other = KvOracle.value(pool, 12, 1, 7);
            String message = assertThrows(IllegalArgumentException.class, () -> pool.write(values, slots))
                    .getMessage();
            assertTrue(message.contains("x[1][2][7]"), message);
            assertTrue(other == KvOracle.value(pool, 12, 1, 7));
            try (KvPool floats = KvPool.allocate(KvFormat.F16, 2, 4, 16, 32)) {
                floats.write(values, slots);
                Tensor read = f32(X);
                floats.read(slots, read);
                assertArrayEquals(new float[] {bad}, new float[] {read.getFloat(1, 2, 7)});
            }
        }
        Tensor large = f32(X);
        large.setFloat(1e9f, 0, 1, 20);
        String message = assertThrows(IllegalArgumentException.class, () -> pool.write(large, slots))
                .getMessage();
        assertTrue(message.contains("65504"), message);
    }

    /** Either a call is done with the pool, or closing is refused; calls after it are refused. */
    @Test
    void closedDuringCalls() throws InterruptedException {
        KvPool shared = KvPool.allocate(KvFormat.F32, 2, 64, 16, 64);
        long[] all = ascending(0, 64 * 16);
        Tensor read = f32(2, 64 * 16, 64);
        AtomicInteger calls = new AtomicInteger();
        AtomicReference<String> end = new AtomicReference<>();
        Thread reader = new Thread(() -> {
            while (end.get() == null) {
                try {
                    shared.read(all, read, 1);
                    calls.incrementAndGet();
                } catch (IllegalStateException e) {
                    end.set(e.getMessage());
                }
            }
        });
        reader.start();
        try {
            while (calls.get() < 3) {
                Thread.onSpinWait();
            }
            while (!closes(shared)) {
                Thread.onSpinWait();
            }
            reader.join();
        } finally {
            end.compareAndSet(null, "the test failed");
        }
        assertTrue(end.get().contains("closed"), end.get());
    }

    private static boolean closes(KvPool pool) {
        try {
            pool.close();
            return true;
        } catch (IllegalStateException e) {
            assertTrue(e.getMessage().contains("another thread's call uses"), e.getMessage());
            return false;
        }
    }
}
