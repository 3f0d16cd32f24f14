package io.gatun.bench;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;

/** Measures Gatun on a case in a JVM that {@code GATUN_MAX_ISA} holds to a tier. */
final class ForcedTier {
    private ForcedTier() {}

    /**
     * The time with its percent of the tier's limit of int8 dot products, and a record of its percent of that of f32
     * multiply-adds: both limits are the better of samples right before and right after.
     */
    static List<Result> measure(QMatmulCase problem, Limits limits) throws IOException {
        DoubleSupplier dots =
                QMatmulWork.of(problem, Limits.Kind.INT8_DOT, limits).limitSecondsNow();
        DoubleSupplier fmas = QMatmulWork.of(problem, Limits.Kind.FMA, limits).limitSecondsNow();
        double dotSeconds = dots.getAsDouble();
        double fmaSeconds = fmas.getAsDouble();
        Result time = measure(problem).getFirst();
        dotSeconds = Math.min(dotSeconds, dots.getAsDouble());
        fmaSeconds = Math.min(fmaSeconds, fmas.getAsDouble());
        return List.of(
                time.rated(Rating.percent(dotSeconds, time.seconds()), null)
                        .timed(time.timed() + "; limit: int8 dot products of the tier"),
                time.percentOf(fmaSeconds, "of_fma_limit", "its rate over the tier's of f32 multiply-adds"));
    }

    /** Starts that JVM; its record has neither percent nor ratio. */
    static List<Result> measure(QMatmulCase problem) throws IOException {
        List<Result> times = Command.java(
                ForcedTier.class,
                List.of(Records.JSON.writeValueAsString(problem)),
                Map.of("GATUN_MAX_ISA", problem.tier()));
        if (times.size() != 1) {
            throw new IOException(problem.name() + ": " + times.size() + " records, expected one");
        }
        return times;
    }

    /** In that JVM: prints the record of the case in the first argument. */
    public static void main(String[] arguments) throws Exception {
        QMatmulCase problem = Records.JSON.readValue(arguments[0], QMatmulCase.class);
        QMatmulData data = new QMatmulData(problem);
        try (Contender contender = GatunQMatmul.prepare(problem, data)) {
            double error = QMatmulVerifier.of(problem, data).relError(contender);
            Summary seconds = Rounds.QUICK.seconds(List.of(contender)).getFirst();
            System.out.println(Records.JSON.writeValueAsString(
                    Result.time(QMatmulBench.OP, problem.name(), contender, problem.threads(), seconds, error)));
        }
    }
}
