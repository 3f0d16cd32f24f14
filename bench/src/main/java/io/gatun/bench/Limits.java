package io.gatun.bench;

import java.util.List;
import java.util.stream.Collectors;

/** What the machine allows at best. */
interface Limits {
    /** What is limited. */
    enum Kind {
        /** Bytes read from memory. */
        READ("read", "bandwidth", "GB/s"),
        /** Bytes read and written by a copy. */
        MOVE("move", "bandwidth", "GB/s"),
        /** Operations of f32 multiply-adds, 2 each. */
        FMA("fma f32", "rate", "GFLOP/s"),
        /** Operations of bf16 dot products. */
        BF16_DOT("dot bf16", "rate", "GFLOP/s"),
        /** Operations of int8 dot products. */
        INT8_DOT("dot int8", "rate", "GOP/s");

        final String title;
        final String metric;
        final String unit;

        Kind(String title, String metric, String unit) {
            this.title = title;
            this.metric = metric;
            this.unit = unit;
        }
    }

    /**
     * Bytes or operations a second.
     *
     * @param tier what instructions may be used; null for the tier in use
     * @throws UnsupportedOperationException if the processor or the tier has no such instruction
     */
    double perSecond(Kind kind, String tier, int threads);

    /** The same, measured anew: what others do on the machine changes it from minute to minute. */
    default double perSecondNow(Kind kind, String tier, int threads) {
        return perSecond(kind, tier, threads);
    }

    /**
     * Bytes a second of a loop that reads and writes so many of them: the best of plain and non-temporal stores, in whole
     * streams of about the same proportion.
     */
    default double movedPerSecondNow(Proportion proportion, int threads) {
        return perSecondNow(Kind.MOVE, null, threads);
    }

    /** Bytes a second, read and written ones together, of a loop that changes streams in place. */
    default double updatedPerSecondNow(Update update, int threads) {
        return perSecondNow(Kind.MOVE, null, threads);
    }

    /**
     * Streams that a loop reads, of which it changes some in place, round after round.
     *
     * @param changed pieces of 256 bytes that a round takes of each that is changed
     * @param read of each that is only read
     */
    record Update(List<Integer> changed, List<Integer> read) {
        /** {@code 4+1+1 in place, 4 read}. */
        @Override
        public String toString() {
            return (changed.isEmpty() ? "" : joined(changed) + " in place, ") + joined(read) + " read";
        }

        private static String joined(List<Integer> pieces) {
            return pieces.stream().map(String::valueOf).collect(Collectors.joining("+"));
        }
    }

    /** Streams that are read and written. */
    record Proportion(int reads, int writes) {
        private static final int MAX = 8;

        /** The one of at most 8 streams each that is nearest to the bytes. */
        static Proportion of(double read, double written) {
            Proportion best = new Proportion(1, 1);
            for (int reads = 1; reads <= MAX; reads++) {
                for (int writes = 1; writes <= MAX; writes++) {
                    Proportion next = new Proportion(reads, writes);
                    if (next.distance(read / written) < best.distance(read / written)) {
                        best = next;
                    }
                }
            }
            return best;
        }

        private double distance(double ratio) {
            return Math.abs(Math.log((double) reads / writes / ratio));
        }
    }

    /** The roofline at work: the shortest time now for reading so many bytes and so many operations. */
    default double secondsNow(long bytes, double operations, Kind kind, String tier, int threads) {
        double reading = bytes / perSecond(Kind.READ, null, threads);
        double computing = operations / perSecond(kind, tier, threads);
        return reading > computing
                ? bytes / perSecondNow(Kind.READ, null, threads)
                : operations / perSecondNow(kind, tier, threads);
    }
}
