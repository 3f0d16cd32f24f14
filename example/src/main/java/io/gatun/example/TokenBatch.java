package io.gatun.example;

import java.util.List;

/**
 * A ragged batch: the tokens of all sentences one after another, without padding. Sentence {@code s} is
 * {@code [starts[s], starts[s + 1])}.
 */
record TokenBatch(int[] ids, int[] positions, int[] starts) {
    static TokenBatch of(List<int[]> sentences) {
        int[] starts = new int[sentences.size() + 1];
        for (int s = 0; s < sentences.size(); s++) {
            int length = sentences.get(s).length;
            if (length == 0 || length > MiniLmWeights.MAX_TOKENS) {
                throw new IllegalArgumentException("sentence " + s + " has " + length + " tokens; 1.."
                        + MiniLmWeights.MAX_TOKENS + " are allowed");
            }
            starts[s + 1] = starts[s] + length;
        }
        int[] ids = new int[starts[sentences.size()]];
        int[] positions = new int[ids.length];
        for (int s = 0; s < sentences.size(); s++) {
            int[] sentence = sentences.get(s);
            for (int t = 0; t < sentence.length; t++) {
                ids[starts[s] + t] = sentence[t];
                positions[starts[s] + t] = t;
            }
        }
        return new TokenBatch(ids, positions, starts);
    }

    int tokens() {
        return ids.length;
    }

    int sentences() {
        return starts.length - 1;
    }

    int length(int sentence) {
        return starts[sentence + 1] - starts[sentence];
    }
}
