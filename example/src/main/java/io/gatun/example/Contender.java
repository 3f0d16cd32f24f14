package io.gatun.example;

import java.util.ArrayList;
import java.util.List;

/** One model in the comparison: what it is called, what it weighs, and how it embeds. */
record Contender(String name, long bytes, Encoder encoder) {
    double megabytes() {
        return bytes / 1e6;
    }

    /** Embeds in batches of {@code size} sentences, in the order given. */
    float[][] embed(List<int[]> sentences, int size) {
        List<float[]> embeddings = new ArrayList<>();
        for (int begin = 0; begin < sentences.size(); begin += size) {
            List<int[]> batch = sentences.subList(begin, Math.min(begin + size, sentences.size()));
            embeddings.addAll(List.of(encoder.encode(batch)));
        }
        return embeddings.toArray(float[][]::new);
    }
}
