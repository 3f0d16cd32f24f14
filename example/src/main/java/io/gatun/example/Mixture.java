package io.gatun.example;

import java.util.SplittableRandom;

/**
 * A made-up task of classification whose best possible error is known. Each of ten classes is two normal distributions with
 * unit variance around opposite points, {@link #DISTANCE} from the middle on an axis of the class's own; all of it is turned,
 * so that what is seen shows no axes.
 *
 * <p>In the axes' coordinates z the probabilities of classes are in proportion to cosh(DISTANCE z), so the best guess is the
 * largest magnitude of ten. As every class is symmetric, planes tell nothing about it: it takes a layer in between.
 */
final class Mixture {
    static final int CLASSES = 10;

    /** Numbers that are seen of a point. */
    static final int INPUTS = 32;

    private static final double DISTANCE = 4;
    private static final long TURN_SEED = 11;

    private final float[][] turn = turn(new SplittableRandom(TURN_SEED));
    private final SplittableRandom random;

    /** Points drawn from a seed; the task itself is always the same. */
    Mixture(long seed) {
        random = new SplittableRandom(seed);
    }

    /**
     * Points and their classes.
     *
     * @param inputs [points, INPUTS] as they are seen
     * @param classes 0..9 of each
     * @param bestLoss the mean of -log of the true probability of the right class: no classifier has less on average
     * @param bestError the part of them that the best guess gets wrong
     */
    record Sample(float[] inputs, int[] classes, double bestLoss, double bestError) {
        int size() {
            return classes.length;
        }
    }

    /** The next points. */
    Sample draw(int points) {
        float[] inputs = new float[points * INPUTS];
        int[] classes = new int[points];
        double loss = 0;
        int wrong = 0;
        float[] z = new float[INPUTS];
        for (int point = 0; point < points; point++) {
            int own = random.nextInt(CLASSES);
            double centre = random.nextBoolean() ? DISTANCE : -DISTANCE;
            for (int i = 0; i < INPUTS; i++) {
                z[i] = (float) (random.nextGaussian() + (i == own ? centre : 0));
            }
            classes[point] = own;
            double sum = 0;
            int best = 0;
            for (int k = 0; k < CLASSES; k++) {
                sum += Math.cosh(DISTANCE * z[k]);
                best = Math.abs(z[k]) > Math.abs(z[best]) ? k : best;
            }
            loss += Math.log(sum / Math.cosh(DISTANCE * z[own]));
            wrong += best == own ? 0 : 1;
            turn(z, inputs, point * INPUTS);
        }
        return new Sample(inputs, classes, loss / points, (double) wrong / points);
    }

    private void turn(float[] z, float[] inputs, int at) {
        for (int i = 0; i < INPUTS; i++) {
            float sum = 0;
            for (int j = 0; j < INPUTS; j++) {
                sum += turn[i][j] * z[j];
            }
            inputs[at + i] = sum;
        }
    }

    /** A random orthogonal matrix, by Gram and Schmidt. */
    private static float[][] turn(SplittableRandom random) {
        double[][] rows = new double[INPUTS][INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            for (int j = 0; j < INPUTS; j++) {
                rows[i][j] = random.nextGaussian();
            }
            for (int before = 0; before < i; before++) {
                double part = dot(rows[i], rows[before]);
                for (int j = 0; j < INPUTS; j++) {
                    rows[i][j] -= part * rows[before][j];
                }
            }
            double length = Math.sqrt(dot(rows[i], rows[i]));
            for (int j = 0; j < INPUTS; j++) {
                rows[i][j] /= length;
            }
        }
        float[][] turn = new float[INPUTS][INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            for (int j = 0; j < INPUTS; j++) {
                turn[i][j] = (float) rows[i][j];
            }
        }
        return turn;
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    /**
     * The error of the best guess: 1 - integral of (phi(x - DISTANCE) + phi(x + DISTANCE)) (2 Phi(x) - 1)^9 over x > 0, the
     * probability that the class's own magnitude x is larger than the nine others, which are those of standard normal
     * numbers. By the trapezoidal rule, with 2 Phi - 1 summed alongside; right to 1e-9.
     */
    static double bayesError() {
        int steps = 1 << 17;
        double width = (DISTANCE + 9) / steps;
        double within = 0;
        double right = 0;
        for (int i = 1; i <= steps; i++) {
            double x = i * width;
            within += width * (density(x - width) + density(x));
            right += width * (density(x - DISTANCE) + density(x + DISTANCE)) * Math.pow(within, CLASSES - 1);
        }
        return 1 - right;
    }

    private static double density(double x) {
        return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    }
}
