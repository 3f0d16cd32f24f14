package io.gatun.bench;

import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** How much faster more threads are than one, from the times of the cases. */
final class Scaling {
    private static final String THREADS = " t=\\d+";

    private Scaling() {}

    /** A record for each of our times on several threads whose case was measured on one thread, too. */
    static List<Result> of(List<Result> results) {
        Map<String, Result> single = times(results)
                .filter(time -> time.threads() == 1)
                .collect(Collectors.toMap(Scaling::problem, Function.identity(), (first, second) -> first));
        return times(results)
                .filter(time -> time.threads() > 1 && single.containsKey(problem(time)))
                .map(time -> time.speedupOver(
                        single.get(problem(time)), time.caseName() + " scaling", "one thread's time / this time"))
                .toList();
    }

    private static Stream<Result> times(List<Result> results) {
        return results.stream()
                .filter(result -> result.isGatun() && result.metric().equals("time"));
    }

    /** Without its threads, but with who computes it. */
    private static String problem(Result time) {
        return time.impl() + " " + time.caseName().replaceFirst(THREADS, "");
    }
}
