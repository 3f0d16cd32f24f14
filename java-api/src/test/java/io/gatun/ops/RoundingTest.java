package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Quantize.Options;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Rounding that is not to nearest, and scales that are given. */
class RoundingTest {
    static Stream<QuantSpec> specs() {
        return Formats.some();
    }

    private static QuantizedTensor quantized(Tensor x, QuantSpec spec, Options options) {
        QuantizedTensor out =
                QuantizedTensor.allocate(spec, x.shape().size(0), x.shape().size(1));
        Quantize.run(x, out, options);
        return out;
    }

    /** The values of the codes below and above each value: those of rounding down and up. */
    private static float[][] neighbours(Tensor x, QuantSpec spec) {
        Tensor up = Tensor.allocate(DType.U8, x.shape().size(0), x.shape().size(1));
        float[] down = values(quantized(x, spec, Options.DEFAULT.withRoundingGiven(up)));
        up.segment().fill((byte) 7);
        return new float[][] {down, values(quantized(x, spec, Options.DEFAULT.withRoundingGiven(up)))};
    }

    private static float[] values(QuantizedTensor quantized) {
        return Quantize.dequantize(quantized, DType.F32).toFloatArray();
    }

    /** Rounding down and up encloses a value, with no code between, and the nearest is one of the two. */
    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void givenRoundingIsToANeighbour(QuantSpec spec) {
        int rows = 5;
        int depth = 131;
        Tensor x = Tensor.of(new Random(81).normal(rows * depth, 1), rows, depth);
        float[][] neighbours = neighbours(x, spec);
        QuantizedTensor nearest = Quantize.run(x, spec);
        float[] near = values(nearest);
        Decoder decoder = new Decoder(nearest);
        CodeTable table = CodeTable.of(spec);
        float[] in = x.toFloatArray();
        for (int i = 0; i < in.length; i++) {
            float low = Math.min(neighbours[0][i], neighbours[1][i]);
            float high = Math.max(neighbours[0][i], neighbours[1][i]);
            assertTrue(near[i] == low || near[i] == high, spec + " [" + i + "]");
            float slack = Math.abs(in[i]) * 1e-5f;
            float amax = 0;
            for (float value : in) {
                amax = Math.max(amax, Math.abs(value));
            }
            boolean clipped = low == high;
            assertTrue(
                    clipped || low - slack <= in[i] && in[i] <= high + slack,
                    spec + " [" + i + "] " + low + " " + in[i] + " " + high);
            if (table == null && !clipped) {
                assertEquals(Math.abs(decoder.scales[i]), high - low, 1e-4f * (Math.abs(high) + Math.abs(low)));
            }
            if (table != null && !clipped) {
                double scale = (double) decoder.scales[i] * decoder.tensorScale;
                int below = table.below((float) ((low + high) / 2 / scale));
                int above = table.above((float) ((low + high) / 2 / scale));
                assertEquals(table.values[below] * scale, low, 1e-5 * Math.abs(low), spec + " [" + i + "]");
                assertEquals(table.values[above] * scale, high, 1e-5 * Math.abs(high), spec + " [" + i + "]");
            }
        }
    }

    /** Each element by its own byte. */
    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void givenRoundingIsByElement(QuantSpec spec) {
        int rows = 3;
        int depth = 70;
        Tensor x = Tensor.of(new Random(82).normal(rows * depth, 1), rows, depth);
        float[][] neighbours = neighbours(x, spec);
        byte[] up = new byte[rows * depth];
        new SplittableRandom(83).nextBytes(up);
        for (int i = 0; i < up.length; i++) {
            up[i] = (byte) (up[i] % 2 == 0 ? 0 : up[i]);
        }
        Tensor choice = Tensor.of(DType.U8, up, rows, depth);
        float[] mixed = values(quantized(x, spec, Options.DEFAULT.withRoundingGiven(choice)));
        for (int i = 0; i < mixed.length; i++) {
            assertEquals(neighbours[up[i] == 0 ? 0 : 1][i], mixed[i], spec + " [" + i + "]");
        }
    }

    /** One of the neighbours, the same one each time and on any number of threads, another one by another seed. */
    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void stochasticRoundingIsReproducible(QuantSpec spec) {
        int rows = 67;
        int depth = 1031;
        Tensor x = Tensor.of(new Random(84).normal(rows * depth, 1), rows, depth);
        float[][] neighbours = neighbours(x, spec);
        QuantizedTensor one =
                quantized(x, spec, Options.DEFAULT.withStochasticRounding(5).withThreads(1));
        float[] values = values(one);
        int ups = 0;
        int between = 0;
        for (int i = 0; i < values.length; i++) {
            assertTrue(values[i] == neighbours[0][i] || values[i] == neighbours[1][i], spec + " [" + i + "]");
            if (neighbours[0][i] != neighbours[1][i]) {
                between++;
                ups += values[i] == neighbours[1][i] ? 1 : 0;
            }
        }
        // The scale puts values into -1..1, where a book of integers has only few codes.
        boolean uneven = spec.book() != null && spec.book().equals(Formats.integers16());
        assertTrue(uneven || ups > between / 4 && ups < between * 3 / 4, ups + " of " + between + " up: " + spec);
        for (int threads = 2; threads <= 8; threads += 3) {
            Options options = Options.DEFAULT.withStochasticRounding(5).withThreads(threads);
            QuantizeTest.assertSameBytes(
                    one.codes(), quantized(x, spec, options).codes());
        }
        QuantizedTensor other = quantized(x, spec, Options.DEFAULT.withStochasticRounding(6));
        assertFalse(Arrays.equals(values, values(other)), spec.toString());
    }

    /** The mean over seeds is the value: 400 draws of each, within five standard deviations. */
    @ParameterizedTest
    @MethodSource("specs")
    void stochasticRoundingIsUnbiased(QuantSpec spec) {
        int depth = 64;
        int seeds = 400;
        Tensor x = Tensor.of(new Random(85).normal(depth, 1), 1, depth);
        float[] in = x.toFloatArray();
        float[][] neighbours = neighbours(x, spec);
        double[] sums = new double[depth];
        for (int seed = 0; seed < seeds; seed++) {
            float[] values = values(quantized(x, spec, Options.DEFAULT.withStochasticRounding(seed * 7919L)));
            for (int i = 0; i < depth; i++) {
                sums[i] += values[i];
            }
        }
        for (int i = 0; i < depth; i++) {
            double low = Math.min(neighbours[0][i], neighbours[1][i]);
            double high = Math.max(neighbours[0][i], neighbours[1][i]);
            if (low < in[i] && in[i] < high) {
                double part = (in[i] - low) / (high - low);
                double deviation = (high - low) * Math.sqrt(part * (1 - part) / seeds);
                double allowed = 5 * deviation + 3 * (high - low) / seeds;
                assertEquals(in[i], sums[i] / seeds, allowed, spec + " [" + i + "]");
            }
        }
    }

    /** Values that are codes stay what they are. */
    @ParameterizedTest
    @MethodSource("specs")
    void codesStay(QuantSpec spec) {
        int depth = 256;
        Tensor x = Tensor.of(new Random(86).normal(depth, 1), 1, depth);
        QuantizedTensor once = Quantize.run(x, spec);
        float[] values = new float[depth];
        // Powers of two make every step exact.
        boolean lowest = spec.codes() == DType.I8 && spec.rule() != QuantSpec.ScaleRule.DEFAULT;
        if (once.scales() != null && once.zeroPoints() == null && !lowest) {
            float[] scales = new float[(int) once.scales().shape().elements()];
            Arrays.fill(scales, 0.25f);
            once.scales().copyFrom(scales);
            if (once.tensorScale() != null) {
                once.tensorScale().setFloat(0.5f, 0);
            }
            values = values(once);
            QuantizedTensor again = new QuantizedTensor(
                    spec.withScaleRule(QuantSpec.ScaleRule.GIVEN),
                    once.shape(),
                    QuantizedTensor.allocate(spec, 1, depth).codes(),
                    once.scales(),
                    null,
                    once.tensorScale(),
                    null);
            Tensor up = Tensor.allocate(DType.U8, 1, depth);
            for (int pass = 0; pass < 3; pass++) {
                Options options =
                        pass == 2 ? Options.DEFAULT.withStochasticRounding(1) : Options.DEFAULT.withRoundingGiven(up);
                Quantize.run(Tensor.of(values, 1, depth), again, options);
                assertArrayEquals(values, values(again), 0f, spec + " pass " + pass);
                up.segment().fill((byte) 1);
            }
        }
    }

    /** Codes saturate at scales that are too small, and what was given is left as it is. */
    @Test
    @Tag("tier")
    void givenScalesAreInputs() {
        float[] x = {-10, -3, -0.5f, 0, 0.5f, 3, 10, 1000};
        Tensor in = Tensor.of(x, 1, 8);
        QuantSpec spec = QuantSpec.int4().withScaleRule(QuantSpec.ScaleRule.GIVEN);
        Tensor scales = Tensor.of(new float[] {0.5f}, 1, 1);
        QuantizedTensor out = new QuantizedTensor(spec, Tensor.allocate(DType.U4, 1, 8), scales, null);
        Quantize.run(in, out);
        assertArrayEquals(new float[] {0, 2, 7, 8, 9, 14, 15, 15}, out.codes().toFloatArray());
        assertEquals(0.5f, scales.getFloat(0, 0));

        QuantSpec asymmetric = QuantSpec.int4Asymmetric().withScaleRule(QuantSpec.ScaleRule.GIVEN);
        QuantizedTensor shifted = new QuantizedTensor(
                asymmetric,
                Tensor.allocate(DType.U4, 1, 8),
                Tensor.wrap(scales.segment().asReadOnly(), DType.F32, 1, 1),
                Tensor.of(DType.U8, new byte[] {3}, 1, 1));
        Quantize.run(in, shifted);
        assertArrayEquals(
                new float[] {0, 0, 2, 3, 4, 9, 15, 15}, shifted.codes().toFloatArray());

        assertThrows(IllegalArgumentException.class, () -> Quantize.run(in, spec));
    }
}
