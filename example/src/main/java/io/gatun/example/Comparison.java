package io.gatun.example;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Compares models on sentences: how close they are to the last one of them, and how fast. */
final class Comparison {
    private static final List<String> QUERIES =
            List.of("How is a ship raised to a higher level of water?", "music that is made up on the spot");

    private final Progress progress;
    private final List<String> sentences;
    private final List<int[]> topical;
    private final List<int[]> all;
    private final List<int[]> queries;

    /** On these sentences, which are timed, too, and on the brief texts. */
    Comparison(Progress progress, Tokenizer tokenizer, List<String> sentences) throws IOException {
        this.progress = progress;
        this.sentences = sentences;
        topical = tokenizer.encode(sentences);
        all = new ArrayList<>(topical);
        all.addAll(tokenizer.encode(Sentences.brief()));
        queries = tokenizer.encode(QUERIES);
    }

    /** The sentences that are timed. */
    List<int[]> topical() {
        return topical;
    }

    /** How many texts are embedded. */
    int size() {
        return all.size();
    }

    /**
     * What came of it, in the order of the models.
     *
     * @param rows with accuracy and speed
     * @param embeddings of all texts
     */
    record Outcome(List<Report.Row> rows, List<float[][]> embeddings) {}

    /** Embeds and times, in as many rounds. */
    Outcome run(List<Contender> contenders, int rounds) {
        List<float[][]> embedded = new ArrayList<>();
        progress.phase("embedding");
        for (Contender contender : contenders) {
            progress.step(contender.name());
            // One sentence at a time, so that padding has no influence on anyone's accuracy.
            embedded.add(contender.embed(all, 1));
        }
        List<Speed> speeds = Speed.measure(contenders, topical, rounds, progress);
        progress.done();

        List<Report.Row> rows = new ArrayList<>();
        for (int c = 0; c < contenders.size(); c++) {
            rows.add(new Report.Row(
                    contenders.get(c),
                    accuracy(embedded, c, 0, topical.size()),
                    accuracy(embedded, c, topical.size(), all.size()),
                    accuracy(embedded, c, 0, all.size()),
                    speeds.get(c)));
        }
        return new Outcome(rows, embedded);
    }

    private static Accuracy accuracy(List<float[][]> embedded, int contender, int begin, int end) {
        return Accuracy.of(
                Arrays.copyOfRange(embedded.getLast(), begin, end),
                Arrays.copyOfRange(embedded.get(contender), begin, end));
    }

    /** What the last model and another one find for each query. */
    List<String> searches(Outcome outcome, int other) {
        List<String> texts = new ArrayList<>();
        for (int q = 0; q < queries.size(); q++) {
            texts.add(Report.search(
                    QUERIES.get(q),
                    sentences,
                    search(outcome, outcome.rows.size() - 1, queries.get(q)),
                    search(outcome, other, queries.get(q))));
        }
        return texts;
    }

    private Search search(Outcome outcome, int model, int[] query) {
        return Search.of(
                outcome.rows.get(model).contender(),
                query,
                Arrays.copyOf(outcome.embeddings.get(model), topical.size()));
    }

    /** How many tokens the middle one of the timed batches has. */
    int middleTokens(int batchSize) {
        List<List<Integer>> batches = Batches.byLength(topical, batchSize);
        return Batches.tokens(batches.get(batches.size() / 2), topical);
    }
}
