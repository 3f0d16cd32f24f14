package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.ops.Parameter;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** The classifier that is trained, its gradient, and what it is trained on. */
class PerceptronTest {
    /** Against (loss(w + h) - loss(w - h)) / 2 h. */
    @Test
    void gradientIsThatOfTheLoss() {
        Mixture.Sample sample = new Mixture(7).draw(500);
        Perceptron network = new Training(List.of(21, 14), 1).network(9);
        network.backward(sample);
        SplittableRandom random = new SplittableRandom(2);
        for (Parameter parameter : network.parameters()) {
            float[] values = parameter.value().toFloatArray();
            float[] gradient = parameter.gradient().toFloatArray();
            double largest = 0;
            for (float g : gradient) {
                largest = Math.max(largest, Math.abs(g));
            }
            assertTrue(largest > 1e-3, parameter + " has no gradient");
            for (int sampled = 0; sampled < 20; sampled++) {
                int i = random.nextInt(values.length);
                double difference = (loss(network, parameter, values, i, 1e-3f, sample)
                                - loss(network, parameter, values, i, -1e-3f, sample))
                        / 2e-3;
                assertEquals(difference, gradient[i], 0.02 * largest, parameter + "[" + i + "]");
            }
        }
    }

    private static double loss(
            Perceptron network, Parameter parameter, float[] values, int i, float step, Mixture.Sample sample) {
        float[] moved = values.clone();
        moved[i] += step;
        parameter.value().copyFrom(moved);
        double loss = network.score(sample).loss();
        parameter.value().copyFrom(values);
        return loss;
    }

    @Test
    void productsOfEveryDepthAreRight() {
        SplittableRandom random = new SplittableRandom(3);
        for (int depth = 0; depth < 10; depth++) {
            float[] a = floats(random, 3 * depth);
            float[] b = floats(random, 5 * depth);
            float[] y = new float[15];
            double[] wanted = new double[15];
            for (int i = 0; i < 15; i++) {
                y[i] = i;
                wanted[i] = i;
                for (int k = 0; k < depth; k++) {
                    wanted[i] += (double) a[i / 5 * depth + k] * b[k * 5 + i % 5];
                }
            }
            Matrices.multiplyAdd(a, b, y, 3, depth, 5);
            for (int i = 0; i < 15; i++) {
                assertEquals(wanted[i], y[i], 1e-5, "depth " + depth);
            }
        }
        assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, Matrices.transpose(new float[] {1, 2, 3, 4, 5, 6}, 2, 3));
    }

    private static float[] floats(SplittableRandom random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextDouble(-1, 1);
        }
        return values;
    }

    /** The best guess on many points is as often wrong as the integral says, and no plane tells anything. */
    @Test
    void mixtureHasTheErrorThatItIsSaidToHave() {
        assertEquals(0.0289105228, Mixture.bayesError(), 1e-9); // summed by the midpoint rule with another Phi
        int points = 200_000;
        Mixture.Sample sample = new Mixture(1).draw(points);
        double deviation = Math.sqrt(Mixture.bayesError() / points);
        assertEquals(Mixture.bayesError(), sample.bestError(), 4 * deviation);
        double[] means = new double[Mixture.CLASSES * Mixture.INPUTS];
        double squares = 0;
        for (int i = 0; i < sample.inputs().length; i++) {
            means[sample.classes()[i / Mixture.INPUTS] * Mixture.INPUTS + i % Mixture.INPUTS] += sample.inputs()[i];
            squares += (double) sample.inputs()[i] * sample.inputs()[i];
        }
        // Each of 20000 points of a class; a turn keeps lengths: 32 coordinates of variance 1, and DISTANCE^2 = 16.
        for (double mean : means) {
            assertEquals(0, mean / (points / (double) Mixture.CLASSES), 5 * 4 / Math.sqrt(points / 10.0));
        }
        assertEquals(Mixture.INPUTS + 16, squares / points, 0.1);
    }
}
