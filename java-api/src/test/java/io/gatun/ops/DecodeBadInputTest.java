package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Window;
import io.gatun.ops.Decode.Options;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class DecodeBadInputTest {
    private static final long[] Q = {2, 4, 3, 16};
    private static final long[] OUT = {2, 4, 3, 24};
    private static final long[] LSE = {2, 4, 3};
    private static final long[] LOGITS = {2, 4, 3, 30};

    private final KvPool k = KvPool.allocate(KvFormat.int8(), 2, 5, 8, 16);
    private final KvPool v = KvPool.allocate(KvFormat.F16, 2, 5, 8, 24);
    private final Tensor q = f32(Q);
    private final Tensor table = Tensor.of(new int[] {0, 1, 2, 3, 4, 3, 2, 1}, 2, 1, 4);
    private final long[] lengths = {30, 17};
    private final Tensor out = filled(OUT);
    private final Tensor lse = filled(LSE);
    private final Tensor logits = filled(LOGITS);
    private final Options none = Options.DEFAULT;

    private static Tensor filled(long... shape) {
        Tensor tensor = f32(shape);
        tensor.segment().fill((byte) 0x42);
        return tensor;
    }

    private Refusals refusals() {
        Tensor[] outputs = {out, lse, logits};
        byte[][] before = new byte[3][];
        Arrays.setAll(before, n -> BlockMaskTest.bytes(outputs[n]));
        return new Refusals(() -> Arrays.equals(before[0], BlockMaskTest.bytes(out))
                && Arrays.equals(before[1], BlockMaskTest.bytes(lse))
                && Arrays.equals(before[2], BlockMaskTest.bytes(logits)));
    }

    private void run(Options options) {
        Decode.run(q, k, v, table, lengths, out, options);
    }

    private void run(Tensor queries, Tensor pages, long[] counts, Tensor result) {
        Decode.run(queries, k, v, pages, counts, result);
    }

    @TestFactory
    Stream<DynamicTest> tensors() {
        return refusals()
                .missing("q", () -> run(null, table, lengths, out))
                .missing("k", () -> Decode.run(q, null, v, table, lengths, out))
                .missing("v", () -> Decode.run(q, k, null, table, lengths, out))
                .missing("lengths", () -> run(q, table, null, out))
                .missing("out", () -> run(q, table, lengths, null))
                .missing("options", () -> Decode.run(q, k, v, table, lengths, out, null))
                .add(
                        "no output",
                        "options",
                        "neither lse nor logits",
                        "one of them",
                        () -> Decode.logits(q, k, table, lengths, none))
                .add(
                        "explain out",
                        "v",
                        "null",
                        "both of v and out",
                        () -> Decode.explain(q, k, null, table, lengths, out, none))
                .add("q dtype", "q", "i8", "[f32, f16, bf16]", () -> run(q.to(DType.I8), table, lengths, out))
                .add(
                        "q rank",
                        "q",
                        "[24, 16]",
                        "[batch, query heads",
                        () -> run(q.reshape(24, 16), table, lengths, out))
                .add("q size", "q", "[2, 4, 3, 24]", "16]", () -> run(f32(OUT), table, lengths, out))
                .add("q rows", "query length", "257", "0..256", () -> run(f32(2, 4, 257, 16), table, lengths, out))
                .add("q heads", "k", "2 heads", "divides the 3", () -> run(f32(2, 3, 3, 16), table, lengths, out))
                .add(
                        "q transposed",
                        "q",
                        "strides",
                        "stride 1",
                        () -> run(f32(16, 3, 4, 2).transpose(), table, lengths, out))
                .add("out dtype", "out", "f16", "f32", () -> run(q, table, lengths, out.to(DType.F16)))
                .add("out shape", "out", "[2, 4, 3, 16]", "24, the size of v", () -> run(q, table, lengths, f32(Q)))
                .add("out rows", "out", "[2, 4, 2, 24]", "that of q", () -> run(q, table, lengths, f32(2, 4, 2, 24)))
                .add(
                        "out overlaps itself",
                        "out",
                        "strides",
                        "rows apart",
                        () -> run(q, table, lengths, view(out, Shape.of(OUT), 288, 72, 8, 1)))
                .add(
                        "read-only",
                        "out",
                        "read-only",
                        "writable",
                        () -> run(q, table, lengths, Unreachable.readOnly(out)))
                .add("out is q", "out", "overlaps q", "own", () -> Decode.run(q, k, k, table, lengths, q))
                .unreachable("q", DType.F32, Q, bad -> run(bad, table, lengths, out))
                .unreachable("out", DType.F32, OUT, bad -> run(q, table, lengths, bad))
                .unreachable("table", DType.I32, new long[] {2, 1, 4}, bad -> run(q, bad, lengths, out))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> pools() {
        KvPool gone = KvPool.allocate(KvFormat.F32, 2, 5, 8, 16);
        gone.close();
        Class<IllegalStateException> state = IllegalStateException.class;
        long[] rows = {5, 2, 8, 16};
        Tensor pages = f32(5, 2, 8, 24);
        KvPool floats = KvPool.of(pages, Layout.HND);
        return refusals()
                .add(
                        state,
                        "k closed",
                        "k",
                        "a closed pool",
                        "an open one",
                        () -> Decode.run(q, gone, v, table, lengths, out))
                .add(
                        state,
                        "v closed",
                        "v",
                        "a closed pool",
                        "an open one",
                        () -> Decode.run(q, k, gone, table, lengths, out))
                .add(
                        state,
                        "keys closed",
                        "k",
                        "a closed pool",
                        "an open one",
                        () -> Decode.logits(q, gone, table, lengths, none.withLse(lse)))
                .unreachable(
                        "k", DType.F32, rows, bad -> Decode.run(q, KvPool.of(bad, Layout.HND), v, table, lengths, out))
                .unreachable(
                        "v",
                        DType.F32,
                        new long[] {5, 2, 8, 24},
                        bad -> Decode.run(q, k, KvPool.of(bad, Layout.HND), table, lengths, out))
                .add(
                        "heads",
                        "v",
                        "1 heads",
                        "2 heads",
                        () -> Decode.run(q, k, KvPool.of(f32(5, 1, 8, 24), Layout.HND), table, lengths, out))
                .add(
                        "pages",
                        "v",
                        "6 pages",
                        "5 pages",
                        () -> Decode.run(q, k, KvPool.of(f32(6, 2, 8, 24), Layout.HND), table, lengths, out))
                .add(
                        "page size",
                        "v",
                        "of 16 tokens",
                        "of 8 tokens",
                        () -> Decode.run(q, k, KvPool.of(f32(5, 2, 16, 24), Layout.HND), table, lengths, out))
                .add(
                        "out in v",
                        "out",
                        "overlaps v",
                        "own",
                        () -> Decode.run(q, k, floats, table, lengths, view(pages, Shape.of(OUT), 288, 72, 24, 1)))
                .add(
                        "lse in scales",
                        "lse",
                        "overlaps k",
                        "own",
                        () -> run(none.withLse(Tensor.wrap(k.scales().segment(), DType.F32, LSE))))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> tablesAndLengths() {
        Tensor perHead = Tensor.of(new int[16], 2, 2, 4);
        return refusals()
                .add("dtype", "table", "f32", "i32", () -> run(q, f32(2, 1, 4), lengths, out))
                .add("rank", "table", "[2, 4]", "[2, 1 or 2, pages", () -> run(q, table.reshape(2, 4), lengths, out))
                .add(
                        "batch",
                        "table",
                        "[1, 1, 4]",
                        "[2, 1 or 2, pages",
                        () -> run(q, table.slice(0, 0, 1), lengths, out))
                .add(
                        "heads",
                        "table",
                        "[2, 4, 1]",
                        "[2, 1 or 2, pages",
                        () -> run(q, table.reshape(2, 4, 1), lengths, out))
                .add("gaps", "table", "strides", "contiguous", () -> run(q, table.slice(2, 0, 3), lengths, out))
                .add("count", "lengths", "3 lengths", "2, one for each row", () -> run(q, table, new long[3], out))
                .add("of heads", "lengths", "2 lengths", "4, one for each row", () -> run(q, perHead, lengths, out))
                .add("without a table", "lengths", "3 lengths", "2 of items or 4", () -> run(q, null, new long[3], out))
                .add("negative", "lengths[1, 0]", "-1", "0..32", () -> run(q, table, new long[] {3, -1}, out))
                .add("too long", "lengths[0, 0]", "33", "0..32", () -> run(q, table, new long[] {33, 0}, out))
                .add("in one piece", "lengths[0, 1]", "9", "0..8", () -> run(q, null, new long[] {8, 9, 8, 8}, out))
                .add(
                        "no such page",
                        "table[1, 0, 2]",
                        "5",
                        "0..4",
                        () -> run(q, Tensor.of(new int[] {0, 1, 2, 3, 0, 1, 5, 9}, 2, 1, 4), lengths, out))
                .add(
                        "before all pages",
                        "table[0, 0, 0]",
                        "-1",
                        "0..4",
                        () -> run(q, Tensor.of(new int[] {-1, 1, 2, 3, 0, 1, 2, 3}, 2, 1, 4), lengths, out))
                .add(
                        "more items than pages",
                        "table",
                        "batch of 6",
                        "batch of 5",
                        () -> run(f32(6, 4, 3, 16), null, new long[6], f32(6, 4, 3, 24)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> options() {
        return refusals()
                .missing("window", () -> none.withWindow(null))
                .missing("mode", () -> none.withMode(null))
                .add("right", "window.right", "0", "-1", () -> none.withWindow(new Window(1, 0, 0)))
                .add("left", "window.left", "-2", "-1..", () -> none.withWindow(-2, 0))
                .add("sink keys", "window.sinkKeys", "-1", "0..", () -> none.withWindow(5, -1))
                .add("scale", "scale", "NaN", "finite", () -> none.withScale(Float.NaN))
                .add("mode of GPUs", "mode", "INT8_FP8", "EXACT", () -> none.withMode(Attention.Mode.INT8_FP8))
                .add("infinite scale", "scale", "Infinity", "finite", () -> none.withScale(Float.POSITIVE_INFINITY))
                .add("cap", "softCap", "-1.0", "0 for none", () -> none.withSoftCap(-1))
                .add("threads", "threads", "1025", "0..1024", () -> none.withThreads(1025))
                .add("slopes", "slopes", "[2]", "[4]", () -> run(none.withSlopes(f32(2))))
                .add("sinks", "sinks", "f16", "f32", () -> run(none.withSinks(Tensor.allocate(DType.F16, 4))))
                .add("lse shape", "lse", "[2, 12]", "[2, 4, 3]", () -> run(none.withLse(lse.reshape(2, 12))))
                .add("lse dtype", "lse", "bf16", "f32", () -> run(none.withLse(lse.to(DType.BF16))))
                .add(
                        "lse rows",
                        "lse",
                        "strides",
                        "stride 1",
                        () -> run(none.withLse(view(f32(48), Shape.of(LSE), 24, 6, 2))))
                .add(
                        "lse is out",
                        "lse",
                        "overlaps out",
                        "own",
                        () -> run(none.withLse(Tensor.wrap(out.segment(), DType.F32, LSE))))
                .add("logits dtype", "logits", "f16", "f32", () -> run(none.withLogits(logits.to(DType.F16))))
                .add("few logits", "logits", "29]", "30, the longest", () -> run(none.withLogits(f32(2, 4, 3, 29))))
                .add(
                        "logits shape",
                        "logits",
                        "[2, 3, 4, 30]",
                        "that of q",
                        () -> run(none.withLogits(f32(2, 3, 4, 30))))
                .add(
                        "logits rows",
                        "logits",
                        "strides",
                        "apart",
                        () -> run(none.withLogits(view(logits, Shape.of(LOGITS), 360, 90, 29, 1))))
                .add(
                        "logits are lse",
                        "logits",
                        "overlaps lse",
                        "own",
                        () -> run(none.withLogits(logits).withLse(Tensor.wrap(logits.segment(), DType.F32, LSE))))
                .add(
                        "read-only lse",
                        "lse",
                        "read-only",
                        "writable",
                        () -> run(none.withLse(Unreachable.readOnly(lse))))
                .unreachable("slopes", DType.F32, new long[] {4}, bad -> run(none.withSlopes(bad)))
                .unreachable("sinks", DType.F32, new long[] {4}, bad -> run(none.withSinks(bad)))
                .unreachable("lse", DType.F32, LSE, bad -> run(none.withLse(bad)))
                .unreachable("logits", DType.F32, LOGITS, bad -> run(none.withLogits(bad)))
                .tests();
    }
}
