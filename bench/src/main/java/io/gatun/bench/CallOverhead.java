package io.gatun.bench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.RunnerException;

/** Records of {@link CallOverheadBenchmark}, which runs in JVMs of its own: what this one has compiled is its own affair. */
final class CallOverhead {
    private static final String CASE = "int8 row i8row 1x1 m=1 t=1 CallOverhead";
    private static final String ALLOCATED = "gc.alloc.rate.norm";

    private CallOverhead() {}

    /** Nanoseconds and allocated bytes of each way to call. */
    static List<Result> measure(int forks) throws RunnerException {
        Collection<RunResult> runs = Jmh.run(Jmh.options(CallOverheadBenchmark.class)
                .forks(forks)
                .jvmArgs(Command.jvmOptions().toArray(String[]::new))
                .warmupIterations(3)
                .warmupTime(Jmh.millis(500))
                .measurementIterations(5)
                .measurementTime(Jmh.millis(300))
                .addProfiler(GCProfiler.class));
        List<Result> results = new ArrayList<>();
        Map<String, Summary> nanos = new HashMap<>();
        for (RunResult run : runs) {
            String way = run.getParams().getBenchmark().replaceFirst(".*\\.", "");
            nanos.put(way, Summary.of(Jmh.scores(run)));
            results.add(record(way, "ns/call", "ns", nanos.get(way)));
            double bytes = run.getSecondaryResults().get(ALLOCATED).getScore();
            results.add(record(way, "bytes/call", "B", Summary.of(bytes)));
        }
        Summary api = nanos.get("publicApi");
        Summary raw = nanos.get("rawDowncall");
        Summary over = new Summary(api.median() - raw.median(), api.min() - raw.max(), api.max() - raw.min());
        results.add(record("publicApi over rawDowncall", "ns/call", "ns", over));
        return results;
    }

    private static Result record(String way, String metric, String unit, Summary values) {
        return new Result(
                QMatmulBench.OP,
                CASE,
                Result.OURS + " " + way,
                1,
                metric,
                unit,
                values.median(),
                values.min(),
                values.max(),
                null,
                null,
                null,
                way.equals("noOperation") ? "gatun_tier" : "gatun_qmatmul",
                "one call");
    }
}
