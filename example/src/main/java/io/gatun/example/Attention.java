package io.gatun.example;

import static io.gatun.example.MiniLmWeights.HEADS;
import static io.gatun.example.MiniLmWeights.HEAD_SIZE;
import static io.gatun.example.MiniLmWeights.HIDDEN;

import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * softmax(q k^T / sqrt(head size)) v for every sentence and head, in plain Java. Tiles of 2 x 4 sums stay in registers
 * and give two fused multiply-adds a cycle; exponentials come from a loop without branches, which C2 vectorizes.
 */
final class Attention {
    private static final int TILE_ROWS = 2;
    private static final int TILE_COLUMNS = 4;
    private static final float SCALE = (float) (1 / Math.sqrt(HEAD_SIZE));

    private final Workers workers;

    Attention(Workers workers) {
        this.workers = workers;
    }

    /** queryKeyValue [tokens, 3 * HIDDEN] to context [tokens, HIDDEN]; a token sees its own sentence only. */
    void run(TokenBatch batch, Tensor queryKeyValue, Tensor context) {
        workers.forEach(batch.sentences() * HEADS, HEADS / 2, item -> {
            int sentence = item / HEADS;
            head(
                    queryKeyValue.segment(),
                    context.segment(),
                    batch.starts()[sentence],
                    batch.length(sentence),
                    item % HEADS * HEAD_SIZE);
        });
    }

    private static void head(MemorySegment queryKeyValue, MemorySegment context, int start, int tokens, int column) {
        // Whole tiles only: rows of zeros are appended, and what comes of them is never copied out.
        int padded = (tokens + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
        float[] query = new float[padded * HEAD_SIZE];
        float[] key = new float[padded * HEAD_SIZE];
        float[] value = new float[padded * HEAD_SIZE];
        float[] scores = new float[padded * padded];
        for (int t = 0; t < tokens; t++) {
            long row = (start + t) * 3L * HIDDEN + column;
            read(queryKeyValue, row, query, t * HEAD_SIZE);
            read(queryKeyValue, row + HIDDEN, key, t * HEAD_SIZE);
            read(queryKeyValue, row + 2 * HIDDEN, value, t * HEAD_SIZE);
        }
        for (int i = 0; i < query.length; i++) {
            query[i] *= SCALE;
        }
        score(query, key, padded, scores);
        softmax(scores, tokens, padded);
        float[] mixed = query;
        mix(scores, value, tokens, padded, mixed);
        for (int t = 0; t < tokens; t++) {
            long row = (start + t) * (long) HIDDEN + column;
            MemorySegment.copy(mixed, t * HEAD_SIZE, context, ValueLayout.JAVA_FLOAT, row * Float.BYTES, HEAD_SIZE);
        }
    }

    private static void read(MemorySegment source, long element, float[] target, int offset) {
        MemorySegment.copy(source, ValueLayout.JAVA_FLOAT, element * Float.BYTES, target, offset, HEAD_SIZE);
    }

    /** scores[i][j] = sum_d query[i][d] * key[j][d]. */
    private static void score(float[] query, float[] key, int padded, float[] scores) {
        for (int i = 0; i < padded; i += TILE_ROWS) {
            for (int j = 0; j < padded; j += TILE_COLUMNS) {
                int q0 = i * HEAD_SIZE;
                int q1 = q0 + HEAD_SIZE;
                int k0 = j * HEAD_SIZE;
                int k1 = k0 + HEAD_SIZE;
                int k2 = k1 + HEAD_SIZE;
                int k3 = k2 + HEAD_SIZE;
                float s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
                for (int d = 0; d < HEAD_SIZE; d++) {
                    float a0 = query[q0 + d], a1 = query[q1 + d];
                    float b0 = key[k0 + d], b1 = key[k1 + d], b2 = key[k2 + d], b3 = key[k3 + d];
                    s00 = Math.fma(a0, b0, s00);
                    s01 = Math.fma(a0, b1, s01);
                    s02 = Math.fma(a0, b2, s02);
                    s03 = Math.fma(a0, b3, s03);
                    s10 = Math.fma(a1, b0, s10);
                    s11 = Math.fma(a1, b1, s11);
                    s12 = Math.fma(a1, b2, s12);
                    s13 = Math.fma(a1, b3, s13);
                }
                store(scores, i * padded + j, s00, s01, s02, s03);
                store(scores, (i + 1) * padded + j, s10, s11, s12, s13);
            }
        }
    }

    /** mixed[i][d] = sum_j weights[i][j] * value[j][d]. */
    private static void mix(float[] weights, float[] value, int tokens, int padded, float[] mixed) {
        for (int i = 0; i < padded; i += TILE_ROWS) {
            for (int d = 0; d < HEAD_SIZE; d += TILE_COLUMNS) {
                int w0 = i * padded;
                int w1 = w0 + padded;
                float s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
                for (int j = 0; j < tokens; j++) {
                    int v = j * HEAD_SIZE + d;
                    float a0 = weights[w0 + j], a1 = weights[w1 + j];
                    float b0 = value[v], b1 = value[v + 1], b2 = value[v + 2], b3 = value[v + 3];
                    s00 = Math.fma(a0, b0, s00);
                    s01 = Math.fma(a0, b1, s01);
                    s02 = Math.fma(a0, b2, s02);
                    s03 = Math.fma(a0, b3, s03);
                    s10 = Math.fma(a1, b0, s10);
                    s11 = Math.fma(a1, b1, s11);
                    s12 = Math.fma(a1, b2, s12);
                    s13 = Math.fma(a1, b3, s13);
                }
                store(mixed, i * HEAD_SIZE + d, s00, s01, s02, s03);
                store(mixed, (i + 1) * HEAD_SIZE + d, s10, s11, s12, s13);
            }
        }
    }

    private static void store(float[] target, int at, float a, float b, float c, float d) {
        target[at] = a;
        target[at + 1] = b;
        target[at + 2] = c;
        target[at + 3] = d;
    }

    private static void softmax(float[] scores, int tokens, int padded) {
        for (int begin = 0; begin < tokens * padded; begin += padded) {
            float max = scores[begin];
            for (int j = begin + 1; j < begin + tokens; j++) {
                if (scores[j] > max) {
                    max = scores[j];
                }
            }
            for (int j = begin; j < begin + padded; j++) {
                scores[j] -= max;
            }
        }
        exponentials(scores, tokens * padded);
        for (int begin = 0; begin < tokens * padded; begin += padded) {
            float sum = 0;
            for (int j = begin; j < begin + tokens; j++) {
                sum += scores[j];
            }
            float scale = 1 / sum;
            for (int j = begin; j < begin + tokens; j++) {
                scores[j] *= scale;
            }
        }
    }

    /** Replaces values up to 0 by their exponentials, with a relative error below 5e-6 where they exceed -10. */
    private static void exponentials(float[] values, int count) {
        for (int i = 0; i < count; i++) {
            // exp(x) = exp(x / 64)^64: a Taylor polynomial and six squarings. Below exp(-40) nothing counts.
            float x = Math.max(values[i], -40f) * (1f / 64);
            float e = Math.fma(x, 1f / 720, 1f / 120);
            e = Math.fma(e, x, 1f / 24);
            e = Math.fma(e, x, 1f / 6);
            e = Math.fma(e, x, 0.5f);
            e = Math.fma(e, x, 1f);
            e = Math.fma(e, x, 1f);
            e *= e;
            e *= e;
            e *= e;
            e *= e;
            e *= e;
            values[i] = e * e;
        }
    }
}
