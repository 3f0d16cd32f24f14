package io.gatun.ops;

import java.util.SplittableRandom;

/** Seeded random values for tests; the seed is part of every failure's context. */
final class Random {
    final long seed;
    final SplittableRandom source;

    Random(long seed) {
        this.seed = seed;
        this.source = new SplittableRandom(seed);
    }

    int between(int low, int high) {
        return source.nextInt(low, high + 1);
    }

    boolean chance(double probability) {
        return source.nextDouble() < probability;
    }

    @SafeVarargs
    final <T> T of(T... choices) {
        return choices[source.nextInt(choices.length)];
    }

    /** Normal values times {@code scale}. */
    float[] normal(int count, double scale) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (source.nextGaussian() * scale);
        }
        return values;
    }

    /** Integers low..high as floats. */
    float[] integers(int count, int low, int high) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = between(low, high);
        }
        return values;
    }
}
