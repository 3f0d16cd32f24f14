package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.Packing.Planes;
import io.gatun.ops.Packing.Sorted;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Small weights by hand, as values; then weights of Gatun through every format and back. */
class PackingTest {
    private static float[] values(QuantizedTensor weights) {
        return Quantize.dequantize(weights, DType.F32).toFloatArray();
    }

    private static Tensor u8(int... bytes) {
        byte[] copy = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            copy[i] = (byte) bytes[i];
        }
        return Tensor.of(DType.U8, copy, bytes.length);
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    /** 8 rows, 16 k. Row n has the codes n, zero point 8 - n and scale 2^n: values (2 n - 8) 2^n. */
    @Test
    void gptqByHand() {
        int[] words = new int[16];
        for (int n = 0; n < 8; n++) {
            words[n] = words[8 + n] = n * 0x11111111;
        }
        float[] scales = {1, 2, 4, 8, 16, 32, 64, 128};
        float[] expected = new float[8 * 16];
        for (int i = 0; i < expected.length; i++) {
            expected[i] = (2 * (i / 16) - 8) * scales[i / 16];
        }
        // Zero points 8 7 6 5 4 3 2 1 from the lowest half on, then less 1.
        int[][] zeros = {{0x01234567}, {0x12345678}};
        for (Format format : new Format[] {Format.GPTQ, Format.GPTQ_V2}) {
            Planes planes = new Planes(
                    Tensor.of(words, 2, 8),
                    Tensor.of(DType.F16, scales, 1, 8),
                    Tensor.of(zeros[format.ordinal()], 1, 1));
            QuantizedTensor weights = Packing.read(format, QuantSpec.int4Asymmetric(16), 8, 16, planes);
            assertEquals("quantized[8, 16] u4 group 16 with zero points, f16 scales", weights.toString());
            assertArrayEquals(expected, values(weights));
        }
    }

    /** 8 rows, 16 k, all codes of row n are n: from the lowest half on rows 0 2 4 6 1 3 5 7. Zero points 8, scale 0.5. */
    @Test
    void awqByHand() {
        int[] words = new int[16];
        Arrays.fill(words, 0x75316420);
        Planes planes = new Planes(
                Tensor.of(words, 16, 1),
                Tensor.of(DType.BF16, new float[] {.5f, .5f, .5f, .5f, .5f, .5f, .5f, .5f}, 1, 8),
                Tensor.of(new int[] {0x88888888}, 1, 1));
        float[] expected = new float[8 * 16];
        for (int i = 0; i < expected.length; i++) {
            expected[i] = (i / 16 - 8) * .5f;
        }
        QuantSpec spec = QuantSpec.int4Asymmetric(16).withScales(DType.F32);
        assertArrayEquals(expected, values(Packing.read(Format.AWQ, spec, 8, 16, planes)));
        // All zero points are 8, so they may be left out.
        QuantSpec symmetric = QuantSpec.int4(16).withScales(DType.F32);
        QuantizedTensor weights = Packing.read(Format.AWQ, symmetric, 8, 16, planes);
        assertArrayEquals(expected, values(weights));
        assertNull(weights.zeroPoints());
    }

    /** One row of 3 in a block of 16, without zero points, with 3 of 4 bits, with 7.5. */
    @Test
    void matMulNBitsByHand() {
        Tensor codes = u8(0x10, 0xf2, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77);
        Tensor scales = Tensor.of(new float[] {2}, 1, 1);
        QuantSpec none = QuantSpec.int4(16).withScales(DType.F32);
        Planes planes = new Planes(codes, scales, null);
        QuantizedTensor weights = Packing.read(Format.MATMUL_NBITS, none, 1, 3, planes);
        assertEquals("u4 per row, f32 scales", weights.spec().toString());
        assertArrayEquals(new float[] {-16, -14, -12}, values(weights));
        QuantSpec integers = QuantSpec.int4Asymmetric(16).withScales(DType.F32);
        planes = new Planes(codes, scales, u8(0xf3));
        assertArrayEquals(new float[] {-6, -4, -2}, values(Packing.read(Format.MATMUL_NBITS, integers, 1, 3, planes)));
        planes = new Planes(codes, scales, Tensor.of(new float[] {7.5f}, 1));
        assertArrayEquals(
                new float[] {-15, -13, -11},
                values(Packing.read(Format.MATMUL_NBITS, none.withFloatZeroPoints(), 1, 3, planes)));
    }

    /** 2 rows of 3, one block: the first of two in the high half. */
    @Test
    void bitsAndBytesByHand() {
        Planes planes = new Planes(u8(0x7f, 0x0f, 0x70), Tensor.of(new float[] {4}, 1), null);
        QuantizedTensor weights = Packing.read(Format.BITSANDBYTES, QuantSpec.nf4(64), 2, 3, planes);
        assertArrayEquals(new float[] {0, 4, -4, 4, 0, -4}, values(weights));
    }

    /** -8 -1 0 7 of row 0: (q + 3) 2; 1 2 3 4 of row 1: 8 to 11 times .5. */
    @Test
    void torchaoByHand() {
        Planes planes = new Planes(
                u8(0xf8, 0x70, 0x21, 0x43).reshape(2, 2),
                Tensor.of(DType.BF16, new float[] {2, .5f}, 1, 2),
                Tensor.of(DType.BF16, new float[] {6, 3.5f}, 1, 2));
        QuantSpec spec = QuantSpec.int4(0).withFloatZeroPoints();
        assertArrayEquals(
                new float[] {-10, 4, 6, 20, 4, 4.5f, 5, 5.5f},
                values(Packing.read(Format.TORCHAO, spec, 2, 4, planes)));
    }

    /** Element i < 16 has code i, the others 8: values i - 8 and 0. */
    @Test
    void jlamaByHand() {
        int[] codes = new int[16];
        float[] expected = new float[32];
        for (int i = 0; i < 16; i++) {
            codes[i] = 0x80 | i;
            expected[i] = i - 8;
        }
        QuantSpec spec = QuantSpec.int4(32).withScales(DType.F32);
        Planes planes = new Planes(u8(codes), Tensor.of(new float[] {1}, 1), null);
        assertArrayEquals(expected, values(Packing.read(Format.JLAMA, spec, 1, 32, planes)));
    }

    private record Case(Format format, QuantSpec spec, int rows, int depth) {}

    static Stream<Case> cases() {
        return Stream.of(
                new Case(Format.GPTQ, QuantSpec.int4(32), 24, 104),
                new Case(Format.GPTQ, QuantSpec.int2Asymmetric(16), 16, 48),
                new Case(Format.GPTQ_V2, QuantSpec.int8Asymmetric(0), 4, 20),
                new Case(Format.GPTQ_V2, QuantSpec.int8(16), 12, 52),
                new Case(Format.AWQ, QuantSpec.int4Asymmetric(17), 40, 53),
                new Case(Format.MATMUL_NBITS, QuantSpec.int4Asymmetric(32), 3, 101),
                new Case(Format.MATMUL_NBITS, QuantSpec.int2(16), 5, 33),
                new Case(Format.MATMUL_NBITS, QuantSpec.int8(64), 5, 130),
                new Case(Format.MATMUL_NBITS, QuantSpec.int8Asymmetric(0), 5, 130),
                new Case(Format.MATMUL_NBITS, QuantSpec.int4(0), 2, 7),
                new Case(Format.BITSANDBYTES, QuantSpec.nf4(64), 7, 29),
                new Case(Format.BITSANDBYTES, QuantSpec.fp4(32), 4, 64),
                new Case(Format.JLAMA, QuantSpec.int4(32).withScales(DType.F32), 3, 96),
                new Case(Format.JLAMA, QuantSpec.int8(32).withScales(DType.F32), 3, 96));
    }

    private static Tensor random(int rows, int depth) {
        float[] values = new float[rows * depth];
        SplittableRandom random = new SplittableRandom(depth);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(values, rows, depth);
    }

    private static void assertSame(QuantizedTensor expected, QuantizedTensor actual) {
        assertEquals(expected.toString(), actual.toString());
        assertArrayEquals(bytes(expected.codes()), bytes(actual.codes()));
        assertArrayEquals(bytes(expected.scales()), bytes(actual.scales()));
        if (expected.zeroPoints() != null) {
            assertArrayEquals(bytes(expected.zeroPoints()), bytes(actual.zeroPoints()));
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void whatIsWrittenIsReadAgain(Case test) {
        QuantizedTensor weights = Quantize.run(random(test.rows, test.depth), test.spec);
        Planes planes = Packing.write(test.format, weights);
        assertSame(weights, Packing.read(test.format, test.spec, test.rows, test.depth, planes));
    }

    /** f32 zero points have no exact way through a subtrahend; values stay within a few units in the last place. */
    @Test
    void floatZeroPointsAreRounded() {
        QuantSpec spec = QuantSpec.int4(32).withFloatZeroPoints().withScales(DType.F32);
        QuantizedTensor weights = Quantize.run(random(6, 96), spec);
        float[] expected = values(weights);
        for (Format format : new Format[] {Format.MATMUL_NBITS, Format.TORCHAO}) {
            Planes planes = Packing.write(format, weights, DType.F32);
            QuantizedTensor read = Packing.read(format, spec, 6, 96, planes);
            assertArrayEquals(bytes(weights.codes()), bytes(read.codes()));
            assertArrayEquals(bytes(weights.scales()), bytes(read.scales()));
            assertArrayEquals(expected, values(read), 4e-6f, format.toString()); // |values| < 4.5
        }
    }

    /** Groups of 16 k each, 0 to 3 by turns: products of small integers with the weights are those in the original order. */
    @Test
    void sortedDepth() {
        int rows = 8;
        int depth = 64;
        QuantSpec spec = QuantSpec.int4Asymmetric(16);
        int[] words = new SplittableRandom(1).ints(rows * depth / 8).toArray();
        int[] groupIndex = new int[depth];
        float[] scales = new float[4 * rows];
        float[] x = new float[3 * depth];
        for (int i = 0; i < x.length; i++) {
            x[i] = i % 7 - 3;
        }
        for (int k = 0; k < depth; k++) {
            groupIndex[k] = k % 4;
        }
        for (int i = 0; i < scales.length; i++) {
            scales[i] = 1 + i % 3;
        }
        int[] zeros = {0x76543210, 0x01234567, 0x33333333, 0x0f0f0f0f};
        Planes planes = new Planes(
                Tensor.of(words, depth / 8, rows),
                Tensor.of(DType.F16, scales, 4, rows),
                Tensor.of(zeros, 4, 1),
                Tensor.of(groupIndex, depth));
        Sorted sorted = Packing.readSorted(Format.GPTQ_V2, spec, rows, depth, planes);
        Tensor permuted = Tensor.allocate(DType.F32, 3, depth);
        Packing.permute(Tensor.of(x, 3, depth), sorted.permutation(), permuted);
        float[] weights = values(sorted.weights());
        for (int r = 0; r < 3; r++) {
            for (int n = 0; n < rows; n++) {
                double expected = 0;
                double actual = 0;
                for (int k = 0; k < depth; k++) {
                    int g = groupIndex[k];
                    int code = words[k / 8 * rows + n] >>> 4 * (k % 8) & 15;
                    int zero = zeros[g] >>> 4 * n & 15;
                    expected += x[r * depth + k] * (code - zero) * scales[g * rows + n];
                    actual += permuted.getFloat(r, k) * weights[n * depth + k];
                }
                assertEquals(expected, actual, "[" + r + ", " + n + "]");
            }
        }
        Planes written = Packing.write(Format.GPTQ_V2, sorted, DType.F16);
        assertArrayEquals(bytes(planes.codes()), bytes(written.codes()));
        assertArrayEquals(bytes(planes.scales()), bytes(written.scales()));
        assertArrayEquals(bytes(planes.zeroPoints()), bytes(written.zeroPoints()));
        assertArrayEquals(bytes(planes.groupIndex()), bytes(written.groupIndex()));
    }

    @Test
    void emptyWeights() {
        for (int[] shape : new int[][] {{0, 32}, {8, 0}}) {
            QuantSpec spec = QuantSpec.int4Asymmetric(shape[1] == 0 ? 0 : 16);
            QuantizedTensor weights = QuantizedTensor.allocate(spec, shape[0], shape[1]);
            Planes planes = Packing.write(Format.AWQ, weights);
            assertSame(weights, Packing.read(Format.AWQ, spec, shape[0], shape[1], planes));
        }
    }
}
