package io.gatun.example;

import static io.gatun.example.MiniLmWeights.HEADS;
import static io.gatun.example.MiniLmWeights.HEAD_SIZE;
import static io.gatun.example.MiniLmWeights.HIDDEN;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SelfAttentionTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 17, 64, 131})
    void agreesWithTheDefinition(int tokens) {
        float[] input = random(tokens * 3 * HIDDEN, tokens);
        float[] context = run(input, List.of(new int[tokens]));
        for (int head = 0; head < HEADS; head++) {
            for (int i = 0; i < tokens; i++) {
                double[] expected = attend(input, tokens, i, head);
                for (int d = 0; d < HEAD_SIZE; d++) {
                    assertEquals(expected[d], context[i * HIDDEN + head * HEAD_SIZE + d], 2e-5);
                }
            }
        }
    }

    @Test
    void sentencesDoNotSeeEachOther() {
        float[] input = random(12 * 3 * HIDDEN, 1);
        List<int[]> sentences = List.of(new int[3], new int[4], new int[5]);
        float[] context = run(input, sentences);
        for (int s = 0, start = 0; s < 3; start += sentences.get(s).length, s++) {
            int tokens = sentences.get(s).length;
            float[] own = Arrays.copyOfRange(input, start * 3 * HIDDEN, (start + tokens) * 3 * HIDDEN);
            assertArrayEquals(
                    run(own, List.of(new int[tokens])),
                    Arrays.copyOfRange(context, start * HIDDEN, (start + tokens) * HIDDEN));
        }
    }

    private static float[] run(float[] queryKeyValue, List<int[]> sentences) {
        TokenBatch batch = TokenBatch.of(sentences);
        Tensor context = Tensor.allocate(DType.F32, batch.tokens(), HIDDEN);
        SelfAttention.within(batch.starts()).run(Tensor.of(queryKeyValue, batch.tokens(), 3 * HIDDEN), context);
        return context.toFloatArray();
    }

    private static double[] attend(float[] input, int tokens, int query, int head) {
        double[] weights = new double[tokens];
        double sum = 0;
        for (int j = 0; j < tokens; j++) {
            double dot = 0;
            for (int d = 0; d < HEAD_SIZE; d++) {
                dot += (double) at(input, query, 0, head, d) * at(input, j, 1, head, d);
            }
            weights[j] = Math.exp(dot / Math.sqrt(HEAD_SIZE));
            sum += weights[j];
        }
        double[] mixed = new double[HEAD_SIZE];
        for (int d = 0; d < HEAD_SIZE; d++) {
            for (int j = 0; j < tokens; j++) {
                mixed[d] += weights[j] / sum * at(input, j, 2, head, d);
            }
        }
        return mixed;
    }

    private static float at(float[] input, int token, int part, int head, int d) {
        return input[(token * 3 + part) * HIDDEN + head * HEAD_SIZE + d];
    }

    private static float[] random(int count, long seed) {
        Random random = new Random(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
