package io.gatun.example;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** Which sentences share a batch: those of about the same length, so that padding to the longest adds little. */
final class Batches {
    private Batches() {}

    /** The indices of all sentences, {@code size} to a batch, shortest first; equally long ones keep their order. */
    static List<List<Integer>> byLength(List<int[]> sentences, int size) {
        List<Integer> order = IntStream.range(0, sentences.size())
                .boxed()
                .sorted(Comparator.comparingInt(s -> sentences.get(s).length))
                .toList();
        List<List<Integer>> batches = new ArrayList<>();
        for (int begin = 0; begin < order.size(); begin += size) {
            batches.add(order.subList(begin, Math.min(begin + size, order.size())));
        }
        return batches;
    }

    static int tokens(List<Integer> batch, List<int[]> sentences) {
        return batch.stream().mapToInt(s -> sentences.get(s).length).sum();
    }

    /** How many tokens are added, as a share, where each batch is padded to its longest sentence. */
    static double padding(List<int[]> sentences, int size) {
        int tokens = 0;
        int padded = 0;
        for (List<Integer> batch : byLength(sentences, size)) {
            tokens += tokens(batch, sentences);
            padded += batch.size() * sentences.get(batch.getLast()).length;
        }
        return (double) padded / tokens - 1;
    }
}
