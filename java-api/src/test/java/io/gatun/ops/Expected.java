package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertNull;

import io.gatun.DType;
import io.gatun.Tensor;

/**
 * A matrix of right values with the error that each may have, before it is rounded to the output's type.
 *
 * @param values [rows * columns], row-major; NaN where NaN is right
 * @param bounds of the same size, >= 0
 */
record Expected(double[] values, double[] bounds) {

    /** Per element: |y - value| <= bound + one unit in the last place of the type of y, NaN exactly where expected. */
    void assertMatches(Tensor y, long columnBegin, long columnEnd, String context) {
        assertNull(mismatch(y, columnBegin, columnEnd), context);
    }

    void assertMatches(Tensor y, String context) {
        assertMatches(y, 0, y.shape().size(1), context);
    }

    /** The first element that is wrong, for a person, or null. */
    String mismatch(Tensor y, long columnBegin, long columnEnd) {
        long columns = y.shape().size(1);
        for (long m = 0; m < y.shape().size(0); m++) {
            for (long n = columnBegin; n < columnEnd; n++) {
                int i = (int) (m * columns + n);
                float given = y.getFloat(m, n);
                double allowed = bounds[i] + ulp(values[i], y.dtype());
                // Written so that a NaN on one side only fails.
                boolean right = Double.isNaN(values[i])
                        ? Float.isNaN(given)
                        : given == values[i] || Math.abs(given - values[i]) <= allowed;
                if (!right) {
                    return "y[" + m + ", " + n + "] = " + given + ", expected " + values[i] + " +- " + allowed;
                }
            }
        }
        return null;
    }

    private static double ulp(double value, DType dtype) {
        float magnitude = (float) Math.abs(value);
        return dtype == DType.BF16 ? Math.ulp(magnitude) * 65536.0 : Math.ulp(magnitude);
    }
}
