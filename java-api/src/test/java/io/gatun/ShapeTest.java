package io.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ShapeTest {
    @Test
    void countsElements() {
        assertEquals(1, Shape.of().elements());
        assertEquals(6, Shape.of(2, 3).elements());
        assertEquals(0, Shape.of(5, 0, Long.MAX_VALUE).elements());
        assertEquals(0, Shape.of(Long.MAX_VALUE, Long.MAX_VALUE, 0).elements());
        assertEquals(3L << 40, Shape.of(3, 1L << 20, 1L << 20).elements());
    }

    @Test
    void refusesNegativeAndTooLarge() {
        String negative = assertThrows(IllegalArgumentException.class, () -> Shape.of(2, -1))
                .getMessage();
        assertTrue(negative.contains("[2, -1]"), negative);
        assertThrows(IllegalArgumentException.class, () -> Shape.of(1L << 32, 1L << 31));
        assertThrows(IllegalArgumentException.class, () -> Shape.of(1L << 32, 1L << 32));
        assertThrows(IllegalArgumentException.class, () -> Shape.of(3, 1L << 62));
    }

    @Test
    void isAValue() {
        long[] sizes = {2, 3};
        Shape shape = Shape.of(sizes);
        sizes[0] = 9;
        shape.toArray()[1] = 9;
        assertEquals("[2, 3]", shape.toString());
        assertEquals(Shape.of(2, 3), shape);
        assertEquals(Shape.of(2, 3).hashCode(), shape.hashCode());
        assertNotEquals(Shape.of(3, 2), shape);
        assertEquals(2, shape.rank());
        assertEquals(3, shape.size(1));
    }
}
