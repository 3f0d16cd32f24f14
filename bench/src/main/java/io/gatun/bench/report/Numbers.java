package io.gatun.bench.report;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Locale;

/** Numbers for people. */
final class Numbers {
    private static final MathContext THREE_DIGITS = new MathContext(3);
    private static final double SMALL = 1e-3;

    private Numbers() {}

    /** With three digits, more only if they are before the point; {@code 6.1e-4} where that would be mostly zeros. */
    static String digits(double value) {
        if (!Double.isFinite(value)) {
            return Double.toString(value);
        }
        if (value != 0 && Math.abs(value) < SMALL) {
            return String.format(Locale.ROOT, "%.1e", value);
        }
        BigDecimal rounded = new BigDecimal(value).round(THREE_DIGITS);
        return rounded.scale() < 0 ? String.format(Locale.ROOT, "%.0f", value) : rounded.toPlainString();
    }

    static String ratio(Double value) {
        return value == null ? "" : String.format(Locale.ROOT, "%.2f", value);
    }

    static String percent(Double value) {
        return value == null ? "" : String.format(Locale.ROOT, "%.0f %%", value);
    }
}
