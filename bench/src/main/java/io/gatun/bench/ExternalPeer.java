package io.gatun.bench;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * A program that takes part from outside, as {@code --peer name=command} names it. It is run for each case through the
 * shell, with the arguments {@code <op> <case> <threads>}, and prints its record as one line of JSON: {@code median} and
 * {@code unit} (s, ms, us or ns) of a call, if it likes {@code min}, {@code max}, {@code rel_error}, {@code kernel} and
 * {@code timed}. Without a {@code rel_error} it is shown, but no ratio counts against it. A program that prints nothing
 * has nothing for such a case. One that takes longer than {@link #LIMIT} is killed, with all processes that it has started.
 */
final class ExternalPeer {
    /** For one case: start, set-up and measurement together. */
    static final Duration LIMIT = Duration.ofSeconds(120);

    private final String name;
    private final String command;
    private final Duration limit;

    ExternalPeer(String name, String command, Duration limit) {
        this.name = name;
        this.command = command;
        this.limit = limit;
    }

    String name() {
        return name;
    }

    /**
     * Its records of a case.
     *
     * @throws IOException if it fails, takes longer than the limit, or prints something else than a time
     */
    List<Result> measure(String op, String caseName, int threads) throws IOException {
        List<String> shell = List.of("sh", "-c", command + " \"$@\"", name, op, caseName, Integer.toString(threads));
        return Command.run(shell, Map.of(), limit).stream()
                .map(printed -> complete(printed, op, caseName, threads))
                .toList();
    }

    private Result complete(Result printed, String op, String caseName, int threads) {
        Result result = new Result(
                op,
                caseName,
                name,
                threads,
                "time",
                printed.unit() == null ? "" : printed.unit(),
                printed.median(),
                printed.min() == 0 ? printed.median() : printed.min(),
                printed.max() == 0 ? printed.median() : printed.max(),
                null,
                null,
                printed.relError(),
                printed.kernel() == null ? command : printed.kernel(),
                printed.timed() == null ? "as " + name + " defines" : printed.timed());
        if (!(result.seconds() > 0)) {
            throw new IllegalStateException(name + ": median is " + result.median() + ", allowed: above 0");
        }
        return result;
    }
}
