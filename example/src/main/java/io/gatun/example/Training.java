package io.gatun.example;

import io.gatun.ops.Optimizer;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A training of {@link Perceptron} on fresh points of {@link Mixture} at every step, with a learning rate that falls to 0
 * as a half wave of a cosine. The same seed gives the same points and the same first parameters whatever trains them.
 *
 * @param layers widths of the hidden ones
 * @param steps of the optimizer
 */
record Training(List<Integer> layers, int steps) {
    /** Points of a step. */
    static final int BATCH = 64;

    private static final int TEST_POINTS = 4096;
    private static final long TEST_SEED = 1_000_003;

    /** The points that all are tested on. */
    static Mixture.Sample testPoints() {
        return new Mixture(TEST_SEED).draw(TEST_POINTS);
    }

    /**
     * What came of it.
     *
     * @param curve losses on the test points, evenly spaced from before the first step to after the last one
     * @param last on the test points, after the last step
     * @param stateBytes that the optimizer keeps
     */
    record Outcome(List<Double> curve, Perceptron.Score last, long stateBytes) {}

    /** Trains on the calling thread; the curve has that many losses, one or more. */
    Outcome run(Rule rule, State state, long seed, int losses, Mixture.Sample test) {
        Perceptron network = network(seed);
        Mixture points = new Mixture(-1 - seed);
        Optimizer optimizer = Optimizer.of(Optimizer.Options.of(rule).withThreads(1), state, network.parameters());
        List<Double> curve = new ArrayList<>();
        Perceptron.Score score = null;
        for (int step = 0; step <= steps; step++) {
            if (step == steps || step * (losses - 1L) % steps < losses - 1) {
                score = network.score(test);
                curve.add(score.loss());
            }
            if (step < steps) {
                network.backward(points.draw(BATCH));
                optimizer.learningRate((float) (peak(rule) * (1 + Math.cos(Math.PI * step / steps)) / 2));
                optimizer.step();
            }
        }
        return new Outcome(curve, score, optimizer.stateBytes());
    }

    /** Before the first step. */
    Perceptron network(long seed) {
        int[] widths = IntStream.concat(
                        IntStream.of(Mixture.INPUTS),
                        IntStream.concat(layers.stream().mapToInt(Integer::intValue), IntStream.of(Mixture.CLASSES)))
                .toArray();
        return new Perceptron(seed, widths);
    }

    /** The largest learning rate. */
    private static double peak(Rule rule) {
        return switch (rule) {
            case ADAM -> 3e-3;
            case LION -> 6e-4;
            case MOMENTUM -> 0.03;
            case ADEMAMIX, RMSPROP, ADAGRAD, LAMB, LARS ->
                throw new IllegalArgumentException("no learning rate was tried for " + rule);
        };
    }
}
