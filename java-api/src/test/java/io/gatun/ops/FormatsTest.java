package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every format: bit for bit by the definition, and what follows from the definition. */
class FormatsTest {
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    @Tag("tier")
    void agreesWithTheDefinition(QuantSpec spec) {
        Random random = new Random(61);
        for (int depth : new int[] {0, 1, 2, 15, 17, 31, 32, 33, 64, 97, 128, 129, 259}) {
            if (Formats.fits(spec, depth)) {
                for (int rows : new int[] {0, 1, 2, 5}) {
                    DType dtype = random.of(DType.F32, DType.F16, DType.BF16);
                    Tensor x = Tensor.of(dtype, random.normal(rows * depth, 3), rows, depth);
                    QuantizeTest.check(x, spec, dtype + x.shape().toString() + " " + spec + " seed " + random.seed);
                }
            }
        }
        Tensor large = Tensor.of(random.normal(131 * 263, 1), 131, 263);
        QuantizeTest.check(large, spec, "large " + spec);
    }

    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    @Tag("tier")
    void agreesOnUnusualValues(QuantSpec spec) {
        // A row each: zeros, one sign, a constant, ties, subnormals, tiny scales, -0, a single extreme of either sign.
        int depth = 160;
        float[][] rows = new float[11][depth];
        Random random = new Random(62);
        for (int k = 0; k < depth; k++) {
            rows[1][k] = 1 + k;
            rows[2][k] = -7.25f;
            rows[3][k] = (k % 255 - 127) * 0.5f;
            rows[4][k] = Float.MIN_VALUE * (k - 50);
            rows[5][k] = (k - 80) * 0x1p-122f;
            rows[6][k] = k % 2 == 0 ? -0f : 0f;
            rows[7][k] = k == 40 ? -8 : k == 41 ? 8 : 0.5f;
            rows[8][k] = k == 40 ? 1000 : (float) random.source.nextGaussian();
            rows[9][k] = -(float) Math.scalb(1 + random.source.nextDouble(), random.between(-30, 3));
            rows[10][k] = random.of(6f, 7.5f, 28f, 448f, 57344f, 1.75f, -1.9375f, 0.0625f) * (k % 3 - 1);
        }
        for (int r = 0; r < rows.length; r++) {
            QuantizeTest.check(Tensor.of(rows[r], 1, depth), spec, "row " + r + " " + spec);
        }
    }

    /** Ties between all neighbours of a format, and what is next to a tie, with a scale of 1. */
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    @Tag("tier")
    void roundsTiesAsDefined(QuantSpec spec) {
        CodeTable table = CodeTable.of(spec);
        if (table == null) {
            return; // integers: agreesOnUnusualValues
        }
        double[] sorted =
                Arrays.stream(table.values).filter(Double::isFinite).sorted().toArray();
        float[] x = new float[3 * sorted.length + 1];
        for (int i = 0; i + 1 < sorted.length; i++) {
            float middle = (float) ((sorted[i] + sorted[i + 1]) / 2);
            x[3 * i] = middle;
            x[3 * i + 1] = Math.nextUp(middle);
            x[3 * i + 2] = Math.nextDown(middle);
        }
        x[x.length - 1] = (float) table.largest();
        QuantSpec perTensor = spec.blocks().flat() ? spec.withFlatBlocks(0) : spec.withGroup(0);
        QuantizeTest.check(Tensor.of(x, 1, x.length), perTensor, "ties " + perTensor);
    }

    /** All codes in a matrix, read and made again: the same codes, or others of the same value. */
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    @Tag("tier")
    void everyCodeIsReadAndMade(QuantSpec spec) {
        int count = 1 << spec.codes().bits();
        int depth = Math.max(count, 256);
        if (spec.nested()) {
            return;
        }
        QuantizedTensor all = QuantizedTensor.allocate(spec, 2, depth);
        int[] codes = new int[2 * depth];
        Arrays.setAll(codes, i -> (i + i / depth) % count);
        Decoder.setCodes(all, codes);
        fill(all.scales(), 0.5f);
        if (all.zeroPoints() != null) {
            fill(all.zeroPoints(), spec.codes() == DType.U2 ? 1 : 5);
        }
        Tensor values = Quantize.dequantize(all, DType.F32);
        QuantizeTest.assertValues(all, values, "all codes " + spec);

        // Made from the values with the same scales: what is a number comes back. -128 is a code of I8 only by the
        // rules
        // that say so.
        QuantSpec given = spec.withScaleRule(QuantSpec.ScaleRule.GIVEN);
        QuantizedTensor again = new QuantizedTensor(
                given,
                all.shape(),
                QuantizedTensor.allocate(spec, 2, depth).codes(),
                all.scales(),
                all.zeroPoints(),
                all.tensorScale(),
                null);
        float[] numbers = values.toFloatArray();
        for (int i = 0; i < numbers.length; i++) {
            boolean made = Float.isFinite(numbers[i]) && (spec.codes() != DType.I8 || codes[i] != 128);
            numbers[i] = made ? numbers[i] : 0;
        }
        Quantize.run(Tensor.of(numbers, 2, depth), again);
        float[] back = Quantize.dequantize(again, DType.F32).toFloatArray();
        assertArrayEquals(numbers, back, 0f, spec.toString());
    }

    private static void fill(Tensor tensor, float value) {
        float[] values = new float[(int) tensor.shape().elements()];
        Arrays.fill(values, value);
        tensor.copyFrom(values);
    }

    /** The order of two values of a block is that of what stands for them, or they are the same. */
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    void isMonotone(QuantSpec spec) {
        Random random = new Random(63);
        int depth = 256;
        float[] x = random.normal(depth, 1);
        Arrays.sort(x);
        QuantSpec one = spec.blocks().flat() ? spec.withFlatBlocks(0) : spec.withGroup(0);
        float[] values = Quantize.dequantize(Quantize.run(Tensor.of(x, 1, depth), one), DType.F32)
                .toFloatArray();
        for (int i = 1; i < depth; i++) {
            assertTrue(
                    values[i - 1] <= values[i],
                    one + " " + x[i - 1] + " -> " + values[i - 1] + ", " + x[i] + " -> " + values[i]);
        }
    }

    /** No value is further from what stands for it than from any other code, but for rounding. */
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    void errorIsBoundedInEveryBlock(QuantSpec spec) {
        Random random = new Random(64);
        int rows = 4;
        int depth = 256;
        float[] x = random.normal(rows * depth, 2);
        QuantizedTensor quantized = Quantize.run(Tensor.of(x, rows, depth), spec);
        float[] values = Quantize.dequantize(quantized, DType.F32).toFloatArray();
        Decoder decoder = new Decoder(quantized);
        CodeTable table = CodeTable.of(spec);
        for (int i = 0; i < x.length; i++) {
            double scale = Math.abs(decoder.scales[i] * (double) decoder.tensorScale);
            double step = table == null ? 1 : widest(table);
            double top = table == null ? Double.POSITIVE_INFINITY : table.largest() * scale;
            double bottom = table == null ? Double.NEGATIVE_INFINITY : -top;
            if (spec.book() != null) {
                bottom = table.values[table.below(Float.NEGATIVE_INFINITY)] * scale;
            }
            // What the largest or smallest code cuts off; integers without zero points cut half a step of the other
            // sign.
            double cut = Math.max(0, Math.max(x[i] - top, bottom - x[i]));
            boolean oneSided = table == null && !spec.hasZeroPoints() && spec.codes() != DType.I8;
            double allowed = cut + step * scale * (oneSided ? 1.01 : 0.51) + 1e-3 * Math.abs(x[i]);
            if (spec.nested()) {
                allowed += 0.05 * Math.abs(x[i]) + 0.05;
            }
            assertTrue(
                    Math.abs(values[i] - x[i]) <= allowed,
                    spec + " [" + i + "] " + x[i] + " -> " + values[i] + ", allowed " + allowed);
        }
    }

    private static double widest(CodeTable table) {
        double[] sorted =
                Arrays.stream(table.values).filter(Double::isFinite).sorted().toArray();
        double widest = 0;
        for (int i = 1; i < sorted.length; i++) {
            widest = Math.max(widest, sorted[i] - sorted[i - 1]);
        }
        return widest;
    }

    /** Values that codes stand for are quantized, with the scales that they have, to those codes. */
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    void quantizingAgainChangesNothing(QuantSpec spec) {
        boolean lowest = spec.codes() == DType.I8 && spec.rule() != QuantSpec.ScaleRule.DEFAULT;
        if (spec.nested() || lowest) {
            return; // -128 is no code that given scales make
        }
        Tensor x = Tensor.of(new Random(65).normal(3 * 256, 1), 3, 256);
        QuantizedTensor once = Quantize.run(x, spec);
        Tensor values = Quantize.dequantize(once, DType.F32);
        QuantizedTensor twice = new QuantizedTensor(
                spec.withScaleRule(QuantSpec.ScaleRule.GIVEN),
                once.shape(),
                QuantizedTensor.allocate(spec, 3, 256).codes(),
                once.scales(),
                once.zeroPoints(),
                once.tensorScale(),
                null);
        Quantize.run(values, twice);
        float[] again = Quantize.dequantize(twice, DType.F32).toFloatArray();
        assertArrayEquals(values.toFloatArray(), again, 0f, spec.toString());
    }
}
