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

    private static final int SAMPLES = 3;
    private static final double SAMPLE_SECONDS = 0.2;

    private static final Proportion COPY = new Proportion(1, 1);

    private record Key(Kind kind, Proportion streams, String tier, int threads) {
        Key(Kind kind, String tier, int threads) {
            this(kind, COPY, tier, threads);
        }

        String caseName() {
            String proportion = streams.equals(COPY) ? "" : " " + streams.reads() + ":" + streams.writes();
            return kind.title + proportion + " t=" + threads + (tier == null ? "" : " tier=" + tier);
        }
    }

    private final LimitsLibrary library = new LimitsLibrary();
    private final Map<Key, List<Double>> samples = new LinkedHashMap<>();

    /** Measures all kinds, for each number of threads; what the processor lacks is left out. */
    void measureAll(List<Integer> threadCounts, Progress progress) {
        for (Kind kind : Kind.values()) {
            for (int threads : threadCounts) {
                progress.show("limit " + new Key(kind, null, threads).caseName());
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
        Key key = new Key(kind, tier, threads);
        while (samples(key).size() < SAMPLES) {
            sample(key);
        }
        return Collections.max(samples(key));
    }

    @Override
    public double perSecondNow(Kind kind, String tier, int threads) {
        return sample(new Key(kind, tier, threads));
    }

    @Override
    public double movedPerSecondNow(Proportion proportion, int threads) {
        return sample(new Key(Kind.MOVE, proportion, null, threads));
    }

    private List<Double> samples(Key key) {
        return samples.getOrDefault(key, List.of());
    }

    private double sample(Key key) {
        double rate = library.best(key.kind, key.tier, key.threads, key.streams, SAMPLE_SECONDS);
        samples.computeIfAbsent(key, k -> new ArrayList<>()).add(rate);
        return rate;
    }

    /** A record for each limit, of all its samples so far. */
    List<Result> results() {
        List<Result> results = new ArrayList<>();
        samples.forEach((key, rates) -> {
            Summary giga =
                    Summary.of(rates.stream().mapToDouble(rate -> rate * 1e-9).toArray());
            results.add(new Result(
                    OP,
                    key.caseName(),
                    "machine",
                    key.threads,
                    key.kind.metric,
                    key.kind.unit,
                    giga.median(),
                    giga.min(),
                    giga.max(),
                    null,
                    null,
                    null,
                    key.tier == null ? "best of the tier in use" : key.tier,
                    "the loop alone"));
        });
        return results;
    }
}
