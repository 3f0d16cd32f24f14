package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class QuantizeTest {
    static final List<DType> TYPES = List.of(DType.F32, DType.F16, DType.BF16);

    static Stream<QuantSpec> specs() {
        return Stream.of(0L, 16L, 17L, 32L, 128L)
                .flatMap(group -> Stream.of(
                        QuantSpec.int8(group),
                        QuantSpec.int8Asymmetric(group),
                        QuantSpec.int4(group),
                        QuantSpec.int4Asymmetric(group)))
                .flatMap(spec -> Stream.of(spec, spec.withScales(DType.F32)));
    }

    /** Codes, scales and zero points bit for bit; then the values, bit for bit. */
    static void check(Tensor x, QuantSpec spec, String context) {
        int rows = (int) x.shape().size(0);
        int depth = (int) x.shape().size(1);
        QuantizeOracle oracle = new QuantizeOracle(x.toFloatArray(), rows, depth, spec);
        QuantizedTensor quantized = Quantize.run(x, spec);
        assertCodes(oracle, quantized, context);
        for (DType dtype : TYPES) {
            assertValues(quantized, Quantize.dequantize(quantized, dtype), context + " to " + dtype);
        }
    }

    static void assertCodes(QuantizeOracle oracle, QuantizedTensor quantized, String context) {
        int[] codes = Decoder.patterns(quantized);
        int depth = (int) quantized.depth();
        for (int i = 0; i < codes.length; i++) {
            if (oracle.codes[i] != codes[i]) {
                throw new AssertionError("code [" + i / depth + ", " + i % depth + "] = " + codes[i] + ", expected "
                        + oracle.codes[i] + ": " + context);
            }
        }
        if (quantized.scales() != null) {
            assertArrayEquals(bits(oracle.scales), bits(quantized.scales().toFloatArray()), "scales: " + context);
        }
        if (quantized.zeroPoints() != null) {
            float[] zeroPoints = quantized.zeroPoints().toFloatArray();
            assertArrayEquals(bits(oracle.zeroPoints), bits(zeroPoints), "zero points: " + context);
        }
        if (quantized.tensorScale() != null) {
            assertEquals(oracle.tensorScale, quantized.tensorScale().getFloat(0), "scale of the tensor: " + context);
        }
    }

    static void assertValues(QuantizedTensor quantized, Tensor values, String context) {
        Decoder decoder = new Decoder(quantized);
        for (int r = 0; r < quantized.rows(); r++) {
            for (int k = 0; k < quantized.depth(); k++) {
                float expected = Decoder.rounded(decoder.value(r, k), values.dtype());
                float given = values.getFloat(r, k);
                if (Float.floatToIntBits(given) != Float.floatToIntBits(expected)) {
                    throw new AssertionError(
                            "value [" + r + ", " + k + "] = " + given + ", expected " + expected + ": " + context);
                }
            }
        }
    }

    static int[] bits(float[] values) {
        int[] bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.floatToIntBits(values[i]);
        }
        return bits;
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void agreesWithTheDefinition(QuantSpec spec) {
        Random random = new Random(11);
        for (int depth : new int[] {0, 1, 2, 15, 16, 17, 31, 33, 64, 127, 128, 129, 257, 512, 1031}) {
            if (spec.group() > depth && depth > 0 || spec.group() > 0 && depth == 0) {
                assertThrows(
                        IllegalArgumentException.class, () -> Quantize.run(Tensor.allocate(DType.F32, 1, depth), spec));
                continue;
            }
            for (int rows : new int[] {0, 1, 2, 3, 7}) {
                for (DType dtype : TYPES) {
                    Tensor x = Tensor.of(dtype, random.normal(rows * depth, 3), rows, depth);
                    check(x, spec, dtype + x.shape().toString() + " " + spec + " seed " + random.seed);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void agreesOnUnusualValues(QuantSpec spec) {
        // A row each: zeros, one sign, a constant, ties, subnormals, tiny scales, -0, a single extreme of either sign.
        int depth = 160;
        float[][] rows = new float[10][depth];
        Random random = new Random(12);
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
        }
        for (int r = 0; r < rows.length; r++) {
            check(Tensor.of(rows[r], 1, depth), spec, "row " + r + " " + spec);
        }
    }

    @Test
    void takesTransposedAndStridedViews() {
        Random random = new Random(13);
        Tensor whole = Tensor.of(random.normal(70 * 90, 1), 70, 90);
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4Asymmetric(32), QuantSpec.int8Asymmetric(17))) {
            check(whole.transpose(), spec, "transposed " + spec);
            check(whole.slice(1, 3, 50), spec, "columns " + spec);
            check(whole.slice(0, 5, 62).transpose(), spec, "rows, transposed " + spec);
            check(whole.to(DType.BF16).transpose().slice(0, 1, 8), spec, "bf16, transposed, rows " + spec);
        }
        // A row stride of 0: one row, many times.
        Tensor repeated = Tensor.wrap(whole.segment(), DType.F32, Shape.of(4, 33), 0, 2);
        check(repeated, QuantSpec.int8(), "repeated");
    }

    @Test
    void doesNotDependOnThreads() {
        Random random = new Random(14);
        int rows = 521;
        Tensor x = Tensor.of(random.normal(rows * 511, 1), rows, 511);
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4(32), QuantSpec.int8Asymmetric(17))) {
            String text = Threads.with(8, () -> Quantize.explain(x, spec));
            assertTrue(text.endsWith(" on 8 threads"), text);
            QuantizedTensor one = QuantizedTensor.allocate(spec, rows, 511);
            Quantize.run(x, one, Quantize.Options.DEFAULT.withThreads(1));
            Tensor values = Tensor.allocate(DType.F32, rows, 511);
            Quantize.dequantize(one, values, 1);
            for (int threads = 2; threads <= 8; threads++) {
                QuantizedTensor many = QuantizedTensor.allocate(spec, rows, 511);
                Quantize.run(x, many, Quantize.Options.DEFAULT.withThreads(threads));
                assertSameBytes(one.codes(), many.codes());
                assertSameBytes(one.scales(), many.scales());
                if (spec.hasZeroPoints()) {
                    assertSameBytes(one.zeroPoints(), many.zeroPoints());
                }
                Tensor again = Tensor.allocate(DType.F32, rows, 511);
                Quantize.dequantize(one, again, threads);
                assertSameBytes(values, again);
            }
        }
    }

    static void assertSameBytes(Tensor a, Tensor b) {
        assertEquals(-1, a.segment().mismatch(b.segment()));
    }

    @Test
    void refusesWhatHasNoScale() {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            float[] values = new Random(15).normal(5 * 40, 1);
            values[3 * 40 + 17] = bad;
            Tensor x = Tensor.of(values, 5, 40);
            for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4(16), QuantSpec.int4Asymmetric(16))) {
                QuantizedTensor out = QuantizedTensor.allocate(spec, 5, 40);
                IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Quantize.run(x, out));
                assertTrue(e.getMessage().contains("3") && e.getMessage().contains("17"), e.getMessage());
            }
        }
        Tensor large = Tensor.of(new float[] {1, 2, 3e7f, 4}, 1, 4);
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> Quantize.run(large, QuantSpec.int8().withScales(DType.F16)));
        assertTrue(e.getMessage().contains("scale"), e.getMessage());
        check(large, QuantSpec.int8(), "large values in f32 scales");
    }

    @Test
    void leavesRowsOutsideASliceAlone() {
        QuantSpec spec = QuantSpec.int4(16);
        QuantizedTensor whole = QuantizedTensor.allocate(spec, 6, 33);
        whole.codes().segment().fill((byte) 0x77);
        Tensor x = Tensor.of(new Random(16).normal(2 * 33, 1), 2, 33);
        Quantize.run(x, whole.slice(2, 4));
        assertCodes(new QuantizeOracle(x.toFloatArray(), 2, 33, spec), whole.slice(2, 4), "slice");
        for (int r : new int[] {0, 1, 4, 5}) {
            for (int k = 0; k < 33; k++) {
                assertEquals(7, whole.codes().getInt(r, k));
            }
        }
    }

    /** Codes of 4 bits that end in the middle of a byte own all of it, and no byte more. */
    @Test
    void writesOnlyTheBytesOfOddRows() {
        Tensor parent = Tensor.of(DType.U4, new byte[] {0x11, 0x22, 0x33, 0x74, 0x11, 0x22, 0x33, 0x74}, 2, 8);
        assertThrows(IllegalArgumentException.class, () -> parent.slice(1, 0, 7));
        Tensor part = parent.slice(1, 0, 6);
        assertThrows(
                IllegalArgumentException.class,
                () -> new QuantizedTensor(QuantSpec.int4(), part, Tensor.allocate(DType.F32, 2, 1), null));
        MemorySegment memory = Arena.ofAuto().allocate(10).fill((byte) 0x77);
        Tensor codes = Tensor.wrap(memory.asSlice(1), DType.U4, 2, 7);
        Tensor x = Tensor.of(new Random(17).normal(14, 1), 2, 7);
        Quantize.run(x, new QuantizedTensor(QuantSpec.int4(), codes, Tensor.allocate(DType.F32, 2, 1), null));
        assertEquals(0x77, memory.get(ValueLayout.JAVA_BYTE, 0));
        assertEquals(0, memory.get(ValueLayout.JAVA_BYTE, 4) >>> 4);
        assertEquals(0, memory.get(ValueLayout.JAVA_BYTE, 8) >>> 4);
        assertEquals(0x77, memory.get(ValueLayout.JAVA_BYTE, 9));
    }

    @Test
    @Tag("tier")
    void explainsItsKernel() {
        String text = Quantize.explain(Tensor.allocate(DType.F32, 3, 64), QuantSpec.int4(32));
        assertTrue(text.startsWith("quantize_u4_"), text);
        assertTrue(text.contains("x in F32"), text);
        assertTrue(text.contains(" on tier " + Gatun.tier()), text);
        assertTrue(text.endsWith(" on 1 thread"), text);
    }
}
