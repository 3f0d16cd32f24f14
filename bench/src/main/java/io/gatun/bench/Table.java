package io.gatun.bench;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** What a person reads on the terminal while it is measured. */
final class Table {
    private static final String FORMAT = "%-48s %10s %14s %7s %8s %8s";
    private static final String PEER_FORMAT = " %18s";
    private static final String NONE = "-";

    private final PrintStream out;
    private List<String> peers = List.of();

    Table(PrintStream out) {
        this.out = out;
    }

    /** Starts a table with a column of times for each peer. */
    void begin(String title, List<String> peerNames) {
        peers = List.copyOf(peerNames);
        out.println();
        out.println(
                title + ": median ms of a call; ratio = time of the fastest peer with no larger error / ours, and of"
                        + " the fastest of any error; * = larger error than ours");
        List<Object> cells = new ArrayList<>(List.of("case", "gatun", "rate", "limit", "ratio", "any"));
        cells.addAll(peers);
        print(cells);
    }

    /** A case in one line. */
    void row(List<Result> times, long bytes, double operations) {
        Optional<Result> first = times.stream().filter(Result::isGatun).findFirst();
        List<Object> cells = new ArrayList<>();
        cells.add(times.getFirst().caseName());
        cells.add(first.map(ours -> number(ours.median())).orElse(NONE));
        cells.add(first.map(ours -> rate(ours.seconds(), bytes, operations)).orElse(NONE));
        cells.add(first.map(ours -> percent(ours.percentOfLimit())).orElse(NONE));
        cells.add(first.map(ours -> ratio(ours.ratioToBestPeer())).orElse(NONE));
        cells.add(first.map(ours -> ratio(Rating.ratio(ours, Rating.bestPeer(ours, times, false))))
                .orElse(NONE));
        for (String peer : peers) {
            Optional<Result> time =
                    times.stream().filter(result -> result.impl().equals(peer)).findFirst();
            cells.add(time.map(theirs -> number(theirs.median())
                            + (first.isPresent() && !Rating.isAsExact(theirs, first.get()) ? "*" : " "))
                    .orElse(NONE + " "));
        }
        print(cells);
    }

    /** Records that have no peers, a line each. */
    void list(String title, List<Result> results) {
        out.println();
        out.println(title);
        for (Result result : results) {
            out.println(String.format(
                            Locale.ROOT,
                            "  %-52s %-34s %10s %-10s %10s..%-10s %s",
                            result.caseName(),
                            result.impl(),
                            number(result.median()),
                            result.unit(),
                            number(result.min()),
                            number(result.max()),
                            (result.percentOfLimit() == null ? "" : percent(result.percentOfLimit()) + " ")
                                    + (result.ratioToBestPeer() == null ? "" : ratio(result.ratioToBestPeer())))
                    .stripTrailing());
        }
    }

    private void print(List<Object> cells) {
        out.println(String.format(FORMAT + PEER_FORMAT.repeat(peers.size()), cells.toArray())
                .stripTrailing());
    }

    /** The rate of what binds: bytes of weights, if a byte meets few operations. */
    private static String rate(double seconds, long bytes, double operations) {
        boolean memory = operations < 64.0 * bytes;
        return number((memory ? bytes : operations) / seconds * 1e-9) + (memory ? " GB/s" : " GOP/s");
    }

    /** With three or more digits. */
    static String number(double value) {
        double magnitude = Math.abs(value);
        int decimals = magnitude >= 100 || value == Math.rint(value) ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3;
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }

    private static String percent(Double value) {
        return value == null ? NONE : number(value) + " %";
    }

    private static String ratio(Double value) {
        return value == null ? NONE : String.format(Locale.ROOT, "%.2f x", value);
    }
}
