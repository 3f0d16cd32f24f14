package io.gatun.bench;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;

/**
 * A record of {@code bench/target/results/<op>.json}. Fields that a record has no value for are null there.
 *
 * @param op what was measured: {@code qmatmul}, {@code quantize}, {@code optimizer}, {@code nm_matmul},
 *     {@code attention}, {@code decode} or {@code limits}
 * @param caseName the problem, as {@code int4 g32 i8row 14336x4096 m=512 t=2}: see {@link QMatmulCase#name},
 *     {@link QuantizeCase#name}, {@link OptimizerCase#name}, {@link NmMatmulCase#name}, {@link AttentionCase#name} and
 *     {@link DecodeCase#name}
 * @param impl who computed; ours starts with {@code gatun}
 * @param threads how many threads it was allowed
 * @param metric what the numbers are: {@code time}, {@code bandwidth}, {@code rate}, {@code f32 input}, {@code moved},
 *     {@code relation}, {@code speedup}, {@code recall}
 * @param unit their unit
 * @param median of all samples of all rounds
 * @param min the smallest sample
 * @param max the largest one
 * @param percentOfLimit 0..100: of what the machine was measured to allow
 * @param ratioToBestPeer time of the best peer with no larger error over ours: above 1, ours is faster; only ours has
 * it
 * @param relError ||y - expected||_2 / ||expected||_2 against double, over sampled outputs
 * @param kernel what the implementation says it ran
 * @param timed what is inside the time
 */
public record Result(
        String op,
        @JsonProperty("case") String caseName,
        String impl,
        int threads,
        String metric,
        String unit,
        double median,
        double min,
        double max,
        @JsonProperty("percent_of_limit") Double percentOfLimit,
        @JsonProperty("ratio_to_best_peer") Double ratioToBestPeer,
        @JsonProperty("rel_error") Double relError,
        String kernel,
        String timed) {

    /** What the names of our implementations start with. */
    static final String OURS = "gatun";

    /** What the names of ours end with that multiply by sparse weights as if none were 0. */
    static final String DENSE = "dense";

    /** Whether this is ours. */
    @JsonIgnore
    public boolean isGatun() {
        return impl.startsWith(OURS);
    }

    /** Whether this is ours, of sparse weights as if none were 0. */
    @JsonIgnore
    public boolean isDense() {
        return isGatun() && impl.endsWith(" " + DENSE);
    }

    /** A time of a call. */
    static Result time(String op, String caseName, Contender contender, int threads, Summary seconds, Double relError) {
        Summary millis = seconds.times(1e3);
        return new Result(
                op,
                caseName,
                contender.impl(),
                threads,
                "time",
                "ms",
                millis.median(),
                millis.min(),
                millis.max(),
                null,
                null,
                relError,
                contender.kernel(),
                contender.timed());
    }

    /** What the machine does at best. */
    static Result ofMachine(
            String op, String caseName, int threads, String metric, String unit, Summary summary, String kernel) {
        return of(op, caseName, "machine", threads, metric, unit, summary, kernel, "the loop alone");
    }

    /** A record that is no time of a call and has no peers. */
    static Result of(
            String op,
            String caseName,
            String impl,
            int threads,
            String metric,
            String unit,
            Summary summary,
            String kernel,
            String what) {
        return new Result(
                op,
                caseName,
                impl,
                threads,
                metric,
                unit,
                summary.median(),
                summary.min(),
                summary.max(),
                null,
                null,
                null,
                kernel,
                what);
    }

    /** The same with its relation to limit and peers. */
    Result rated(Double percent, Double ratio) {
        return new Result(
                op, caseName, impl, threads, metric, unit, median, min, max, percent, ratio, relError, kernel, timed);
    }

    /** The same with other words on what is inside the time. */
    Result timed(String what) {
        return new Result(
                op,
                caseName,
                impl,
                threads,
                metric,
                unit,
                median,
                min,
                max,
                percentOfLimit,
                ratioToBestPeer,
                relError,
                kernel,
                what);
    }

    /** A record of how large a part of this time so many seconds are. */
    Result percentOf(double part, String name, String what) {
        double all = 100 * part * median / seconds();
        return new Result(
                op,
                caseName,
                impl,
                threads,
                name,
                "%",
                all / median,
                all / max,
                all / min,
                null,
                null,
                null,
                kernel,
                what);
    }

    /** A record of this time in parts of another one, in the same unit. */
    Result over(double part, String unitOfRelation, String caseOfRelation, String what) {
        return new Result(
                op,
                caseOfRelation,
                impl,
                threads,
                "relation",
                unitOfRelation,
                median / part,
                min / part,
                max / part,
                null,
                null,
                null,
                kernel,
                what);
    }

    /** A record of this time as bytes a second. */
    Result rateOf(double bytes, String what) {
        Summary giga = new Summary(1e-6 * bytes / median, 1e-6 * bytes / max, 1e-6 * bytes / min);
        return new Result(
                op,
                caseName,
                impl,
                threads,
                what,
                "GB/s",
                giga.median(),
                giga.min(),
                giga.max(),
                null,
                null,
                null,
                kernel,
                timed);
    }

    /** A record of how much faster this is: another time over this one. */
    Result speedupOver(Result other, String speedupCase, String what) {
        return new Result(
                op,
                speedupCase,
                impl,
                threads,
                "speedup",
                "x",
                other.median / median,
                other.min / max,
                other.max / min,
                null,
                null,
                null,
                kernel,
                what);
    }

    /** The median of a time. */
    public double seconds() {
        return switch (unit) {
            case "s" -> median;
            case "ms" -> median * 1e-3;
            case "us" -> median * 1e-6;
            case "ns" -> median * 1e-9;
            default -> throw new IllegalStateException(impl + ": " + unit + " is no unit of time: s, ms, us, ns");
        };
    }
}
