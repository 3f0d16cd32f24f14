package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.ActivationStats;
import io.gatun.ops.Mask;
import io.gatun.ops.Prune;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QuantSpec;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The pruned models beside the dense ones, on the demo's sentences. */
class SparseModelTest {
    private static Workers workers;
    private static MiniLmWeights weights;
    private static List<int[]> others;
    private static List<int[]> sentences;
    private static float[][] reference;
    private static Calibration calibration;

    @BeforeAll
    static void calibrate() throws IOException, OrtException {
        workers = new Workers(2);
        weights = MiniLmWeights.load();
        try (Tokenizer tokenizer = Tokenizer.load()) {
            sentences = tokenizer.encode(Sentences.topical());
            others = tokenizer.encode(Sentences.calibration());
        }
        try (OrtEncoder encoder = new OrtEncoder(Resources.read(Demo.FP32_MODEL), 2)) {
            reference = new Contender("fp32", 0, encoder).embed(sentences, 1);
        }
        calibration = Calibration.of(weights, others, workers);
    }

    @AfterAll
    static void close() {
        workers.close();
    }

    private static float[][] embed(LinearFormat format) {
        return new Contender("sparse", 0, new GatunEncoder(weights, format, workers)).embed(sentences, 32);
    }

    private static Accuracy accuracy(LinearFormat format) {
        return Accuracy.of(reference, embed(format));
    }

    private static Stream<Linear> linears() {
        return weights.layers().stream()
                .flatMap(layer ->
                        Stream.of(layer.queryKeyValue(), layer.attentionOutput(), layer.inner(), layer.output()));
    }

    private static Mask mask(Linear linear) {
        return Prune.run(
                LinearLayer.weights(linear).contiguous(), Score.wanda(calibration.inputs(linear)), SparseDemo.PATTERN);
    }

    /** What calibrates: word embeddings are in int8, all else is f32. */
    @Test
    void withAllWeightsKeptItIsTheDenseModel() {
        Accuracy accuracy = accuracy(
                (linear, activation) -> SparseLinear.prune(linear, Score.magnitude(), Calibration.ALL, activation));
        assertTrue(accuracy.worst() >= 0.999, accuracy::toString);
    }

    @Test
    void int8IsTheDenseKernelsOfTheSameWeightsBitForBit() {
        float[][] dense = embed((linear, activation) -> new QuantizedLinear(
                QMatmul.pack(SparseLinear.masked(linear, mask(linear)), QuantSpec.int8()),
                LinearLayer.options(linear, activation).withMode(Mode.INT8_ROW)));
        float[][] sparse = embed(SparseDemo.int8(calibration));
        for (int s = 0; s < dense.length; s++) {
            assertArrayEquals(dense[s], sparse[s], "sentence " + s);
        }
    }

    @Test
    void f32IsTheModelOfTheWeightsWithZeros() {
        float[][] zeros = embed((linear, activation) -> {
            float[] masked =
                    SparseLinear.masked(linear, mask(linear)).transpose().toFloatArray();
            Linear pruned = new Linear(linear.inputs(), linear.outputs(), masked, linear.bias());
            return SparseLinear.prune(pruned, Score.magnitude(), Calibration.ALL, activation);
        });
        Accuracy accuracy = Accuracy.of(zeros, embed(SparseDemo.f32(calibration)));
        assertTrue(accuracy.worst() >= 1 - 1e-6, accuracy::toString);
    }

    @Test
    void everyLayerSeesEveryToken() {
        long tokens = others.stream().mapToInt(ids -> ids.length).sum();
        linears().forEach(linear -> {
            assertEquals(linear.inputs(), calibration.inputs(linear).depth());
            assertEquals(tokens, calibration.inputs(linear).rows());
        });
    }

    /** LayerNorm gives the first layer gain z + bias, where z has a mean square of 1 over the inputs of each token. */
    @Test
    void inputsOfTheFirstLayerAreNormalized() {
        ActivationStats inputs = calibration.inputs(weights.layers().getFirst().queryKeyValue());
        float[] gains = weights.embeddingNorm().weight();
        float[] biases = weights.embeddingNorm().bias();
        float[] norms = inputs.norms().toFloatArray();
        float[] means = inputs.means().toFloatArray();
        double tokens = inputs.rows();
        double squares = 0;
        for (int k = 0; k < norms.length; k++) {
            double bias = biases[k];
            double centered = (double) norms[k] * norms[k] - 2 * bias * tokens * means[k] + tokens * bias * bias;
            squares += centered / ((double) gains[k] * gains[k]);
        }
        assertEquals(1, squares / (tokens * norms.length), 1e-3);
    }

    /** Thresholds are what was measured, rounded down: nothing was retrained. */
    @Test
    void pruningByWandaIsNearerThanByMagnitudeAndArmorNearest() {
        Accuracy f32 = accuracy(SparseDemo.f32(calibration));
        Accuracy int8 = accuracy(SparseDemo.int8(calibration));
        Accuracy magnitude = accuracy(
                (linear, activation) -> SparseLinear.prune(linear, Score.magnitude(), SparseDemo.PATTERN, activation));
        List<ArmorLinear> fitted = new ArrayList<>();
        Accuracy armor = accuracy((linear, activation) -> {
            fitted.add(
                    ArmorLinear.fit(linear, calibration.inputs(linear).norms(), SparseDemo.PATTERN, 64, 2, activation));
            return fitted.getLast();
        });
        String all = f32 + ", " + int8 + ", " + magnitude + ", " + armor;
        assertTrue(f32.mean() >= 0.75 && int8.mean() >= 0.75, all);
        assertTrue(f32.mean() >= magnitude.mean() + 0.1, all);
        assertTrue(armor.mean() >= f32.mean() + 0.08, all);
        fitted.forEach(layer -> assertTrue(layer.lastLoss() < 0.7 * layer.firstLoss(), layer::toString));
    }

    /** Wanda's scores are what each weight adds to the squared error, so no other choice of two has less. */
    @Test
    void wandaLeavesTheLeastWeightedError() {
        linears().forEach(linear -> {
            double wanda = error(linear, mask(linear));
            double magnitude = error(
                    linear, Prune.run(LinearLayer.weights(linear).contiguous(), Score.magnitude(), SparseDemo.PATTERN));
            assertTrue(wanda < magnitude, () -> wanda + " against " + magnitude);
        });
    }

    private static double error(Linear linear, Mask mask) {
        float[] norms = calibration.inputs(linear).norms().toFloatArray();
        float[] masked = SparseLinear.masked(linear, mask).toFloatArray();
        float[] all = LinearLayer.weights(linear).toFloatArray();
        double sum = 0;
        for (int i = 0; i < all.length; i++) {
            double lost = (all[i] - masked[i]) * norms[i % norms.length];
            sum += lost * lost;
        }
        return sum;
    }
}
