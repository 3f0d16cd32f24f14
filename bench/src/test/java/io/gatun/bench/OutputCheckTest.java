package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class OutputCheckTest {
    private static final int ROWS = 96;
    private static final int COLUMNS = 131;

    private final float[] y = new float[ROWS * COLUMNS];
    private OutputCheck check;

    @BeforeEach
    void rightOutputs() {
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < y.length; i++) {
            y[i] = (float) random.nextGaussian();
        }
        float[] expected = y.clone();
        check = new OutputCheck(ROWS, COLUMNS, (m, n) -> expected[(int) (m * COLUMNS + n)]);
    }

    private String refusal() {
        return assertThrows(OutputCheck.WrongOutput.class, () -> check.relError("x", y))
                .getMessage();
    }

    @Test
    void takesWhatIsRight() throws Exception {
        assertEquals(0, check.relError("x", y));
        for (int i = 0; i < y.length; i++) {
            y[i] *= 1.01f;
        }
        assertEquals(0.01, check.relError("x", y), 1e-6);
    }

    @Test
    void refusesSwappedRows() {
        float[] first = Arrays.copyOfRange(y, 0, COLUMNS);
        System.arraycopy(y, COLUMNS, y, 0, COLUMNS);
        System.arraycopy(first, 0, y, COLUMNS, COLUMNS);
        assertTrue(refusal().startsWith("x is wrong: output [0]["), refusal());
    }

    @Test
    void refusesASwappedElementAtAnyCorner() {
        for (int corner : new int[] {0, COLUMNS - 1, (ROWS - 1) * COLUMNS, ROWS * COLUMNS - 1}) {
            float right = y[corner];
            y[corner] = right + Math.copySign(1, right);
            assertTrue(refusal().contains("[" + corner / COLUMNS + "][" + corner % COLUMNS + "]"), refusal());
            y[corner] = right;
        }
    }

    @Test
    void refusesNaN() {
        y[0] = Float.NaN;
        assertTrue(refusal().contains("[0][0] is NaN"), refusal());
    }

    @Test
    void refusesAWrongLastColumn() {
        for (int m = 1; m < ROWS - 1; m++) {
            y[m * COLUMNS + COLUMNS - 1] += 1;
        }
        assertTrue(refusal().contains("[" + (COLUMNS - 1) + "]"), refusal());
    }

    @Test
    void refusesAWrongLastRow() {
        for (int n = 1; n < COLUMNS - 1; n++) {
            y[(ROWS - 1) * COLUMNS + n] += 1;
        }
        assertTrue(refusal().contains("[" + (ROWS - 1) + "]["), refusal());
    }

    @Test
    void anAlgorithmIsCheckedWithinItsBound() {
        OutputCheck.Expected values = (m, n) -> y[(int) (m * COLUMNS + n)] + 1e-3;
        assertDoesNotThrow(() -> check.checkWithin("x", y, values, (m, n) -> 1.1e-3));
        assertThrows(OutputCheck.WrongOutput.class, () -> check.checkWithin("x", y, values, (m, n) -> 0.9e-3));
    }

    @Test
    void samplesEdgesAndOthers() {
        long rows = 509;
        long columns = 14341;
        long[] indices = OutputCheck.indices(rows, columns);
        assertEquals(OutputCheck.SAMPLES, indices.length);
        assertEquals(indices.length, LongStream.of(indices).distinct().count());
        assertTrue(LongStream.of(indices).filter(i -> i < columns).count() >= 250);
        assertTrue(LongStream.of(indices).filter(i -> i >= (rows - 1) * columns).count() >= 250);
        assertTrue(LongStream.of(indices).filter(i -> i % columns == 0).count() >= 250);
        assertTrue(
                LongStream.of(indices).filter(i -> i % columns == columns - 1).count() >= 250);
        assertTrue(LongStream.of(indices)
                        .filter(i -> i > columns && i < (rows - 1) * columns)
                        .filter(i -> i % columns > 0 && i % columns < columns - 1)
                        .count()
                >= 900);
    }

    @Test
    void samplesAllOfFew() {
        assertEquals(7 * 5, OutputCheck.indices(7, 5).length);
        assertEquals(OutputCheck.SAMPLES, OutputCheck.indices(1, 4096).length);
        assertEquals(0, OutputCheck.indices(0, 5).length);
    }
}
