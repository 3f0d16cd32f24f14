package io.gatun.ops;

/**
 * A number that f32 arithmetic computes: its exact value, and how far the computed one may be from it when each operation
 * rounds once, in whatever order.
 */
record Approximate(double value, double error) {
    private static final double ROUNDING = 0x1p-24;
    private static final double SMALLEST = 0x1p-149;

    static Approximate exactly(double value) {
        return new Approximate(value, 0);
    }

    private static Approximate rounded(double value, double error) {
        double all = error + (Math.abs(value) + error) * ROUNDING + SMALLEST;
        return new Approximate(value, Double.isNaN(all) ? Double.POSITIVE_INFINITY : all);
    }

    /** Known to a relative error, then rounded. */
    static Approximate within(double value, double relative) {
        return rounded(value, Math.abs(value) * relative);
    }

    Approximate plus(Approximate other) {
        return rounded(value + other.value, error + other.error);
    }

    Approximate minus(Approximate other) {
        return rounded(value - other.value, error + other.error);
    }

    Approximate times(Approximate other) {
        return rounded(
                value * other.value,
                Math.abs(value) * other.error + error * Math.abs(other.value) + error * other.error);
    }

    Approximate times(double factor) {
        return times(exactly(factor));
    }

    Approximate over(Approximate other) {
        double least = Math.abs(other.value) - other.error;
        double quotient = value / other.value;
        double bound = least > 0 ? (error + Math.abs(quotient) * other.error) / least : Double.POSITIVE_INFINITY;
        return rounded(quotient, bound);
    }

    Approximate root() {
        double root = Math.sqrt(Math.max(value, 0));
        return rounded(root, Math.max(Math.sqrt(value + error) - root, root - Math.sqrt(Math.max(value - error, 0))));
    }

    /** -1, 0 or 1, or anything between if the sign depends on rounding. */
    Approximate sign() {
        return Math.abs(value) > error || error == 0 ? exactly(Math.signum(value)) : new Approximate(0, 1);
    }

    /** Whether f32 can hold it, beyond doubt or not at all. */
    boolean isFinite() {
        return Math.abs(value) <= Float.MAX_VALUE;
    }

    boolean allows(double given, double more) {
        return Math.abs(given - value) <= error + more;
    }
}
