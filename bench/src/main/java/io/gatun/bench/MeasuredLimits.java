package io.gatun.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Limits as they are measured here, each when it is first asked for, and again beside the cases that it binds. */
final class MeasuredLimits implements Limits {
    /** The name in records. */
    static final String OP = "limits";

    /** What they are measured with. */
    static final String TIER_IN_USE = "best of the tier in use";

    private static final int SAMPLES = 3;
    private static final double SAMPLE_SECONDS = 0.2;

    private static final Proportion COPY = new Proportion(1, 1);

    /** What is measured; streams are empty unless they matter. */
    private record Key(Kind kind, String streams, String tier, int threads) {
        String caseName() {
            return kind.title + (streams.isEmpty() ? "" : " " + streams) + " t=" + threads
                    + (tier == null ? "" : " tier=" + tier);
        }
    }

    private final LimitsLibrary library = new LimitsLibrary();
    private final Map<Key, List<Double>> samples = new LinkedHashMap<>();

    /** Measures all kinds, for each number of threads; what the processor lacks is left out. */
    void measureAll(List<Integer> threadCounts, Progress progress) {
        for (Kind kind : Kind.values()) {
            for (int threads : threadCounts) {
                progress.show("limit " + new Key(kind, "", null, threads).caseName());
                try {
                    perSecond(kind, null, threads);
                } catch (UnsupportedOperationException e) {
                    progress.say("limit " + kind.title + ": " + e.getMessage());
                    break;
                }
            }
        }
        progress.clear();
    }

    /** The fastest sample so far. */
    @Override
    public double perSecond(Kind kind, String tier, int threads) {
        Key key = new Key(kind, "", tier, threads);
        while (samples.getOrDefault(key, List.of()).size() < SAMPLES) {
            perSecondNow(kind, tier, threads);
        }
        return Collections.max(samples.get(key));
    }

    @Override
    public double perSecondNow(Kind kind, String tier, int threads) {
        return add(new Key(kind, "", tier, threads), library.best(kind, tier, threads, SAMPLE_SECONDS));
    }

    @Override
    public double movedPerSecondNow(Proportion proportion, int threads) {
        String streams = proportion.equals(COPY) ? "" : proportion.reads() + ":" + proportion.writes();
        return add(
                new Key(Kind.MOVE, streams, null, threads),
                library.best(Kind.MOVE, null, threads, proportion, SAMPLE_SECONDS));
    }

    @Override
    public double updatedPerSecondNow(Update update, int threads) {
        return add(new Key(Kind.MOVE, update.toString(), null, threads), library.best(update, threads, SAMPLE_SECONDS));
    }

    private double add(Key key, double rate) {
        samples.computeIfAbsent(key, k -> new ArrayList<>()).add(rate);
        return rate;
    }

    /** A record for each limit, of all its samples so far. */
    List<Result> results() {
        List<Result> results = new ArrayList<>();
        samples.forEach((key, rates) -> {
            Summary giga =
                    Summary.of(rates.stream().mapToDouble(rate -> rate * 1e-9).toArray());
            results.add(Result.ofMachine(
                    OP,
                    key.caseName(),
                    key.threads,
                    key.kind.metric,
                    key.kind.unit,
                    giga,
                    key.tier == null ? TIER_IN_USE : key.tier));
        });
        return results;
    }
}
