package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.ops.QuantSpec.Blocks;
import io.gatun.ops.QuantSpec.NibbleOrder;
import io.gatun.ops.QuantSpec.ScaleRule;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class QuantSpecTest {
    @Test
    void saysWhatItIs() {
        assertEquals("i8 per row, f32 scales", QuantSpec.int8().toString());
        assertEquals(
                "u4 group 32 with zero points, f16 scales",
                QuantSpec.int4Asymmetric(32).toString());
        assertEquals(
                "u2 group 64 with float zero points, f16 scales",
                QuantSpec.int2Asymmetric(64).withFloatZeroPoints().toString());
        assertEquals(
                "nf4 u4 blocks of 64, nested f32 scales, HIGH_FIRST",
                QuantSpec.nf4(64)
                        .withNestedScales()
                        .withNibbles(NibbleOrder.HIGH_FIRST)
                        .toString());
        assertEquals(
                "f8e4m3 blocks of 128 x 128, f32 scales",
                QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128).toString());
        assertEquals(
                "f8e5m2 per tensor, f32 scales",
                QuantSpec.fp8(DType.F8E5M2).perTensor().toString());
        assertEquals("i8 per tensor, f32 scales", QuantSpec.int8().perTensor().toString());
        assertEquals(
                "f4e2m1 group 32, e8m0 scales EVEN",
                QuantSpec.mxfp4().withScaleRule(ScaleRule.EVEN).toString());
        assertEquals("f4e2m1 group 16, f8e4m3 scales", QuantSpec.nvfp4().toString());
        assertEquals("gguf Q4_K", QuantSpec.gguf(GgufType.Q4_K).toString());
    }

    @Test
    void equalsWhatMeansTheSame() {
        assertEquals(QuantSpec.int8(), QuantSpec.int8(0));
        assertEquals(QuantSpec.nf4(64), QuantSpec.codeBook(CodeBook.NF4, 64));
        assertEquals(QuantSpec.codeBook(Formats.uneven(16), 64), QuantSpec.codeBook(Formats.uneven(16), 64));
        assertNotEquals(QuantSpec.nf4(64), QuantSpec.nf4(64).withGroup(64));
        assertNotEquals(QuantSpec.nf4(64), QuantSpec.fp4(64));
        assertTrue(QuantSpec.int4Asymmetric(32).hasZeroPoints());
        assertFalse(QuantSpec.int4(32).hasZeroPoints());
        assertTrue(QuantSpec.nvfp4().hasTensorScale());
        assertEquals(64, QuantSpec.nf4(64).group());
    }

    @Test
    void cutsBlocksOnlyWhereTheFormatSaysThem() {
        assertEquals(20, QuantSpec.mxfp4().groupOf(20));
        assertEquals(1, QuantSpec.nf4(64).groupOf(1));
        assertEquals(2, QuantSpec.nf4(64).groups(100));
        assertEquals(0, QuantSpec.nf4(64).groups(0));
        refused(() -> QuantSpec.int4(32).groupOf(20), "group", "32", "16..20");
        refused(() -> QuantSpec.gguf(GgufType.Q4_K).groupOf(300), "depth", "300", "a multiple of 256");
        assertEquals(32, QuantSpec.gguf(GgufType.Q4_K).groupOf(512));
        assertEquals(16, QuantSpec.gguf(GgufType.Q6_K).groupOf(512));
    }

    @Test
    void refusesWhatHasNoMeaning() {
        refused(() -> QuantSpec.int8().withScales(DType.E8M0), "scales", "e8m0 with i8", "f32 or f16");
        refused(() -> QuantSpec.mxfp8(DType.F8E4M3).withScales(DType.F8E4M3), "scales", "f8e4m3", "e8m0");
        refused(() -> QuantSpec.mxfp4().withScales(DType.BF16), "scales", "bf16", "e8m0, f8e4m3");
        refused(() -> QuantSpec.nf4(64).withScales(DType.F16), "scales", "f16 with a code book", "f32");
        refused(() -> QuantSpec.int8().withFloatZeroPoints(), "zeroPoint", "FLOAT with i8", "NONE");
        refused(() -> QuantSpec.nf4(64).withFloatZeroPoints(), "zeroPoint", "FLOAT with a code book", "NONE");
        refused(() -> QuantSpec.mxfp4().withFloatZeroPoints(), "zeroPoint", "FLOAT with f4e2m1", "NONE");
        refused(() -> QuantSpec.int8().withScaleRule(ScaleRule.FLOOR), "rule", "FLOOR with f32", "e8m0");
        refused(() -> QuantSpec.mxfp4().withScaleRule(ScaleRule.FULL_RANGE), "rule", "FULL_RANGE", "i8, u4 or u2");
        refused(() -> QuantSpec.nf4(64).withScaleRule(ScaleRule.NO_CLIPPING), "rule", "NO_CLIPPING", "i8");
        refused(() -> QuantSpec.int4(32).withNestedScales(), "nested", "f16 scales", "f32 scales");
        refused(() -> QuantSpec.int8().withNibbles(NibbleOrder.HIGH_FIRST), "nibbles", "HIGH_FIRST with i8", "4 bits");
        refused(() -> QuantSpec.fp8(DType.F4E2M1), "codes", "f4e2m1", "f8e4m3 or f8e5m2");
        refused(() -> QuantSpec.mxfp6(DType.F8E4M3), "codes", "f8e4m3", "f6e3m2 or f6e2m3");
        refused(() -> QuantSpec.int4(-1), "group", "-1", "16 or more");
        refused(() -> new Blocks(0, -1, false), "rows", "-1", "0 (all) or more");
        refused(() -> QuantSpec.int4(32).withBlocks(4, 32), "blocks", "4 rows with u4", "1 row, or 8-bit floats");
        refused(() -> QuantSpec.int8().withBlocks(0, 0), "blocks", "all rows with i8", "1 row, or 8-bit floats");
        refused(() -> new Blocks(64, 2, true), "rows", "2", "1, as blocks are flat");
        refused(() -> QuantSpec.gguf(GgufType.Q8_0).withGroup(64), "spec", "Q8_0", "QuantSpec.gguf(Q8_0)");
        refused(() -> QuantSpec.gguf(GgufType.Q8_0).withScales(DType.F16), "spec", "Q8_0", "QuantSpec.gguf");
        missing(() -> QuantSpec.gguf(null), "type");
        missing(() -> QuantSpec.codeBook(null, 64), "book");
        missing(() -> QuantSpec.fp8(null), "codes");
        missing(() -> QuantSpec.int8().withScales(null), "scales");
        missing(() -> QuantSpec.int8().withScaleRule(null), "rule");
        missing(() -> QuantSpec.int4().withNibbles(null), "nibbles");
    }

    private static void refused(Executable call, String... parts) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        for (String part : parts) {
            assertTrue(message.contains(part), "\"" + message + "\" does not contain \"" + part + "\"");
        }
    }

    private static void missing(Executable call, String argument) {
        String message = assertThrows(NullPointerException.class, call).getMessage();
        assertEquals(argument + ": given null; allowed: a value", message);
    }
}
