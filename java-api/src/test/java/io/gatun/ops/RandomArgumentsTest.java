package io.gatun.ops;

import static io.gatun.ops.RandomArguments.anySpec;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spec;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Arrays;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** At least 10,000 random calls of each operation, about half of them invalid by one flaw drawn at random. */
class RandomArgumentsTest {
    @Test
    void quantize() {
        RandomCalls.run("quantize", random -> new Quantization(random).call());
    }

    @Test
    void dequantize() {
        RandomCalls.run("dequantize", random -> new Dequantization(random).call());
    }

    @Test
    void norm() {
        RandomCalls.run("norm", random -> new Normalization(random).call());
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

    private static final class Quantization extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 100);
        private QuantSpec spec = anySpec(random, depth);
        private Tensor x;
        private QuantizedTensor out = QuantizedTensor.allocate(spec, rows, depth);
        private int threads = random.between(0, 3);
        private byte[] before = bytes();

        Quantization(Random random) {
            super(random);
            DType dtype = random.of(DType.F32, DType.F16, DType.BF16);
            double magnitude = random.chance(0.8) ? 1 : Math.pow(10, random.between(-44, 38));
            x = Tensor.of(dtype, random.normal(rows * depth, magnitude), rows, depth);
            if (rows > 0 && depth > 0 && random.chance(0.1)) {
                x.setFloat(random.of(Float.NaN, Float.POSITIVE_INFINITY), random.between(0, rows - 1), depth - 1);
            }
            if (random.chance(0.3) && !spec.blocks().flat()) {
                x = x.transpose().contiguous().transpose();
            }
            x = withFreeStrides(random, x);
        }

        private QuantizedTensor with(Tensor codes, Tensor scales) {
            return new QuantizedTensor(
                    spec, out.shape(), codes, scales, out.zeroPoints(), out.tensorScale(), out.nested());
        }

        /** Of a closed arena there are none. */
        private byte[] bytes() {
            return !out.codes().segment().isAccessibleBy(Thread.currentThread())
                            || !out.codes().segment().scope().isAlive()
                    ? before
                    : out.codes().segment().toArray(ValueLayout.JAVA_BYTE);
        }

        @Override
        String describe() {
            return x.describe() + " " + spec + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 4;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> threads = random.of(-1, 1025, Integer.MIN_VALUE);
                case 2 -> out = with(Unreachable.readOnly(out.codes()), out.scales());
                case 3 -> {
                    Tensor good = out.scales() == null ? out.codes() : out.scales();
                    Tensor bad = random.of(
                            Unreachable.closed(good.dtype(), good.shape().toArray()),
                            Unreachable.foreign(good.dtype(), good.shape().toArray()));
                    out = out.scales() == null ? with(bad, null) : with(out.codes(), bad);
                }
                default -> {
                    x = Tensor.of(DType.F32, random.normal(20, 1), 2, 10);
                    spec = QuantSpec.int8();
                    Tensor codes = Tensor.wrap(x.segment().asSlice(random.between(0, 60)), DType.I8, 2, 10);
                    out = new QuantizedTensor(spec, codes, Tensor.allocate(DType.F32, 2, 1), null);
                    before = bytes();
                }
            }
        }

        private QuantizeOracle oracle() {
            return new QuantizeOracle(x.toFloatArray(), rows, depth, spec);
        }

        @Override
        boolean hasBadValues() {
            return oracle().refusal != null;
        }

        @Override
        void run() {
            Quantize.run(x, out, Quantize.Options.DEFAULT.withThreads(threads));
        }

        @Override
        Consumer<String> expected() {
            return context -> QuantizeTest.assertCodes(oracle(), out, context);
        }

        @Override
        boolean unchanged() {
            return Arrays.equals(before, bytes());
        }
    }

    private static final class Dequantization extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 100);
        private final QuantSpec spec = spec(random, depth);
        private QuantizedTensor in = QMatmulOracle.exactWeights(random.source, spec, rows, depth);
        private final Guarded out = guarded(random, random.of(DType.F32, DType.F16, DType.BF16), rows, depth);
        private Tensor x = withFreeStrides(random, out.tensor);
        private int threads = random.between(0, 3);

        Dequantization(Random random) {
            super(random);
        }

        @Override
        String describe() {
            return in + " -> " + x.describe() + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 4;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> threads = random.of(-1, 1025, Integer.MAX_VALUE);
                case 2 -> x = Unreachable.readOnly(x);
                case 3 -> {
                    DType dtype = in.codes().dtype();
                    long[] shape = in.codes().shape().toArray();
                    Tensor codes = random.of(Unreachable.closed(dtype, shape), Unreachable.foreign(dtype, shape));
                    in = new QuantizedTensor(
                            spec, in.shape(), codes, in.scales(), in.zeroPoints(), in.tensorScale(), null);
                }
                default -> {
                    MemorySegment memory = Arena.ofAuto().allocate(400, 64);
                    Tensor codes = Tensor.wrap(memory.asSlice(random.between(0, 60)), DType.I8, 3, 20);
                    in = new QuantizedTensor(QuantSpec.int8(), codes, Tensor.allocate(DType.F32, 3, 1), null);
                    x = Tensor.wrap(memory, DType.F32, 3, 20);
                }
            }
        }

        @Override
        void run() {
            Quantize.dequantize(in, x, threads);
        }

        @Override
        Consumer<String> expected() {
            return context -> {
                QuantizeTest.assertValues(in, x, context);
                assertTrue(out.unchangedOutside(0, depth), context);
            };
        }

        @Override
        boolean unchanged() {
            return out.unchanged();
        }
    }

    private static final class Normalization extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int columns = random.between(0, 80);
        private final Norm.Kind kind = random.of(Norm.Kind.values());
        private final Guarded out = guarded(random, random.of(DType.F32, DType.BF16), rows, columns);
        private Tensor x;
        private Tensor y = withFreeStrides(random, out.tensor);
        private Tensor weight = random.chance(0.5) ? null : Tensor.of(random.normal(columns, 1), columns);
        private Tensor bias = random.chance(0.5) ? null : Tensor.of(random.normal(columns, 1), columns);
        private float epsilon = random.of(0f, 1e-12f, 1e-5f, 1f);
        private int threads = random.between(0, 3);

        Normalization(Random random) {
            super(random);
            DType dtype = random.of(DType.F32, DType.BF16);
            Guarded in = guarded(random, dtype, rows, columns).fill(random.normal(rows * columns, 1));
            x = withFreeStrides(random, in.tensor);
            if (random.chance(0.2) && dtype == y.dtype()) {
                out.fill(x.toFloatArray());
                x = y;
            }
        }

        @Override
        String describe() {
            return kind + " " + x.describe() + " " + y.describe() + " epsilon " + epsilon;
        }

        @Override
        int lastFlaw() {
            return 6;
        }

        @Override
        void spoil(int flaw) {
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

        @Override
        void run() {
            NormTest.run(kind, x, weight, bias, epsilon, y, threads);
        }

        @Override
        Consumer<String> expected() {
            Expected values = NormOracle.of(kind, x, weight, bias, epsilon);
            return context -> {
                values.assertMatches(y, context);
                assertTrue(out.unchangedOutside(0, columns), context);
            };
        }

        @Override
        boolean unchanged() {
            return out.unchanged();
        }
    }
}
