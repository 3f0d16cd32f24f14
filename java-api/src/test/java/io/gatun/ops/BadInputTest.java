package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class BadInputTest {
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
    private final Guarded wide = Guarded.matrix(DType.F32, COLUMNS, DEPTH);

    private Refusals refusals() {
        return new Refusals(() -> out.unchanged() && wide.unchanged());
    }

    private static Tensor f32(long... shape) {
        return Tensor.allocate(DType.F32, shape);
    }

    private static Tensor view(Tensor tensor, Shape shape, long... strides) {
        return Tensor.wrap(tensor.segment(), tensor.dtype(), shape, strides);
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
                .missing("x", () -> QMatmul.run(null, w, y))
                .missing("w", () -> QMatmul.run(x, null, y))
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
        QuantizedTensor code = QuantizedTensor.allocate(QuantSpec.int8(), COLUMNS, DEPTH);
        code.codes().setFloat(-128, 1, 39);
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
                .add("code -128", "codes[1][39]", "-128", "-127..127", () -> QMatmul.pack(code))
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

    @TestFactory
    Stream<DynamicTest> quantize() {
        QuantizedTensor fits = QuantizedTensor.allocate(SPEC, ROWS, DEPTH);
        Tensor row = view(f32(DEPTH), Shape.of(ROWS, DEPTH), 1, 0);
        QuantSpec int8 = QuantSpec.int8();
        Tensor codes = Tensor.allocate(DType.I8, ROWS, 4 * DEPTH);
        Tensor source = Tensor.wrap(codes.segment(), DType.F32, ROWS, DEPTH);
        QuantizedTensor inX = new QuantizedTensor(
                int8, Tensor.wrap(codes.segment().asSlice(8), DType.I8, ROWS, DEPTH), f32(ROWS, 1), null);
        QuantizedTensor constant = new QuantizedTensor(
                int8, Unreachable.readOnly(Tensor.allocate(DType.I8, ROWS, DEPTH)), f32(ROWS, 1), null);
        Tensor shared = f32(ROWS * DEPTH);
        QuantizedTensor itself = new QuantizedTensor(
                int8,
                Tensor.wrap(shared.segment(), DType.I8, ROWS, DEPTH),
                Tensor.wrap(shared.segment().asSlice(8), DType.F32, ROWS, 1),
                null);
        return refusals()
                .add(
                        "dtype",
                        "x",
                        "i8",
                        "[f32, f16, bf16]",
                        () -> Quantize.run(Tensor.allocate(DType.I8, ROWS, DEPTH), fits))
                .add("shape", "x", "[40, 4]", "[4, 40]", () -> Quantize.run(f32(DEPTH, ROWS), fits))
                .add("rank", "x", "[160]", "[any, any]", () -> Quantize.run(f32(160), SPEC))
                .add("column stride 0", "x", "strides [1, 0]", "column stride >= 1", () -> Quantize.run(row, fits))
                .add("threads", "threads", "2000", "0..1024", () -> Quantize.run(x, fits, 2000))
                .add("codes in x", "out.codes", "overlaps x", "of its own", () -> Quantize.run(source, inX))
                .add("codes read-only", "out.codes", "read-only", "writable", () -> Quantize.run(x, constant))
                .add(
                        "codes and scales",
                        "out.codes",
                        "overlaps out.scales",
                        "of its own",
                        () -> Quantize.run(x, itself))
                .missing("x", () -> Quantize.run(null, fits))
                .missing("out", () -> Quantize.run(x, (QuantizedTensor) null))
                .missing("spec", () -> Quantize.run(x, (QuantSpec) null))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> Quantize.run(bad, fits))
                .unreachable(
                        "out.codes",
                        DType.I8,
                        new long[] {ROWS, DEPTH},
                        bad -> Quantize.run(x, new QuantizedTensor(int8, bad, f32(ROWS, 1), null)))
                .unreachable(
                        "out.scales",
                        DType.F32,
                        new long[] {ROWS, 1},
                        bad -> Quantize.run(
                                x, new QuantizedTensor(int8, Tensor.allocate(DType.I8, ROWS, DEPTH), bad, null)))
                .add("dequantize shape", "out", "[4, 6]", "[6, 40]", () -> Quantize.dequantize(weights, y))
                .add(
                        "dequantize dtype",
                        "out",
                        "u8",
                        "[f32, f16, bf16]",
                        () -> Quantize.dequantize(weights, Tensor.allocate(DType.U8, COLUMNS, DEPTH)))
                .add(
                        "dequantize transposed",
                        "out",
                        "strides [1, 6]",
                        "column stride 1",
                        () -> Quantize.dequantize(weights, f32(DEPTH, COLUMNS).transpose()))
                .add(
                        "dequantize read-only",
                        "out",
                        "read-only",
                        "writable",
                        () -> Quantize.dequantize(weights, Unreachable.readOnly(wide.tensor)))
                .add(
                        "dequantize threads",
                        "threads",
                        "-2",
                        "0..1024",
                        () -> Quantize.dequantize(weights, wide.tensor, -2))
                .missing("quantized", () -> Quantize.dequantize(null, wide.tensor))
                .missing("out", () -> Quantize.dequantize(weights, null))
                .unreachable("out", DType.F32, new long[] {COLUMNS, DEPTH}, bad -> Quantize.dequantize(weights, bad))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> quantizedTensors() {
        Tensor codes = Tensor.allocate(DType.I8, ROWS, DEPTH);
        QuantSpec int8 = QuantSpec.int8();
        return refusals()
                .add(
                        "group small",
                        "group",
                        "8",
                        "16..40",
                        () -> QuantSpec.int4(8).groupOf(DEPTH))
                .add("group large", "group", "41", "16..40", () -> Quantize.run(x, QuantSpec.int4(41)))
                .add("group negative", "group", "-1", "16 or more", () -> QuantSpec.int4(-1))
                .add("codes type", "codes", "f32", "i8, u8 or u4", () -> new QuantSpec(DType.F32, false, 0, DType.F32))
                .add(
                        "asymmetric i8",
                        "asymmetric",
                        "true with i8",
                        "false with i8",
                        () -> new QuantSpec(DType.I8, true, 0, DType.F32))
                .add(
                        "symmetric u8",
                        "asymmetric",
                        "false with u8",
                        "true with u8",
                        () -> new QuantSpec(DType.U8, false, 0, DType.F32))
                .add("scales type", "scales", "bf16", "f32 or f16", () -> int8.withScales(DType.BF16))
                .add(
                        "codes dtype",
                        "codes",
                        "i8",
                        "[u8]",
                        () -> new QuantizedTensor(QuantSpec.int8Asymmetric(), codes, f32(ROWS, 1), null))
                .add(
                        "codes rank",
                        "codes",
                        "[160]",
                        "[any, any]",
                        () -> new QuantizedTensor(int8, codes.reshape(160), f32(ROWS, 1), null))
                .add(
                        "codes strided",
                        "codes",
                        "strides [40, 1]",
                        "contiguous",
                        () -> new QuantizedTensor(int8, codes.slice(1, 0, 20), f32(ROWS, 1), null))
                .add(
                        "scales shape",
                        "scales",
                        "[4, 2]",
                        "[4, 1]",
                        () -> new QuantizedTensor(int8, codes, f32(ROWS, 2), null))
                .add(
                        "scales dtype",
                        "scales",
                        "f16",
                        "[f32]",
                        () -> new QuantizedTensor(int8, codes, Tensor.allocate(DType.F16, ROWS, 1), null))
                .add(
                        "zero points missing",
                        "zeroPoints",
                        "null",
                        "u8[4, 1]",
                        () -> new QuantizedTensor(
                                QuantSpec.int8Asymmetric(), Tensor.allocate(DType.U8, ROWS, DEPTH), f32(ROWS, 1), null))
                .add(
                        "zero points unwanted",
                        "zeroPoints",
                        "u8[4, 1]",
                        "null",
                        () -> new QuantizedTensor(int8, codes, f32(ROWS, 1), Tensor.allocate(DType.U8, ROWS, 1)))
                .add(
                        "zero points dtype",
                        "zeroPoints",
                        "i8",
                        "[u8]",
                        () -> new QuantizedTensor(
                                QuantSpec.int8Asymmetric(),
                                Tensor.allocate(DType.U8, ROWS, DEPTH),
                                f32(ROWS, 1),
                                Tensor.allocate(DType.I8, ROWS, 1)))
                .add(
                        "slice",
                        "slice",
                        "3..5",
                        "0..4",
                        () -> new QuantizedTensor(int8, codes, f32(ROWS, 1), null).slice(3, 5))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> norm() {
        Tensor vector = f32(COLUMNS);
        Tensor in = f32(ROWS, COLUMNS);
        Tensor buffer = f32(ROWS + 1, COLUMNS);
        return refusals()
                .add("x dtype", "x", "f16", "[f32, bf16]", () -> Norm.layer(in.to(DType.F16), vector, vector, 1e-5f, y))
                .add("x rank", "x", "[24]", "[any, any]", () -> Norm.rms(f32(24), vector, vector, 1e-5f, y))
                .add(
                        "x transposed",
                        "x",
                        "strides [1, 4]",
                        "column stride 1",
                        () -> Norm.rms(f32(COLUMNS, ROWS).transpose(), vector, vector, 1e-5f, y))
                .add("y shape", "y", "[4, 6]", "[5, 6]", () -> Norm.layer(buffer, vector, vector, 1e-5f, y))
                .add("y dtype", "y", "i8", "[f32, bf16]", () -> Norm.layer(in, vector, vector, 1, in.to(DType.I8)))
                .add(
                        "y read-only",
                        "y",
                        "read-only",
                        "writable",
                        () -> Norm.layer(in, vector, vector, 1e-5f, Unreachable.readOnly(y)))
                .add(
                        "y shifted",
                        "y",
                        "overlaps x",
                        "of its own",
                        () -> Norm.layer(buffer.slice(0, 0, ROWS), vector, vector, 1e-5f, buffer.slice(0, 1, ROWS + 1)))
                .add(
                        "y has weight",
                        "y",
                        "overlaps weight",
                        "of its own",
                        () -> Norm.layer(
                                in, buffer.slice(0, 0, 1).reshape(COLUMNS), vector, 1, buffer.slice(0, 0, ROWS)))
                .add("weight size", "weight", "[4]", "[6]", () -> Norm.layer(in, f32(4), vector, 1e-5f, y))
                .add(
                        "weight dtype",
                        "weight",
                        "bf16",
                        "[f32]",
                        () -> Norm.layer(in, vector.to(DType.BF16), vector, 1e-5f, y))
                .add("bias size", "bias", "[7]", "[6]", () -> Norm.rms(in, vector, f32(7), 1e-5f, y))
                .add("epsilon negative", "epsilon", "-1.0", ">= 0", () -> Norm.layer(in, vector, vector, -1, y))
                .add("epsilon NaN", "epsilon", "NaN", ">= 0", () -> Norm.layer(in, vector, vector, Float.NaN, y))
                .add(
                        "epsilon infinite",
                        "epsilon",
                        "Infinity",
                        "finite",
                        () -> Norm.layer(in, vector, vector, Float.POSITIVE_INFINITY, y))
                .add("threads", "threads", "-1", "0..1024", () -> Norm.layer(in, vector, vector, 1e-5f, y, -1))
                .missing("x", () -> Norm.layer(null, vector, vector, 1e-5f, y))
                .missing("y", () -> Norm.layer(in, vector, vector, 1e-5f, null))
                .unreachable("x", DType.F32, new long[] {ROWS, COLUMNS}, bad -> Norm.layer(bad, vector, null, 1, y))
                .unreachable("y", DType.F32, new long[] {ROWS, COLUMNS}, bad -> Norm.layer(in, vector, null, 1, bad))
                .unreachable("weight", DType.F32, new long[] {COLUMNS}, bad -> Norm.rms(in, bad, null, 1, y))
                .unreachable("bias", DType.F32, new long[] {COLUMNS}, bad -> Norm.rms(in, null, bad, 1, y))
                .tests();
    }

    @Test
    void weightsOfAnotherThreadAreRefused() throws InterruptedException {
        try (Arena arena = Arena.ofConfined()) {
            PackedWeights confined = QMatmul.pack(weights, arena);
            AtomicReference<String> message = new AtomicReference<>();
            Thread thread = new Thread(() ->
                    message.set(assertThrows(WrongThreadException.class, () -> QMatmul.run(x, confined, y))
                            .getMessage()));
            thread.start();
            thread.join();
            assertTrue(message.get().startsWith("w: given memory of another thread's"), message.get());
            assertTrue(out.unchanged());
        }
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
