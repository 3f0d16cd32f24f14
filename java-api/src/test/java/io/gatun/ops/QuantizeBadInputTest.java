package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class QuantizeBadInputTest {
    private static final int ROWS = 4;
    private static final int DEPTH = 40;
    private static final QuantSpec SPEC = QuantSpec.int4Asymmetric(16);

    private final Tensor x = Tensor.of(new Random(42).normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final QuantizedTensor quantized = Quantize.run(x, SPEC);
    private final Guarded values = Guarded.matrix(DType.F32, ROWS, DEPTH);

    private static QuantSpec spec(DType codes, ZeroPoint zeroPoint) {
        return new QuantSpec(
                codes,
                null,
                zeroPoint,
                new QuantSpec.Blocks(0, 1, false),
                DType.F32,
                QuantSpec.ScaleRule.DEFAULT,
                false,
                QuantSpec.NibbleOrder.LOW_FIRST,
                null);
    }

    private Refusals refusals() {
        return new Refusals(values::unchanged);
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
                .add(
                        "threads",
                        "threads",
                        "2000",
                        "0..1024",
                        () -> Quantize.run(x, fits, Quantize.Options.DEFAULT.withThreads(2000)))
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
                .add(
                        "dequantize shape",
                        "out",
                        "[4, 39]",
                        "[4, 40]",
                        () -> Quantize.dequantize(quantized, f32(ROWS, 39)))
                .add(
                        "dequantize dtype",
                        "out",
                        "u8",
                        "[f32, f16, bf16]",
                        () -> Quantize.dequantize(quantized, Tensor.allocate(DType.U8, ROWS, DEPTH)))
                .add(
                        "dequantize transposed",
                        "out",
                        "strides [1, 4]",
                        "column stride 1",
                        () -> Quantize.dequantize(quantized, f32(DEPTH, ROWS).transpose()))
                .add(
                        "dequantize read-only",
                        "out",
                        "read-only",
                        "writable",
                        () -> Quantize.dequantize(quantized, Unreachable.readOnly(values.tensor)))
                .add(
                        "dequantize threads",
                        "threads",
                        "-2",
                        "0..1024",
                        () -> Quantize.dequantize(quantized, values.tensor, -2))
                .missing("quantized", () -> Quantize.dequantize(null, values.tensor))
                .missing("out", () -> Quantize.dequantize(quantized, (Tensor) null))
                .unreachable("out", DType.F32, new long[] {ROWS, DEPTH}, bad -> Quantize.dequantize(quantized, bad))
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
                .add("codes type", "codes", "f32", "i8, u8, u4, u2 or", () -> spec(DType.F32, ZeroPoint.NONE))
                .add("asymmetric i8", "zeroPoint", "INTEGER with i8", "NONE", () -> spec(DType.I8, ZeroPoint.INTEGER))
                .add("symmetric u8", "zeroPoint", "NONE with u8", "INTEGER", () -> spec(DType.U8, ZeroPoint.NONE))
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
}
