package io.gatun.example;

/**
 * How close embeddings are to the reference ones.
 *
 * @param mean cosine similarity to the reference, mean over the sentences
 * @param worst the lowest of them
 * @param sameNeighbour share of the sentences whose nearest other sentence is the same one
 */
record Accuracy(double mean, double worst, double sameNeighbour) {
    static Accuracy of(float[][] reference, float[][] embeddings) {
        double sum = 0;
        double worst = 1;
        int same = 0;
        for (int i = 0; i < reference.length; i++) {
            double cosine = Vectors.cosine(reference[i], embeddings[i]);
            sum += cosine;
            worst = Math.min(worst, cosine);
            if (neighbour(reference, i) == neighbour(embeddings, i)) {
                same++;
            }
        }
        return new Accuracy(sum / reference.length, worst, (double) same / reference.length);
    }

    private static int neighbour(float[][] embeddings, int of) {
        int nearest = -1;
        double best = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < embeddings.length; i++) {
            double cosine = i == of ? Double.NEGATIVE_INFINITY : Vectors.cosine(embeddings[of], embeddings[i]);
            if (cosine > best) {
                best = cosine;
                nearest = i;
            }
        }
        return nearest;
    }
}
