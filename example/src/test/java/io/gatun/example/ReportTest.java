package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.example.Report.Row;
import java.util.List;
import org.junit.jupiter.api.Test;

class ReportTest {
    private static Row row(double mean, double worst, double single, double batched) {
        Contender contender = new Contender("a model", 23_450_000, sentences -> new float[0][]);
        return new Row(
                contender,
                new Accuracy(mean, worst, 0.925),
                new Accuracy(0.9, 0.8, 1),
                new Accuracy(0.99, 0.8, 1),
                new Speed(around(single), around(batched)));
    }

    private static Speed.Rate around(double median) {
        return new Speed.Rate(median, median - 10, median + 20);
    }

    @Test
    void lastLineIsWhatScriptsExpect() {
        assertEquals(
                "demo: int8_cos=0.9963 int4g32_cos=0.9734 sentences_per_s=1682 ort_int8=515 ratio=3.26",
                Report.lastLine(
                        row(0.9976, 0.99634, 400, 1682.4), row(0.97341, 0.96, 300, 600), row(0.99, 0.98, 624, 515)));
    }

    @Test
    void lastLineOfTheSparseDemo() {
        assertEquals(
                "demo --sparse: f32_cos=0.9012 armor_cos=0.9345 int8_cos=0.8999 int8_same=92.5% sentences_per_s=1999"
                        + " dense_int8=1682 ratio=1.18",
                SparseDemo.lastLine(
                        row(0.90129, 0.7, 1, 1),
                        row(0.93459, 0.8, 1, 1),
                        row(0.89999, 0.6, 1, 1999),
                        row(0.9976, 0.99, 1, 1682)));
    }

    @Test
    void figuresWithABoundAreRoundedDown() {
        assertEquals(
                "demo: int8_cos=0.9949 int4g32_cos=0.9699 sentences_per_s=200 ort_int8=200 ratio=0.99",
                Report.lastLine(row(1, 0.99496, 1, 199.6), row(0.96999, 0.9, 1, 1), row(1, 1, 1, 200)));
        assertEquals(
                "1.0000",
                Report.table(List.of(row(1, 0.5, 1, 1))).lines().toList().get(2).split(" +")[3]);
    }

    @Test
    void tableShowsEveryFigureOnNarrowLines() {
        List<String> lines =
                Report.table(List.of(row(0.9976, 0.99638, 458, 1682))).lines().toList();
        assertEquals(3, lines.size());
        assertEquals(
                "a model 23.5 0.9976 0.9963 0.9000 0.8000 92.5 % 458 448..478 1682 1672..1702",
                lines.get(2).replaceAll(" +", " "));
        lines.forEach(line -> assertTrue(line.length() <= 110, line));
    }

    @Test
    void bothInt8ModelsAreComparedOnAllSentences() {
        assertEquals(
                "cosine to fp32 on all 210: a model mean 0.9900, worst 0.8000; a model mean 0.9900, worst 0.8000",
                Report.allSentences(210, row(0, 0, 1, 1), row(0, 0, 1, 1)).strip());
    }

    @Test
    void rateIsTheMedianWithItsRange() {
        assertEquals(new Speed.Rate(3, 1, 9), Speed.Rate.of(new double[] {9, 1, 3}));
        assertEquals(new Speed.Rate(2.5, 1, 9), Speed.Rate.of(new double[] {9, 1, 3, 2}));
    }

    @Test
    void accuracyCountsNeighboursThatChange() {
        float[][] reference = {{1, 0}, {0.9f, 0.1f}, {0, 1}, {0.1f, 0.9f}};
        float[][] turned = {{1, 0}, {0.9f, 0.1f}, {0, 1}, {0.6f, 0.4f}};
        assertEquals(1, Accuracy.of(reference, reference).sameNeighbour());
        Accuracy changed = Accuracy.of(reference, turned);
        assertEquals(Vectors.cosine(reference[3], turned[3]), changed.worst(), 1e-12);
        assertEquals(0.75, changed.sameNeighbour());
    }

    @Test
    void searchPutsTheNearestFirst() {
        float[][] embeddings = {{0, 1}, {1, 0}, {0.7f, 0.7f}};
        Contender contender = new Contender("a model", 0, sentences -> new float[][] {{1, 0.1f}});
        Search search = Search.of(contender, new int[] {101, 102}, embeddings);
        assertEquals(
                List.of(1, 2, 0),
                search.hits().stream().map(Search.Hit::sentence).toList());
        String text = Report.search("why?", List.of("zero", "one", "two"), search, search);
        assertEquals(
                List.of("\"why?\"", "a model"),
                text.lines()
                        .limit(2)
                        .map(line -> line.strip().split(" {2,}")[0])
                        .toList());
        assertEquals("0.995 one", text.lines().toList().get(2).strip().split(" {2,}")[0]);
    }
}
