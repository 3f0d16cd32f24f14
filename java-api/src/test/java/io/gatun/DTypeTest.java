package io.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.c.gatun_h;
import java.math.BigDecimal;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class DTypeTest {
    @Test
    void codesAreThoseOfTheCHeaders() {
        assertEquals(gatun_h.GATUN_F32(), DType.F32.code());
        assertEquals(gatun_h.GATUN_F16(), DType.F16.code());
        assertEquals(gatun_h.GATUN_BF16(), DType.BF16.code());
        assertEquals(gatun_h.GATUN_I8(), DType.I8.code());
        assertEquals(gatun_h.GATUN_U8(), DType.U8.code());
        assertEquals(gatun_h.GATUN_I32(), DType.I32.code());
        assertEquals(gatun_h.GATUN_U4(), DType.U4.code());
    }

    @Test
    void bytesOfRows() {
        assertEquals(28, DType.F32.bytes(7));
        assertEquals(14, DType.BF16.bytes(7));
        assertEquals(7, DType.U8.bytes(7));
        assertEquals(4, DType.U4.bytes(7));
        assertEquals(4, DType.U4.bytes(8));
        assertEquals(0, DType.U4.bytes(0));
        assertEquals(1L << 62, DType.U4.bytes(Long.MAX_VALUE));
    }

    @Test
    void everyBf16PatternSurvives() {
        for (int pattern = 0; pattern < 1 << 16; pattern++) {
            float value = DType.bf16ToFloat((short) pattern);
            short back = DType.floatToBf16(value);
            if (Float.isNaN(value)) {
                assertTrue(Float.isNaN(DType.bf16ToFloat(back)));
            } else {
                assertEquals((short) pattern, back);
            }
        }
    }

    /** Any f32 lies between two neighbours; the nearer one is taken, the even one at the midpoint. */
    @Test
    void bf16RoundsToNearestEven() {
        SplittableRandom random = new SplittableRandom(51);
        for (int i = 0; i < 200_000; i++) {
            int bits = random.nextInt();
            if (i % 4 == 0) {
                bits = bits & 0xffff0000 | 0x8000; // a midpoint
            }
            float value = Float.intBitsToFloat(bits);
            if (Float.isNaN(value) || Float.isInfinite(value)) {
                continue;
            }
            int lower = bits >>> 16;
            BigDecimal below = exact(lower);
            BigDecimal above = exact(lower + 1);
            BigDecimal middle = below.add(above).divide(BigDecimal.TWO);
            int side = new BigDecimal(value).abs().compareTo(middle.abs());
            int expected = side < 0 ? lower : side > 0 ? lower + 1 : lower + lower % 2;
            assertEquals((short) expected, DType.floatToBf16(value), Float.toHexString(value));
        }
        assertEquals(Float.POSITIVE_INFINITY, DType.bf16ToFloat(DType.floatToBf16(Float.MAX_VALUE)));
        assertTrue(Float.isNaN(DType.bf16ToFloat(DType.floatToBf16(Float.intBitsToFloat(0x7f800001)))));
    }

    /** The value of a pattern; of infinity, the power of 2 where the next pattern would be. */
    private static BigDecimal exact(int pattern) {
        float value = DType.bf16ToFloat((short) pattern);
        return Float.isInfinite(value) ? new BigDecimal(Math.copySign(0x1p128, value)) : new BigDecimal(value);
    }

    @Test
    void f16RoundsToNearestEven() {
        assertEquals(1f, DType.f16ToFloat(DType.floatToF16(1 + 0x1p-11f)));
        assertEquals(1 + 0x1p-9f, DType.f16ToFloat(DType.floatToF16(1 + 3 * 0x1p-11f)));
        assertEquals(65504f, DType.f16ToFloat(DType.floatToF16(65519)));
        assertEquals(Float.POSITIVE_INFINITY, DType.f16ToFloat(DType.floatToF16(65520)));
        assertEquals(0x1p-24f, DType.f16ToFloat(DType.floatToF16(0x1.8p-25f)));
        assertEquals(0f, DType.f16ToFloat(DType.floatToF16(0x1p-25f)));
    }
}
