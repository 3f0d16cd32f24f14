package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.example.MiniLm;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.apache.spark.SparkFiles;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Jobs on local[2]: two tasks at a time in this process, which is the executor, too. */
class EmbeddingJobTest {
    private static final TextEmbedder LENGTHS = texts -> texts.stream()
            .map(text -> new float[] {text.length(), text.hashCode()})
            .toArray(float[][]::new);

    private static SparkSession spark;

    @BeforeAll
    static void start() {
        spark = LocalSpark.start("local[2]", 1);
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    private static Dataset<Row> texts(int partitions, String... texts) {
        return LocalSpark.texts(spark, List.of(texts), partitions);
    }

    private static String failure(TextEmbedder.Source source) {
        Dataset<Row> rows = EmbeddingJob.of(source).run(texts(2, "one", "two", "three"), "text", "embedding");
        return assertThrows(Exception.class, rows::collectAsList).toString();
    }

    @Test
    void embeddingsHaveTheBitsOfDirectUse() throws Exception {
        List<String> texts = new ArrayList<>(LocalSpark.sentences(40));
        texts.add(3, null);
        texts.add(17, "");
        texts.add(25, "word ".repeat(5000));
        texts.add(null);
        List<Row> rows = EmbeddingJob.of(() -> MiniLm.load()::embed)
                .withBatch(7)
                .run(LocalSpark.texts(spark, texts, 3), "text", "embedding")
                .collectAsList();
        List<float[]> embeddings = LocalSpark.embeddings(rows);
        assertEquals(texts.size(), rows.size());
        try (MiniLm direct = MiniLm.load()) {
            for (int i = 0; i < texts.size(); i++) {
                assertEquals(i, rows.get(i).getInt(0));
                assertEquals(texts.get(i), rows.get(i).getString(1));
                if (texts.get(i) == null) {
                    assertNull(embeddings.get(i), "row " + i);
                } else {
                    assertArrayEquals(direct.embed(List.of(texts.get(i)))[0], embeddings.get(i), 0, "row " + i);
                }
            }
        }
    }

    @Test
    void emptyPartitionsAndBatchesOfNullsEmbedNothing() {
        Set<Integer> sizes = ConcurrentHashMap.newKeySet();
        Sizes.SEEN.put("empty", sizes);
        Dataset<Row> none = texts(4).union(texts(8, "a", "bb", "ccc"));
        Dataset<Row> nulls = LocalSpark.texts(spark, Arrays.asList(null, null, null, "dddd", null), 1);
        List<Row> rows = EmbeddingJob.of(new Sizes("empty"))
                .withBatch(2)
                .run(none.union(nulls), "text", "embedding")
                .collectAsList();
        assertEquals(
                "[1.0, 2.0, 3.0, -, -, -, 4.0, -]",
                LocalSpark.embeddings(rows).stream()
                        .map(vector -> vector == null ? "-" : Float.toString(vector[0]))
                        .toList()
                        .toString());
        assertEquals(Set.of(1), sizes);
    }

    @Test
    void batchesAreAsLargeAsAskedFor() {
        Set<Integer> sizes = ConcurrentHashMap.newKeySet();
        Sizes.SEEN.put("batches", sizes);
        EmbeddingJob.of(new Sizes("batches"))
                .withBatch(3)
                .run(texts(1, "a", "b", "c", "d", "e", "f", "g", "h"), "text", "embedding")
                .collectAsList();
        assertEquals(Set.of(3, 2), sizes);
    }

    /** Notes how many texts come at once. */
    private record Sizes(String name) implements TextEmbedder.Source {
        static final ConcurrentHashMap<String, Set<Integer>> SEEN = new ConcurrentHashMap<>();

        @Override
        public TextEmbedder open() {
            return texts -> {
                SEEN.get(name).add(texts.size());
                return LENGTHS.embed(texts);
            };
        }
    }

    @Test
    void rowsOfOneBatchAreReadAtATime() {
        AtomicInteger read = new AtomicInteger();
        EmbedRows task = new EmbedRows(() -> LENGTHS, "rowsOfOneBatch", 0, 4, 1);
        Iterator<Row> rows = task.call(IntStream.range(0, 100)
                .mapToObj(i -> RowFactory.create("text " + read.incrementAndGet()))
                .iterator());
        for (int i = 0; i < 100; i++) {
            assertEquals("text " + (i + 1), rows.next().getString(0));
            assertEquals(Math.min(100, i / 4 * 4 + 4), read.get());
        }
        assertThrows(NoSuchElementException.class, rows::next);
    }

    @Test
    void otherColumnsStayAsTheyAre() {
        Dataset<Row> rows = spark.sql(
                "SELECT 'a.b' AS `Some.Text`, CAST(1.50 AS DECIMAL(9, 2)) AS price, array(1, 2) AS list,"
                        + " struct('x' AS inner) AS s, map('k', 1L) AS m, TIMESTAMP '2026-01-02 03:04:05' AS t, NULL AS n");
        Dataset<Row> out = EmbeddingJob.of(() -> LENGTHS).run(rows, "some.text", "vector");
        assertEquals(rows.schema(), out.drop("vector").schema());
        assertEquals("array<float>", out.schema().apply("vector").dataType().simpleString());
        assertEquals(rows.collectAsList(), out.drop("vector").collectAsList());
        assertEquals(new BigDecimal("1.50"), out.collectAsList().getFirst().getDecimal(1));
        assertEquals(3, out.selectExpr("vector[0]").first().getFloat(0));
    }

    @Test
    void tasksShareOneModel() throws Exception {
        Dataset<Row> rows = texts(2, "a", "b");
        EmbeddingJob job = EmbeddingJob.of(new Counted("shared"));
        // Each of the two tasks waits for the other inside of the model.
        job.run(rows, "text", "embedding").collectAsList();
        EmbeddingJob.of(new Counted("shared"))
                .withBatch(5)
                .run(rows, "text", "e")
                .collectAsList();
        assertEquals(1, Counted.OPENED.get());
        EmbeddingJob.of(new Counted("another")).run(rows, "text", "e").collectAsList();
        assertEquals(2, Counted.OPENED.get());
    }

    /** Takes time to open, so that tasks come meanwhile. */
    private record Counted(String name) implements TextEmbedder.Source {
        static final AtomicInteger OPENED = new AtomicInteger();

        @Override
        public TextEmbedder open() throws InterruptedException {
            OPENED.incrementAndGet();
            Thread.sleep(Duration.ofMillis(500));
            CyclicBarrier both = new CyclicBarrier(2);
            return texts -> {
                both.await(60, TimeUnit.SECONDS);
                return LENGTHS.embed(texts);
            };
        }
    }

    private static final AtomicInteger OPENED_BY_LAMBDA = new AtomicInteger();

    @Test
    void aSourceMayBeALambda() {
        TextEmbedder.Source source = () -> {
            OPENED_BY_LAMBDA.incrementAndGet();
            return LENGTHS;
        };
        for (int i = 0; i < 2; i++) {
            EmbeddingJob.of(source)
                    .run(texts(6, "a", "b", "c", "d", "e", "f"), "text", "e")
                    .collectAsList();
        }
        assertEquals(1, OPENED_BY_LAMBDA.get());
    }

    /** A model in a file that every executor is given. */
    private record InFile(String file) implements TextEmbedder.Source {
        @Override
        public TextEmbedder open() throws IOException {
            float weight = Float.parseFloat(Files.readString(Path.of(SparkFiles.get(file))));
            return texts -> texts.stream()
                    .map(text -> new float[] {weight * text.length()})
                    .toArray(float[][]::new);
        }
    }

    @Test
    void aModelMayLieInAFileOfTheJob(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("weights"), "0.25");
        spark.sparkContext().addFile(file.toString());
        List<Row> rows = EmbeddingJob.of(new InFile("weights"))
                .run(texts(1, "abc"), "text", "embedding")
                .collectAsList();
        assertArrayEquals(new float[] {0.75f}, LocalSpark.embeddings(rows).getFirst());
    }

    private static final AtomicInteger ATTEMPTS = new AtomicInteger();

    @Test
    void aModelThatCannotBeLoadedFailsTheJobAndIsTriedAgain() {
        TextEmbedder.Source source = () -> {
            if (ATTEMPTS.incrementAndGet() == 1) {
                throw new IOException("no such file: /models/minilm");
            }
            return LENGTHS;
        };
        Dataset<Row> rows = EmbeddingJob.of(source).run(texts(1, "one"), "text", "embedding");
        String message = assertThrows(Exception.class, rows::collectAsList).toString();
        assertTrue(
                message.contains("the model cannot be loaded here; the next task tries again: java.io.IOException: "
                        + "no such file: /models/minilm"),
                message);
        assertEquals(3, LocalSpark.embeddings(rows.collectAsList()).getFirst()[0]);
        assertEquals(2, ATTEMPTS.get());
    }

    @Test
    void whatAModelThrowsReachesTheDriver() {
        String thrown = failure(() -> texts -> {
            throw new IOException("the device is gone");
        });
        assertTrue(thrown.contains("texts of partition ") && thrown.contains("the device is gone"), thrown);
        String linked = failure(() -> {
            throw new UnsatisfiedLinkError("no libgatun");
        });
        assertTrue(linked.contains("cannot be loaded here") && linked.contains("no libgatun"), linked);
        String few = failure(() -> texts -> new float[texts.size() - 1][2]);
        assertTrue(few.matches("(?s).*the model gave [01] vectors for [12] texts.*"), few);
        String none = failure(() -> texts -> new float[texts.size()][]);
        assertTrue(none.contains("texts, a null among them"), none);
        String nothing = failure(() -> null);
        assertTrue(nothing.contains("the source opened null"), nothing);
    }

    @Test
    void aTaskHoldsNamesAndNumbers() throws Exception {
        EmbedRows task = new EmbedRows(new Counted("travels"), "name", 1, 32, 2);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream stream = new ObjectOutputStream(bytes)) {
            stream.writeObject(task);
        }
        assertTrue(bytes.size() < 1000, bytes.size() + " bytes");
        try (ObjectInputStream stream = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
            assertEquals(task, stream.readObject());
        }
    }

    @Test
    void aSourceThatCannotTravelIsRefused() {
        Thread thread = Thread.currentThread();
        refused(
                "which cannot be sent to executors: java.io.NotSerializableException: java.lang.Thread",
                () -> EmbeddingJob.of(() -> texts -> new float[thread.getPriority()][]));
        assertEquals(
                "source",
                assertThrows(NullPointerException.class, () -> EmbeddingJob.of(null))
                        .getMessage());
    }

    @Test
    void badArgumentsAreRefused() {
        EmbeddingJob job = EmbeddingJob.of(() -> LENGTHS);
        refused("batch = 0; allowed: 1 or more", () -> job.withBatch(0));
        refused("threads = 0; allowed: 1..1024", () -> job.withThreads(0));
        refused("threads = 1025; allowed: 1..1024", () -> job.withThreads(1025));
        Dataset<Row> rows = texts(1, "one");
        refused(
                "textColumn = txt, which 0 columns are called; allowed: one of [id, text]",
                () -> job.run(rows, "txt", "embedding"));
        refused("textColumn = id of type int; allowed: string", () -> job.run(rows, "id", "embedding"));
        refused(
                "textColumn = text, which 2 columns are called; allowed: one of [text, TEXT]",
                () -> job.run(spark.sql("SELECT 'a' AS text, 'b' AS TEXT"), "text", "embedding"));
        refused(
                "embeddingColumn = ID; allowed: a name that no column has; there are [id, text]",
                () -> job.run(rows, "text", "ID"));
        spark.conf().set("spark.sql.caseSensitive", "true");
        try {
            assertEquals(3, job.run(rows, "text", "ID").columns().length);
            refused("textColumn = TEXT, which 0 columns are called", () -> job.run(rows, "TEXT", "embedding"));
        } finally {
            spark.conf().unset("spark.sql.caseSensitive");
        }
    }

    private static void refused(String message, Executable call) {
        String actual = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(actual.contains(message), actual);
    }
}
