package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class BatchesTest {
    private static final List<int[]> SENTENCES =
            Stream.of(9, 2, 7, 2, 8).map(int[]::new).toList();

    @Test
    void sentencesOfLikeLengthShareABatch() {
        assertEquals(List.of(List.of(1, 3), List.of(2, 4), List.of(0)), Batches.byLength(SENTENCES, 2));
        assertEquals(List.of(), Batches.byLength(List.of(), 2));
    }

    @Test
    void paddingIsCountedAgainstTheLongestOfEachBatch() {
        assertEquals(15, Batches.tokens(List.of(2, 4), SENTENCES));
        assertEquals(1.0 / 28, Batches.padding(SENTENCES, 2), 1e-12);
        assertEquals(0, Batches.padding(SENTENCES, 1));
    }

    @Test
    void embeddingsComeBackInTheSentencesOrder() {
        List<Integer> sizes = new ArrayList<>();
        Contender contender = new Contender("lengths", 0, batch -> {
            sizes.add(batch.size());
            return batch.stream().map(ids -> new float[] {ids.length}).toArray(float[][]::new);
        });
        assertArrayEquals(new float[][] {{9}, {2}, {7}, {2}, {8}}, contender.embed(SENTENCES, 2));
        assertEquals(List.of(2, 2, 1), sizes);
    }
}
