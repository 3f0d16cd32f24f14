package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QuantSpec.NibbleOrder;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The parts of quantized matrices: their shapes, orders of nibbles, slices, nested scales. */
class PartsTest {
    @ParameterizedTest
    @MethodSource("io.gatun.ops.Formats#planes")
    void slicesAreMatricesOfTheirOwn(QuantSpec spec) {
        int rows = 12;
        int depth = 192;
        Tensor x = Tensor.of(new Random(101).normal(rows * depth, 1), rows, depth);
        QuantizedTensor whole = Quantize.run(x, spec);
        float[] values = Quantize.dequantize(whole, DType.F32).toFloatArray();
        int taken = 0;
        for (int[] range : new int[][] {{0, 12}, {0, 3}, {3, 9}, {8, 12}, {6, 6}, {12, 12}}) {
            QuantizedTensor part;
            try {
                part = whole.slice(range[0], range[1]);
            } catch (IllegalArgumentException e) {
                assertTrue(
                        e.getMessage().startsWith("slice: given " + range[0] + ".." + range[1])
                                || e.getMessage().startsWith("begin")
                                || e.getMessage().startsWith("end"),
                        e.getMessage());
                assertTrue(
                        spec.nested() || spec.blocks().flat() || spec.blocks().rows() > 1, spec + "");
                continue;
            }
            taken++;
            assertEquals(range[1] - range[0], part.rows());
            float[] expected = Arrays.copyOfRange(values, range[0] * depth, range[1] * depth);
            assertArrayEquals(expected, Quantize.dequantize(part, DType.F32).toFloatArray(), spec.toString());
        }
        assertTrue(taken >= 1, spec.toString());
    }

    @Test
    void sizes() {
        assertEquals(
                6 * 64 / 2 + 6 * 4,
                QuantizedTensor.allocate(QuantSpec.nf4(64), 6, 64).byteSize());
        // 1000 bytes of codes, 32 blocks, whose scales are a byte each, with a scale and an offset of their own.
        assertEquals(
                1000 + 32 + 4 + 4,
                QuantizedTensor.allocate(QuantSpec.nf4(64).withNestedScales(), 10, 200)
                        .byteSize());
        assertEquals(
                3 * 96 + 3 * 4,
                QuantizedTensor.allocate(QuantSpec.mxfp6(DType.F6E2M3), 3, 128).byteSize());
        assertEquals(
                2 * 16 + 2 * 2 + 4,
                QuantizedTensor.allocate(QuantSpec.nvfp4(), 2, 32).byteSize());
        assertEquals(
                300 * 300 + 9 * 4,
                QuantizedTensor.allocate(QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128), 300, 300)
                        .byteSize());
        QuantizedTensor six = QuantizedTensor.allocate(QuantSpec.mxfp6(DType.F6E2M3), 3, 5);
        assertEquals(Shape.of(3, 4), six.codes().shape());
        assertEquals(DType.U8, six.codes().dtype());
    }

    /** bitsandbytes' double quantization: mean, differences by the dynamic map in blocks of 256, and back. */
    @Test
    void nestedScales() {
        int rows = 70;
        int depth = 640;
        float[] x = new Random(102).normal(rows * depth, 2);
        QuantSpec spec = QuantSpec.nf4(64);
        QuantizedTensor plain = Quantize.run(Tensor.of(x, rows, depth), spec);
        QuantizedTensor nested = Quantize.run(Tensor.of(x, rows, depth), spec.withNestedScales());
        QuantizeTest.assertSameBytes(plain.codes(), nested.codes());
        float[] scales = plain.scales().toFloatArray();
        double sum = 0;
        for (float scale : scales) {
            sum += scale;
        }
        float mean = (float) (sum / scales.length);
        assertEquals(mean, nested.nested().offset().getFloat(0));
        float[] less = new float[scales.length];
        for (int i = 0; i < less.length; i++) {
            less[i] = scales[i] - mean;
        }
        QuantizeOracle oracle = new QuantizeOracle(less, 1, less.length, QuantSpec.dynamic8(256));
        QuantizeTest.assertCodes(oracle, nested.nested().values(), "nested scales");
        assertEquals(3, nested.nested().values().scales().shape().size(1));
        QuantizeTest.assertValues(nested, Quantize.dequantize(nested, DType.F32), "nested");
        QuantizedTensor none = Quantize.run(Tensor.allocate(DType.F32, 0, 64), spec.withNestedScales());
        assertEquals(0, Quantize.dequantize(none, DType.F32).shape().elements());
    }

    @Test
    void ordersOfNibbles() {
        Tensor codes = Tensor.of(DType.U4, new byte[] {0x21, 0x43, 0x65, (byte) 0x87}, 1, 8);
        QuantizedTensor low = new QuantizedTensor(QuantSpec.int4(), codes, Tensor.of(new float[] {1}, 1, 1), null);
        QuantizedTensor high = low.reorder(NibbleOrder.HIGH_FIRST);
        assertArrayEquals(new byte[] {0x12, 0x34, 0x56, 0x78}, bytes(high));
        QuantizedTensor split = low.reorder(NibbleOrder.SPLIT_HALF_BLOCK);
        assertArrayEquals(new byte[] {0x51, 0x62, 0x73, (byte) 0x84}, bytes(split));
        assertArrayEquals(bytes(high), bytes(split.reorder(NibbleOrder.HIGH_FIRST)));
        assertArrayEquals(bytes(low), bytes(high.reorder(NibbleOrder.LOW_FIRST)));
        for (QuantizedTensor other : List.of(high, split)) {
            Executable[] calls = {
                () -> Quantize.dequantize(other, DType.F32),
                () -> Quantize.run(Tensor.allocate(DType.F32, 1, 8), other),
                () -> QMatmul.pack(other)
            };
            for (Executable call : calls) {
                String message =
                        assertThrows(IllegalArgumentException.class, call).getMessage();
                assertTrue(message.contains("nibbles " + other.spec().nibbles()), message);
                assertTrue(message.contains("QuantizedTensor.reorder"), message);
            }
        }
    }

    private static byte[] bytes(QuantizedTensor quantized) {
        return quantized.codes().segment().toArray(ValueLayout.JAVA_BYTE);
    }

    /** Any order to any other keeps every value. */
    @Test
    void reorderingKeepsValues() {
        Random random = new Random(103);
        for (QuantSpec spec : List.of(
                QuantSpec.int4(32),
                QuantSpec.nf4(64),
                QuantSpec.mxfp4(),
                QuantSpec.int4Asymmetric(),
                QuantSpec.int4())) {
            for (int[] shape : new int[][] {{3, 192}, {5, 64}, {1, 32}, {3, 77}}) {
                boolean odd = shape[1] % 64 != 0;
                if (!Formats.fits(spec, shape[1])) {
                    continue;
                }
                QuantizedTensor q =
                        Quantize.run(Tensor.of(random.normal(shape[0] * shape[1], 1), shape[0], shape[1]), spec);
                int[] expected = Decoder.patterns(q);
                for (NibbleOrder from : NibbleOrder.values()) {
                    for (NibbleOrder to : NibbleOrder.values()) {
                        boolean split = from == NibbleOrder.SPLIT_HALF_BLOCK || to == NibbleOrder.SPLIT_HALF_BLOCK;
                        if (!split || !odd) {
                            QuantizedTensor moved = q.reorder(from).reorder(to);
                            if (from != NibbleOrder.HIGH_FIRST && to != NibbleOrder.HIGH_FIRST || !odd) {
                                assertArrayEquals(expected, Decoder.patterns(moved), spec + " " + from + " " + to);
                            }
                            assertArrayEquals(
                                    expected, Decoder.patterns(moved.reorder(NibbleOrder.LOW_FIRST)), spec + " " + to);
                        }
                    }
                }
            }
        }
        QuantizedTensor odd = QuantizedTensor.allocate(QuantSpec.int4(), 2, 7);
        String message = assertThrows(IllegalArgumentException.class, () -> odd.reorder(NibbleOrder.SPLIT_HALF_BLOCK))
                .getMessage();
        assertTrue(message.startsWith("order: given SPLIT_HALF_BLOCK of rows of 7"), message);
        assertThrows(
                IllegalArgumentException.class,
                () -> QuantizedTensor.allocate(QuantSpec.int8(), 2, 8).reorder(NibbleOrder.HIGH_FIRST));
    }

    @Test
    void refusesPartsThatDoNotFit() {
        QuantSpec nv = QuantSpec.nvfp4();
        QuantizedTensor good = QuantizedTensor.allocate(nv, 2, 32);
        QuantizedTensor nested = QuantizedTensor.allocate(QuantSpec.nf4(64).withNestedScales(), 2, 64);
        Tensor f32 = Tensor.allocate(DType.F32, 1);
        refused(
                () -> new QuantizedTensor(nv, good.shape(), good.codes(), good.scales(), null, null, null),
                "tensorScale",
                "null",
                "f32[1]");
        refused(
                () -> new QuantizedTensor(
                        nv, good.shape(), good.codes(), good.scales(), null, Tensor.allocate(DType.F32, 2), null),
                "tensorScale",
                "[2]",
                "[1]");
        refused(
                () -> new QuantizedTensor(
                        QuantSpec.mxfp4(),
                        good.shape(),
                        good.codes(),
                        Tensor.allocate(DType.E8M0, 2, 1),
                        null,
                        f32,
                        null),
                "tensorScale",
                "f32[1]",
                "null");
        refused(
                () -> new QuantizedTensor(nested.spec(), nested.shape(), nested.codes(), null, null, null, null),
                "nested",
                "null",
                "quantized scales");
        refused(
                () -> new QuantizedTensor(
                        nested.spec(),
                        Shape.of(4, 64),
                        Tensor.allocate(DType.U4, 1, 256),
                        null,
                        null,
                        null,
                        nested.nested()),
                "nested.values.codes",
                "[1, 2]",
                "[1, 4]");
        refused(
                () -> new QuantizedTensor(
                        QuantSpec.nf4(64), nested.shape(), Tensor.allocate(DType.U4, 2, 64), null, null, null, null),
                "codes",
                "[2, 64]",
                "[1, 128]");
        refused(
                () -> new QuantizedTensor.NestedScales(QuantizedTensor.allocate(QuantSpec.dynamic8(128), 1, 3), f32),
                "nested.values",
                "blocks of 128",
                "blocks of 256");
        refused(
                () -> new QuantizedTensor(QuantSpec.int8(), Shape.of(4), f32, f32, null, null, null),
                "shape",
                "[4]",
                "[rows, depth]");
        refused(
                () -> new QuantizedTensor(
                        QuantSpec.int4Asymmetric().withFloatZeroPoints(),
                        Tensor.allocate(DType.U4, 2, 32),
                        Tensor.allocate(DType.F32, 2, 1),
                        Tensor.allocate(DType.U8, 2, 1)),
                "zeroPoints",
                "u8",
                "[f32]");
    }

    private static void refused(Executable call, String... parts) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        for (String part : parts) {
            assertTrue(message.contains(part), "\"" + message + "\" does not contain \"" + part + "\"");
        }
    }
}
