package io.gatun.example;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Sentences a second from token ids to embeddings, one at a time and in batches. */
record Speed(Rate single, Rate batched) {
    static final int BATCH = 32;

    /** Sentences a second over the rounds. */
    record Rate(double median, double min, double max) {
        static Rate of(double[] rounds) {
            double[] sorted = rounds.clone();
            Arrays.sort(sorted);
            double median = (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
            return new Rate(median, sorted[0], sorted[sorted.length - 1]);
        }
    }

    /**
     * Measures {@code rounds} rounds, after one that is not counted. In every round each contender embeds all sentences
     * both ways; the one that begins rotates.
     */
    static List<Speed> measure(List<Contender> contenders, List<int[]> sentences, int rounds, Progress progress) {
        int count = contenders.size();
        double[][] single = new double[count][rounds];
        double[][] batched = new double[count][rounds];
        progress.phase("timing " + rounds + " rounds after a warm-up");
        for (int round = -1; round < rounds; round++) {
            for (int turn = 0; turn < count; turn++) {
                int c = (turn + round + 1) % count;
                Contender contender = contenders.get(c);
                progress.step((round < 0 ? "warm-up, " : "round " + (round + 1) + ", ") + contender.name());
                double one = rate(contender, sentences, 1);
                double many = rate(contender, sentences, BATCH);
                if (round >= 0) {
                    single[c][round] = one;
                    batched[c][round] = many;
                }
            }
        }
        return IntStream.range(0, count)
                .mapToObj(c -> new Speed(Rate.of(single[c]), Rate.of(batched[c])))
                .toList();
    }

    private static double rate(Contender contender, List<int[]> sentences, int batch) {
        long begin = System.nanoTime();
        contender.embed(sentences, batch);
        return sentences.size() * 1e9 / (System.nanoTime() - begin);
    }
}
