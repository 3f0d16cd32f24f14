package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_h;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class CodeBookTest {
    private static final float[] NF4 = {
        -1.0f,
        -0.6961928009986877f,
        -0.5250730514526367f,
        -0.39491748809814453f,
        -0.28444138169288635f,
        -0.18477343022823334f,
        -0.09105003625154495f,
        0.0f,
        0.07958029955625534f,
        0.16093020141124725f,
        0.24611230194568634f,
        0.33791524171829224f,
        0.44070982933044434f,
        0.5626170039176941f,
        0.7229568362236023f,
        1.0f
    };

    @Test
    void numbersAreThoseOfTheCHeaders() {
        NativeLibrary.load();
        assertEquals(gatun_h.GATUN_BOOK_NF4(), CodeBook.NF4.number());
        assertEquals(gatun_h.GATUN_BOOK_FP4(), CodeBook.FP4.number());
        assertEquals(gatun_h.GATUN_BOOK_DYNAMIC(), CodeBook.DYNAMIC.number());
        assertEquals(gatun_h.GATUN_BOOK_DYNAMIC_UNSIGNED(), CodeBook.DYNAMIC_UNSIGNED.number());
        assertEquals(gatun_h.GATUN_BOOK_LINEAR(), CodeBook.LINEAR.number());
        assertEquals(gatun_h.GATUN_BOOK_LINEAR_UNSIGNED(), CodeBook.LINEAR_UNSIGNED.number());
        assertEquals(gatun_h.GATUN_BOOK_GIVEN(), CodeBook.of(new float[16]).number());
    }

    @Test
    void booksOf4Bits() {
        assertArrayEquals(NF4, CodeBook.NF4.values());
        float[] fp4 = CodeBook.FP4.values();
        double[] twelfths = {0, 0.0625, 8, 12, 4, 6, 2, 3};
        for (int code = 0; code < 8; code++) {
            assertEquals((float) (twelfths[code] / 12), fp4[code], "code " + code);
            assertEquals(-fp4[code], fp4[code + 8], "code " + (code + 8));
        }
    }

    @Test
    void linearBooks() {
        float[] linear = CodeBook.LINEAR.values();
        float[] unsigned = CodeBook.LINEAR_UNSIGNED.values();
        for (int code = 0; code < 256; code++) {
            assertEquals((code < 128 ? code - 127 : code - 128) / 127f, linear[code], "code " + code);
            assertEquals(code / 255f, unsigned[code], "code " + code);
        }
    }

    /** The middles of 2^i, without a sign 2^(i + 1) equal parts of 0.1..1, times 10^(i - 6); 0 and 1. */
    @Test
    void dynamicBooks() {
        assertNear(dynamic(true), CodeBook.DYNAMIC.values());
        assertNear(dynamic(false), CodeBook.DYNAMIC_UNSIGNED.values());
        float[] signed = CodeBook.DYNAMIC.values();
        assertEquals(0, signed[127]);
        assertEquals(-0.99296875f, signed[0]);
        assertEquals(1, signed[255]);
        assertEquals(5.5e-7f, signed[128], 1e-13f);
        float[] unsigned = CodeBook.DYNAMIC_UNSIGNED.values();
        assertEquals(0, unsigned[0]);
        assertEquals(3.25e-7f, unsigned[1], 1e-13f);
        assertEquals(0.996484375f, unsigned[254]);
        assertEquals(1, unsigned[255]);
    }

    private static double[] dynamic(boolean signed) {
        double[] values = new double[256];
        int count = 2;
        values[1] = 1;
        for (int i = 0; i < 7; i++) {
            int parts = signed ? 1 << i : 2 << i;
            for (int part = 0; part < parts; part++) {
                double magnitude = (0.1 + 0.9 * (part + 0.5) / parts) * Math.pow(10, i - 6);
                values[count++] = magnitude;
                if (signed) {
                    values[count++] = -magnitude;
                }
            }
        }
        assertEquals(256, count);
        Arrays.sort(values);
        return values;
    }

    /** In f32 each value is the result of a handful of roundings. */
    private static void assertNear(double[] expected, float[] given) {
        for (int code = 0; code < 256; code++) {
            assertEquals(expected[code], given[code], 3 * Math.ulp((float) expected[code]), "code " + code);
        }
    }

    @Test
    void booksOfOnesOwn() {
        float[] values = Formats.uneven(16).values();
        CodeBook book = CodeBook.of(values);
        assertEquals(4, book.bits());
        assertEquals(8, CodeBook.of(new float[256]).bits());
        assertEquals(book, CodeBook.of(values));
        assertEquals(book.hashCode(), CodeBook.of(values).hashCode());
        values[3] += 0.001f;
        assertNotEquals(book, CodeBook.of(values));
        assertNotEquals(values[3], book.values()[3]);
        assertNotEquals(CodeBook.NF4, CodeBook.of(NF4));
        assertEquals("nf4", CodeBook.NF4.toString());
        refused(new float[15], "15 values", "16 or 256");
        refused(new float[0], "0 values", "16 or 256");
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            float[] wrong = NF4.clone();
            wrong[5] = bad;
            refused(wrong, "values[5]", Float.toString(bad), "finite");
        }
        float[] descending = NF4.clone();
        descending[9] = 0.01f;
        refused(descending, "values[9]", "0.01", "not below its predecessor");
        assertThrows(NullPointerException.class, () -> CodeBook.of((float[]) null));
    }

    private static void refused(float[] values, String... parts) {
        String message = assertThrows(IllegalArgumentException.class, () -> CodeBook.of(values))
                .getMessage();
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
    }
}
