package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Attention.Window;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class AttentionBadInputTest {
    private static final long[] Q = {2, 4, 20, 16};
    private static final long[] K = {2, 2, 30, 16};
    private static final long[] V = {2, 2, 30, 24};
    private static final long[] OUT = {2, 4, 20, 24};
    private static final long[] LSE = {2, 4, 20};

    private final Tensor q = f32(Q);
    private final Tensor k = f32(K);
    private final Tensor v = f32(V);
    private final Tensor out = filled(OUT);
    private final Tensor lse = filled(LSE);
    private final Options withLse = Options.DEFAULT.withLse(lse);

    private static Tensor filled(long... shape) {
        Tensor tensor = f32(shape);
        tensor.segment().fill((byte) 0x42);
        return tensor;
    }

    private Refusals refusals() {
        byte[] outBefore = BlockMaskTest.bytes(out);
        byte[] lseBefore = BlockMaskTest.bytes(lse);
        return new Refusals(() -> Arrays.equals(outBefore, BlockMaskTest.bytes(out))
                && Arrays.equals(lseBefore, BlockMaskTest.bytes(lse)));
    }

    private void run(Tensor keys, Options options) {
        Attention.run(q, keys, v, out, options);
    }

    private void run(Options options) {
        run(k, options);
    }

    @TestFactory
    Stream<DynamicTest> tensors() {
        Tensor both = f32(2, 4, 20, 48);
        return refusals()
                .missing("q", () -> Attention.run(null, k, v, out))
                .missing("k", () -> Attention.run(q, null, v, out))
                .missing("options", () -> Attention.run(q, k, v, out, null))
                .add("no v", "v", "null", "both of v and out", () -> Attention.run(q, k, null, out))
                .add("no out", "out", "null", "both of v and out", () -> Attention.run(q, k, v, null))
                .add("neither", "out", "null", "options.lse is null", () -> Attention.run(q, k, null, null))
                .add("q dtype", "q", "i8", "[f32, f16, bf16]", () -> Attention.run(q.to(DType.I8), k, v, out))
                .add("k dtype", "k", "bf16", "f32, as q", () -> Attention.run(q, k.to(DType.BF16), v, out))
                .add("v dtype", "v", "f16", "f32, as q", () -> Attention.run(q, k, v.to(DType.F16), out))
                .add("out dtype", "out", "f16", "f32", () -> Attention.run(q, k, v, out.to(DType.F16)))
                .add(
                        "q rank",
                        "q",
                        "[40, 64]",
                        "[batch, heads, length, size] in layout HND",
                        () -> Attention.run(f32(40, 64), k, v, out))
                .add(
                        "k rank",
                        "k",
                        "[60, 32]",
                        "[batch, length, heads, size] in layout NHD",
                        () -> Attention.run(
                                f32(2, 20, 4, 16), f32(60, 32), v, out, Options.DEFAULT.withLayout(Layout.NHD)))
                .add(
                        "head size",
                        "q",
                        "12]",
                        "multiples of 8 in 8..256",
                        () -> Attention.run(f32(2, 4, 20, 12), f32(2, 2, 30, 12), v, out))
                .add(
                        "value size",
                        "v",
                        "264]",
                        "multiples of 8 in 8..256",
                        () -> Attention.run(q, k, f32(2, 2, 30, 264), out))
                .add("k size", "k", "[2, 2, 30, 24]", "head size of q", () -> Attention.run(q, v, v, out))
                .add("k batch", "k", "[1, 2, 30, 16]", "batch of q", () -> Attention.run(q, f32(1, 2, 30, 16), v, out))
                .add("kv heads", "k", "3 heads", "divides the 4", () -> Attention.run(q, f32(2, 3, 30, 16), v, out))
                .add("no kv heads", "k", "0 heads", "divides the 4", () -> Attention.run(q, f32(2, 0, 30, 16), v, out))
                .add(
                        "v length",
                        "v",
                        "[2, 2, 31, 24]",
                        "length of k",
                        () -> Attention.run(q, k, f32(2, 2, 31, 24), out))
                .add(
                        "v heads",
                        "v",
                        "[2, 4, 30, 24]",
                        "heads and length",
                        () -> Attention.run(q, k, f32(2, 4, 30, 24), out))
                .add("out shape", "out", "[2, 4, 20, 16]", "size of v", () -> Attention.run(q, k, v, f32(Q)))
                .add(
                        "q transposed",
                        "q",
                        "strides",
                        "stride 1 on the last axis",
                        () -> Attention.run(view(q, Shape.of(Q), 1280, 320, 1, 20), k, v, out))
                .add(
                        "out read-only",
                        "out",
                        "read-only",
                        "writable",
                        () -> Attention.run(q, k, v, Unreachable.readOnly(out)))
                .add(
                        "out rows overlap",
                        "out",
                        "strides [1920, 480, 8, 1]",
                        "rows apart",
                        () -> Attention.run(q, k, v, view(out, Shape.of(OUT), 1920, 480, 8, 1)))
                .add(
                        "out heads overlap",
                        "out",
                        "strides [1920, 24, 24, 1]",
                        "rows apart",
                        () -> Attention.run(q, k, v, view(out, Shape.of(OUT), 1920, 24, 24, 1)))
                .add(
                        "out in q",
                        "out",
                        "overlaps q",
                        "of its own",
                        () -> Attention.run(both.slice(3, 0, 16), k, v, both.slice(3, 16, 40)))
                .unreachable("q", DType.F32, Q, bad -> Attention.run(bad, k, v, out))
                .unreachable("k", DType.F32, K, bad -> Attention.run(q, bad, v, out))
                .unreachable("v", DType.F32, V, bad -> Attention.run(q, k, bad, out))
                .unreachable("out", DType.F32, OUT, bad -> Attention.run(q, k, v, bad))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> options() {
        Tensor vector = f32(4);
        Tensor wide = f32(2, 4, 21).slice(2, 0, 20);
        Options none = Options.DEFAULT;
        return refusals()
                .missing("layout", () -> none.withLayout(null))
                .missing("window", () -> none.withWindow(null))
                .missing("mode", () -> none.withMode(null))
                .add("scale NaN", "scale", "NaN", "finite", () -> none.withScale(Float.NaN))
                .add("scale infinite", "scale", "Infinity", "finite", () -> none.withScale(Float.POSITIVE_INFINITY))
                .add("soft cap", "softCap", "-1.0", "> 0", () -> none.withSoftCap(-1))
                .add("soft cap NaN", "softCap", "NaN", "finite", () -> none.withSoftCap(Float.NaN))
                .add("threads", "threads", "1025", "0..1024", () -> none.withThreads(1025))
                .add("left", "window.left", "-2", "-1..", () -> none.withWindow(-2, 0))
                .add("right", "window.right", "-2", "-1..", () -> new Window(0, -2, 0))
                .add("sink keys", "window.sinkKeys", "-1", "0..", () -> none.withSinkKeys(-1))
                .add("slopes size", "slopes", "[3]", "[4]", () -> run(none.withSlopes(f32(3))))
                .add("slopes dtype", "slopes", "bf16", "[f32]", () -> run(none.withSlopes(vector.to(DType.BF16))))
                .add("sinks size", "sinks", "[2, 2]", "[4]", () -> run(none.withSinks(f32(2, 2))))
                .add(
                        "sinks are in out",
                        "out",
                        "overlaps sinks",
                        "own",
                        () -> run(none.withSinks(view(out, Shape.of(4), 1))))
                .add("lse shape", "lse", "[2, 4, 21]", "[2, 4, 20]", () -> run(none.withLse(f32(2, 4, 21))))
                .add("lse dtype", "lse", "f16", "[f32]", () -> run(none.withLse(lse.to(DType.F16))))
                .add(
                        "lse is read-only",
                        "lse",
                        "read-only",
                        "writable",
                        () -> run(none.withLse(Unreachable.readOnly(lse))))
                .add(
                        "lse strides",
                        "lse",
                        "strides",
                        "stride 1",
                        () -> run(none.withLse(view(lse, Shape.of(LSE), 80, 1, 4))))
                .add(
                        "lse rows overlap",
                        "lse",
                        "strides",
                        "rows apart",
                        () -> run(none.withLse(view(lse, Shape.of(LSE), 80, 10, 1))))
                .add("lse is correction", "lse", "overlaps correction", "own", () -> run(withLse.withCorrection(lse)))
                .add(
                        "correction strides",
                        "correction",
                        "strides [84, 21, 1]",
                        "strides of lse",
                        () -> run(withLse.withCorrection(wide)))
                .add("correction shape", "correction", "[4]", "[2, 4, 20]", () -> run(none.withCorrection(vector)))
                .unreachable("slopes", DType.F32, new long[] {4}, bad -> run(none.withSlopes(bad)))
                .unreachable("sinks", DType.F32, new long[] {4}, bad -> run(none.withSinks(bad)))
                .unreachable("lse", DType.F32, LSE, bad -> run(none.withLse(bad)))
                .unreachable("correction", DType.F32, LSE, bad -> run(none.withCorrection(bad)))
                .tests();
    }

    private static BlockMask mask(long queries, long keys, long batch, long heads) {
        return BlockMask.random(new BlockGrid(queries, keys, 16, 16), batch, heads, 1, false, 1);
    }

    @TestFactory
    Stream<DynamicTest> masksAndSequences() {
        Options none = Options.DEFAULT;
        Tensor flatQ = f32(4, 20, 16);
        Tensor flatK = f32(2, 30, 16);
        Tensor flatV = f32(2, 30, 24);
        Tensor flatOut = f32(4, 20, 24);
        Options ragged = none.withSequences(Sequences.of(new int[] {0, 5, 20}, new int[] {0, 10, 30}));
        return refusals()
                .add(
                        "mask length",
                        "mask",
                        "block mask [1, 1, 21, 30]",
                        "lengths [20, 30]",
                        () -> run(none.withMask(mask(21, 30, 1, 1))))
                .add(
                        "mask keys",
                        "mask",
                        "[1, 1, 20, 29]",
                        "lengths [20, 30]",
                        () -> run(none.withMask(mask(20, 29, 1, 1))))
                .add(
                        "mask heads",
                        "mask",
                        "[1, 2, 20, 30]",
                        "heads 1 or 4",
                        () -> run(none.withMask(mask(20, 30, 1, 2))))
                .add(
                        "mask batch",
                        "mask",
                        "[3, 1, 20, 30]",
                        "batch 1 or 2",
                        () -> run(none.withMask(mask(20, 30, 3, 1))))
                .add(
                        "mask and selection",
                        "selection",
                        "MEANS",
                        "null",
                        () -> none.withMask(mask(20, 30, 1, 1)).withSelection(Selection.means()))
                .add("ragged rank", "q", "[2, 4, 20, 16]", "with sequences", () -> run(ragged))
                .add(
                        "queries end",
                        "sequences.queries",
                        "a last offset of 21",
                        "length of q [4, 20, 16]",
                        () -> Attention.run(
                                flatQ,
                                flatK,
                                flatV,
                                flatOut,
                                none.withSequences(Sequences.of(new int[] {0, 21}, new int[] {0, 30}))))
                .add(
                        "keys end",
                        "sequences.keys",
                        "a last offset of 31",
                        "length of k [2, 30, 16]",
                        () -> Attention.run(
                                flatQ,
                                flatK,
                                flatV,
                                flatOut,
                                none.withSequences(Sequences.of(new int[] {0, 20}, new int[] {0, 31}))))
                .add(
                        "ragged mask",
                        "mask",
                        "[1, 1, 14, 20]",
                        "longest items, [15, 20]",
                        () -> Attention.run(flatQ, flatK, flatV, flatOut, ragged.withMask(mask(14, 20, 1, 1))))
                .add(
                        "mask beyond an item's keys",
                        "full_blocks",
                        "1",
                        "0..0",
                        () -> Attention.run(flatQ, flatK, flatV, flatOut, ragged.withMask(mask(20, 30, 2, 1))))
                .add(
                        "descending",
                        "queryOffsets[2]",
                        "3",
                        "at least 5",
                        () -> Sequences.of(new int[] {0, 5, 3}, new int[] {0, 1, 2}))
                .add(
                        "negative",
                        "keyOffsets[0]",
                        "-1",
                        "at least 0",
                        () -> Sequences.of(new long[] {0, 5}, new long[] {-1, 2}))
                .add("no offsets", "queryOffsets", "0 offsets", "1 or more", () -> Sequences.of(new int[0], new int[0]))
                .add(
                        "other count",
                        "keyOffsets",
                        "3 offsets",
                        "2, as queryOffsets",
                        () -> Sequences.of(new int[2], new int[3]))
                .missing("queryOffsets", () -> Sequences.of((int[]) null, new int[1]))
                .missing("keyOffsets", () -> Sequences.of(new long[1], null))
                .tests();
    }
}
