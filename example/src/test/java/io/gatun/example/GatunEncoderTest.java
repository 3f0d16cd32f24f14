package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.ops.QMatmul.Mode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The whole model against ONNX Runtime's fp32 on the demo's sentences. */
class GatunEncoderTest {
    private static final int TOPICAL = 200;

    private static Workers workers;
    private static MiniLmWeights weights;
    private static List<int[]> sentences;
    private static float[][] reference;
    private static float[][] ortInt8;

    @BeforeAll
    static void embedWithOnnxRuntime() throws IOException, OrtException {
        workers = new Workers(2);
        weights = MiniLmWeights.load();
        try (Tokenizer tokenizer = Tokenizer.load()) {
            sentences = new ArrayList<>(tokenizer.encode(Sentences.topical()));
            sentences.addAll(tokenizer.encode(Sentences.brief()));
        }
        reference = embedWithOnnxRuntime("/all-minilm-l6-v2.onnx");
        ortInt8 = embedWithOnnxRuntime("/all-minilm-l6-v2-q.onnx");
    }

    private static float[][] embedWithOnnxRuntime(String model) throws IOException, OrtException {
        try (OrtEncoder encoder = new OrtEncoder(Resources.read(model), 2)) {
            return new Contender(model, 0, encoder).embed(sentences, 1);
        }
    }

    @AfterAll
    static void close() {
        workers.close();
    }

    private static float[][] embed(WeightFormat format, Mode mode, int batch) {
        return new Contender(format.label(), 0, new GatunEncoder(weights, format.in(mode), workers))
                .embed(sentences, batch);
    }

    private static Accuracy topical(float[][] embeddings) {
        return Accuracy.of(
                List.of(reference).subList(0, TOPICAL).toArray(float[][]::new),
                List.of(embeddings).subList(0, TOPICAL).toArray(float[][]::new));
    }

    @Test
    void int8IsCloseAndNoWorseThanOnnxRuntimes() {
        float[][] embeddings = embed(WeightFormat.INT8, Mode.INT8_ROW, 32);
        assertTrue(
                topical(embeddings).worst() >= 0.995, () -> topical(embeddings).toString());
        Accuracy all = Accuracy.of(reference, embeddings);
        Accuracy peer = Accuracy.of(reference, ortInt8);
        assertTrue(all.mean() >= peer.mean(), () -> all + " against " + peer);
        assertTrue(all.worst() >= peer.worst(), () -> all + " against " + peer);
    }

    @Test
    void preciseActivationsComeCloser() {
        Accuracy rounded = topical(embed(WeightFormat.INT8, Mode.INT8_ROW, 32));
        Accuracy precise = topical(embed(WeightFormat.INT8, Mode.PRECISE, 32));
        assertTrue(precise.worst() >= 0.999, precise::toString);
        assertTrue(precise.mean() > rounded.mean(), () -> precise + " against " + rounded);
    }

    @ParameterizedTest
    @CsvSource({"INT4_G32, 0.965", "INT4_G32_ZERO_POINT, 0.97", "INT4_G128, 0.94", "INT4_G128_ZERO_POINT, 0.95"})
    void int4KeepsItsMean(WeightFormat format, double least) {
        Accuracy accuracy = topical(embed(format, Mode.INT8_ROW, 32));
        assertTrue(accuracy.mean() >= least, () -> format + ": " + accuracy);
    }

    @ParameterizedTest
    @EnumSource
    void embeddingsDoNotDependOnTheBatchBitForBit(WeightFormat format) {
        float[][] alone = embed(format, Mode.INT8_ROW, 1);
        float[][] together = embed(format, Mode.INT8_ROW, sentences.size());
        for (int s = 0; s < alone.length; s++) {
            assertArrayEquals(alone[s], together[s], "sentence " + s);
        }
    }

    @Test
    void embeddingsDoNotDependOnTheOrderOrTheThreadsBitForBit() {
        float[][] expected = embed(WeightFormat.INT4_G32, Mode.INT8_ROW, 32);
        List<Integer> order =
                new ArrayList<>(IntStream.range(0, sentences.size()).boxed().toList());
        Collections.shuffle(order, new Random(7));
        try (Workers more = new Workers(5)) {
            GatunEncoder encoder = new GatunEncoder(weights, WeightFormat.INT4_G32.in(Mode.INT8_ROW), more);
            float[][] shuffled =
                    encoder.encode(order.stream().map(sentences::get).toList());
            for (int s = 0; s < shuffled.length; s++) {
                assertArrayEquals(expected[order.get(s)], shuffled[s], "sentence " + order.get(s));
            }
        }
    }

    @Test
    void reportNamesEveryKernelForBothShapes() {
        List<GatunEncoder> encoders = Stream.of(WeightFormat.values())
                .map(format -> new GatunEncoder(weights, format.in(Mode.INT8_ROW), workers))
                .toList();
        String text = Report.kernels(encoders, Mode.INT8_ROW, 700, 20);
        for (String part :
                List.of("INT8_ROW", "qmatmul_", "attention_f32_", "norm_", "    quantize_i8_", "700 rows", "20 rows")) {
            assertTrue(text.contains(part), () -> part + " is missing from " + text);
        }
        for (WeightFormat format : WeightFormat.values()) {
            assertTrue(text.contains(format.label()), () -> format.label() + " is missing from " + text);
        }
    }

    @Test
    void sentencesOfNoOrTooManyTokensAreRefused() {
        GatunEncoder encoder = new GatunEncoder(weights, WeightFormat.INT8.in(Mode.INT8_ROW), workers);
        for (int length : new int[] {0, 513}) {
            IllegalArgumentException refused = assertThrows(
                    IllegalArgumentException.class, () -> encoder.encode(List.of(new int[1], new int[length])));
            assertTrue(refused.getMessage().startsWith("sentence 1 has " + length + " tokens"), refused.getMessage());
        }
        assertTrue(encoder.encode(List.of(new int[512]))[0].length == 384);
        assertTrue(encoder.encode(List.of()).length == 0);
    }
}
