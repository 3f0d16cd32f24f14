package io.gatun.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.DoubleSupplier;

/** One run of the bench: what every op needs to measure, rate, show and store its cases. */
final class Session {
    /** Tells what an implementation computes. */
    interface Verifier {
        /**
         * The error of a contender against double.
         *
         * @throws OutputCheck.WrongOutput if it is wrong
         */
        double relError(Contender contender) throws OutputCheck.WrongOutput;
    }

    /**
     * A case that several implementations are measured on.
     *
     * @param name of the case
     * @param threads that may work
     * @param bytes that must be read from memory at least
     * @param operations 2 for each product
     * @param limitSecondsNow measures the shortest time that the machine allows
     */
    record Problem(String name, int threads, long bytes, double operations, DoubleSupplier limitSecondsNow) {
        Problem named(String other) {
            return new Problem(other, threads, bytes, operations, limitSecondsNow);
        }
    }

    /** Times of a case, and the shortest time that the machine allowed just before or just after. */
    record Measured(List<Result> times, double limitSeconds) {}

    /** Contenders that are closed together. */
    static final class Contenders implements AutoCloseable {
        private final List<Contender> list = new ArrayList<>();

        void add(Contender contender) {
            list.add(contender);
        }

        Contender first() {
            return list.getFirst();
        }

        Contender last() {
            return list.getLast();
        }

        @Override
        public void close() {
            list.forEach(Contender::close);
        }
    }

    private final Arguments arguments;
    private final Limits limits;
    private final Rounds rounds;
    private final Path folder;
    private final Table table;
    private final Progress progress;
    private final List<ExternalPeer> externals;
    private final Set<String> failed = new HashSet<>();
    private final List<Result> results = new ArrayList<>();

    Session(Arguments arguments, Limits limits, Rounds rounds, Path folder, Table table, Progress progress) {
        this.arguments = arguments;
        this.limits = limits;
        this.rounds = rounds;
        this.folder = folder;
        this.table = table;
        this.progress = progress;
        this.externals = arguments.peers().entrySet().stream()
                .map(peer -> new ExternalPeer(peer.getKey(), peer.getValue(), ExternalPeer.LIMIT))
                .toList();
    }

    Arguments arguments() {
        return arguments;
    }

    Limits limits() {
        return limits;
    }

    Rounds rounds() {
        return rounds;
    }

    Progress progress() {
        return progress;
    }

    /** All records so far. */
    List<Result> results() {
        return List.copyOf(results);
    }

    /** Our time of a case. */
    Result ours(String caseName) {
        return results.stream()
                .filter(result -> result.isGatun() && result.caseName().equals(caseName))
                .findFirst()
                .orElseThrow();
    }

    /** Sets a peer up for a case. */
    interface Preparation {
        /** Null if the peer has nothing for such a case. */
        Contender prepare() throws Exception;
    }

    /** Adds a peer's contender; a peer that fails is left out, which is said. */
    void add(Contenders contenders, String caseName, String peer, Preparation preparation) {
        try {
            Contender contender = preparation.prepare();
            if (contender != null) {
                contenders.add(contender);
            }
        } catch (Exception | LinkageError | OutOfMemoryError e) {
            progress.say("LEFT OUT of " + caseName + ": " + peer + ": " + e);
        }
    }

    /** Starts the table of an op; the columns are the peers' names in the records. */
    void begin(String title, List<String> peers) {
        List<String> columns = new ArrayList<>(peers);
        externals.forEach(peer -> columns.add(peer.name()));
        table.begin(title, columns);
    }

    /**
     * Times the contenders that are right side by side with the external programs, rates and stores them.
     *
     * @throws OutputCheck.WrongOutput if ours is wrong; a peer that is wrong is left out, which is said
     */
    void compare(String op, Problem problem, Contenders contenders, Verifier verifier)
            throws OutputCheck.WrongOutput, Rounds.Failure, IOException {
        Measured measured = time(op, problem, contenders, verifier);
        List<Result> times = new ArrayList<>(measured.times);
        for (ExternalPeer peer : externals) {
            times.addAll(measure(peer, op, problem));
        }
        store(Rating.rate(times, measured.limitSeconds), problem);
    }

    /** Checks the contenders and times those that are right, between two measurements of the limit. */
    Measured time(String op, Problem problem, Contenders contenders, Verifier verifier)
            throws OutputCheck.WrongOutput, Rounds.Failure {
        progress.show(problem.name + ": checking");
        List<Contender> right = new ArrayList<>();
        List<Double> errors = new ArrayList<>();
        for (Contender contender : contenders.list) {
            try {
                errors.add(verifier.relError(contender));
                right.add(contender);
            } catch (OutputCheck.WrongOutput | RuntimeException e) {
                refuseOurs(contender, e);
                progress.say("LEFT OUT of " + problem.name + ": " + e.getMessage());
            }
        }
        System.gc(); // inputs and what peers needed to prepare; not while somebody is timed
        double limitBefore = problem.limitSecondsNow.getAsDouble();
        List<Result> times = time(op, problem, right, errors);
        return new Measured(times, Math.min(limitBefore, problem.limitSecondsNow.getAsDouble()));
    }

    /** A failing peer must not end the measurement of the others; ours must. */
    private static void refuseOurs(Contender contender, Exception e) throws OutputCheck.WrongOutput {
        if (contender.impl().startsWith(Result.OURS)) {
            if (e instanceof OutputCheck.WrongOutput wrong) {
                throw wrong;
            }
            throw (RuntimeException) e;
        }
    }

    private List<Result> time(String op, Problem problem, List<Contender> contenders, List<Double> errors)
            throws Rounds.Failure {
        progress.show(problem.name + ": timing " + contenders.size() + " implementations");
        List<Summary> seconds;
        try {
            seconds = rounds.seconds(contenders);
        } catch (Rounds.Failure e) {
            int index = contenders.indexOf(e.contender());
            if (e.contender().impl().startsWith(Result.OURS)) {
                throw e;
            }
            progress.say("LEFT OUT of " + problem.name + ": " + e.getMessage());
            List<Contender> others = new ArrayList<>(contenders);
            List<Double> otherErrors = new ArrayList<>(errors);
            others.remove(index);
            otherErrors.remove(index);
            return time(op, problem, others, otherErrors);
        }
        List<Result> times = new ArrayList<>();
        for (int i = 0; i < contenders.size(); i++) {
            times.add(Result.time(op, problem.name, contenders.get(i), problem.threads, seconds.get(i), errors.get(i)));
        }
        return times;
    }

    /** An external program that fails once is not asked again. */
    private List<Result> measure(ExternalPeer peer, String op, Problem problem) {
        if (failed.contains(peer.name())) {
            return List.of();
        }
        progress.show(problem.name + ": " + peer.name());
        try {
            return peer.measure(op, problem.name, problem.threads);
        } catch (IOException | IllegalStateException e) {
            failed.add(peer.name());
            progress.say("LEFT OUT from now on: --peer " + peer.name() + ": " + e.getMessage());
            return List.of();
        }
    }

    /** Shows the times of a case in the table and stores them. */
    void store(List<Result> times, Problem problem) throws IOException {
        progress.clear();
        if (!times.isEmpty()) {
            table.row(times, problem.bytes, problem.operations);
            add(times);
        }
    }

    /** Shows records in a list of their own and stores them. */
    void store(String title, List<Result> list) throws IOException {
        progress.clear();
        if (!list.isEmpty()) {
            table.list(title, list);
            add(list);
        }
    }

    /** After every case, so that a run that is ended leaves what it has measured. */
    private void add(List<Result> added) throws IOException {
        results.addAll(added);
        String op = added.getFirst().op();
        Records.write(
                folder,
                op,
                results.stream().filter(result -> result.op().equals(op)).toList());
    }
}
