package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.Packing.Planes;
import io.gatun.ops.Packing.Sorted;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class PackingBadInputTest {
    private static final int ROWS = 8;
    private static final int DEPTH = 32;
    private static final QuantSpec SPEC = QuantSpec.int4Asymmetric(16);

    private final Tensor codes = Tensor.allocate(DType.I32, DEPTH / 8, ROWS);
    private final Tensor scales = Tensor.of(DType.F16, filled(2 * ROWS, 1), 2, ROWS);
    private final Tensor zeros = Tensor.allocate(DType.I32, 2, ROWS / 8);
    private final Planes planes = new Planes(codes, scales, zeros);

    private static float[] filled(int count, float value) {
        float[] values = new float[count];
        Arrays.fill(values, value);
        return values;
    }

    private static QuantizedTensor read(QuantSpec spec, Planes planes) {
        return Packing.read(Format.GPTQ, spec, ROWS, DEPTH, planes);
    }

    private static Refusals refusals() {
        return new Refusals(() -> true); // results are new memory
    }

    @TestFactory
    Stream<DynamicTest> reading() {
        Tensor wrong = Tensor.of(DType.F16, filled(2 * ROWS, 1), 2, ROWS);
        wrong.setFloat(Float.NaN, 1, 3);
        int[] groups = new int[DEPTH];
        groups[5] = 2;
        Tensor index = Tensor.of(groups, DEPTH);
        return refusals()
                .missing("format", () -> Packing.read(null, SPEC, ROWS, DEPTH, planes))
                .missing("spec", () -> read(null, planes))
                .missing("planes", () -> read(SPEC, null))
                .missing("planes.codes", () -> new Planes(null, scales, zeros))
                .missing("planes.scales", () -> new Planes(codes, null, zeros))
                .missing("planes.groupIndex", () -> Packing.readSorted(Format.GPTQ, SPEC, ROWS, DEPTH, planes))
                .missing("arena", () -> Packing.read((Arena) null, Format.GPTQ, SPEC, ROWS, DEPTH, planes))
                .add("rows", "rows", "-1", "0..", () -> Packing.read(Format.GPTQ, SPEC, -1, DEPTH, planes))
                .add("depth", "depth", "-1", "0..", () -> Packing.read(Format.GPTQ, SPEC, ROWS, -1, planes))
                .add(
                        "huge depth",
                        "depth",
                        "4611686018427387904",
                        "0..4503599627370496",
                        () -> Packing.read(Format.GPTQ, SPEC, ROWS, 1L << 62, planes))
                .add("spec of a book", "spec", "nf4", "integer codes", () -> read(QuantSpec.nf4(16), planes))
                .add("spec of floats", "spec", "f8e4m3", "integer", () -> read(QuantSpec.fp8(DType.F8E4M3), planes))
                .add("spec of GGUF", "spec", "Q4_0", "integer", () -> read(QuantSpec.gguf(GgufType.Q4_0), planes))
                .add(
                        "spec without a book",
                        "spec",
                        "u4 group 16",
                        "a code book",
                        () -> Packing.read(Format.BITSANDBYTES, SPEC, ROWS, DEPTH, planes))
                .add(
                        "float zero points",
                        "zero_point",
                        "2",
                        "GATUN_ZERO_INTEGER",
                        () -> read(
                                QuantSpec.int4(16).withFloatZeroPoints(), new Planes(codes, scales, f32(2, ROWS / 8))))
                .add("group", "group", "8", "16..32", () -> read(QuantSpec.int4Asymmetric(8), planes))
                .add("codes dtype", "planes.codes", "u8", "[i32]", () -> {
                    read(SPEC, new Planes(Tensor.allocate(DType.U8, 4, 32), scales, zeros));
                })
                .add(
                        "codes transposed",
                        "planes.codes",
                        "[8, 4]",
                        "[4, 8]",
                        () -> read(SPEC, new Planes(codes.reshape(ROWS, DEPTH / 8), scales, zeros)))
                .add(
                        "codes with gaps",
                        "planes.codes",
                        "strides",
                        "contiguous",
                        () -> read(SPEC, new Planes(codes.reshape(8, 4).transpose(), scales, zeros)))
                .add(
                        "scales dtype",
                        "planes.scales",
                        "i32",
                        "f16",
                        () -> read(SPEC, new Planes(codes, codes.slice(0, 0, 2), zeros)))
                .add("scales shape", "planes.scales", "[1, 8]", "[2, 8]", () -> {
                    read(SPEC, new Planes(codes, scales.slice(0, 0, 1), zeros));
                })
                .add("scale NaN", "packed_scales", "column 3, group 1", "finite", () -> {
                    read(SPEC, new Planes(codes, wrong, zeros));
                })
                .add("scales of another type", "packed_scale_dtype", "F32", "F16", () -> {
                    read(SPEC, new Planes(codes, scales.to(DType.F32), zeros));
                })
                .add("zero points missing", "planes.zeroPoints", "null", "a tensor", () -> {
                    read(SPEC, new Planes(codes, scales, null));
                })
                .add(
                        "zero points too many",
                        "planes.zeroPoints",
                        "i32[2, 1]",
                        "null for JLAMA",
                        () -> Packing.read(
                                Format.JLAMA,
                                QuantSpec.int4(32).withScales(DType.F32),
                                ROWS,
                                DEPTH,
                                new Planes(Tensor.allocate(DType.U8, ROWS, DEPTH / 2), f32(ROWS, 1), zeros)))
                .add("zero points not 8", "packed_zero_points", "1", "8 with", () -> read(QuantSpec.int4(16), planes))
                .add("rows", "params.columns", "4", "multiples of 8", () -> {
                    Planes half = new Planes(
                            codes.reshape(ROWS, 4).slice(0, 0, 4).reshape(4, 4),
                            scales.slice(0, 0, 1).reshape(2, 4),
                            Tensor.allocate(DType.I32, 2, 0));
                    Packing.read(Format.GPTQ, SPEC, 4, DEPTH, half);
                })
                .add("group index", "group_index[5]", "2", "allowed", () -> {
                    read(SPEC, new Planes(codes, scales, zeros, index));
                })
                .add(
                        "group index out of range",
                        "group_index[5]",
                        "2",
                        "0..1",
                        () -> Packing.readSorted(
                                Format.GPTQ, SPEC, ROWS, DEPTH, new Planes(codes, scales, zeros, index)))
                .add("group index length", "planes.groupIndex", "[16]", "[32]", () -> {
                    read(SPEC, new Planes(codes, scales, zeros, index.slice(0, 0, 16)));
                })
                .unreachable("planes.codes", DType.I32, new long[] {DEPTH / 8, ROWS}, c -> {
                    read(SPEC, new Planes(c, scales, zeros));
                })
                .unreachable("planes.scales", DType.F16, new long[] {2, ROWS}, s -> {
                    read(SPEC, new Planes(codes, s, zeros));
                })
                .unreachable("planes.zeroPoints", DType.I32, new long[] {2, 1}, z -> {
                    read(SPEC, new Planes(codes, scales, z));
                })
                .unreachable("planes.groupIndex", DType.I32, new long[] {DEPTH}, i -> {
                    read(SPEC, new Planes(codes, scales, zeros, i));
                })
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> writing() {
        QuantizedTensor weights = QuantizedTensor.allocate(SPEC, ROWS, DEPTH);
        QuantizedTensor odd = QuantizedTensor.allocate(SPEC, ROWS + 1, DEPTH);
        QuantizedTensor third = QuantizedTensor.allocate(SPEC.withScales(DType.F32), ROWS, DEPTH);
        third.scales().setFloat(1f / 3, 2, 1);
        Tensor identity = Tensor.allocate(DType.I32, DEPTH); // all 0
        return refusals()
                .missing("format", () -> Packing.write(null, weights))
                .missing("weights", () -> Packing.write(Format.GPTQ, (QuantizedTensor) null))
                .missing("floats", () -> Packing.write(Format.GPTQ, weights, null))
                .missing("sorted", () -> Packing.write(Format.GPTQ, (Sorted) null, DType.F16))
                .missing("weights", () -> new Sorted(null, identity))
                .missing("permutation", () -> new Sorted(weights, null))
                .add("floats", "floats", "i8", "f16", () -> Packing.write(Format.GPTQ, weights, DType.I8))
                .add("rows", "params.columns", "9", "multiples of 8", () -> Packing.write(Format.AWQ, odd))
                .add("scale", "scales of column 2, group 1", "0.3333", "exact in F16", () -> {
                    Packing.write(Format.AWQ, third, DType.F16);
                })
                .add("nibbles", "spec", "HIGH_FIRST", "low half first", () -> {
                    Packing.write(Format.AWQ, weights.reorder(QuantSpec.NibbleOrder.HIGH_FIRST));
                })
                .add("permutation", "permutation[1]", "permutation[0]", "once", () -> {
                    Packing.write(Format.GPTQ, new Sorted(weights, identity), DType.F16);
                })
                .add("permutation of AWQ", "permutation", "not null", "allowed: null", () -> {
                    Packing.write(Format.AWQ, new Sorted(weights, identity), DType.F16);
                })
                .add("permutation length", "permutation", "[16]", "[32]", () -> {
                    new Sorted(weights, identity.slice(0, 0, 16));
                })
                .add("permutation dtype", "permutation", "f32", "i32", () -> new Sorted(weights, f32(DEPTH)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> permuting() {
        Guarded guarded = Guarded.matrix(DType.F32, 3, DEPTH);
        Tensor out = guarded.tensor;
        Tensor x = f32(3, DEPTH);
        Tensor order = Tensor.allocate(DType.I32, DEPTH);
        Tensor beyond = Tensor.allocate(DType.I32, DEPTH);
        beyond.setFloat(DEPTH, 7);
        Tensor both = f32(4, DEPTH);
        return new Refusals(guarded::unchanged)
                .missing("x", () -> Packing.permute(null, order, out))
                .missing("permutation", () -> Packing.permute(x, null, out))
                .missing("out", () -> Packing.permute(x, order, null))
                .add("x dtype", "x", "i8", "f8e5m2", () -> Packing.permute(x.to(DType.I8), order, out))
                .add("x transposed", "x", "strides", "stride 1", () -> {
                    Packing.permute(f32(DEPTH, 3).transpose(), order, out);
                })
                .add("order dtype", "permutation", "f32", "i32", () -> Packing.permute(x, f32(DEPTH), out))
                .add("order length", "permutation", "[31]", "[32]", () -> {
                    Packing.permute(x, order.slice(0, 0, 31), out);
                })
                .add("order beyond", "permutation[7]", "32", "0..31", () -> Packing.permute(x, beyond, out))
                .add("out dtype", "out", "f16", "f32, as x", () -> Packing.permute(x, order, x.to(DType.F16)))
                .add("out shape", "out", "[3, 32]", "[2, 32]", () -> Packing.permute(f32(2, DEPTH), order, out))
                .add("out read-only", "out", "read-only", "writable", () -> {
                    Packing.permute(x, order, Unreachable.readOnly(out));
                })
                .add("threads", "threads", "-1", "0..1024", () -> Packing.permute(x, order, out, -1))
                .add("overlap", "out", "overlaps x", "of its own", () -> {
                    Packing.permute(both.slice(0, 0, 3), order, both.slice(0, 1, 4));
                })
                .unreachable("x", DType.F32, new long[] {3, DEPTH}, t -> Packing.permute(t, order, out))
                .unreachable("permutation", DType.I32, new long[] {DEPTH}, t -> Packing.permute(x, t, out))
                .unreachable("out", DType.F32, new long[] {3, DEPTH}, t -> Packing.permute(x, order, t))
                .tests();
    }
}
