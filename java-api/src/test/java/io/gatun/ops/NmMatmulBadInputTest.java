package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.NmWeights.Dense;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class NmMatmulBadInputTest extends ProductBadInput<NmWeights> {
    private static final Sparsity.Nm PATTERN = Sparsity.nm(2, 4);

    private final SparseTensor weights = sparse(COLUMNS, DEPTH);
    private final NmWeights w = NmMatmul.pack(weights);

    private SparseTensor sparse(int columns, int depth) {
        return NmOracle.random(random, PATTERN, QuantSpec.int4Asymmetric(16), columns, depth);
    }

    @Override
    NmWeights w() {
        return w;
    }

    @Override
    NmWeights packedIn(Arena arena) {
        return NmMatmul.pack(weights, Dense.NEVER, arena);
    }

    @Override
    NmWeights weights(int columns, int depth) {
        return NmMatmul.pack(sparse(columns, depth));
    }

    @Override
    MemorySegment segment(NmWeights packed) {
        return packed.segment();
    }

    @Override
    NmWeights wrap(MemorySegment packed) {
        return NmWeights.wrap(packed);
    }

    @Override
    void unpack(NmWeights packed) {
        packed.unpack();
    }

    @Override
    void run(Tensor from, NmWeights by, Tensor to, Options options) {
        NmMatmul.run(from, by, to, options);
    }

    @TestFactory
    Stream<DynamicTest> modes() {
        NmWeights floats = NmMatmul.pack(NmOracle.random(random, PATTERN, DType.F32, COLUMNS, DEPTH));
        NmWeights bf16 = NmMatmul.pack(NmOracle.random(random, PATTERN, DType.BF16, COLUMNS, DEPTH));
        Class<UnsupportedOperationException> type = UnsupportedOperationException.class;
        String mode = "options.mode";
        return refusals()
                .add(type, "bf16 of codes", mode, "BF16", "[INT8_ROW, PRECISE]", () -> run(options(Mode.BF16)))
                .add(type, "groups", mode, "INT8_GROUP", "[INT8_ROW, PRECISE]", () -> run(options(Mode.INT8_GROUP)))
                .add(
                        type,
                        "int8 of f32",
                        mode,
                        "INT8_ROW",
                        "[PRECISE]",
                        () -> NmMatmul.run(x, floats, y, options(Mode.INT8_ROW)))
                .add(
                        type,
                        "bf16 of f32",
                        mode,
                        "BF16",
                        "[PRECISE]",
                        () -> NmMatmul.run(x, floats, y, options(Mode.BF16)))
                .add(
                        type,
                        "int8 of bf16",
                        mode,
                        "INT8_ROW",
                        "[BF16, PRECISE]",
                        () -> NmMatmul.run(x, bf16, y, options(Mode.INT8_ROW)))
                .tests();
    }

    private static Options options(Mode mode) {
        return Options.DEFAULT.withMode(mode);
    }

    @TestFactory
    Stream<DynamicTest> weights() {
        MemorySegment dense =
                QMatmul.pack(f32(COLUMNS, DEPTH), QuantSpec.int8()).segment();
        SparseTensor nanScale = withScale(Float.NaN);
        SparseTensor infiniteScale = withScale(Float.POSITIVE_INFINITY);
        Tensor values = Tensor.allocate(DType.F32, 1, 4);
        values.setFloat(Float.NEGATIVE_INFINITY, 0, 1);
        SparseTensor infinite = SparseTensor.compress(values, PATTERN);
        SparseTensor odd = NmOracle.random(random, Sparsity.nm(2, 16), QuantSpec.int4(24), 2, 48);
        return refusals()
                .add("dense weights", "packed", "", "", () -> NmWeights.wrap(dense))
                .add("sparse as dense", "packed", "", "", () -> PackedWeights.wrap(w.segment()))
                .missing("weights", () -> NmMatmul.pack(null))
                .missing("dense", () -> NmMatmul.pack(weights, null))
                .missing("arena", () -> NmMatmul.pack(weights, Dense.NEVER, null))
                .add("expected rows", "rows", "-1", "0..", () -> Dense.ifFasterFor(-1))
                .add("NaN scale", "scales[2][1]", "NaN", "finite", () -> NmMatmul.pack(nanScale))
                .add("infinite scale", "scales[2][1]", "inf", "finite", () -> NmMatmul.pack(infiniteScale))
                .add("infinite value", "values[0][", "inf", "finite", () -> NmMatmul.pack(infinite))
                .add("group", "group", "24", "16", () -> NmMatmul.pack(odd))
                .unreachable(
                        "weights.values",
                        DType.F32,
                        new long[] {1, 2},
                        bad -> NmMatmul.pack(
                                new SparseTensor(PATTERN, Shape.of(1, 4), bad, infinite.indices(), null, null, null)))
                .tests();
    }

    private SparseTensor withScale(float scale) {
        Tensor scales = Tensor.of(weights.scales().dtype(), weights.scales().toFloatArray(), COLUMNS, 3);
        scales.setFloat(scale, 2, 1);
        return new SparseTensor(
                PATTERN,
                weights.shape(),
                weights.values(),
                weights.indices(),
                weights.spec(),
                scales,
                weights.zeroPoints());
    }

    /** Weights hold all that they were wrapped in. */
    @TestFactory
    Stream<DynamicTest> largerWeightsThanWereWrapped() {
        NmWeights larger = overwritten(COLUMNS + 50, DEPTH + 1000);
        return refusals()
                .add("run", "params.columns", "6", "56", () -> NmMatmul.run(x, larger, y))
                .add("unpack", "packed", "[56, 1040]", "[6, 40]", larger::unpack)
                .tests();
    }
}
