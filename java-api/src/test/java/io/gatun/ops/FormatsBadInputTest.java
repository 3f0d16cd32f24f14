package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QuantSpec.ScaleRule;
import io.gatun.ops.Quantize.Options;
import io.gatun.ops.Quantize.Rounding;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What only some formats have: roundings, flat blocks, nested scales, scales of tensors, blocks of files. */
class FormatsBadInputTest {
    private static final int ROWS = 4;
    private static final int DEPTH = 64;

    private final Tensor x = Tensor.of(new Random(43).normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final QuantizedTensor out = QuantizedTensor.allocate(QuantSpec.int4(16), ROWS, DEPTH);
    private final Guarded values = Guarded.matrix(DType.F32, ROWS, DEPTH);
    private final Tensor up = Tensor.allocate(DType.U8, ROWS, DEPTH);

    private Refusals refusals() {
        return new Refusals(values::unchanged);
    }

    private void run(Tensor roundUp) {
        Quantize.run(x, out, Options.DEFAULT.withRoundingGiven(roundUp));
    }

    @TestFactory
    Stream<DynamicTest> roundings() {
        Tensor strided = Tensor.allocate(DType.U8, ROWS, 2 * DEPTH).slice(1, 0, DEPTH);
        QuantizedTensor blocks = QuantizedTensor.allocate(QuantSpec.gguf(GgufType.Q8_0), ROWS, DEPTH);
        Tensor overCodes = Tensor.wrap(Tensor.allocate(DType.U8, ROWS * DEPTH).segment(), DType.U8, ROWS, DEPTH);
        QuantizedTensor inUp = new QuantizedTensor(
                QuantSpec.int4(16), Tensor.wrap(overCodes.segment(), DType.U4, ROWS, DEPTH), out.scales(), null);
        return refusals()
                .add("given without", "roundUp", "null", "a tensor", () -> new Options(Rounding.GIVEN, 0, null, 0))
                .add("nearest with", "roundUp", "u8[4, 64]", "null", () -> new Options(Rounding.NEAREST, 0, up, 0))
                .add("threads", "threads", "-1", "0..1024", () -> Options.DEFAULT.withThreads(-1))
                .add("dtype", "roundUp", "i8", "[u8]", () -> run(Tensor.allocate(DType.I8, ROWS, DEPTH)))
                .add("shape", "roundUp", "[4, 63]", "[4, 64]", () -> run(Tensor.allocate(DType.U8, ROWS, 63)))
                .add("strided", "roundUp", "strides [128, 1]", "contiguous", () -> run(strided))
                .add(
                        "codes in roundUp",
                        "out.codes",
                        "overlaps roundUp",
                        "of its own",
                        () -> Quantize.run(x, inUp, Options.DEFAULT.withRoundingGiven(overCodes)))
                .add(
                        "GGUF",
                        "rounding",
                        "STOCHASTIC",
                        "NEAREST for GGUF",
                        () -> Quantize.run(x, blocks, Options.DEFAULT.withStochasticRounding(1)))
                .add("given scales", "spec", "GIVEN", "an out that holds them", () -> Quantize.run(x, given()))
                .missing("options", () -> Quantize.run(x, out, null))
                .missing("rounding", () -> new Options(null, 0, null, 0))
                .unreachable("roundUp", DType.U8, new long[] {ROWS, DEPTH}, this::run)
                .tests();
    }

    private static QuantSpec given() {
        return QuantSpec.int4(16).withScaleRule(ScaleRule.GIVEN);
    }

    @TestFactory
    Stream<DynamicTest> planes() {
        QuantizedTensor flat = Quantize.run(x, QuantSpec.int8().withFlatBlocks(64));
        QuantizedTensor nv = QuantizedTensor.allocate(QuantSpec.nvfp4(), ROWS, DEPTH);
        QuantizedTensor nested = QuantizedTensor.allocate(QuantSpec.int8().withNestedScales(), ROWS, DEPTH);
        Tensor strided = f32(ROWS, DEPTH + 1).slice(1, 0, DEPTH);
        QuantizedTensor.NestedScales own = nested.nested();
        QuantizedTensor constant = new QuantizedTensor(
                nv.spec(), nv.shape(), nv.codes(), nv.scales(), null, Unreachable.readOnly(nv.tensorScale()), null);
        QuantizedTensor fixedOffset = new QuantizedTensor(
                nested.spec(),
                nested.shape(),
                nested.codes(),
                null,
                null,
                null,
                new QuantizedTensor.NestedScales(own.values(), Unreachable.readOnly(own.offset())));
        return refusals()
                .add("flat x", "x", "strides [65, 1]", "contiguous", () -> Quantize.run(strided, flat))
                .add("flat out", "out", "strides [65, 1]", "contiguous", () -> Quantize.dequantize(flat, strided))
                .add(
                        "tensor scale read-only",
                        "out.tensorScale",
                        "read-only",
                        "writable",
                        () -> Quantize.run(x, constant))
                .add(
                        "offset read-only",
                        "out.nested.offset",
                        "read-only",
                        "writable",
                        () -> Quantize.run(x, fixedOffset))
                .add("type of values", "dtype", "u8", "[f32, f16, bf16]", () -> Quantize.dequantize(flat, DType.U8))
                .missing("quantized", () -> Quantize.dequantize(null, DType.F32))
                .missing("dtype", () -> Quantize.dequantize(flat, (DType) null))
                .unreachable(
                        "out.tensorScale",
                        DType.F32,
                        new long[] {1},
                        bad -> Quantize.run(
                                x,
                                new QuantizedTensor(nv.spec(), nv.shape(), nv.codes(), nv.scales(), null, bad, null)))
                .unreachable(
                        "quantized.nested.offset",
                        DType.F32,
                        new long[] {1},
                        bad -> Quantize.dequantize(
                                new QuantizedTensor(
                                        nested.spec(),
                                        nested.shape(),
                                        nested.codes(),
                                        null,
                                        null,
                                        null,
                                        new QuantizedTensor.NestedScales(own.values(), bad)),
                                values.tensor))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> blocksOfFiles() {
        QuantSpec spec = QuantSpec.gguf(GgufType.Q8_0);
        MemorySegment memory = Arena.ofAuto().allocate(ROWS * 68);
        QuantizedTensor blocks = QuantizedTensor.gguf(GgufType.Q8_0, ROWS, DEPTH, memory);
        Tensor inBlocks = Tensor.wrap(memory, DType.F32, 1, 32);
        QuantizedTensor one = QuantizedTensor.gguf(GgufType.Q8_0, 1, 32, memory);
        QuantizedTensor constant = QuantizedTensor.gguf(GgufType.Q8_0, ROWS, DEPTH, memory.asReadOnly());
        return refusals()
                .add("depth", "depth", "33", "a multiple of 32", () -> QuantizedTensor.allocate(spec, ROWS, 33))
                .add("negative", "depth", "-1", "0..", () -> QuantizedTensor.gguf(GgufType.Q8_0, 1, -1, memory))
                .add(
                        "too small",
                        "segment",
                        Long.toString(ROWS * 68),
                        Long.toString((ROWS + 1) * 68),
                        () -> QuantizedTensor.gguf(GgufType.Q8_0, ROWS + 1, DEPTH, memory))
                .add(
                        "scales",
                        "scales",
                        "f32[4, 1]",
                        "null",
                        () -> new QuantizedTensor(
                                spec, Shape.of(ROWS, DEPTH), blocks.codes(), f32(ROWS, 1), null, null, null))
                .add("values in blocks", "out.codes", "overlaps x", "of its own", () -> Quantize.run(inBlocks, one))
                .add(
                        "values over blocks",
                        "out",
                        "overlaps quantized.codes",
                        "of its own",
                        () -> Quantize.dequantize(one, inBlocks))
                .add("blocks read-only", "out.codes", "read-only", "writable", () -> Quantize.run(x, constant))
                .missing("type", () -> QuantizedTensor.gguf(null, ROWS, DEPTH, memory))
                .missing("segment", () -> QuantizedTensor.gguf(GgufType.Q8_0, ROWS, DEPTH, null))
                .unreachable(
                        "quantized.codes",
                        DType.U8,
                        new long[] {ROWS, 68},
                        bad -> Quantize.dequantize(
                                new QuantizedTensor(spec, Shape.of(ROWS, DEPTH), bad, null, null, null, null),
                                values.tensor))
                .unreachable(
                        "weights.codes",
                        DType.U8,
                        new long[] {ROWS, 68},
                        bad -> QMatmul.pack(
                                new QuantizedTensor(spec, Shape.of(ROWS, DEPTH), bad, null, null, null, null)))
                .tests();
    }
}
