package io.gatun.example;

import java.util.List;

/** One model in the comparison: what it is called, what it weighs, and how it embeds. */
record Contender(String name, long bytes, Encoder encoder) {
    double megabytes() {
        return bytes / 1e6;
    }

    /** Embeds in batches of {@code size} sentences of like length; the result is in the order given. */
    float[][] embed(List<int[]> sentences, int size) {
        float[][] embeddings = new float[sentences.size()][];
        for (List<Integer> batch : Batches.byLength(sentences, size)) {
            float[][] embedded =
                    encoder.encode(batch.stream().map(sentences::get).toList());
            for (int i = 0; i < embedded.length; i++) {
                embeddings[batch.get(i)] = embedded[i];
            }
        }
        return embeddings;
    }
}
