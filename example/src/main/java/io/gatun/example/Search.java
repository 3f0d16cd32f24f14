package io.gatun.example;

import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** The sentences nearest to a query by cosine similarity, as one contender sees it. */
record Search(String contender, List<Hit> hits) {
    static final int HITS = 5;

    /** A sentence and how similar it is. */
    record Hit(int sentence, double score) {}

    static Search of(Contender contender, int[] query, float[][] embeddings) {
        float[] embedded = contender.embed(List.of(query), 1)[0];
        List<Hit> hits = IntStream.range(0, embeddings.length)
                .mapToObj(i -> new Hit(i, Vectors.cosine(embedded, embeddings[i])))
                .sorted(Comparator.comparingDouble(Hit::score).reversed())
                .limit(HITS)
                .toList();
        return new Search(contender.name(), hits);
    }
}
