package io.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.c.gatun_h;
import java.math.BigDecimal;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

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
        assertEquals(gatun_h.GATUN_U2(), DType.U2.code());
        assertEquals(gatun_h.GATUN_F8E4M3(), DType.F8E4M3.code());
        assertEquals(gatun_h.GATUN_F8E5M2(), DType.F8E5M2.code());
        assertEquals(gatun_h.GATUN_F6E3M2(), DType.F6E3M2.code());
        assertEquals(gatun_h.GATUN_F6E2M3(), DType.F6E2M3.code());
        assertEquals(gatun_h.GATUN_F4E2M1(), DType.F4E2M1.code());
        assertEquals(gatun_h.GATUN_E8M0(), DType.E8M0.code());
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
        assertEquals(2, DType.U2.bytes(7));
        assertEquals(1L << 61, DType.U2.bytes(Long.MAX_VALUE));
        assertEquals(4, DType.F4E2M1.bytes(7));
        assertEquals(6, DType.F6E3M2.bytes(7));
        assertEquals(6, DType.F6E2M3.bytes(8));
        assertEquals(1, DType.F6E2M3.bytes(1));
        assertEquals(7, DType.F8E4M3.bytes(7));
    }

    /** Every pattern of 8, 6 and 4 bits: the value that its three fields mean, and back. */
    @Test
    void everySmallFloatSurvives() {
        DType[] types = {DType.F8E4M3, DType.F8E5M2, DType.F6E3M2, DType.F6E2M3, DType.F4E2M1};
        int[] mantissaBits = {3, 2, 2, 3, 1};
        int[] biases = {7, 15, 3, 1, 1};
        for (int t = 0; t < types.length; t++) {
            DType dtype = types[t];
            int m = mantissaBits[t];
            for (int pattern = 0; pattern < 1 << dtype.bits(); pattern++) {
                int exponent = pattern % (1 << dtype.bits() - 1) >> m;
                double fraction = (pattern & (1 << m) - 1) / Math.pow(2, m);
                double magnitude = exponent == 0
                        ? fraction * Math.pow(2, 1 - biases[t])
                        : (1 + fraction) * Math.pow(2, exponent - biases[t]);
                boolean e5m2Special = dtype == DType.F8E5M2 && exponent == 31;
                boolean isNaN = e5m2Special && fraction != 0 || dtype == DType.F8E4M3 && pattern % 128 == 127;
                float value = dtype.decode(pattern);
                if (isNaN) {
                    assertTrue(Float.isNaN(value));
                    assertTrue(Float.isNaN(dtype.decode(dtype.encode(value))));
                    continue;
                }
                double expected = e5m2Special ? Double.POSITIVE_INFINITY : magnitude;
                assertEquals(pattern < 1 << dtype.bits() - 1 ? expected : -expected, value, dtype + " " + pattern);
                assertEquals(pattern, dtype.encode(value), dtype.toString());
                if (!e5m2Special) {
                    assertTrue(Math.abs(value) <= dtype.largest());
                }
            }
        }
    }

    @Test
    void smallFloatsRoundToNearestEven() {
        assertEquals(1, DType.F8E4M3.decode(DType.F8E4M3.encode(1 + 0x1p-4f)));
        assertEquals(1.25f, DType.F8E4M3.decode(DType.F8E4M3.encode(1 + 3 * 0x1p-4f)));
        assertEquals(448, DType.F8E4M3.decode(DType.F8E4M3.encode(464)));
        assertTrue(Float.isNaN(DType.F8E4M3.decode(DType.F8E4M3.encode(464.1f))));
        assertEquals(Float.NEGATIVE_INFINITY, DType.F8E5M2.decode(DType.F8E5M2.encode(-61440)));
        assertEquals(0x1p-9f, DType.F8E4M3.decode(DType.F8E4M3.encode(0x1.8p-10f)));
        assertEquals(0x80, DType.F8E4M3.encode(-0x1p-10f));
        assertEquals(6, DType.F4E2M1.decode(DType.F4E2M1.encode(1e30f)));
        assertEquals(-7.5f, DType.F6E2M3.decode(DType.F6E2M3.encode(Float.NEGATIVE_INFINITY)));
        assertEquals(127, DType.E8M0.encode(1));
        assertEquals(0x1p-127f, DType.E8M0.decode(0));
        assertEquals(0, DType.E8M0.encode(0x1p-127f));
        assertEquals(254, DType.E8M0.encode(0x1p127f));
        assertTrue(Float.isNaN(DType.E8M0.decode(255)));
        assertEquals(255, DType.E8M0.encode(Float.NaN));
        for (float bad : new float[] {0, 3, -1, 0x1p-128f, Float.POSITIVE_INFINITY}) {
            refused(() -> DType.E8M0.encode(bad), "e8m0");
        }
        refused(() -> DType.F6E3M2.encode(Float.NaN), "f6e3m2");
        refused(() -> DType.U4.encode(1), "floating-point");
        refused(() -> DType.F16.largest(), "at most 8 bits");
    }

    private static void refused(Executable call, String part) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(message.contains(part), message);
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
