package io.gatun.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Limits as they are measured here and now, each when it is first asked for. */
final class MeasuredLimits implements Limits {
    /** The name in records. */
    static final String OP = "limits";

    private static final int SAMPLES = 3;
    private static final double SAMPLE_SECONDS = 0.2;

    private record Key(Kind kind, String tier, int threads) {
        String caseName() {
            return kind.title + " t=" + threads + (tier == null ? "" : " tier=" + tier);
        }
    }

    private final LimitsLibrary library = new LimitsLibrary();
    private final Map<Key, Summary> measured = new LinkedHashMap<>();

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

    /** The fastest of several short measurements. */
    @Override
    public double perSecond(Kind kind, String tier, int threads) {
        return measured.computeIfAbsent(new Key(kind, tier, threads), this::measure)
                .max();
    }

    private Summary measure(Key key) {
        return Summary.of(IntStream.range(0, SAMPLES)
                .mapToDouble(i -> library.best(key.kind, key.tier, key.threads, SAMPLE_SECONDS))
                .toArray());
    }

    /** A record for each limit measured so far. */
    List<Result> results() {
        List<Result> results = new ArrayList<>();
        measured.forEach((key, perSecond) -> {
            Summary giga = perSecond.times(1e-9);
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
