package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class SparseTensorBadInputTest {
    private static final Sparsity.Nm PATTERN = Sparsity.nm(2, 4);

    private final Random random = new Random(111);
    private final Tensor dense = Tensor.of(random.normal(6 * 40, 1), 6, 40);
    private final Mask mask = Mask.of(NmOracle.randomMask(random, 6, 40, PATTERN), 6, 40);
    private final SparseTensor good = SparseTensor.compress(dense, mask, PATTERN);
    private final SparseTensor codes =
            SparseTensor.compress(Quantize.run(dense, QuantSpec.int4Asymmetric(16)), mask, PATTERN);

    private static Refusals refusals() {
        return new Refusals(() -> true);
    }

    private SparseTensor with(Tensor values, Tensor indices) {
        return new SparseTensor(PATTERN, good.shape(), values, indices, null, null, null);
    }

    private SparseTensor with(QuantSpec spec, Tensor scales, Tensor zeroPoints) {
        return new SparseTensor(PATTERN, codes.shape(), codes.values(), codes.indices(), spec, scales, zeroPoints);
    }

    /** The good weights with a byte of indices that another one replaces. */
    private SparseTensor withByte(SparseTensor sparse, long at, int value) {
        Tensor indices = Tensor.allocate(
                sparse.indices().dtype(), sparse.indices().shape().toArray());
        indices.segment().copyFrom(sparse.indices().segment());
        indices.segment().set(JAVA_BYTE, at, (byte) value);
        return new SparseTensor(
                sparse.pattern(),
                sparse.shape(),
                sparse.values(),
                indices,
                sparse.spec(),
                sparse.scales(),
                sparse.zeroPoints());
    }

    @TestFactory
    Stream<DynamicTest> parts() {
        Tensor values = good.values();
        Tensor indices = good.indices();
        QuantSpec spec = codes.spec();
        return refusals()
                .add(
                        "shape",
                        "shape",
                        "[6]",
                        "[rows, depth]",
                        () -> new SparseTensor(PATTERN, Shape.of(6), values, indices, null, null, null))
                .add("values size", "values", "[6, 40]", "[6, 20]", () -> with(dense, indices))
                .add(
                        "values dtype",
                        "values",
                        "i32",
                        "[f32, f16, bf16]",
                        () -> with(Tensor.allocate(DType.I32, 6, 20), indices))
                .add(
                        "values strided",
                        "values",
                        "strides [40, 1]",
                        "contiguous",
                        () -> with(dense.slice(1, 0, 20), indices))
                .add("indices dtype", "indices", "u8", "[u2]", () -> with(values, Tensor.allocate(DType.U8, 6, 20)))
                .add(
                        "indices size",
                        "indices",
                        "[5, 20]",
                        "[6, 20]",
                        () -> with(values, Tensor.allocate(DType.U2, 5, 20)))
                .add(
                        "needless scales",
                        "scales",
                        "f32[1]",
                        "null",
                        () -> new SparseTensor(PATTERN, good.shape(), values, indices, null, Refusals.f32(1), null))
                .add(
                        "needless zero points",
                        "zeroPoints",
                        "u8[6, 3]",
                        "null",
                        () -> with(QuantSpec.int4(16), codes.scales(), codes.zeroPoints()))
                .add(
                        "scales shape",
                        "scales",
                        "[6, 3]",
                        "[6, 2]",
                        () -> with(QuantSpec.int4Asymmetric(32), codes.scales(), codes.zeroPoints()))
                .add(
                        "scales dtype",
                        "scales",
                        "f16",
                        "[f32]",
                        () -> with(spec.withScales(DType.F32), codes.scales(), codes.zeroPoints()))
                .add(
                        "zero points shape",
                        "zeroPoints",
                        "[6, 2]",
                        "[6, 3]",
                        () -> with(spec, codes.scales(), Tensor.allocate(DType.U8, 6, 2)))
                .add("codes dtype", "values", "u4", "[i8]", () -> with(QuantSpec.int8(16), codes.scales(), null))
                .missing("pattern", () -> new SparseTensor(null, good.shape(), values, indices, null, null, null))
                .missing("values", () -> with(null, indices))
                .missing("indices", () -> with(values, null))
                .missing("scales", () -> with(spec, null, codes.zeroPoints()))
                .missing("zeroPoints", () -> with(spec, codes.scales(), null))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> otherFormats() {
        Mask all = Mask.allocate(6, 64);
        Tensor wide = Tensor.of(random.normal(6 * 64, 1), 6, 64);
        return Stream.of(
                        QuantSpec.int8Asymmetric(32),
                        QuantSpec.int2(32),
                        QuantSpec.int4(32).withFloatZeroPoints(),
                        QuantSpec.nf4(32).withGroup(32),
                        QuantSpec.mxfp4(),
                        QuantSpec.fp8(DType.F8E4M3),
                        QuantSpec.gguf(GgufType.Q8_0))
                .map(spec -> DynamicTest.dynamicTest(spec.toString(), () -> {
                    String message = assertThrows(
                                    UnsupportedOperationException.class,
                                    () -> SparseTensor.compress(Quantize.run(wide, spec), all, PATTERN))
                            .getMessage();
                    assertEquals(
                            "spec: given " + spec
                                    + "; allowed: QuantSpec.int8, int4 or int4Asymmetric, per row or of groups of a row",
                            message);
                }));
    }

    @TestFactory
    Stream<DynamicTest> compression() {
        Mask tooMany = Mask.of(new boolean[6 * 40], 6, 40);
        for (int k = 12; k < 15; k++) {
            tooMany.set(4, k, true);
        }
        Sparsity.Nm pairs = PATTERN.withVector(2);
        Mask unlike = Mask.allocate(6, 40);
        unlike.set(3, 8, true);
        Tensor noGaps = Tensor.of(DType.BF16, random.integers(6 * 40, 1, 9), 6, 40);
        UnaryOperator<Tensor> bytes = t -> Tensor.allocate(DType.I8, t.shape().toArray());
        return refusals()
                .add("rank", "dense", "[240]", "[any, any]", () -> SparseTensor.compress(dense.reshape(240), PATTERN))
                .add(
                        "dtype",
                        "dense",
                        "i8",
                        "[f32, f16, bf16]",
                        () -> SparseTensor.compress(bytes.apply(dense), PATTERN))
                .add(
                        "strided",
                        "dense",
                        "strides",
                        "contiguous",
                        () -> SparseTensor.compress(dense.slice(1, 0, 8), PATTERN))
                .add(
                        "mask shape",
                        "mask",
                        "[6, 40]",
                        "[40, 6]",
                        () -> SparseTensor.compress(dense.reshape(40, 6), mask, PATTERN))
                .add("more than n", "row 4", "group 3", "2", () -> SparseTensor.compress(dense, tooMany, PATTERN))
                .add(
                        "more than n of codes",
                        "row 4",
                        "group 3",
                        "2",
                        () -> SparseTensor.compress(Quantize.run(dense, QuantSpec.int8()), tooMany, PATTERN))
                .add("more than n not 0", "row 0", "group 0", "2", () -> SparseTensor.compress(noGaps, PATTERN))
                .add("rows of a vector differ", "row", "group 2", "", () -> SparseTensor.compress(dense, unlike, pairs))
                .missing("dense", () -> SparseTensor.compress((Tensor) null, mask, PATTERN))
                .missing("mask", () -> SparseTensor.compress(dense, null, PATTERN))
                .missing("pattern", () -> SparseTensor.compress(dense, mask, null))
                .add(
                        UnsupportedOperationException.class,
                        "floats of codes",
                        "values",
                        "u4",
                        "decompressCodes()",
                        codes::decompress)
                .add(
                        UnsupportedOperationException.class,
                        "codes of floats",
                        "values",
                        "f32",
                        "decompress()",
                        good::decompressCodes)
                .unreachable("dense", DType.F32, new long[] {6, 40}, bad -> SparseTensor.compress(bad, PATTERN))
                .unreachable(
                        "sparse.values",
                        DType.F32,
                        new long[] {6, 20},
                        bad -> with(bad, good.indices()).decompress())
                .unreachable(
                        "sparse.indices",
                        DType.U2,
                        new long[] {6, 20},
                        bad -> with(good.values(), bad).check())
                .tests();
    }

    /** Repeated, descending and too large indices, and bits that no index has: every reader refuses them. */
    @TestFactory
    Stream<DynamicTest> indices() {
        SparseTensor of32 = SparseTensor.compress(dense, Mask.allocate(6, 40), Sparsity.nm(2, 32));
        SparseTensor of2 = SparseTensor.compress(dense, Mask.allocate(6, 40), Sparsity.nm(1, 2));
        SparseTensor of8 = SparseTensor.compress(dense, Mask.allocate(6, 40), Sparsity.nm(1, 8));
        SparseTensor repeated = withByte(good, 2 * 5 + 1, 0x55);
        SparseTensor descending = withByte(good, 2 * 5 + 1, 0x41); // 1, 0 and 0, 1
        SparseTensor large32 = withByte(of32, 4 * 3 + 1, 32);
        SparseTensor large2 = withByte(of2, 5 * 1, 2);
        SparseTensor unused = withByte(of8, 3 * 2 + 2, 0x10);
        return refusals()
                .add("repeated", "row 2", "group 2", "", repeated::check)
                .add("descending", "row 2", "group 2", "", descending::check)
                .add("above m = 32", "row 3", "32", "", large32::check)
                .add("above m = 2", "row 1", "2", "", large2::check)
                .add("unused bits", "row 2", "", "0", unused::check)
                .add("repeated, decompressed", "row 2", "group 2", "", repeated::decompress)
                .add("repeated, mask", "row 2", "group 2", "", repeated::mask)
                .add("repeated, packed", "indices", "", "", () -> NmMatmul.pack(repeated))
                .add("above m, packed", "indices", "", "", () -> NmMatmul.pack(large32))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> sparseTensorCores() {
        SparseTensor half = SparseTensor.compress(Tensor.allocate(DType.F16, 32, 32), PATTERN);
        SparseTensor rows = SparseTensor.compress(Tensor.allocate(DType.F16, 31, 32), PATTERN);
        SparseTensor of8 = SparseTensor.compress(Tensor.allocate(DType.F16, 32, 32), Sparsity.nm(4, 8));
        SparseTensor f32 = SparseTensor.compress(Tensor.allocate(DType.F32, 32, 32), PATTERN);
        SparseTensor vector = SparseTensor.compress(Tensor.allocate(DType.F16, 32, 32), PATTERN.withVector(2));
        Tensor metadata = half.toSm80();
        Tensor bad = Tensor.allocate(DType.U8, metadata.shape().size(0));
        return refusals()
                .add("rows", "columns", "31", "32", rows::toSm80)
                .add("pattern", "4:8", "", "2:4", of8::toSm80)
                .add("f32 of 2:4", "2:4", "", "1:2", f32::toSm80)
                .add("vector", "vector", "2", "1", vector::toSm80)
                .add("u4", "value_dtype", "", "", codes::toSm80)
                .add(
                        "size",
                        "metadata",
                        "[127]",
                        "[128]",
                        () -> SparseTensor.fromSm80(
                                half.values(), metadata.slice(0, 0, 127).contiguous()))
                .add(
                        "dtype",
                        "metadata",
                        "i8",
                        "[u8]",
                        () -> SparseTensor.fromSm80(half.values(), Tensor.allocate(DType.I8, 128)))
                .add("no pattern", "metadata", "", "", () -> SparseTensor.fromSm80(half.values(), bad))
                .add(
                        "kept in a row",
                        "values",
                        "f16[32, 17]",
                        "32 and columns that are one of 16",
                        () -> from(f16(32, 17)))
                .add("rows kept", "values", "f16[31, 16]", "32 and columns that are one of 16", () -> from(f16(31, 16)))
                .add(
                        "kept strided",
                        "values",
                        "strides",
                        "contiguous",
                        () -> from(f16(32, 32).slice(1, 0, 16)))
                .add(
                        "kept of f32",
                        "values",
                        "f32[32, 7]",
                        "32 and columns that are one of 8",
                        () -> from(Refusals.f32(32, 7)))
                .add(
                        "kept codes in a row",
                        "kept",
                        "i8[16, 33]",
                        "16 and columns that are one of 32",
                        () -> fromCodes(16, 33))
                .add(
                        "rows of kept codes",
                        "kept",
                        "i8[15, 32]",
                        "16 and columns that are one of 32",
                        () -> fromCodes(15, 32))
                .missing("metadata", () -> SparseTensor.fromSm80(half.values(), null))
                .missing("values", () -> SparseTensor.fromSm80(null, metadata))
                .unreachable("metadata", DType.U8, new long[] {128}, gone -> SparseTensor.fromSm80(half.values(), gone))
                .tests();
    }

    private static Tensor f16(long rows, long kept) {
        return Tensor.allocate(DType.F16, rows, kept);
    }

    private static void from(Tensor values) {
        SparseTensor.fromSm80(values, Tensor.allocate(DType.U8, 128));
    }

    private static void fromCodes(long rows, long kept) {
        Tensor codes = Tensor.allocate(DType.I8, rows, kept);
        SparseTensor.fromSm80(codes, QuantSpec.int8(), Refusals.f32(rows, 1), Tensor.allocate(DType.U8, 128));
    }

    @Test
    void sizesBeyondTheRangeOfLongAreRefused() {
        Tensor none = Tensor.allocate(DType.F32, 0, 0);
        Tensor noIndices = Tensor.allocate(DType.U2, 0, 0);
        assertThrows(
                IllegalArgumentException.class,
                () -> new SparseTensor(PATTERN, Shape.of(0, Long.MAX_VALUE), none, noIndices, null, null, null));
    }
}
