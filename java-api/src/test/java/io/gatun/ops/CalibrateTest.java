package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

class CalibrateTest {
    private static final List<DType> TYPES = List.of(DType.F32, DType.F16, DType.BF16);

    // ---- largest magnitudes ----------------------------------------------------------------------------------------

    private static void checkAmax(Tensor x, QuantSpec.Blocks blocks) {
        int rows = (int) x.shape().size(0);
        int columns = (int) x.shape().size(1);
        int depth = blocks.flat() ? rows * columns : columns;
        int height = blocks.flat() ? 1 : rows;
        int group = blocks.group() == 0 ? depth : (int) blocks.group();
        int groupRows = blocks.rows() == 0 ? height : (int) blocks.rows();
        Tensor amax = Calibrate.amax(x, blocks);
        String context = x.describe() + " " + blocks;
        for (int top = 0, r = 0; top < height; top += groupRows, r++) {
            for (int left = 0, c = 0; left < depth; left += group, c++) {
                float largest = 0;
                for (int row = top; row < Math.min(top + groupRows, height); row++) {
                    for (int k = left; k < Math.min(left + group, depth); k++) {
                        int at = row * depth + k;
                        largest = Math.max(largest, Math.abs(x.getFloat(at / columns, at % columns)));
                    }
                }
                assertEquals(largest, amax.getFloat(r, c), context);
            }
        }
    }

    @Test
    @Tag("tier")
    void findsTheLargestMagnitudeOfEachBlock() {
        Random random = new Random(71);
        for (DType type : TYPES) {
            for (int columns : new int[] {1, 15, 16, 17, 100, 1000}) {
                Tensor x = Tensor.of(type, random.normal(5 * columns, 3), 5, columns);
                for (QuantSpec.Blocks blocks : List.of(
                        new QuantSpec.Blocks(0, 0, false),
                        new QuantSpec.Blocks(0, 1, false),
                        new QuantSpec.Blocks(16, 2, false),
                        new QuantSpec.Blocks(7, 1, true))) {
                    checkAmax(x, blocks);
                }
                assertEquals(
                        Calibrate.amax(x, new QuantSpec.Blocks(0, 0, false)).getFloat(0, 0), Calibrate.amax(x));
            }
        }
        assertEquals(0, Calibrate.amax(Tensor.allocate(DType.F32, 0, 3)));
        assertTrue(Float.isNaN(Calibrate.amax(Tensor.of(new float[] {1, Float.NaN}, 1, 2))));
        assertEquals(
                Float.POSITIVE_INFINITY, Calibrate.amax(Tensor.of(new float[] {1, Float.NEGATIVE_INFINITY}, 1, 2)));
    }

    // ---- fewer bits ------------------------------------------------------------------------------------------------

    /** The defining property: each value is the stored one, rounded to the coarser grid and clamped to its range. */
    static void assertRequantized(QuantizedTensor stored, QuantizedTensor fewer, int bits) {
        Tensor fine = Quantize.dequantize(stored, DType.F32);
        Tensor coarse = Quantize.dequantize(fewer, DType.F32);
        QuantSpec spec = stored.spec();
        long group = spec.groupOf(stored.depth());
        int levels = 1 << bits;
        for (long r = 0; r < stored.rows(); r++) {
            for (long k = 0; k < stored.depth(); k++) {
                double step = (double) stored.scales().getFloat(r, k / group) * (256 / levels);
                double origin = 0;
                double low = -levels / 2;
                if (spec.zeroPoint() == QuantSpec.ZeroPoint.INTEGER) {
                    int zero = (int) Math.rint(stored.zeroPoints().getInt(r, k / group) * levels / 256.0);
                    low = -Math.min(zero, levels - 1);
                } else if (spec.zeroPoint() == QuantSpec.ZeroPoint.FLOAT) {
                    origin = stored.zeroPoints().getFloat(r, k / group);
                    low = 0;
                }
                // The stored code itself, free of the rounding of q * s + z.
                double code = step == 0
                        ? 0
                        : Math.rint((fine.getFloat(r, k) - origin) / step * (256 / levels)) / (256 / levels);
                double steps = Math.min(Math.max(Math.rint(code), low), low + levels - 1);
                float expected = (float) ((double) (float) (steps * step) + origin);
                assertEquals(
                        expected + 0f, coarse.getFloat(r, k) + 0f, stored + " bits " + bits + " at " + r + ", " + k);
            }
        }
        assertEquals(
                bits == 6 ? spec.codes() : bits == 4 ? DType.U4 : DType.U2,
                fewer.spec().codes());
    }

    @Test
    @Tag("tier")
    void readsOneBufferOfCodesWithFewerBits() {
        Random random = new Random(72);
        for (int depth : new int[] {1, 33, 100, 5000}) {
            Tensor x = Tensor.of(random.normal(3 * depth, 1), 3, depth);
            for (QuantSpec spec : List.of(
                    QuantSpec.int8(),
                    QuantSpec.int8(32),
                    QuantSpec.int8Asymmetric(),
                    QuantSpec.int8Asymmetric(32),
                    QuantSpec.int8Asymmetric().withFloatZeroPoints())) {
                QuantizedTensor stored = Quantize.run(x, spec.group() > depth ? spec.withGroup(0) : spec);
                for (int bits : new int[] {6, 4, 2}) {
                    assertRequantized(stored, Calibrate.requantize(stored, bits), bits);
                }
            }
        }
    }

    /** Fewer bits lie farther away, and the product takes what requantize makes. */
    @Test
    void fewerBitsAreMultiplied() {
        Random random = new Random(73);
        Tensor weights = Tensor.of(random.normal(8 * 64, 1), 8, 64);
        Tensor x = Tensor.of(random.normal(2 * 64, 1), 2, 64);
        QuantizedTensor stored = Quantize.run(weights, QuantSpec.int8());
        double last = Calibrate.errors(weights, stored, Calibrate.Per.ROW).relative();
        for (int bits : new int[] {6, 4, 2}) {
            QuantizedTensor fewer = Calibrate.requantize(stored, bits);
            double relative =
                    Calibrate.errors(weights, fewer, Calibrate.Per.ROW).relative();
            assertTrue(relative > 2 * last, relative + " after " + last);
            last = relative;
            Tensor values = Quantize.dequantize(fewer, DType.F32);
            Tensor y = Tensor.allocate(DType.F32, 2, 8);
            QMatmul.run(x, QMatmul.pack(fewer), y, QMatmul.Options.DEFAULT.withMode(QMatmul.Mode.PRECISE));
            for (int m = 0; m < 2; m++) {
                for (int n = 0; n < 8; n++) {
                    double sum = 0;
                    double size = 0;
                    for (int k = 0; k < 64; k++) {
                        double product = (double) x.getFloat(m, k) * values.getFloat(n, k);
                        sum += product;
                        size += Math.abs(product);
                    }
                    assertEquals(sum, y.getFloat(m, n), size * 0x1p-19, bits + " bits");
                }
            }
        }
    }

    // ---- errors ----------------------------------------------------------------------------------------------------

    private static void checkErrors(Tensor x, QuantSpec spec) {
        QuantizedTensor quantized = Quantize.run(x, spec);
        Tensor values = Quantize.dequantize(quantized, DType.F32);
        int rows = (int) x.shape().size(0);
        int depth = (int) x.shape().size(1);
        double[] errors = new double[rows];
        double[] squares = new double[rows];
        double error = 0;
        double square = 0;
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < depth; k++) {
                double value = x.getFloat(r, k);
                double difference = value - values.getFloat(r, k);
                errors[r] += difference * difference;
                squares[r] += value * value;
            }
            error += errors[r];
            square += squares[r];
        }
        Calibrate.Errors perRow = Calibrate.errors(x, quantized, Calibrate.Per.ROW);
        for (int r = 0; r < rows; r++) {
            assertEquals(errors[r], perRow.errors()[r], errors[r] * 1e-12, spec + " row " + r);
            assertEquals(squares[r], perRow.squares()[r], squares[r] * 1e-12, spec + " row " + r);
        }
        Calibrate.Errors perBlock = Calibrate.errors(x, quantized, Calibrate.Per.BLOCK, 1);
        assertEquals(Math.sqrt(error / square), perBlock.relative(), 1e-12, spec.toString());
        assertEquals(perBlock.rows() * perBlock.columns(), perBlock.errors().length);
        Calibrate.Errors many = Calibrate.errors(x, quantized, Calibrate.Per.BLOCK, 8);
        assertArrayEquals(perBlock.errors(), many.errors());
        assertArrayEquals(perBlock.squares(), many.squares());
    }

    @Test
    @Tag("tier")
    void sumsTheErrorOfEveryFormat() {
        Random random = new Random(74);
        Tensor x = Tensor.of(random.normal(6 * 512, 1), 6, 512);
        for (QuantSpec spec : List.of(
                QuantSpec.int8(),
                QuantSpec.int4(32),
                QuantSpec.int2Asymmetric(17),
                QuantSpec.int4Asymmetric(64).withFloatZeroPoints(),
                QuantSpec.gguf(GgufType.Q4_0),
                QuantSpec.gguf(GgufType.Q6_K))) {
            checkErrors(x, spec);
        }
        checkErrors(x.to(DType.F16), QuantSpec.int4(32));
        checkErrors(x, QuantSpec.int8().withFlatBlocks(64));
    }

    @Test
    void explainsItsKernels() {
        for (DType type : List.of(DType.F32, DType.F16, DType.BF16, DType.I8, DType.U8)) {
            String text = Calibrate.explain(type);
            assertTrue(text.contains("_" + type.toString() + "_"), text);
            assertTrue(text.contains(" on tier " + Gatun.tier()), text);
        }
    }

    // ---- fake quantization -----------------------------------------------------------------------------------------

    /** The definition, in f32 but for the sums. */
    private static void checkFake(FakeQuantize fake, Tensor x, Tensor scales, Tensor dy) {
        int rows = (int) x.shape().size(0);
        int columns = (int) x.shape().size(1);
        DType type = x.dtype();
        Guarded y = Guarded.matrix(type, rows, columns);
        Guarded dx = Guarded.matrix(type, rows, columns);
        Tensor ds = Tensor.allocate(
                DType.F32, scales.shape().size(0), scales.shape().size(1));
        fake.forward(x, scales, y.tensor);
        fake.backward(x, scales, dy, dx.tensor, ds);
        assertTrue(y.unchangedOutside(0, columns) && dx.unchangedOutside(0, columns));
        QuantSpec.Blocks blocks = fake.blocks();
        int group = blocks.group() == 0 ? columns : (int) blocks.group();
        int groupRows = blocks.rows() == 0 ? rows : (int) blocks.rows();
        double[] sums = new double[(int) ds.shape().elements()];
        double[] sizes = new double[sums.length];
        int across = (int) ds.shape().size(1);
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < columns; k++) {
                int block = r / groupRows * across + k / group;
                float scale = scales.getFloat(block / across, block % across);
                float v = x.getFloat(r, k) / scale;
                float code = (float) Math.min(Math.max(Math.rint(v), fake.lowest()), fake.highest());
                Tensor expected = Tensor.of(type, new float[] {code * scale}, 1, 1);
                // Zeros of either sign are equal.
                assertEquals(expected.getFloat(0, 0) + 0f, y.tensor.getFloat(r, k) + 0f, fake + " y " + r + ", " + k);
                boolean inside = v > fake.lowest() && v < fake.highest();
                assertEquals(
                        inside ? dy.getFloat(r, k) + 0f : 0,
                        dx.tensor.getFloat(r, k) + 0f,
                        fake + " dx " + r + ", " + k);
                float factor = inside ? (float) Math.rint(v) - v : v <= fake.lowest() ? fake.lowest() : fake.highest();
                sums[block] += (double) dy.getFloat(r, k) * factor;
                sizes[block] += Math.abs((double) dy.getFloat(r, k) * factor);
            }
        }
        for (int i = 0; i < sums.length; i++) {
            double expected = sums[i] * fake.gradientScale();
            double bound = Math.ulp((float) expected) / 2.0 + 1e-13 * sizes[i];
            assertEquals(expected, ds.getFloat(i / across, i % across), bound, fake + " ds " + i);
        }
    }

    @Test
    @Tag("tier")
    void fakesQuantizationBothWays() {
        Random random = new Random(75);
        for (DType type : TYPES) {
            for (int columns : new int[] {1, 16, 17, 33, 300}) {
                for (QuantSpec.Blocks blocks : List.of(
                        new QuantSpec.Blocks(0, 0, false),
                        new QuantSpec.Blocks(0, 1, false),
                        new QuantSpec.Blocks(16, 2, false))) {
                    Tensor x = Tensor.of(type, random.normal(5 * columns, 2), 5, columns);
                    Tensor dy = Tensor.of(type, random.normal(5 * columns, 1), 5, columns);
                    Tensor scales = Calibrate.amax(x, blocks);
                    for (int r = 0; r < scales.shape().size(0); r++) {
                        for (int g = 0; g < scales.shape().size(1); g++) {
                            scales.setFloat(0.05f + random.between(1, 100) * 0.01f, r, g);
                        }
                    }
                    checkFake(FakeQuantize.signed(3, blocks), x, scales, dy);
                    checkFake(new FakeQuantize(blocks, 0, 15, 0.125f, 3), x, scales, dy);
                }
            }
        }
    }

    /** A learned scale: steps along -ds make the squared error smaller. */
    @Test
    void learnsAScale() {
        Random random = new Random(76);
        Tensor x = Tensor.of(random.normal(4096, 1), 16, 256);
        FakeQuantize fake = FakeQuantize.signed(4, new QuantSpec.Blocks(0, 0, false));
        Tensor scale = Tensor.of(new float[] {0.05f}, 1, 1);
        Tensor y = Tensor.allocate(DType.F32, 16, 256);
        Tensor dx = Tensor.allocate(DType.F32, 16, 256);
        Tensor ds = Tensor.allocate(DType.F32, 1, 1);
        double first = 0;
        double error = 0;
        for (int step = 0; step < 60; step++) {
            fake.forward(x, scale, y);
            error = 0;
            for (int r = 0; r < 16; r++) {
                for (int k = 0; k < 256; k++) {
                    float difference = y.getFloat(r, k) - x.getFloat(r, k);
                    error += (double) difference * difference;
                    y.setFloat(2 * difference / 4096, r, k); // the gradient of the mean squared error
                }
            }
            first = step == 0 ? error : first;
            fake.backward(x, scale, y, dx, ds);
            scale.setFloat(scale.getFloat(0, 0) - 0.01f * ds.getFloat(0, 0), 0, 0);
        }
        assertTrue(error < first / 10, error + " after " + first);
    }

    // ---- dynamic scales --------------------------------------------------------------------------------------------

    @Test
    void dynamicScalesFollowTheLastMagnitudes() {
        DynamicScale scale = new DynamicScale(DType.F8E4M3, 3, 1);
        assertEquals(1, scale.scale());
        float[] amax = {0, 7, 448, 2, Float.POSITIVE_INFINITY, Float.NaN, 1, 3, 0, 0, 0};
        float[] expected = {1, 7 * 2 / 448f, 2, 2, 2, 2, 2, 3 * 2 / 448f, 3 * 2 / 448f, 3 * 2 / 448f, 3 * 2 / 448f};
        for (int i = 0; i < amax.length; i++) {
            scale.update(amax[i]);
            assertEquals(expected[i], scale.scale(), "step " + i);
        }
        assertEquals(DType.F8E4M3, scale.codes());
        DynamicScale gradients = new DynamicScale(DType.F8E5M2, 1, 0);
        gradients.update(Tensor.of(new float[] {1, -57344, 3, 4}, 2, 2));
        assertEquals(1, gradients.scale());
        gradients.update(1e-45f);
        assertEquals(1, gradients.scale(), "a quotient that vanishes makes no scale");
    }

    @Test
    void refusesBadArguments() {
        Tensor x = Tensor.allocate(DType.F32, 4, 32);
        QuantSpec.Blocks row = new QuantSpec.Blocks(0, 1, false);
        Guarded out = Guarded.matrix(DType.F32, 4, 1);
        Tensor ones = Tensor.of(new float[] {1, 1, 0, 1}, 4, 1);
        FakeQuantize fake = FakeQuantize.signed(4, row);
        Refusals refusals = new Refusals(out::unchanged)
                .add("x dtype", "x", "i8", "f32", () -> Calibrate.amax(x.to(DType.I8), row, out.tensor, 0))
                .add("x shape", "x", "[128]", "matrix", () -> Calibrate.amax(x.reshape(128), row, out.tensor, 0))
                .add("x transposed", "x", "strides", "column", () -> Calibrate.amax(x.transpose(), row, out.tensor, 0))
                .add(
                        "amax shape",
                        "amax",
                        "[4, 1]",
                        "[1, 1]",
                        () -> Calibrate.amax(x, new QuantSpec.Blocks(0, 0, false), out.tensor, 0))
                .add(
                        "amax in x",
                        "amax",
                        "overlaps",
                        "own",
                        () -> Calibrate.amax(x, row, Tensor.wrap(x.segment(), DType.F32, 4, 1), 0))
                .add("threads", "threads", "-1", "1024", () -> Calibrate.amax(x, row, out.tensor, -1))
                .add("bits", "bits", "5", "6, 4, 2", () -> Calibrate.requantize(Quantize.run(x, QuantSpec.int8()), 5))
                .add("4 bits", "stored", "u4", "i8", () -> Calibrate.requantize(Quantize.run(x, QuantSpec.int4()), 2))
                .add(
                        "errors shape",
                        "x",
                        "[4, 32]",
                        "[2, 32]",
                        () -> Calibrate.errors(x, QuantizedTensor.allocate(QuantSpec.int8(), 2, 32), Calibrate.Per.ROW))
                .add(
                        "errors cross rows",
                        "per",
                        "ROW",
                        "BLOCK",
                        () -> Calibrate.errors(
                                x,
                                QuantizedTensor.allocate(QuantSpec.int8().withFlatBlocks(48), 4, 32),
                                Calibrate.Per.ROW))
                .add("codes", "highest", "-3", "-2", () -> new FakeQuantize(row, -3, -3, 1, 0))
                .add("gradient scale", "gradientScale", "NaN", "finite", () -> fake.withGradientScale(Float.NaN))
                .add("bits of fake", "bits", "1", "2..24", () -> FakeQuantize.signed(1, row))
                .add("a scale of 0", "scales[2]", "0", "above 0", () -> fake.forward(x, ones, x))
                .add("scales shape", "scales", "[1, 4]", "[4, 1]", () -> fake.forward(x, ones.reshape(1, 4), x))
                .add("y dtype", "y", "f16", "f32", () -> fake.forward(x, ones, x.to(DType.F16)))
                .add(
                        "dy stride",
                        "dy",
                        "strides",
                        "32",
                        () -> fake.backward(
                                x,
                                ones,
                                Guarded.matrix(Arena.ofAuto(), DType.F32, 4, 32, 40, 0).tensor,
                                Tensor.allocate(DType.F32, 4, 32),
                                out.tensor))
                .add("dynamic codes", "codes", "f16", "f8e4m3", () -> new DynamicScale(DType.F16, 1, 0))
                .add("history", "history", "0", "1", () -> new DynamicScale(DType.F8E4M3, 0, 0))
                .add("margin", "margin", "17", "16", () -> new DynamicScale(DType.F8E4M3, 1, 17))
                .add("negative amax", "amax", "-1.0", "0", () -> new DynamicScale(DType.F8E4M3, 1, 0).update(-1f))
                .missing("x", () -> Calibrate.amax(null, row, out.tensor, 0))
                .missing("per", () -> Calibrate.errors(x, Quantize.run(x, QuantSpec.int8()), null));
        refusals.tests().forEach(test -> {
            try {
                test.getExecutable().execute();
            } catch (Throwable e) {
                throw new AssertionError(test.getDisplayName(), e);
            }
        });
    }
}
