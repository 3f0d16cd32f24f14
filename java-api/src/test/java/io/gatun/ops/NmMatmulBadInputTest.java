package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.NmWeights.Dense;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class NmMatmulBadInputTest {
    private static final int ROWS = 4;
    private static final int COLUMNS = 6;
    private static final int DEPTH = 40;
    private static final Sparsity.Nm PATTERN = Sparsity.nm(2, 4);

    private final Random random = new Random(131);
    private final Tensor x = Tensor.of(random.normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final SparseTensor weights = NmOracle.random(random, PATTERN, QuantSpec.int4Asymmetric(16), COLUMNS, DEPTH);
    private final NmWeights w = NmMatmul.pack(weights);
    private final Guarded out = Guarded.matrix(DType.F32, ROWS, COLUMNS);
    private final Tensor y = out.tensor;

    private Refusals refusals() {
        return new Refusals(out::unchanged);
    }

    private void run(Options options) {
        NmMatmul.run(x, w, y, options);
    }

    @TestFactory
    Stream<DynamicTest> matrices() {
        Tensor transposed = f32(DEPTH, ROWS).transpose();
        Tensor overlappingRows = view(f32(ROWS, COLUMNS), Shape.of(ROWS, COLUMNS), COLUMNS - 1, 1);
        MemorySegment blob = Arena.ofAuto().allocate(w.segment().byteSize(), 64).copyFrom(w.segment());
        Tensor inBlob = Tensor.wrap(blob.asSlice(64), DType.F32, ROWS, COLUMNS);
        return refusals()
                .add("x depth", "x", "[4, 39]", "[any, 40]", () -> NmMatmul.run(f32(ROWS, 39), w, y))
                .add("x dtype", "x", "f16", "[f32, bf16]", () -> NmMatmul.run(x.to(DType.F16), w, y))
                .add("x transposed", "x", "strides [1, 4]", "column stride 1", () -> NmMatmul.run(transposed, w, y))
                .add("y rows", "y", "[3, 6]", "[4, 6]", () -> NmMatmul.run(x, w, f32(3, COLUMNS)))
                .add("y dtype", "y", "f16", "[f32, bf16]", () -> NmMatmul.run(x, w, y.to(DType.F16)))
                .add("y rows overlap", "y", "strides [5, 1]", ">= 6", () -> NmMatmul.run(x, w, overlappingRows))
                .add("y read-only", "y", "read-only", "writable", () -> NmMatmul.run(x, w, Unreachable.readOnly(y)))
                .add("y in x", "y", "overlaps x", "of its own", () -> NmMatmul.run(x, w, x.slice(1, 34, 40)))
                .add("y in w", "y", "overlaps w", "of its own", () -> NmMatmul.run(x, NmWeights.wrap(blob), inBlob))
                .missing("x", () -> NmMatmul.run(null, w, y))
                .missing("w", () -> NmMatmul.run(x, null, y))
                .missing("y", () -> NmMatmul.run(x, w, null))
                .missing("options", () -> NmMatmul.run(x, w, y, null))
                .add("bias size", "bias", "[5]", "[6]", () -> run(Options.DEFAULT.withBias(f32(5))))
                .add("residual", "residual", "[6, 4]", "[4, 6]", () -> run(Options.DEFAULT.withResidual(f32(6, 4))))
                .add("columns", "columns", "2..7", "0..6", () -> run(Options.DEFAULT.withColumns(2, 7)))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> NmMatmul.run(bad, w, y))
                .unreachable("y", DType.F32, new long[] {ROWS, COLUMNS}, bad -> NmMatmul.run(x, w, bad))
                .unreachable("bias", DType.F32, new long[] {COLUMNS}, bad -> run(Options.DEFAULT.withBias(bad)))
                .tests();
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
    Stream<DynamicTest> packedWeights() {
        long bytes = w.segment().byteSize();
        MemorySegment foreign = Arena.ofAuto().allocate(bytes, 64).fill((byte) 7);
        MemorySegment otherVersion = Arena.ofAuto().allocate(bytes, 64).copyFrom(w.segment());
        otherVersion.set(ValueLayout.JAVA_BYTE, 8, (byte) 99);
        MemorySegment dense =
                QMatmul.pack(f32(COLUMNS, DEPTH), QuantSpec.int8()).segment();
        Arena shortLived = Arena.ofConfined();
        NmWeights closed = NmMatmul.pack(weights, Dense.NEVER, shortLived);
        shortLived.close();
        SparseTensor nanScale = withScale(Float.NaN);
        SparseTensor infiniteScale = withScale(Float.POSITIVE_INFINITY);
        Tensor values = Tensor.allocate(DType.F32, 1, 4);
        values.setFloat(Float.NEGATIVE_INFINITY, 0, 1);
        SparseTensor infinite = SparseTensor.compress(values, PATTERN);
        SparseTensor odd = NmOracle.random(random, Sparsity.nm(2, 16), QuantSpec.int4(24), 2, 48);
        return refusals()
                .add(
                        "truncated",
                        "packed",
                        Long.toString(bytes - 1),
                        Long.toString(bytes),
                        () -> NmWeights.wrap(w.segment().asSlice(0, bytes - 1)))
                .add(
                        "less than a header",
                        "packed",
                        "63",
                        "64",
                        () -> NmWeights.wrap(w.segment().asSlice(0, 63)))
                .add(
                        "empty",
                        "packed",
                        "0",
                        "64",
                        () -> NmWeights.wrap(w.segment().asSlice(0, 0)))
                .add("foreign", "packed", "", "", () -> NmWeights.wrap(foreign))
                .add("dense weights", "packed", "", "", () -> NmWeights.wrap(dense))
                .add("sparse as dense", "packed", "", "", () -> PackedWeights.wrap(w.segment()))
                .add("another version", "packed", "", "version", () -> NmWeights.wrap(otherVersion))
                .add(
                        "on the heap",
                        "packed",
                        "heap",
                        "native",
                        () -> NmWeights.wrap(MemorySegment.ofArray(new byte[100])))
                .missing("packed", () -> NmWeights.wrap(null))
                .missing("weights", () -> NmMatmul.pack(null))
                .missing("dense", () -> NmMatmul.pack(weights, null))
                .missing("arena", () -> NmMatmul.pack(weights, Dense.NEVER, null))
                .add("expected rows", "rows", "-1", "0..", () -> Dense.ifFasterFor(-1))
                .add("NaN scale", "scales[2][1]", "NaN", "finite", () -> NmMatmul.pack(nanScale))
                .add("infinite scale", "scales[2][1]", "inf", "finite", () -> NmMatmul.pack(infiniteScale))
                .add("infinite value", "values[0][", "inf", "finite", () -> NmMatmul.pack(infinite))
                .add("group", "group", "24", "16", () -> NmMatmul.pack(odd))
                .add(
                        IllegalStateException.class,
                        "w closed",
                        "w",
                        "closed arena",
                        "open",
                        () -> NmMatmul.run(x, closed, y))
                .add(IllegalStateException.class, "unpack closed", "packed", "closed arena", "open", closed::unpack)
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

    @Test
    void weightsOfAnotherThreadAreRefused() throws InterruptedException {
        try (Arena arena = Arena.ofConfined()) {
            NmWeights confined = NmMatmul.pack(weights, Dense.NEVER, arena);
            String message = Refusals.onAnotherThread(() -> NmMatmul.run(x, confined, y));
            assertTrue(message.startsWith("w: given memory of another thread's"), message);
            assertTrue(out.unchanged());
        }
    }

    /** Whoever owns wrapped memory may write to it; a call then refuses it instead of following it out of x and y. */
    @TestFactory
    Stream<DynamicTest> weightsThatChangedAfterTheyWereWrapped() {
        NmWeights wider = overwritten(COLUMNS + 1, DEPTH / 2);
        NmWeights deeper = overwritten(COLUMNS, DEPTH + 8);
        NmWeights larger = overwritten(COLUMNS + 50, DEPTH + 1000);
        return refusals()
                .add("run wider", "params.columns", "6", "7", () -> NmMatmul.run(x, wider, y))
                .add("run deeper", "params.depth", "40", "48", () -> NmMatmul.run(x, deeper, y))
                .add("run larger", "packed", "", "", () -> NmMatmul.run(x, larger, y))
                .add("unpack wider", "packed", "7", "6", wider::unpack)
                .add("unpack deeper", "packed", "48", "40", deeper::unpack)
                .add("unpack larger", "packed", "", "", larger::unpack)
                .tests();
    }

    private NmWeights overwritten(int columns, int depth) {
        SparseTensor sparse = NmOracle.random(random, PATTERN, QuantSpec.int4Asymmetric(16), columns, depth);
        MemorySegment other = NmMatmul.pack(sparse).segment();
        long bytes = Math.max(w.segment().byteSize(), other.byteSize());
        MemorySegment memory = Arena.ofAuto().allocate(bytes, 64).copyFrom(w.segment());
        NmWeights wrapped = NmWeights.wrap(memory);
        memory.copyFrom(other);
        return wrapped;
    }
}
