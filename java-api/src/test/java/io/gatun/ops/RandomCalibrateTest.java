package io.gatun.ops;

import static io.gatun.ops.RandomArguments.elsewhere;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** At least 10,000 random calls of each operation, about half of them invalid by one flaw drawn at random. */
class RandomCalibrateTest {
    @Test
    void amax() {
        RandomCalls.run("amax", random -> new Amax(random).call());
    }

    @Test
    void requantize() {
        RandomCalls.run("requantize", random -> new Requantization(random).call());
    }

    @Test
    void errors() {
        RandomCalls.run("errors", random -> new Errors(random).call());
    }

    private static final class Amax extends RandomCall {
        private final RandomBlocks grid = RandomBlocks.of(random, random.between(0, 9), random.between(0, 100));
        private final DType dtype = RandomBlocks.floats(random);
        private QuantSpec.Blocks blocks = grid.blocks();
        private Tensor x;
        private final Guarded out = Guarded.matrix(DType.F32, grid.down(), grid.across());
        private Tensor amax = out.tensor;
        private int threads = random.between(0, 3);

        Amax(Random random) {
            super(random);
            float[] values = random.normal(grid.rows() * grid.columns(), 1);
            for (int i = 0; i < values.length; i++) {
                if (random.chance(0.003)) {
                    values[i] = random.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 0f, -0f);
                }
            }
            x = grid.blocks().flat()
                    ? Tensor.of(dtype, values, grid.rows(), grid.columns())
                    : withFreeStrides(
                            random,
                            guarded(random, dtype, grid.rows(), grid.columns()).fill(values).tensor);
        }

        @Override
        String describe() {
            return dtype + " " + grid + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 4;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 ->
                    x = random.of( // of a column more there may be as many blocks
                            elsewhere(random, x),
                            Tensor.allocate(random.of(DType.I8, DType.I32), grid.rows(), grid.columns()),
                            Tensor.allocate(dtype, grid.rows() * grid.columns()),
                            null);
                case 1 -> amax = spoiled(random, amax, DType.F16, DType.BF16, DType.I32);
                case 2 -> amax = Unreachable.readOnly(amax);
                case 3 -> threads = random.of(-1, 1025, Integer.MIN_VALUE);
                default -> {
                    x = Tensor.of(random.normal(64, 1), 2, 32);
                    amax = Tensor.wrap(x.segment().asSlice(4L * random.between(0, 10)), DType.F32, 2, 32 / 16);
                    blocks = new QuantSpec.Blocks(16, 1, false);
                }
            }
        }

        @Override
        void run() {
            Calibrate.amax(x, blocks, amax, threads);
        }

        @Override
        Consumer<String> expected() {
            float[] largest = new float[grid.down() * grid.across()];
            for (int r = 0; r < grid.rows(); r++) {
                for (int k = 0; k < grid.columns(); k++) {
                    int block = grid.blockOf(r, k);
                    largest[block] = Math.max(largest[block], Math.abs(x.getFloat(r, k))); // NaN wins
                }
            }
            return context -> {
                for (int i = 0; i < largest.length; i++) {
                    float given = amax.getFloat(i / grid.across(), i % grid.across());
                    assertEquals(largest[i], given, "block " + i + ": " + context);
                }
                assertTrue(out.unchangedOutside(0, grid.across()), context);
            };
        }

        @Override
        boolean unchanged() {
            return out.unchanged();
        }
    }

    private static final class Requantization extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 100);
        private QuantizedTensor stored;
        private int bits = random.of(6, 4, 2);
        private int threads = random.between(0, 3);
        private QuantizedTensor fewer;

        Requantization(Random random) {
            super(random);
            long group = depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
            QuantSpec spec = random.of(
                    QuantSpec.int8(group),
                    QuantSpec.int8Asymmetric(group),
                    QuantSpec.int8Asymmetric(group).withFloatZeroPoints());
            spec = spec.withScales(random.of(DType.F32, DType.F16));
            stored = QMatmulOracle.exactWeights(random.source, spec, rows, depth);
        }

        @Override
        String describe() {
            return stored + " to " + bits + " bits, threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 4;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> bits = random.of(0, 1, 3, 5, 7, 8, -4, Integer.MAX_VALUE);
                case 1 -> threads = random.of(-1, 1025);
                case 2 ->
                    stored = QuantizedTensor.allocate(random.of(QuantSpec.int4(0), QuantSpec.dynamic8(64)), 3, 20);
                case 3 -> stored = null;
                default -> {
                    Tensor codes = elsewhere(random, stored.codes());
                    stored = new QuantizedTensor(
                            stored.spec(), stored.shape(), codes, stored.scales(), stored.zeroPoints(), null, null);
                }
            }
        }

        @Override
        void run() {
            fewer = Calibrate.requantize(stored, bits, threads);
        }

        @Override
        Consumer<String> expected() {
            return context -> CalibrateTest.assertRequantized(stored, fewer, bits);
        }

        @Override
        boolean unchanged() {
            return true; // what is made is new memory
        }
    }

    private static final class Errors extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 100);
        private final QuantSpec spec = RandomArguments.spec(random, depth);
        private QuantizedTensor quantized = QMatmulOracle.exactWeights(random.source, spec, rows, depth);
        private Calibrate.Per per = random.of(Calibrate.Per.values());
        private Tensor x = withFreeStrides(
                random,
                guarded(random, RandomBlocks.floats(random), rows, depth).fill(random.normal(rows * depth, 9)).tensor);
        private int threads = random.between(0, 3);
        private Calibrate.Errors found;

        Errors(Random random) {
            super(random);
        }

        @Override
        String describe() {
            return x.describe() + " " + quantized + " per " + per + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 3;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> threads = random.of(-1, 1025);
                case 2 -> per = null;
                default -> {
                    Tensor codes = elsewhere(random, quantized.codes());
                    quantized = new QuantizedTensor(
                            spec,
                            quantized.shape(),
                            codes,
                            quantized.scales(),
                            quantized.zeroPoints(),
                            quantized.tensorScale(),
                            null);
                }
            }
        }

        @Override
        void run() {
            found = Calibrate.errors(x, quantized, per, threads);
        }

        @Override
        Consumer<String> expected() {
            Decoder decoder = new Decoder(quantized);
            int group = (int) Math.max(1, per == Calibrate.Per.ROW ? depth : spec.groupOf(depth));
            int columns = per == Calibrate.Per.ROW ? 1 : (depth + group - 1) / group;
            int groupRows = per == Calibrate.Per.ROW ? 1 : (int) spec.rowsOf(rows);
            int blockRows = (rows + groupRows - 1) / groupRows;
            double[] errors = new double[blockRows * columns];
            double[] squares = new double[errors.length];
            for (int r = 0; r < rows; r++) {
                for (int k = 0; k < depth; k++) {
                    int block = r / groupRows * columns + k / group;
                    double value = x.getFloat(r, k);
                    double error = value - decoder.value(r, k);
                    errors[block] += error * error;
                    squares[block] += value * value;
                }
            }
            return context -> {
                assertEquals(blockRows, found.rows(), context);
                assertEquals(columns, found.columns(), context);
                for (int i = 0; i < errors.length; i++) {
                    assertEquals(errors[i], found.errors()[i], 1e-12 * errors[i], "error " + i + ": " + context);
                    assertEquals(squares[i], found.squares()[i], 1e-12 * squares[i], "square " + i + ": " + context);
                }
            };
        }

        @Override
        boolean unchanged() {
            return true; // there are no outputs
        }
    }
}
