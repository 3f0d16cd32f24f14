package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** At least 10,000 random calls of each operation, about half of them invalid by one flaw drawn at random. */
class RandomArgumentsTest {
    private static final double FLAWED = 0.5;

    @Test
    void quantize() {
        RandomCalls.run("quantize", RandomArgumentsTest::quantizeCall);
    }

    @Test
    void dequantize() {
        RandomCalls.run("dequantize", RandomArgumentsTest::dequantizeCall);
    }

    @Test
    void qmatmul() {
        RandomCalls.run("qmatmul", RandomArgumentsTest::qmatmulCall);
    }

    @Test
    void norm() {
        RandomCalls.run("norm", RandomArgumentsTest::normCall);
    }

    private static QuantSpec spec(Random random, int depth) {
        long group = depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
        QuantSpec spec = random.of(
                QuantSpec.int8(group),
                QuantSpec.int8Asymmetric(group),
                QuantSpec.int4(group),
                QuantSpec.int4Asymmetric(group));
        return spec.withScales(random.of(DType.F32, DType.F16));
    }

    /** A matrix of its own with gaps between the rows. */
    private static Guarded guarded(Random random, DType dtype, int rows, int columns) {
        return Guarded.matrix(
                Arena.ofAuto(), dtype, rows, columns, columns + random.between(0, 5), random.between(0, 9));
    }

    /** The first matrix on another address, shape, type or arena: none of them allowed where it was. */
    private static Tensor spoiled(Random random, Tensor good, DType... wrongTypes) {
        long rows = good.shape().size(0);
        long columns = good.shape().size(1);
        return switch (random.between(0, 5)) {
            case 0 -> Unreachable.closed(good.dtype(), rows, columns);
            case 1 -> Unreachable.foreign(good.dtype(), rows, columns);
            case 2 -> Tensor.allocate(good.dtype(), rows, columns + 1);
            case 3 -> Tensor.allocate(random.of(wrongTypes), rows, columns);
            case 4 -> Tensor.allocate(good.dtype(), rows * columns);
            default -> null;
        };
    }

    /** No loop runs over the rows of nothing. */
    @ParameterizedTest
    @ValueSource(longs = {1L << 40, Long.MAX_VALUE})
    void manyRowsOfNothing(long rows) {
        Tensor none = Tensor.allocate(DType.F32, rows, 0);
        assertTimeoutPreemptively(Duration.ofSeconds(20), () -> {
            QMatmul.run(none, QMatmul.pack(Tensor.allocate(DType.F32, 0, 0), QuantSpec.int8()), none.contiguous());
            Norm.layer(none, null, null, 1, none);
            QuantizedTensor quantized = Quantize.run(none, QuantSpec.int8());
            Quantize.dequantize(quantized, none);
        });
    }

    /** The same matrix with strides that no index reaches: they are free on axes of one element or none. */
    private static Tensor withFreeStrides(Random random, Tensor x) {
        long[] strides = x.strides();
        for (int axis = 0; axis < 2; axis++) {
            if (x.shape().size(axis) <= 1 && random.chance(0.3)) {
                strides[axis] = random.of(1L, 1L << 40, Long.MAX_VALUE);
            }
        }
        return Tensor.wrap(x.segment(), x.dtype(), x.shape(), strides);
    }

    // ---- quantize --------------------------------------------------------------------------------------------------

    private static Call quantizeCall(Random random) {
        int rows = random.between(0, 9);
        int depth = random.between(0, 100);
        QuantSpec spec = spec(random, depth);
        DType dtype = random.of(DType.F32, DType.F16, DType.BF16);
        double magnitude = random.chance(0.8) ? 1 : Math.pow(10, random.between(-44, 38));
        Tensor x = Tensor.of(dtype, random.normal(rows * depth, magnitude), rows, depth);
        if (random.chance(0.3)) {
            x = x.transpose().contiguous().transpose();
        }
        x = withFreeStrides(random, x);
        QuantizedTensor out = QuantizedTensor.allocate(spec, rows, depth);
        int threads = random.between(0, 3);
        String what = x.describe() + " " + spec + " threads " + threads;
        boolean flawed = random.chance(FLAWED);
        if (flawed) {
            int flaw = random.between(0, 4);
            what += " flaw " + flaw;
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> threads = random.of(-1, 1025, Integer.MIN_VALUE);
                case 2 ->
                    out = new QuantizedTensor(spec, Unreachable.readOnly(out.codes()), out.scales(), out.zeroPoints());
                case 3 ->
                    out = new QuantizedTensor(
                            spec,
                            out.codes(),
                            random.of(
                                    Unreachable.closed(
                                            spec.scales(),
                                            rows,
                                            out.scales().shape().size(1)),
                                    Unreachable.foreign(
                                            spec.scales(),
                                            rows,
                                            out.scales().shape().size(1))),
                            out.zeroPoints());
                default -> {
                    x = Tensor.of(DType.F32, random.normal(20, 1), 2, 10);
                    spec = QuantSpec.int8();
                    Tensor codes = Tensor.wrap(x.segment().asSlice(random.between(0, 60)), DType.I8, 2, 10);
                    out = new QuantizedTensor(spec, codes, Tensor.allocate(DType.F32, 2, 1), null);
                }
            }
        } else if (rows > 0 && depth > 0 && random.chance(0.1)) {
            x.setFloat(random.of(Float.NaN, Float.POSITIVE_INFINITY), random.between(0, rows - 1), depth - 1);
        }
        boolean refused = flawed || new QuantizeOracle(x.toFloatArray(), rows, depth, spec).refusal != null;
        Tensor input = x;
        QuantizedTensor output = out;
        int count = threads;
        String context = what;
        MemorySegment codes = output.codes().segment();
        byte[] before = codes.toArray(ValueLayout.JAVA_BYTE);
        return new Call(
                context,
                !refused,
                () -> Quantize.run(input, output, count),
                () -> QuantizeTest.assertCodes(
                        new QuantizeOracle(input.toFloatArray(), rows, depth, output.spec()), output, context),
                () -> codes.mismatch(MemorySegment.ofArray(before)) == -1);
    }

    private static Call dequantizeCall(Random random) {
        int rows = random.between(0, 9);
        int depth = random.between(0, 100);
        QuantSpec spec = spec(random, depth);
        QuantizedTensor in = QMatmulOracle.exactWeights(random.source, spec, rows, depth);
        DType dtype = random.of(DType.F32, DType.F16, DType.BF16);
        Guarded out = guarded(random, dtype, rows, depth);
        Tensor x = withFreeStrides(random, out.tensor);
        int threads = random.between(0, 3);
        String what = in + " -> " + x.describe() + " threads " + threads;
        boolean flawed = random.chance(FLAWED);
        if (flawed) {
            int flaw = random.between(0, 4);
            what += " flaw " + flaw;
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> threads = random.of(-1, 1025, Integer.MAX_VALUE);
                case 2 -> x = Unreachable.readOnly(x);
                case 3 ->
                    in = new QuantizedTensor(
                            spec,
                            random.of(
                                    Unreachable.closed(spec.codes(), rows, depth),
                                    Unreachable.foreign(spec.codes(), rows, depth)),
                            in.scales(),
                            in.zeroPoints());
                default -> {
                    MemorySegment memory = Arena.ofAuto().allocate(400, 64);
                    in = new QuantizedTensor(
                            QuantSpec.int8(),
                            Tensor.wrap(memory.asSlice(random.between(0, 60)), DType.I8, 3, 20),
                            Tensor.allocate(DType.F32, 3, 1),
                            null);
                    x = Tensor.wrap(memory, DType.F32, 3, 20);
                }
            }
        }
        Tensor values = x;
        QuantizedTensor input = in;
        int count = threads;
        String context = what;
        return new Call(
                context,
                !flawed,
                () -> Quantize.dequantize(input, values, count),
                () -> {
                    QuantizeTest.assertValues(input, values, context);
                    assertTrue(out.unchangedOutside(0, depth), context);
                },
                out::unchanged);
    }

    // ---- qmatmul ---------------------------------------------------------------------------------------------------

    private static Call qmatmulCall(Random random) {
        int rows = random.between(0, 9);
        int columns = random.between(0, 24);
        int depth = random.between(0, 100);
        QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec(random, depth), columns, depth);
        PackedWeights w = QMatmul.pack(weights);
        DType xType = random.of(DType.F32, DType.BF16);
        DType yType = random.of(DType.F32, DType.BF16);
        Tensor x = withFreeStrides(
                random, guarded(random, xType, rows, depth).fill(random.normal(rows * depth, 1)).tensor);
        Guarded out = guarded(random, yType, rows, columns).fill(random.normal(rows * columns, 1));
        Tensor y = withFreeStrides(random, out.tensor);
        int begin = random.chance(0.5) ? 0 : random.between(0, columns);
        int end = random.chance(0.5) ? columns : random.between(begin, columns);
        Options options = Options.DEFAULT
                .withMode(random.of(Mode.values()))
                .withActivation(random.of(Activation.values()))
                .withThreads(random.between(0, 3))
                .withColumns(begin, end);
        if (random.chance(0.5)) {
            options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
        }
        if (random.chance(0.5)) {
            options = options.withResidual(
                    random.chance(0.3)
                            ? y
                            : guarded(random, yType, rows, columns).fill(random.normal(rows * columns, 1)).tensor);
        }
        String what = x.describe() + " " + w + " " + y.describe() + " " + options.mode() + " " + options.activation();
        boolean flawed = random.chance(FLAWED);
        if (flawed) {
            int flaw = random.between(0, 9);
            what += " flaw " + flaw;
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.F16, DType.I8, DType.I32);
                case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> options = options.withColumns(begin, columns + 1L + random.between(0, 9));
                case 4 ->
                    options = options.withBias(random.of(
                            Tensor.allocate(DType.F32, columns + 1),
                            Tensor.allocate(DType.BF16, columns),
                            Unreachable.closed(DType.F32, columns),
                            Unreachable.foreign(DType.F32, columns)));
                case 5 ->
                    options = options.withResidual(random.of(
                            Tensor.allocate(yType, rows + 1, columns),
                            Tensor.allocate(yType == DType.F32 ? DType.BF16 : DType.F32, rows, columns),
                            Unreachable.closed(yType, rows, columns)));
                case 6 ->
                    x = Tensor.wrap(
                            Arena.ofAuto().allocate(4096, 4),
                            xType,
                            Shape.of(rows + 2, depth + 2),
                            random.of(0L, 1L),
                            1);
                case 7 -> {
                    Tensor both = Tensor.allocate(yType, 2, Math.max(16, depth + columns));
                    weights = QMatmulOracle.exactWeights(random.source, QuantSpec.int8(), 3, 16);
                    w = QMatmul.pack(weights);
                    x = both.slice(1, 0, 16);
                    y = both.slice(1, 13, 16);
                    options = Options.DEFAULT;
                }
                case 8 -> w = null;
                default -> options = null;
            }
        }
        Tensor input = x;
        Tensor output = y;
        PackedWeights packed = w;
        Options chosen = options;
        String context = what;
        Expected expected = flawed ? null : QMatmulOracle.of(x, weights, options);
        return new Call(
                context,
                !flawed,
                () -> QMatmul.run(input, packed, output, chosen),
                () -> {
                    expected.assertMatches(output, begin, end, context);
                    assertTrue(out.unchangedOutside(begin, end), context);
                },
                out::unchanged);
    }

    /** Any bytes as packed weights, or packed weights with flipped bytes in the header: refused, or as described. */
    @Test
    void packedBuffers() {
        RandomCalls.run("packed buffers", random -> {
            int columns = random.between(1, 24);
            int depth = random.between(1, 100);
            QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec(random, depth), columns, depth);
            MemorySegment good = QMatmul.pack(weights).segment();
            MemorySegment bytes = Arena.ofAuto().allocate(good.byteSize(), 64).copyFrom(good);
            String what = weights + "";
            Outcome right = Outcome.ACCEPTED;
            MemorySegment given = bytes;
            switch (random.between(0, 5)) {
                case 0 -> {
                    given = bytes.asSlice(0, random.source.nextLong(good.byteSize()));
                    what += " in " + given.byteSize() + " bytes";
                    right = Outcome.REFUSED;
                }
                case 1, 2, 3 -> {
                    int at = random.between(0, 63);
                    int bit = random.between(0, 7);
                    what += " bit " + bit + " of byte " + at + " flipped";
                    bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (bytes.get(ValueLayout.JAVA_BYTE, at) ^ 1 << bit));
                    right = Outcome.EITHER;
                }
                default -> {}
            }
            MemorySegment buffer = given;
            String context = what;
            boolean same = right == Outcome.ACCEPTED;
            return new Call(
                    context,
                    right,
                    () -> PackedWeights.wrap(buffer),
                    () -> {
                        PackedWeights packed = PackedWeights.wrap(buffer);
                        QuantizedTensor unpacked = packed.unpack();
                        if (same) {
                            QuantizeTest.assertSameBytes(weights.codes(), unpacked.codes());
                        }
                        assertRuns(packed, unpacked, random, context);
                    },
                    () -> true);
        });
    }

    /** The product with weights that a changed header describes: right if {@link QMatmul#pack} would take them. */
    private static void assertRuns(PackedWeights packed, QuantizedTensor weights, Random random, String context) {
        int depth = (int) packed.depth();
        int columns = (int) packed.rows();
        Tensor x = Tensor.of(random.normal(2 * depth, 1), 2, depth);
        Guarded y = Guarded.matrix(DType.F32, 2, columns);
        Options options = Options.DEFAULT.withMode(random.of(Mode.values()));
        QMatmul.run(x, packed, y.tensor, options);
        assertTrue(y.unchangedOutside(0, columns), context);
        boolean moderate = true;
        for (float scale : weights.scales().toFloatArray()) {
            moderate &= scale == 0 || Math.abs(scale) > 1e-20f && Math.abs(scale) < 1e20f;
        }
        if (moderate && isPackable(weights)) {
            QMatmulOracle.of(x, weights, options).assertMatches(y.tensor, context + " " + options.mode());
        }
    }

    private static boolean isPackable(QuantizedTensor weights) {
        try {
            QMatmul.pack(weights);
            return true;
        } catch (IllegalArgumentException e) {
            return false;
        }
    }

    // ---- norm ------------------------------------------------------------------------------------------------------

    private static Call normCall(Random random) {
        int rows = random.between(0, 9);
        int columns = random.between(0, 80);
        Norm.Kind kind = random.of(Norm.Kind.values());
        DType xType = random.of(DType.F32, DType.BF16);
        DType yType = random.of(DType.F32, DType.BF16);
        Tensor x = withFreeStrides(
                random, guarded(random, xType, rows, columns).fill(random.normal(rows * columns, 1)).tensor);
        Guarded out = guarded(random, yType, rows, columns);
        Tensor y = withFreeStrides(random, out.tensor);
        if (random.chance(0.2) && xType == yType) {
            out.fill(x.toFloatArray());
            x = y;
        }
        Tensor weight = random.chance(0.5) ? null : Tensor.of(random.normal(columns, 1), columns);
        Tensor bias = random.chance(0.5) ? null : Tensor.of(random.normal(columns, 1), columns);
        float epsilon = random.of(0f, 1e-12f, 1e-5f, 1f);
        int threads = random.between(0, 3);
        String what = kind + " " + x.describe() + " " + y.describe() + " epsilon " + epsilon;
        boolean flawed = random.chance(FLAWED);
        if (flawed) {
            int flaw = random.between(0, 6);
            what += " flaw " + flaw;
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.F16, DType.I8, DType.I32);
                case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> epsilon = random.of(-1f, Float.NaN, Float.POSITIVE_INFINITY, -Float.MIN_VALUE);
                case 4 -> threads = random.of(-1, 1025);
                case 5 ->
                    weight = random.of(
                            Tensor.allocate(DType.F32, columns + 1),
                            Tensor.allocate(DType.BF16, columns),
                            Unreachable.foreign(DType.F32, columns));
                default -> {
                    Tensor both = Tensor.allocate(DType.F32, 4, columns + 1);
                    x = both.slice(0, 0, 3);
                    y = both.slice(0, 1, 4);
                    weight = null;
                    bias = null;
                }
            }
        }
        Tensor input = x;
        Tensor output = y;
        Tensor scale = weight;
        Tensor shift = bias;
        float eps = epsilon;
        int count = threads;
        String context = what;
        Expected expected = flawed ? null : NormOracle.of(kind, x, weight, bias, epsilon);
        return new Call(
                context,
                !flawed,
                () -> NormTest.run(kind, input, scale, shift, eps, output, count),
                () -> {
                    expected.assertMatches(output, context);
                    assertTrue(out.unchangedOutside(0, columns), context);
                },
                out::unchanged);
    }
}
