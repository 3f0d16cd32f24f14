package io.gatun.ops;

import static io.gatun.ops.RandomArguments.elsewhere;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** At least 10,000 random calls of the product of FP8 rows, about half of them invalid by one flaw drawn at random. */
class RandomQuantizedRowsTest {
    @Test
    void scaled() {
        RandomCalls.run("qmatmul of quantized rows", random -> new Product(random).call());
    }

    private static final class Product extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int columns = random.between(0, 24);
        private final int depth = random.between(1, 100);
        private final QuantSpec spec = weightSpec();
        private final QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec, columns, depth);
        private final Guarded out;
        private PackedWeights packed = QMatmul.pack(weights);
        private QuantizedTensor x = quantized(xSpec(), depth);
        private Tensor y;
        private Options options = Options.DEFAULT
                .withMode(random.of(Mode.AUTO, Mode.BF16))
                .withActivation(random.of(Activation.values()))
                .withThreads(random.between(0, 3));

        Product(Random random) {
            super(random);
            DType dtype = random.of(DType.F32, DType.BF16);
            out = guarded(random, dtype, rows, columns).fill(random.normal(rows * columns, 1));
            y = withFreeStrides(random, out.tensor);
            if (random.chance(0.5)) {
                options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
            }
            if (random.chance(0.3)) {
                options = options.withResidual(y);
            }
        }

        /** Small floats or a code book of other numbers than integers. */
        private QuantSpec weightSpec() {
            long group = depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
            QuantSpec fp8 = QuantSpec.fp8(random.of(DType.F8E4M3, DType.F8E5M2));
            return random.of(
                    fp8.withBlocks(random.of(1, 7), group),
                    QuantSpec.mxfp8(DType.F8E4M3).withGroup(group),
                    QuantSpec.mxfp6(DType.F6E2M3).withGroup(group),
                    QuantSpec.nf4(64).withGroup(group),
                    QuantSpec.dynamic8(64).withGroup(group));
        }

        private QuantSpec xSpec() {
            QuantSpec fp8 = QuantSpec.fp8(random.of(DType.F8E4M3, DType.F8E5M2));
            return random.of(fp8, fp8.perTensor(), fp8.withGroup(spec.group()));
        }

        private QuantizedTensor quantized(QuantSpec rowSpec, int width) {
            return Quantize.run(Tensor.of(random.normal(rows * width, 1), rows, width), rowSpec);
        }

        @Override
        String describe() {
            return x + " " + packed + " " + y.describe() + " " + options.mode() + " " + options.activation();
        }

        @Override
        int lastFlaw() {
            return 7;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 ->
                    x = random.of(
                            null,
                            with(elsewhere(random, x.codes()), x.scales()),
                            with(x.codes(), elsewhere(random, x.scales())));
                case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> x = quantized(x.spec().withGroup(0), depth + random.between(1, 9));
                case 4 ->
                    x = quantized(
                            random.of(QuantSpec.int8(), QuantSpec.dynamic8(64), QuantSpec.mxfp8(DType.F8E4M3)), depth);
                case 5 -> packed = null;
                case 6 -> options = random.of(null, options.withColumns(0, columns + 1));
                default -> options = options.withBias(Tensor.allocate(DType.F32, columns + 1));
            }
        }

        private QuantizedTensor with(Tensor codes, Tensor scales) {
            return new QuantizedTensor(x.spec(), x.shape(), codes, scales, null, null, null);
        }

        @Override
        void run() {
            QMatmul.run(x, packed, y, options);
        }

        @Override
        Consumer<String> expected() {
            Expected values = QMatmulOracle.of(x, weights, options);
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
