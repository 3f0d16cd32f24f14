package io.gatun.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;

/**
 * Times contenders side by side: in each round every one of them, in an order that rotates, so that what drifts in the
 * machine meets all of them alike.
 *
 * @param count rounds, 5 or more for figures that are published
 * @param iterations samples of a contender in a round; one, if a call takes longer than {@link #LONG_CALL_SECONDS}
 * @param iterationMillis how long a sample repeats the call, at least once
 */
record Rounds(int count, int iterations, long iterationMillis) {
    static final Rounds QUICK = new Rounds(5, 2, 30);
    static final Rounds FULL = new Rounds(5, 5, 100);

    private static final double LONG_CALL_SECONDS = 0.1;
    private static final long FIRST_WARMUP_MILLIS = 50;
    /** Threads of the one before look for work for some milliseconds after their last call. */
    private static final long WARMUP_MILLIS = 20;

    /** Who fails, and why. */
    static final class Failure extends Exception {
        private static final long serialVersionUID = 1;

        private final transient Contender contender;

        private Failure(Contender contender, Throwable cause) {
            super(contender.impl() + " failed while it was timed: " + rootOf(cause), cause);
            this.contender = contender;
        }

        Contender contender() {
            return contender;
        }

        private static Throwable rootOf(Throwable e) {
            // JMH hands on what a benchmark threw as suppressed.
            Throwable next =
                    e.getCause() != null ? e.getCause() : e.getSuppressed().length > 0 ? e.getSuppressed()[0] : null;
            return next == null ? e : rootOf(next);
        }
    }

    /** The order of a round, in odd ones backwards, so that everybody follows others: 0 1 2, 0 2 1, 2 0 1, 2 1 0, ... */
    static List<Integer> order(int round, int contenders) {
        return IntStream.range(0, contenders)
                .map(i -> round % 2 == 0 ? i : contenders - 1 - i)
                .map(i -> (round + i) % contenders)
                .boxed()
                .toList();
    }

    /** Seconds a call of each contender. Long calls have no warm-up: contenders have been called to check them. */
    List<Summary> seconds(List<? extends Contender> contenders) throws Failure {
        List<List<Double>> samples = new ArrayList<>();
        contenders.forEach(contender -> samples.add(new ArrayList<>()));
        boolean[] isLong = new boolean[contenders.size()];
        for (int round = 0; round < count; round++) {
            for (int i : order(round, contenders.size())) {
                try {
                    List<Double> first = round == 0 ? run(contenders.get(i), 0, 1, FIRST_WARMUP_MILLIS) : List.of();
                    if (round == 0) {
                        isLong[i] = Collections.min(first) > LONG_CALL_SECONDS;
                    }
                    samples.get(i)
                            .addAll(
                                    !isLong[i]
                                            ? run(contenders.get(i), 1, iterations, iterationMillis)
                                            : round == 0 ? first : run(contenders.get(i), 0, 1, 1));
                } catch (RunnerException | RuntimeException e) {
                    throw new Failure(contenders.get(i), e);
                }
            }
        }
        return samples.stream()
                .map(list -> Summary.of(list.stream().mapToDouble(d -> d).toArray()))
                .toList();
    }

    private static List<Double> run(Contender contender, int warmups, int iterations, long millis)
            throws RunnerException {
        CallBenchmark.contender = contender;
        ChainedOptionsBuilder options = Jmh.options(CallBenchmark.class)
                .warmupIterations(warmups)
                .warmupTime(Jmh.millis(WARMUP_MILLIS))
                .measurementIterations(iterations)
                .measurementTime(Jmh.millis(millis))
                .syncIterations(false);
        return Jmh.run(options).stream()
                .flatMapToDouble(run -> DoubleStream.of(Jmh.scores(run)))
                .boxed()
                .toList();
    }
}
