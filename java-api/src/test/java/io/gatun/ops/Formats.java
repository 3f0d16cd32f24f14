package io.gatun.ops;

import io.gatun.DType;
import io.gatun.ops.QuantSpec.ScaleRule;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** The formats that tests go through. */
final class Formats {
    private static final List<ScaleRule> POWERS =
            List.of(ScaleRule.DEFAULT, ScaleRule.FLOOR, ScaleRule.CEIL, ScaleRule.RCEIL, ScaleRule.EVEN);

    private Formats() {}

    /** Integers of every kind, in rows and groups. */
    static Stream<QuantSpec> integers() {
        return Stream.of(0L, 16L, 17L, 32L, 128L).flatMap(Formats::integers);
    }

    static Stream<QuantSpec> integers(long group) {
        List<QuantSpec> specs = new ArrayList<>(List.of(
                QuantSpec.int8(group),
                QuantSpec.int8Asymmetric(group),
                QuantSpec.int4(group),
                QuantSpec.int4Asymmetric(group),
                QuantSpec.int2(group),
                QuantSpec.int2Asymmetric(group),
                QuantSpec.int8Asymmetric(group).withFloatZeroPoints(),
                QuantSpec.int4Asymmetric(group).withFloatZeroPoints(),
                QuantSpec.int2Asymmetric(group).withFloatZeroPoints()));
        for (QuantSpec spec : List.of(QuantSpec.int8(group), QuantSpec.int4(group), QuantSpec.int2(group))) {
            specs.add(spec.withScaleRule(ScaleRule.FULL_RANGE));
            specs.add(spec.withScaleRule(ScaleRule.NO_CLIPPING));
        }
        return specs.stream().flatMap(spec -> Stream.of(spec.withScales(DType.F16), spec.withScales(DType.F32)));
    }

    /** Integers in blocks of the flattened tensor. */
    static Stream<QuantSpec> flatIntegers() {
        return Stream.of(0L, 64L)
                .flatMap(block -> integers(0)
                        .filter(spec -> spec.rule() == ScaleRule.DEFAULT)
                        .map(spec -> spec.withFlatBlocks(block)));
    }

    /** 8-bit floats with scales that are numbers, in all blocks. */
    static Stream<QuantSpec> floats8() {
        return Stream.of(DType.F8E4M3, DType.F8E5M2)
                .map(QuantSpec::fp8)
                .flatMap(spec -> Stream.of(
                        spec,
                        spec.perTensor(),
                        spec.withBlocks(128, 128),
                        spec.withBlocks(3, 17),
                        spec.withGroup(32).withScales(DType.F16),
                        spec.withFlatBlocks(48)));
    }

    /** Floats with scales that are powers of two, and NVFP4. */
    static Stream<QuantSpec> microscaling() {
        Stream<QuantSpec> powers = Stream.of(
                        QuantSpec.mxfp8(DType.F8E4M3),
                        QuantSpec.mxfp8(DType.F8E5M2),
                        QuantSpec.mxfp6(DType.F6E3M2),
                        QuantSpec.mxfp6(DType.F6E2M3),
                        QuantSpec.mxfp4())
                .flatMap(spec -> POWERS.stream().map(spec::withScaleRule));
        Stream<QuantSpec> others = Stream.of(
                QuantSpec.nvfp4(),
                QuantSpec.mxfp4().withScales(DType.F32),
                QuantSpec.mxfp6(DType.F6E3M2).withScales(DType.F16).withGroup(0),
                QuantSpec.mxfp6(DType.F6E2M3).withScales(DType.F32).withFlatBlocks(20));
        return Stream.concat(powers, others);
    }

    /** Code books, named and given, flat, in groups and nested. */
    static Stream<QuantSpec> books() {
        return Stream.of(
                QuantSpec.nf4(64),
                QuantSpec.nf4(64).withNestedScales(),
                QuantSpec.nf4(17).withGroup(17),
                QuantSpec.fp4(64),
                QuantSpec.fp4(32).withGroup(0),
                QuantSpec.dynamic8(256),
                QuantSpec.dynamic8(64).withNestedScales(),
                QuantSpec.codeBook(CodeBook.DYNAMIC_UNSIGNED, 128),
                QuantSpec.linear8(100),
                QuantSpec.codeBook(CodeBook.LINEAR_UNSIGNED, 0),
                QuantSpec.codeBook(uneven(16), 64),
                QuantSpec.codeBook(uneven(256), 64).withGroup(32),
                QuantSpec.codeBook(integers16(), 32).withGroup(32));
    }

    /** Uneven steps, with values twice. */
    static CodeBook uneven(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            double t = 2 * (i - i % 7 / 6) / (count - 1.0) - 1;
            values[i] = (float) (t * Math.abs(t));
        }
        return CodeBook.of(values);
    }

    /** Integers, which are products of integers for the matmul. */
    static CodeBook integers16() {
        float[] values = new float[16];
        IntStream.range(0, 16).forEach(i -> values[i] = GgufOracle.IQ4[i]);
        return CodeBook.of(values);
    }

    /** All but GGUF. */
    static Stream<QuantSpec> planes() {
        return Stream.of(integers(), flatIntegers(), floats8(), microscaling(), books())
                .flatMap(specs -> specs);
    }

    static Stream<QuantSpec> gguf() {
        return Stream.of(GgufType.values()).map(QuantSpec::gguf);
    }

    /** One of each kind, for what takes long. */
    static Stream<QuantSpec> some() {
        return Stream.of(
                QuantSpec.int8(),
                QuantSpec.int4(32),
                QuantSpec.int4Asymmetric(17),
                QuantSpec.int2(16),
                QuantSpec.int4Asymmetric(32).withFloatZeroPoints(),
                QuantSpec.int8(32).withScaleRule(ScaleRule.FULL_RANGE),
                QuantSpec.fp8(DType.F8E4M3).withBlocks(3, 32),
                QuantSpec.mxfp8(DType.F8E5M2),
                QuantSpec.mxfp6(DType.F6E2M3),
                QuantSpec.mxfp4(),
                QuantSpec.nvfp4(),
                QuantSpec.nf4(32),
                QuantSpec.fp4(32).withGroup(32),
                QuantSpec.dynamic8(64),
                QuantSpec.codeBook(integers16(), 32).withGroup(32));
    }

    /** Whether rows of a depth can have such groups. */
    static boolean fits(QuantSpec spec, int depth) {
        if (spec.gguf() != null) {
            return depth % spec.gguf().elements() == 0;
        }
        boolean cut = spec.blocks().flat() || spec.scales() == DType.E8M0 || spec.scales() == DType.F8E4M3;
        return cut || spec.group() == 0 || spec.group() <= depth;
    }
}
