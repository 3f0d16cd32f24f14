package io.gatun.bench;

import java.util.Arrays;

/** Median and range of samples. */
record Summary(double median, double min, double max) {
    static Summary of(double... samples) {
        if (samples.length == 0) {
            throw new IllegalArgumentException("no samples");
        }
        double[] sorted = samples.clone();
        Arrays.sort(sorted);
        int half = sorted.length / 2;
        double median = sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
        return new Summary(median, sorted[0], sorted[sorted.length - 1]);
    }

    /** In another unit. */
    Summary times(double factor) {
        return new Summary(median * factor, min * factor, max * factor);
    }
}
