package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_h;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HexFormat;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class GgufTest {
    /** Random bytes, but for scales that are moderate, so that values are numbers. */
    static QuantizedTensor random(Random random, GgufType type, int rows, int depth) {
        byte[] bytes = new byte[(int) (rows * type.rowBytes(depth))];
        random.source.nextBytes(bytes);
        for (int block = 0; block < bytes.length; block += type.bytes()) {
            for (int half : halves(type)) {
                short pattern = Float.floatToFloat16((float) random.source.nextGaussian() / 8);
                bytes[block + half] = (byte) pattern;
                bytes[block + half + 1] = (byte) (pattern >> 8);
            }
            if (type == GgufType.MXFP4) {
                bytes[block] = (byte) random.between(120, 128);
            }
        }
        MemorySegment memory = Arena.ofAuto().allocate(bytes.length + 1).asSlice(1); // odd addresses are fine
        MemorySegment.copy(bytes, 0, memory, JAVA_BYTE, 0, bytes.length);
        return QuantizedTensor.gguf(type, rows, depth, memory);
    }

    /** Where the half-precision scales of a block are. */
    private static int[] halves(GgufType type) {
        return switch (type) {
            case Q4_0, Q5_0, Q8_0, IQ4_NL, IQ4_XS -> new int[] {0};
            case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
            case Q2_K -> new int[] {80, 82};
            case Q3_K -> new int[] {108};
            case Q6_K -> new int[] {208};
            case MXFP4 -> new int[0];
        };
    }

    @ParameterizedTest
    @EnumSource(GgufType.class)
    void sizesAreThoseOfTheLibrary(GgufType type) {
        NativeLibrary.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment sizes = arena.allocate(JAVA_INT, 2);
            Native.check(gatun_h.gatun_gguf_block(type.id(), sizes, sizes.asSlice(4)));
            assertEquals(type.elements(), sizes.getAtIndex(JAVA_INT, 0));
            assertEquals(type.bytes(), sizes.getAtIndex(JAVA_INT, 1));
        }
        assertEquals(type, GgufType.of(type.id()));
        assertEquals(3L * type.bytes(), type.rowBytes(3L * type.elements()));
        String message = assertThrows(IllegalArgumentException.class, () -> type.rowBytes(type.elements() + 1))
                .getMessage();
        assertTrue(message.contains("a multiple of " + type.elements()), message);
        assertThrows(IllegalArgumentException.class, () -> GgufType.of(99));
    }

    /** Any bytes are blocks: the values of the layout, bit for bit. */
    @ParameterizedTest
    @EnumSource(GgufType.class)
    @Tag("tier")
    void readsEveryByte(GgufType type) {
        Random random = new Random(71);
        for (int blocks : new int[] {0, 1, 3, 40}) {
            for (int rows : new int[] {0, 1, 5}) {
                QuantizedTensor moderate = random(random, type, rows, blocks * type.elements());
                byte[] any = new byte[(int) moderate.codes().segment().byteSize()];
                random.source.nextBytes(any);
                QuantizedTensor wild = QuantizedTensor.allocate(moderate.spec(), rows, blocks * type.elements());
                MemorySegment.copy(any, 0, wild.codes().segment(), JAVA_BYTE, 0, any.length);
                for (DType dtype : QuantizeTest.TYPES) {
                    for (QuantizedTensor read : new QuantizedTensor[] {moderate, wild}) {
                        Tensor values = Quantize.dequantize(read, dtype);
                        QuantizeTest.assertValues(read, values, type + " to " + dtype + " seed " + random.seed);
                    }
                }
            }
        }
    }

    /** The types whose bytes are defined. */
    @ParameterizedTest
    @EnumSource(
            value = GgufType.class,
            names = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"})
    @Tag("tier")
    void makesTheDefinedBytes(GgufType type) {
        Random random = new Random(72);
        int depth = 33 * 32;
        for (int i = 0; i < 12; i++) {
            float[] x = random.normal(2 * depth, Math.pow(10, i - 7));
            for (int k = 0; k < 64; k++) {
                x[k] = 0; // blocks of zeros
                x[64 + k] = -3; // and of one value
                x[128 + k] = k % 2 == 0 ? -8 : 8; // the first of two extremes
                x[192 + k] = 0x1p-120f * (k - 20); // scales below the smallest half
                x[256 + k] = (k - 32) * 0.5f; // ties
                x[320 + k] = k == 3 ? 127 : k % 8 + 0.5f; // halves, away from zero
                x[384 + k] = k == 3 ? 6 : (k % 13) * 0.25f; // E2M1 and what is between
            }
            for (DType dtype : QuantizeTest.TYPES) {
                Tensor in = Tensor.of(dtype, x, 2, depth);
                float[] rounded = in.toFloatArray();
                byte[] expected = new byte[(int) (2 * type.rowBytes(depth))];
                for (int block = 0; block < 2 * depth / 32; block++) {
                    byte[] one = GgufOracle.quantize(type, Arrays.copyOfRange(rounded, block * 32, block * 32 + 32));
                    System.arraycopy(one, 0, expected, block * one.length, one.length);
                }
                byte[] made =
                        Quantize.run(in, QuantSpec.gguf(type)).codes().segment().toArray(JAVA_BYTE);
                int wrong = Arrays.mismatch(expected, made);
                if (wrong >= 0) {
                    int block = wrong / type.bytes() * type.bytes();
                    throw new AssertionError(type + " from " + dtype + " scale 1e" + (i - 7) + " block "
                            + block / type.bytes() + " byte " + (wrong - block) + "\nexpected "
                            + HexFormat.of().formatHex(expected, block, block + type.bytes()) + "\ngiven    "
                            + HexFormat.of().formatHex(made, block, block + type.bytes()));
                }
            }
        }
    }

    /** The others: as close as ggml's quantizers, on as many values. */
    @ParameterizedTest
    @EnumSource(
            value = GgufType.class,
            names = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"})
    void errorIsAtMostThatOfGgml(GgufType type) {
        int count = 1 << 19;
        float[] x = new Random(73).normal(count, 1);
        float[] values = Quantize.dequantize(Quantize.run(Tensor.of(x, 2, count / 2), QuantSpec.gguf(type)), DType.F32)
                .toFloatArray();
        double error = 0;
        double sum = 0;
        for (int i = 0; i < count; i++) {
            error += Math.pow(values[i] - x[i], 2);
            sum += (double) x[i] * x[i];
        }
        double relative = Math.sqrt(error / sum);
        assertTrue(relative <= GgufOracle.error(type), type + " " + relative);
        assertTrue(relative > GgufOracle.error(type) / 2, type + " " + relative + " is too good to be true");
    }

    /** Zeros, one value, tiny values, one large value among zeros: numbers come back that are near, and zeros as zeros. */
    @ParameterizedTest
    @EnumSource(GgufType.class)
    @Tag("tier")
    void makesBlocksOfUnusualValues(GgufType type) {
        int n = type.elements();
        float[] x = new float[6 * n];
        for (int i = 0; i < n; i++) {
            x[n + i] = 2.5f;
            x[2 * n + i] = Float.MIN_VALUE * i;
            x[3 * n + i] = i == 7 ? -1000 : 0;
            x[4 * n + i] = i % 2 == 0 ? -0f : 0f;
            x[5 * n + i] = i - n / 2;
        }
        Tensor in = Tensor.of(x, 1, 6L * n);
        float[] values = Quantize.dequantize(Quantize.run(in, QuantSpec.gguf(type)), DType.F32)
                .toFloatArray();
        for (int block = 0; block < 6; block++) {
            float amax = 0;
            for (int i = block * n; i < block * n + n; i++) {
                amax = Math.max(amax, Math.abs(x[i]));
            }
            for (int i = block * n; i < block * n + n; i++) {
                assertTrue(
                        Math.abs(values[i] - x[i]) <= 0.5f * amax + 1e-5f,
                        type + " [" + i + "] " + x[i] + " " + values[i]);
            }
        }
        for (int i = 0; i < n; i++) {
            assertTrue(values[i] == 0, type.toString()); // of either sign
        }
    }

    @ParameterizedTest
    @EnumSource(GgufType.class)
    void refusesWhatHasNoScaleAndStridedColumns(GgufType type) {
        int n = type.elements();
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            float[] x = new Random(74).normal(3 * 2 * n, 1);
            x[2 * 2 * n + n + 5] = bad;
            String message = assertThrows(
                            IllegalArgumentException.class,
                            () -> Quantize.run(Tensor.of(x, 3, 2L * n), QuantSpec.gguf(type)))
                    .getMessage();
            assertTrue(message.contains("2") && message.contains(Integer.toString(n + 5)), message);
        }
        Tensor turned = Tensor.allocate(DType.F32, n, 2).transpose();
        String message = assertThrows(IllegalArgumentException.class, () -> Quantize.run(turned, QuantSpec.gguf(type)))
                .getMessage();
        assertTrue(message.startsWith("x: given f32[2, " + n + "] strides"), message);
        if (type != GgufType.MXFP4) {
            float[] large = new float[n];
            Arrays.fill(large, 3e38f);
            large[0] = -3e38f;
            message = assertThrows(
                            IllegalArgumentException.class,
                            () -> Quantize.run(Tensor.of(large, 1, n), QuantSpec.gguf(type)))
                    .getMessage();
            assertTrue(message.contains("scale"), message);
        }
    }

    /** Rows with gaps between them, and threads, change no bit. */
    @ParameterizedTest
    @EnumSource(GgufType.class)
    void doesNotDependOnStridesOrThreads(GgufType type) {
        int n = 3 * type.elements();
        int rows = 130;
        Tensor wide = Tensor.of(new Random(75).normal(rows * (n + 7), 1), rows, n + 7L);
        Tensor x = wide.slice(1, 7, n + 7);
        QuantizedTensor whole = Quantize.run(x.contiguous(), QuantSpec.gguf(type));
        for (int threads = 1; threads <= 8; threads++) {
            QuantizedTensor out = QuantizedTensor.allocate(QuantSpec.gguf(type), rows, n);
            Quantize.run(x, out, Quantize.Options.DEFAULT.withThreads(threads));
            QuantizeTest.assertSameBytes(whole.codes(), out.codes());
            Guarded values = Guarded.matrix(Arena.ofAuto(), DType.F32, rows, n, n + 5, 1);
            Quantize.dequantize(out, values.tensor, threads);
            assertTrue(values.unchangedOutside(0, n));
            QuantizeTest.assertValues(out, values.tensor, type.toString());
        }
    }

    @Test
    void wrapsBlocksWithoutCopying() {
        MemorySegment memory = Arena.ofAuto().allocate(100);
        QuantizedTensor blocks = QuantizedTensor.gguf(GgufType.Q8_0, 1, 64, memory);
        assertEquals(68, blocks.byteSize());
        memory.set(JAVA_BYTE, 1, (byte) 0x3c); // d = 1
        memory.set(JAVA_BYTE, 2 + 5, (byte) -7);
        assertEquals(-7, Quantize.dequantize(blocks, DType.F32).getFloat(0, 5));
        assertEquals("quantized[1, 64] gguf Q8_0", blocks.toString());
        assertThrows(IllegalArgumentException.class, () -> QuantizedTensor.gguf(GgufType.Q8_0, 3, 64, memory));
        assertThrows(IllegalArgumentException.class, () -> QuantizedTensor.gguf(GgufType.Q8_0, 1, 48, memory));
        assertEquals(
                2,
                QuantizedTensor.gguf(GgufType.Q8_0, 2, 32, memory).slice(0, 2).rows());
        assertEquals(
                1,
                QuantizedTensor.gguf(GgufType.Q8_0, 2, 32, memory).slice(1, 2).rows());
    }

    @Test
    void explainsItsKernel() {
        String text = Quantize.explain(Tensor.allocate(DType.F32, 1, 256), QuantSpec.gguf(GgufType.Q4_K));
        assertTrue(text.contains(" on tier " + Gatun.tier()), text);
    }
}
