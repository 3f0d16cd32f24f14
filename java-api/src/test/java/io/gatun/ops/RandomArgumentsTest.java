package io.gatun.ops;

import static io.gatun.ops.RandomArguments.FLAWED;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spec;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.RandomCalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** At least 10,000 random calls of each operation, about half of them invalid by one flaw drawn at random. */
class RandomArgumentsTest {
    @Test
    void quantize() {
        RandomCalls.run("quantize", RandomArgumentsTest::quantizeCall);
    }

    @Test
    void dequantize() {
        RandomCalls.run("dequantize", RandomArgumentsTest::dequantizeCall);
    }

    @Test
    void norm() {
        RandomCalls.run("norm", RandomArgumentsTest::normCall);
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
