package io.gatun.example;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A classifier of layers that are fully connected, with ReLU between them, and its gradient, in plain Java on one thread.
 * Its parameters and gradients are tensors, which an optimizer of Gatun steps.
 */
final class Perceptron {
    private final int[] widths;
    /** Of layer l: weights [in, out] at 2 l, biases [out] at 2 l + 1. */
    private final List<Parameter> parameters = new ArrayList<>();

    /** Layers from inputs to classes; weights are normal with variance 2 / in, biases 0. */
    Perceptron(long seed, int... widths) {
        this.widths = widths.clone();
        SplittableRandom random = new SplittableRandom(seed);
        for (int layer = 0; layer + 1 < widths.length; layer++) {
            int in = widths[layer];
            int out = widths[layer + 1];
            float[] weights = new float[in * out];
            for (int i = 0; i < weights.length; i++) {
                weights[i] = (float) (random.nextGaussian() * Math.sqrt(2.0 / in));
            }
            parameters.add(Parameter.of("layer" + layer + ".weight", Tensor.of(weights, in, out)));
            parameters.add(Parameter.of("layer" + layer + ".bias", Tensor.allocate(DType.F32, out)));
        }
    }

    Parameter[] parameters() {
        return parameters.toArray(Parameter[]::new);
    }

    /** The mean of -log of the probability that the right class is given, and the part of points that get a wrong one. */
    record Score(double loss, double error) {}

    Score score(Mixture.Sample sample) {
        return pass(sample, false);
    }

    /** Writes the gradient of the loss into the parameters' gradients. */
    Score backward(Mixture.Sample sample) {
        return pass(sample, true);
    }

    private Score pass(Mixture.Sample sample, boolean backward) {
        int points = sample.size();
        int layers = widths.length - 1;
        float[][] weights = new float[layers][];
        float[][] activations = new float[layers + 1][];
        activations[0] = sample.inputs();
        for (int layer = 0; layer < layers; layer++) {
            weights[layer] = parameters.get(2 * layer).value().toFloatArray();
            float[] bias = parameters.get(2 * layer + 1).value().toFloatArray();
            float[] y = new float[points * bias.length];
            for (int point = 0; point < points; point++) {
                System.arraycopy(bias, 0, y, point * bias.length, bias.length);
            }
            Matrices.multiplyAdd(activations[layer], weights[layer], y, points, widths[layer], bias.length);
            if (layer + 1 < layers) {
                rectify(y);
            }
            activations[layer + 1] = y;
        }
        float[] delta = activations[layers];
        Score score = softmax(delta, sample.classes(), widths[layers]);
        for (int layer = layers - 1; backward && layer >= 0; layer--) {
            int in = widths[layer];
            int out = widths[layer + 1];
            float[] gradient = new float[in * out];
            float[] turned = Matrices.transpose(activations[layer], points, in);
            Matrices.multiplyAdd(turned, delta, gradient, in, points, out);
            parameters.get(2 * layer).gradient().copyFrom(gradient);
            parameters.get(2 * layer + 1).gradient().copyFrom(sums(delta, out));
            if (layer > 0) {
                float[] before = new float[points * in];
                Matrices.multiplyAdd(delta, Matrices.transpose(weights[layer], in, out), before, points, out, in);
                mask(before, activations[layer]);
                delta = before;
            }
        }
        return score;
    }

    private static void rectify(float[] x) {
        for (int i = 0; i < x.length; i++) {
            x[i] = Math.max(x[i], 0);
        }
    }

    /** Of ReLU: nothing passes back where nothing passed. */
    private static void mask(float[] delta, float[] activations) {
        for (int i = 0; i < delta.length; i++) {
            delta[i] = activations[i] > 0 ? delta[i] : 0;
        }
    }

    private static float[] sums(float[] rows, int columns) {
        float[] sums = new float[columns];
        for (int begin = 0; begin < rows.length; begin += columns) {
            for (int column = 0; column < columns; column++) {
                sums[column] += rows[begin + column];
            }
        }
        return sums;
    }

    /** Turns logits [points, classes] into the gradient of the mean loss. */
    private static Score softmax(float[] logits, int[] classes, int width) {
        double loss = 0;
        int wrong = 0;
        for (int point = 0; point < classes.length; point++) {
            int begin = point * width;
            int best = 0;
            for (int k = 1; k < width; k++) {
                best = logits[begin + k] > logits[begin + best] ? k : best;
            }
            float largest = logits[begin + best];
            double sum = 0;
            for (int k = 0; k < width; k++) {
                sum += Math.exp(logits[begin + k] - largest);
            }
            int own = classes[point];
            loss += Math.log(sum) + largest - logits[begin + own];
            wrong += best == own ? 0 : 1;
            for (int k = 0; k < width; k++) {
                double probability = Math.exp(logits[begin + k] - largest) / sum;
                logits[begin + k] = (float) ((probability - (k == own ? 1 : 0)) / classes.length);
            }
        }
        return new Score(loss / classes.length, (double) wrong / classes.length);
    }

    /** {@code 32-256-256-10 with 76810 parameters}. */
    @Override
    public String toString() {
        long count = parameters.stream()
                .mapToLong(parameter -> parameter.value().shape().elements())
                .sum();
        return String.join("-", Arrays.stream(widths).mapToObj(String::valueOf).toList()) + " with " + count
                + " parameters";
    }
}
