package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

/** The helpers of the other tests reject what they must. */
class ExpectedTest {
    private static final double[] VALUES = {1, 2, 3, -4, 5, 1000};
    private static final double[] BOUNDS = {1e-6, 1e-6, 1e-3, 1e-6, 0, 1e-2};

    private static Tensor y(double... offsets) {
        float[] y = new float[VALUES.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = (float) (VALUES[i] + (offsets.length == 0 ? 0 : offsets[i]));
        }
        return Tensor.of(y, 2, 3);
    }

    private static String mismatch(double[] values, Tensor y) {
        return new Expected(values, BOUNDS).mismatch(y, 0, 3);
    }

    @Test
    void acceptsWhatIsWithinTheBound() {
        assertNull(mismatch(VALUES, y()));
        assertNull(mismatch(VALUES, y(0, 0, 0.99e-3, 0, 0, -0.99e-2)));
    }

    @Test
    void rejectsTwiceTheBound() {
        assertNotNull(mismatch(VALUES, y(0, 0, 2e-3, 0, 0, 0)));
        assertNotNull(mismatch(VALUES, y(0, 0, -2e-3, 0, 0, 0)));
        assertTrue(mismatch(VALUES, y(0, 0, 0, 0, 0, 2e-2)).startsWith("y[1, 2] = 1000.02"));
        assertNotNull(mismatch(VALUES, y(0, 0, 0, 0, 2 * Math.ulp(5f), 0)));
    }

    @Test
    void rejectsASwappedRow() {
        float[] swapped = {-4, 5, 1000, 1, 2, 3};
        assertNotNull(mismatch(VALUES, Tensor.of(swapped, 2, 3)));
    }

    @Test
    void rejectsNaNOnEitherSide() {
        assertNotNull(mismatch(VALUES, y(0, 0, 0, Double.NaN, 0, 0)));
        double[] nan = VALUES.clone();
        nan[3] = Double.NaN;
        assertNotNull(mismatch(nan, y()));
        assertNull(mismatch(nan, y(0, 0, 0, Double.NaN, 0, 0)));
    }

    @Test
    void rejectsInfinity() {
        assertNotNull(mismatch(VALUES, y(Double.POSITIVE_INFINITY, 0, 0, 0, 0, 0)));
    }

    @Test
    void allowsOneUnitOfBf16ButNotTwo() {
        Expected one = new Expected(new double[] {1}, new double[] {0});
        assertNull(one.mismatch(Tensor.of(DType.BF16, new float[] {1 + 0x1p-7f}, 1, 1), 0, 1));
        assertNotNull(one.mismatch(Tensor.of(DType.BF16, new float[] {1 + 0x1p-6f}, 1, 1), 0, 1));
        assertNotNull(one.mismatch(Tensor.of(new float[] {1 + 0x1p-7f}, 1, 1), 0, 1));
    }

    @Test
    void guardSeesEveryByteAroundTheMatrix() {
        Guarded guarded = Guarded.matrix(Arena.ofAuto(), DType.F32, 2, 3, 5, 1);
        guarded.fill(new float[6]);
        assertTrue(guarded.unchanged());
        guarded.tensor.setFloat(7, 1, 1);
        assertFalse(guarded.unchanged());
        assertTrue(guarded.unchangedOutside(0, 3));
        assertTrue(guarded.unchangedOutside(1, 2));
        assertFalse(guarded.unchangedOutside(0, 1));
        for (long element : new long[] {-1, 3, 4, 8}) {
            guarded.snapshot();
            guarded.poke(element);
            assertFalse(guarded.unchangedOutside(0, 3), "element " + element);
        }
    }

    @Test
    void normalDistributionOfTheOracleIsRight() {
        // Abramowitz and Stegun, table 26.1.
        assertEquals(0.5, Epilogue.normalDistribution(0), 0);
        assertEquals(0.841344746068543, Epilogue.normalDistribution(1), 1e-15);
        assertEquals(0.977249868051821, Epilogue.normalDistribution(2), 1e-15);
        assertEquals(1.349898031630095e-3, Epilogue.normalDistribution(-3), 1e-17);
        assertEquals(2.866515718791939e-7, Epilogue.normalDistribution(-5), 1e-21);
        assertEquals(Epilogue.normalDistribution(-2.9999999), Epilogue.normalDistribution(-3.0000001), 1e-9);
    }
}
