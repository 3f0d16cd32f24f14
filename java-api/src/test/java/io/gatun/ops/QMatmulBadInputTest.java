package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class QMatmulBadInputTest {
    private static final int ROWS = 4;
    private static final int COLUMNS = 6;
    private static final int DEPTH = 40;
    private static final QuantSpec SPEC = QuantSpec.int4Asymmetric(16);

    private final Random random = new Random(41);
    private final Tensor x = Tensor.of(random.normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final QuantizedTensor weights =
            Quantize.run(Tensor.of(random.normal(COLUMNS * DEPTH, 1), COLUMNS, DEPTH), SPEC);
    private final PackedWeights w = QMatmul.pack(weights);
    private final Guarded out = Guarded.matrix(DType.F32, ROWS, COLUMNS);
    private final Tensor y = out.tensor;

    private Refusals refusals() {
        return new Refusals(out::unchanged);
    }

    private void run(Options options) {
        QMatmul.run(x, w, y, options);
    }

    @TestFactory
    Stream<DynamicTest> qmatmul() {
        Tensor transposed = f32(DEPTH, ROWS).transpose();
        Tensor repeated = view(x, Shape.of(ROWS, DEPTH), 0, 1);
        Tensor overlappingRows = view(f32(ROWS, COLUMNS), Shape.of(ROWS, COLUMNS), COLUMNS - 1, 1);
        MemorySegment blob = Arena.ofAuto().allocate(w.segment().byteSize(), 64).copyFrom(w.segment());
        Tensor inBlob = Tensor.wrap(blob.asSlice(64), DType.F32, ROWS, COLUMNS);
        return refusals()
                .add("x depth", "x", "[4, 39]", "[any, 40]", () -> QMatmul.run(f32(ROWS, 39), w, y))
                .add("x rank", "x", "[160]", "[any, 40]", () -> QMatmul.run(f32(160), w, y))
                .add("x dtype", "x", "f16", "[f32, bf16]", () -> QMatmul.run(x.to(DType.F16), w, y))
                .add("x transposed", "x", "strides [1, 4]", "column stride 1", () -> QMatmul.run(transposed, w, y))
                .add("x repeated", "x", "strides [0, 1]", "row stride >= 40", () -> QMatmul.run(repeated, w, y))
                .add("y rows", "y", "[3, 6]", "[4, 6]", () -> QMatmul.run(x, w, f32(3, COLUMNS)))
                .add("y columns", "y", "[4, 7]", "[4, 6]", () -> QMatmul.run(x, w, f32(ROWS, 7)))
                .add(
                        "y dtype",
                        "y",
                        "i32",
                        "[f32, bf16]",
                        () -> QMatmul.run(x, w, Tensor.allocate(DType.I32, ROWS, COLUMNS)))
                .add("y rows overlap", "y", "strides [5, 1]", ">= 6", () -> QMatmul.run(x, w, overlappingRows))
                .add("y read-only", "y", "read-only", "writable", () -> QMatmul.run(x, w, Unreachable.readOnly(y)))
                .add("y in x", "y", "overlaps x", "of its own", () -> QMatmul.run(x, w, x.slice(1, 34, 40)))
                .add("y in w", "y", "overlaps w", "of its own", () -> QMatmul.run(x, PackedWeights.wrap(blob), inBlob))
                .missing("x", () -> QMatmul.run((Tensor) null, w, y))
                .missing("w", () -> QMatmul.run(x, (PackedWeights) null, y))
                .missing("y", () -> QMatmul.run(x, w, null))
                .missing("options", () -> QMatmul.run(x, w, y, null))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> QMatmul.run(bad, w, y))
                .unreachable("y", DType.F32, new long[] {ROWS, COLUMNS}, bad -> QMatmul.run(x, w, bad))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> qmatmulOptions() {
        Options none = Options.DEFAULT;
        Tensor buffer = f32(ROWS + 1, COLUMNS);
        Options shifted = none.withResidual(buffer.slice(0, 1, ROWS + 1));
        Tensor otherStride = view(f32(ROWS, COLUMNS + 1), Shape.of(ROWS, COLUMNS), COLUMNS + 1, 1);
        Options sameStart = none.withResidual(view(otherStride, Shape.of(ROWS, COLUMNS), COLUMNS, 1));
        Tensor biasAndY = f32(ROWS * COLUMNS + COLUMNS);
        Options biasInY = none.withBias(biasAndY.slice(0, 0, COLUMNS));
        Tensor aroundBias = biasAndY.slice(0, 2, 2 + ROWS * COLUMNS).reshape(ROWS, COLUMNS);
        return refusals()
                .add("bias size", "bias", "[5]", "[6]", () -> run(none.withBias(f32(5))))
                .add("bias rank", "bias", "[1, 6]", "[6]", () -> run(none.withBias(f32(1, 6))))
                .add("bias dtype", "bias", "bf16", "[f32]", () -> run(none.withBias(f32(6).to(DType.BF16))))
                .add(
                        "bias strided",
                        "bias",
                        "strides [2]",
                        "contiguous",
                        () -> run(none.withBias(view(f32(12), Shape.of(6), 2))))
                .add("bias in y", "y", "overlaps bias", "of its own", () -> QMatmul.run(x, w, aroundBias, biasInY))
                .add("residual shape", "residual", "[6, 4]", "[4, 6]", () -> run(none.withResidual(f32(6, 4))))
                .add("residual dtype", "residual", "bf16", "f32", () -> run(none.withResidual(y.to(DType.BF16))))
                .add(
                        "residual transposed",
                        "residual",
                        "strides [1, 4]",
                        "column stride 1",
                        () -> run(none.withResidual(f32(COLUMNS, ROWS).transpose())))
                .add(
                        "residual shifted",
                        "y",
                        "overlaps residual",
                        "of its own",
                        () -> QMatmul.run(x, w, buffer.slice(0, 0, ROWS), shifted))
                .add(
                        "residual of another stride",
                        "y",
                        "overlaps residual",
                        "of its own",
                        () -> QMatmul.run(x, w, otherStride, sameStart))
                .add("columns outside", "columns", "2..7", "0..6", () -> run(none.withColumns(2, 7)))
                .add(
                        "columns begin outside",
                        "columns",
                        "7..6",
                        "0..6",
                        () -> run(new Options(null, null, none.activation(), none.mode(), 0, 7, -1)))
                .add("columns reversed", "columns", "4..2", "begin <= end", () -> none.withColumns(4, 2))
                .add("columns negative", "columns", "-1..2", "0 <= begin", () -> none.withColumns(-1, 2))
                .add("threads negative", "threads", "-1", "0..1024", () -> none.withThreads(-1))
                .add("threads many", "threads", "1025", "0..1024", () -> none.withThreads(1025))
                .missing("mode", () -> none.withMode(null))
                .missing("activation", () -> none.withActivation(null))
                .unreachable("bias", DType.F32, new long[] {COLUMNS}, bad -> run(none.withBias(bad)))
                .unreachable("residual", DType.F32, new long[] {ROWS, COLUMNS}, bad -> run(none.withResidual(bad)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> packedWeights() {
        long bytes = w.segment().byteSize();
        MemorySegment foreign = Arena.ofAuto().allocate(bytes, 64).fill((byte) 7);
        MemorySegment otherVersion = Arena.ofAuto().allocate(bytes, 64).copyFrom(w.segment());
        otherVersion.set(ValueLayout.JAVA_BYTE, 8, (byte) 99);
        Arena shortLived = Arena.ofConfined();
        PackedWeights closed = QMatmul.pack(weights, shortLived);
        shortLived.close();
        QuantizedTensor nan = QuantizedTensor.allocate(SPEC, COLUMNS, DEPTH);
        nan.scales().setFloat(Float.NaN, 2, 1);
        QuantizedTensor infinite = QuantizedTensor.allocate(QuantSpec.int8(), COLUMNS, DEPTH);
        infinite.scales().setFloat(Float.POSITIVE_INFINITY, 5, 0);
        QuantizedTensor zero = QuantizedTensor.allocate(SPEC, COLUMNS, DEPTH);
        zero.zeroPoints().setFloat(16, 3, 2);
        return refusals()
                .add(
                        "truncated",
                        "packed",
                        Long.toString(bytes - 1),
                        Long.toString(bytes),
                        () -> PackedWeights.wrap(w.segment().asSlice(0, bytes - 1)))
                .add(
                        "less than a header",
                        "packed",
                        "63",
                        "64",
                        () -> PackedWeights.wrap(w.segment().asSlice(0, 63)))
                .add(
                        "empty",
                        "packed",
                        "0",
                        "64",
                        () -> PackedWeights.wrap(w.segment().asSlice(0, 0)))
                .add("foreign", "packed", "", "", () -> PackedWeights.wrap(foreign))
                .add("another version", "packed", "", "version", () -> PackedWeights.wrap(otherVersion))
                .add(
                        "on the heap",
                        "packed",
                        "heap",
                        "native",
                        () -> PackedWeights.wrap(MemorySegment.ofArray(new byte[100])))
                .missing("packed", () -> PackedWeights.wrap(null))
                .add("NaN scale", "scales[2][1]", "NaN", "finite", () -> QMatmul.pack(nan))
                .add("infinite scale", "scales[5][0]", "infinity", "finite", () -> QMatmul.pack(infinite))
                .add("zero point", "zero_points[3][2]", "15", "0..15", () -> QMatmul.pack(zero))
                .add(
                        IllegalStateException.class,
                        "w closed",
                        "w",
                        "closed arena",
                        "open",
                        () -> QMatmul.run(x, closed, y))
                .add(IllegalStateException.class, "unpack closed", "packed", "closed arena", "open", closed::unpack)
                .tests();
    }

    @Test
    void weightsOfAnotherThreadAreRefused() throws InterruptedException {
        try (Arena arena = Arena.ofConfined()) {
            PackedWeights confined = QMatmul.pack(weights, arena);
            String message = Refusals.onAnotherThread(() -> QMatmul.run(x, confined, y));
            assertTrue(message.startsWith("w: given memory of another thread's"), message);
            assertTrue(out.unchanged());
        }
    }

    /** Whoever owns wrapped memory may write to it; a call then refuses it instead of following it out of x and y. */
    @TestFactory
    Stream<DynamicTest> weightsThatChangedAfterTheyWereWrapped() {
        PackedWeights wider = overwritten(COLUMNS + 1, DEPTH / 2);
        PackedWeights deeper = overwritten(COLUMNS, DEPTH + 8);
        PackedWeights larger = overwritten(COLUMNS + 50, DEPTH + 1000);
        return refusals()
                .add("run wider", "params.columns", "6", "7", () -> QMatmul.run(x, wider, y))
                .add("run deeper", "params.depth", "40", "48", () -> QMatmul.run(x, deeper, y))
                .add(
                        "run larger",
                        "packed",
                        "holds " + larger.segment().byteSize(),
                        "need",
                        () -> QMatmul.run(x, larger, y))
                .add("unpack wider", "packed", "[7, 20]", "[6, 40]", wider::unpack)
                .add("unpack deeper", "packed", "[6, 48]", "[6, 40]", deeper::unpack)
                .add("unpack larger", "packed", "holds " + larger.segment().byteSize(), "need", larger::unpack)
                .tests();
    }

    /** The weights wrapped, and then their memory overwritten by others. */
    private PackedWeights overwritten(long columns, long depth) {
        MemorySegment other =
                QMatmul.pack(f32(columns, depth), QuantSpec.int4()).segment();
        long bytes = Math.max(w.segment().byteSize(), other.byteSize());
        MemorySegment memory = Arena.ofAuto().allocate(bytes, 64).copyFrom(w.segment());
        PackedWeights wrapped = PackedWeights.wrap(memory);
        memory.copyFrom(other);
        return wrapped;
    }

    /** A call holds the arenas of its arguments: closing one meanwhile fails, and never the call. */
    @Test
    void closingAnArenaDuringCallsIsSafe() throws InterruptedException {
        for (int round = 0; round < 10; round++) {
            Arena arena = Arena.ofShared();
            Tensor shared = Tensor.allocate(arena, DType.F32, 64, DEPTH);
            Tensor result = f32(64, COLUMNS);
            Thread closer = new Thread(() -> {
                while (true) {
                    try {
                        arena.close();
                        return;
                    } catch (IllegalStateException inUse) {
                        Thread.onSpinWait();
                    }
                }
            });
            closer.start();
            Throwable end = assertThrows(Throwable.class, () -> {
                while (true) {
                    QMatmul.run(shared, w, result);
                }
            });
            assertTrue(end instanceof IllegalStateException, end.toString());
            closer.join();
        }
    }
}
