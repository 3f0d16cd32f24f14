package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.HexFormat;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Small examples worked out by hand from the definitions, byte by byte. */
@Tag("tier")
class GoldenTest {
    private static QuantizedTensor quantized(QuantSpec spec, float... x) {
        return Quantize.run(Tensor.of(x, 1, x.length), spec);
    }

    private static void assertBytes(String hex, Tensor tensor) {
        assertEquals(hex, HexFormat.of().formatHex(tensor.segment().toArray(JAVA_BYTE)), tensor.describe());
    }

    @Test
    void integers() {
        // amax 127, so the scale is 1; 0.5 is a tie and goes to 0, 1.5 to 2.
        QuantizedTensor eight = quantized(QuantSpec.int8(), 1, -2, 0.5f, 1.5f, 127);
        assertBytes("01fe00027f", eight.codes());
        assertEquals(1, eight.scales().getFloat(0, 0));
        // The extreme is -8, the scale -8 / -8; codes are 8 more: 0 15, 8 12 (3.5 to 4), 10 (2.5 to 2).
        assertBytes("f0c80a", quantized(QuantSpec.int4(), -8, 7, 0, 3.5f, 2.5f).codes());
        // The extreme is 2, the scale -1: -2 -1 1 0, and 2 more, from the low bits.
        QuantizedTensor two = quantized(QuantSpec.int2(0), 2, 1, -1, 0);
        assertBytes("b4", two.codes());
        assertEquals(-1, two.scales().getFloat(0, 0));
        // -1..14 in 15 steps of 1: the zero point is 1.
        QuantizedTensor zero = quantized(QuantSpec.int4Asymmetric(), -1, 14, 0, 2.4f);
        assertBytes("f031", zero.codes());
        assertEquals(1, zero.zeroPoints().getInt(0, 0));
        // 1..16 in 15 steps of 1, from 1; 0 is not among them.
        QuantizedTensor offset = quantized(QuantSpec.int4Asymmetric().withFloatZeroPoints(), 1, 16, 4, 2);
        assertBytes("f013", offset.codes());
        assertEquals(1, offset.zeroPoints().getFloat(0, 0));
        assertArrayEquals(
                new float[] {1, 16, 4, 2},
                Quantize.dequantize(offset, DType.F32).toFloatArray());
    }

    @Test
    void smallFloats() {
        // amax 448: the scale is 1. 448 = 1.75 2^8, 1 = 2^0, -0.5, 1/512 the smallest, 17 = 1.0625 2^4 a tie, to 16.
        assertBytes(
                "7e38b00158",
                quantized(QuantSpec.fp8(DType.F8E4M3), 448, 1, -0.5f, 0x1p-9f, 17)
                        .codes());
        // 57344 = 1.75 2^15.
        assertBytes(
                "7b3cb8",
                quantized(QuantSpec.fp8(DType.F8E5M2), 57344, 1, -0.5f).codes());
        // floor(log2 6) - 2 = 0: e = 127. Codes of 6, 3, -1.5, 0.5: 7 5 b 1.
        QuantizedTensor four = quantized(QuantSpec.mxfp4(), 6, 3, -1.5f, 0.5f);
        assertBytes("571b", four.codes());
        assertBytes("7f", four.scales());
        // 7 saturates by FLOOR; by RCEIL the scale is 2 (7 / 6 > 1), and 7 / 2 is a tie between 3 and 4.
        assertBytes("07", quantized(QuantSpec.mxfp4(), 7).codes());
        QuantizedTensor up = quantized(QuantSpec.mxfp4().withScaleRule(QuantSpec.ScaleRule.RCEIL), 7);
        assertBytes("06", up.codes());
        assertBytes("80", up.scales());
        // floor(log2 7.5) - 2 = 0. 7.5, 1, -0.125, 0: 1f 08 21 00, six bits each.
        QuantizedTensor six = quantized(QuantSpec.mxfp6(DType.F6E2M3), 7.5f, 1, -0.125f, 0);
        assertBytes("1f1202", six.codes());
        // floor(log2 28) - 4 = 0. 28 = 1.75 2^4, 1: 1f 0c.
        assertBytes("1f03", quantized(QuantSpec.mxfp6(DType.F6E3M2), 28, 1).codes());
        // 2688 = 448 * 6: the scale of the tensor is 1, that of the block 448; 6, 1, -0.5, 0: 7 2 9 0.
        QuantizedTensor nv = quantized(QuantSpec.nvfp4(), 2688, 448, -224, 0);
        assertBytes("2709", nv.codes());
        assertBytes("7e", nv.scales());
        assertEquals(1, nv.tensorScale().getFloat(0));
    }

    @Test
    void codeBooks() {
        // 1, -1, 0 and 0.56 of NF4: 15 0 7 13.
        assertBytes(
                "0fd7",
                quantized(QuantSpec.nf4(64), 2, -2, 0, 2 * 0.5626170039176941f).codes());
        // Twelfths of FP4: 12, 8, -6, 0.0625: 3 2 d 1.
        assertBytes("231d", quantized(QuantSpec.fp4(64), 12, 8, -6, 0.0625f).codes());
        // -1 is nearest to the lowest value, -0.993.
        assertBytes("ff007f", quantized(QuantSpec.dynamic8(64), 3, -3, 0).codes());
        assertBytes(
                "ff00",
                quantized(QuantSpec.codeBook(CodeBook.DYNAMIC_UNSIGNED, 64), 3, -3)
                        .codes());
        // 0 is there twice, at 127 and 128; what is a little more than 0 is nearest to the second one.
        assertBytes(
                "ff007f80", quantized(QuantSpec.linear8(64), 1, -1, 0, 1 / 256f).codes());
    }
}
