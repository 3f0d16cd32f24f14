package io.gatun.bench;

import java.util.regex.Pattern;

/** What a multiplication must do at least, and how long the machine needs for that. */
final class QMatmulWork {
    /** Kernels of the precise mode multiply by fma, except on tiers with 8-bit dot products. */
    private static final Pattern FMA_KERNEL = Pattern.compile("qmatmul_f32_.*(?<!vnni|dotprod|i8mm)");
    /** Those make three rows of 8 bits from a row of activations. */
    private static final int PRECISE_DOTS = 3;

    private QMatmulWork() {}

    /**
     * Weights are read once; every product is a multiply-add of the kernel's kind, in the tier it is held to.
     *
     * @param kernel the name of Gatun's
     */
    static Session.Problem of(QMatmulCase problem, String kernel, Limits limits) {
        return of(problem, problem.weightBytes(), kernel, limits);
    }

    /** The same where other bytes must be read, as with several weights. */
    static Session.Problem of(QMatmulCase problem, long bytes, String kernel, Limits limits) {
        boolean fma = FMA_KERNEL.matcher(kernel).matches();
        Limits.Kind kind = fma ? Limits.Kind.FMA : Limits.Kind.INT8_DOT;
        double counted = problem.operations() * (problem.precise() && !fma ? PRECISE_DOTS : 1);
        return of(problem, bytes, counted, kind, limits);
    }

    /** The same with a multiply-add of that kind for each product, whatever the kernel does. */
    static Session.Problem of(QMatmulCase problem, Limits.Kind kind, Limits limits) {
        return of(problem, problem.weightBytes(), problem.operations(), kind, limits);
    }

    private static Session.Problem of(
            QMatmulCase problem, long bytes, double counted, Limits.Kind kind, Limits limits) {
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                bytes,
                problem.operations(),
                () -> limits.secondsNow(bytes, counted, kind, problem.tier(), problem.threads()));
    }
}
