package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class MaskTest {
    private static final int[] DEPTHS = {0, 1, 7, 8, 9, 31, 64, 65, 200};

    private final Random random = new Random(81);

    private boolean[] bits(int count) {
        boolean[] bits = new boolean[count];
        for (int i = 0; i < count; i++) {
            bits[i] = random.chance(0.5);
        }
        return bits;
    }

    @Test
    void holdsItsBits() {
        for (int depth : DEPTHS) {
            boolean[] bits = bits(3 * depth);
            Mask mask = Mask.of(bits, 3, depth);
            int ones = 0;
            float[] dense = new float[bits.length];
            for (int i = 0; i < bits.length; i++) {
                assertEquals(bits[i], mask.get(i / depth, i % depth));
                int inByte = mask.bits().getInt(i / depth, i % depth / 8) >> i % depth % 8 & 1;
                assertEquals(bits[i] ? 1 : 0, inByte);
                ones += inByte;
                dense[i] = inByte;
            }
            assertEquals(ones, mask.count());
            assertEquals(bits.length == 0 ? 1 : (double) ones / bits.length, mask.density());
            assertArrayEquals(dense, mask.toTensor(DType.I8).toFloatArray());
            assertEquals(ones, Mask.of(Tensor.of(dense, 3, depth)).count());
            assertEquals(ones, Mask.wrap(mask.bits(), depth).count());
            assertEquals("mask[3, " + depth + "]", mask.toString());
        }
    }

    @Test
    void bitsAreSetAndCleared() {
        Mask mask = Mask.allocate(2, 11);
        mask.set(1, 10, true);
        mask.set(1, 9, true);
        mask.set(0, 0, true);
        mask.set(1, 9, false);
        assertEquals(2, mask.count());
        assertTrue(mask.get(1, 10));
        assertFalse(mask.get(1, 9));
        assertEquals(
                "index: given [1, 11]; allowed: inside of the mask [2, 11]",
                assertThrows(IndexOutOfBoundsException.class, () -> mask.get(1, 11))
                        .getMessage());
        assertThrows(IndexOutOfBoundsException.class, () -> mask.set(2, 0, true));
        assertThrows(IndexOutOfBoundsException.class, () -> mask.get(-1, 0));
        assertThrows(IndexOutOfBoundsException.class, () -> mask.get(0, -1));
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "F16", "BF16", "I8", "U8"})
    @Tag("tier")
    void isApplied(DType dtype) {
        for (int depth : DEPTHS) {
            for (int rows : new int[] {0, 1, 5}) {
                boolean[] bits = bits(rows * depth);
                Mask mask = Mask.of(bits, rows, depth);
                float[] values = random.integers(rows * depth, dtype == DType.U8 ? 0 : -100, 100);
                Guarded x = Guarded.matrix(Arena.ofAuto(), dtype, rows, depth, depth + 3, 1)
                        .fill(values);
                Guarded y = Guarded.matrix(Arena.ofAuto(), dtype, rows, depth, depth + 5, 3);
                float[] expected = new float[values.length];
                for (int i = 0; i < values.length; i++) {
                    expected[i] = bits[i] ? values[i] : 0;
                }
                String context = dtype + " [" + rows + ", " + depth + "]";
                for (int threads : new int[] {0, 1, 3}) {
                    mask.apply(x.tensor, y.tensor, threads);
                    assertArrayEquals(expected, y.tensor.toFloatArray(), context);
                    assertTrue(y.unchangedOutside(0, depth), context);
                }
                assertTrue(x.unchanged());
                assertArrayEquals(expected, mask.apply(x.tensor).toFloatArray(), context);
                mask.apply(x.tensor, x.tensor);
                assertArrayEquals(expected, x.tensor.toFloatArray(), context);
                assertTrue(x.unchangedOutside(0, depth), context);
            }
        }
    }

    /** What is pruned becomes +0, whatever it was; what is kept keeps its bits. */
    @Test
    @Tag("tier")
    void prunesNanAndKeepsItsBits() {
        int[] patterns = {0x7fc00001, 0xff800001, 0x80000000, 0x7f800000, 0x00000001, 0x3f800000};
        for (int kept = 0; kept < 1 << patterns.length; kept++) {
            Mask mask = Mask.allocate(1, patterns.length);
            Tensor x = Tensor.allocate(DType.F32, 1, patterns.length);
            for (int i = 0; i < patterns.length; i++) {
                mask.set(0, i, (kept >> i & 1) != 0);
                x.segment().setAtIndex(ValueLayout.JAVA_INT, i, patterns[i]);
            }
            Tensor y = mask.apply(x);
            for (int i = 0; i < patterns.length; i++) {
                int expected = (kept >> i & 1) != 0 ? patterns[i] : 0;
                assertEquals(expected, y.segment().getAtIndex(ValueLayout.JAVA_INT, i));
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Mask mask = Mask.of(bits(4 * 11), 4, 11);
        Tensor x = Tensor.of(random.normal(4 * 11, 1), 4, 11);
        Guarded out = Guarded.matrix(DType.F32, 4, 11);
        Tensor y = out.tensor;
        Tensor beyond = Tensor.allocate(DType.U8, 2, 2);
        beyond.setFloat(0x08, 1, 1);
        Mask closed = closedMask();
        Tensor wide = Tensor.allocate(DType.F32, 5, 11);
        Tensor inMask = Tensor.allocate(DType.U8, 4, 2);
        Mask under = Mask.wrap(Tensor.wrap(inMask.segment(), DType.U8, 4, 1), 2);
        return new Refusals(out::unchanged)
                .add("shape of x", "x", "[4, 12]", "[4, 11]", () -> mask.apply(Tensor.allocate(DType.F32, 4, 12), y))
                .add("shape of y", "y", "[5, 11]", "[4, 11]", () -> mask.apply(x, wide))
                .add(
                        "type of x",
                        "x",
                        "i32",
                        "[f32, f16, bf16, i8, u8]",
                        () -> mask.apply(Tensor.allocate(DType.I32, 4, 11), y))
                .add("type of y", "y", "bf16", "the dtype of x, f32", () -> mask.apply(x, y.to(DType.BF16)))
                .add("x transposed", "x", "strides [1, 4]", "column stride 1", () -> mask.apply(transposed(), y))
                .add("y read-only", "y", "read-only", "writable", () -> mask.apply(x, Unreachable.readOnly(y)))
                .add(
                        "y shifted in x",
                        "y",
                        "overlaps x",
                        "of its own",
                        () -> mask.apply(wide.slice(0, 0, 4), wide.slice(0, 1, 5)))
                .add(
                        "y in mask",
                        "y",
                        "overlaps mask",
                        "of its own",
                        () -> under.apply(Tensor.allocate(DType.U8, 4, 2), inMask))
                .add("threads", "threads", "-1", "0..1024", () -> mask.apply(x, y, -1))
                .add(
                        "unused bits",
                        "mask",
                        "the last byte of row 1 is 0x08",
                        "0 in the upper 5 bits",
                        () -> Mask.wrap(beyond, 11))
                .add("bytes of a row", "bits", "[2, 2]", "[any, 3]", () -> Mask.wrap(beyond, 17))
                .add("type of bits", "bits", "i8", "[u8]", () -> Mask.wrap(Tensor.allocate(DType.I8, 2, 2), 11))
                .add(
                        "gaps between rows",
                        "bits",
                        "strides [3, 1]",
                        "contiguous",
                        () -> Mask.wrap(Refusals.view(Tensor.allocate(DType.U8, 9), Shape.of(2, 2), 3, 1), 11))
                .add("number of bits", "kept", "43 bits", "44", () -> Mask.of(new boolean[43], 4, 11))
                .add("negative rows", "shape", "[-1, 11]", "sizes >= 0", () -> Mask.allocate(-1, 11))
                .add("negative depth", "shape", "[1, -11]", "sizes >= 0", () -> Mask.allocate(1, -11))
                .missing("x", () -> mask.apply(null, y))
                .missing("y", () -> mask.apply(x, null))
                .missing("bits", () -> Mask.wrap(null, 1))
                .missing("kept", () -> Mask.of(null, 1, 1))
                .missing("dense", () -> Mask.of(null))
                .add(IllegalStateException.class, "closed", "mask", "closed arena", "open", () -> closed.apply(x, y))
                .unreachable("x", DType.F32, new long[] {4, 11}, bad -> mask.apply(bad, y))
                .unreachable("y", DType.F32, new long[] {4, 11}, bad -> mask.apply(x, bad))
                .unreachable("bits", DType.U8, new long[] {4, 2}, bad -> Mask.wrap(bad, 11))
                .tests();
    }

    private static Mask closedMask() {
        try (Arena arena = Arena.ofConfined()) {
            return Mask.allocate(arena, 4, 11);
        }
    }

    private static Tensor transposed() {
        return Tensor.allocate(DType.F32, 11, 4).transpose();
    }

    /** Nothing is many rows of nothing. */
    @Test
    void manyRowsOfNothing() {
        for (long rows : List.of(1L << 40, Long.MAX_VALUE)) {
            Mask mask = Mask.allocate(rows, 0);
            assertEquals(0, mask.count());
            Tensor none = Tensor.allocate(DType.F32, rows, 0);
            mask.apply(none, none);
            assertEquals(0, mask.toTensor(DType.F32).shape().elements());
        }
    }
}
