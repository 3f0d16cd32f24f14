package io.gatun.spark;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructType;

/**
 * Embeds the texts of a column in batches, with one model for all tasks of an executor. A job is immutable and
 * may run on any number of Datasets.
 */
public final class EmbeddingJob {
    private static final int DEFAULT_BATCH = 32;
    private static final int MAX_THREADS = 1024;

    private final TextEmbedder.Source source;
    private final String model;
    private final int batch;
    private final int threads;

    private EmbeddingJob(TextEmbedder.Source source, String model, int batch, int threads) {
        this.source = source;
        this.model = model;
        this.batch = batch;
        this.threads = threads;
    }

    /**
     * A job with batches of 32 texts and as many threads as {@code spark.task.cpus} says.
     *
     * @throws IllegalArgumentException if the source cannot be serialized
     */
    public static EmbeddingJob of(TextEmbedder.Source source) {
        Objects.requireNonNull(source, "source");
        return new EmbeddingJob(source, digest(source), DEFAULT_BATCH, EmbedRows.TASK_CPUS);
    }

    /**
     * With batches of up to that many texts. Larger ones need more memory, and reach full speed with shorter texts.
     *
     * @throws IllegalArgumentException unless batch is 1 or more
     */
    public EmbeddingJob withBatch(int batch) {
        if (batch < 1) {
            throw new IllegalArgumentException("batch = " + batch + "; allowed: 1 or more");
        }
        return new EmbeddingJob(source, model, batch, threads);
    }

    /**
     * With at most that many threads in each call of a kernel, the task's own among them. Beside their tasks, an
     * executor's kernels have threads - 1 threads altogether. The number is set by {@link io.gatun.Gatun#setThreads} when a
     * task begins and stays, so where jobs share an executor, or a local master its driver, it is that of the task that began
     * last.
     *
     * @throws IllegalArgumentException unless threads is in 1..1024
     */
    public EmbeddingJob withThreads(int threads) {
        if (threads < 1 || threads > MAX_THREADS) {
            throw new IllegalArgumentException("threads = " + threads + "; allowed: 1.." + MAX_THREADS);
        }
        return new EmbeddingJob(source, model, batch, threads);
    }

    /**
     * The rows, in their order and partitions, with one column more: {@code array<float>}, null where the text is null.
     * As every transformation it runs when its result is asked for.
     *
     * @param textColumn of strings; found as Spark finds columns, so by {@code spark.sql.caseSensitive}
     * @param embeddingColumn the name of the new column
     * @throws IllegalArgumentException if there is no such text column, or more than one, or it holds no strings, or if
     *     there is a column of the new one's name
     * @throws UnsupportedOperationException if this is a version of Spark that Gatun does not support
     */
    public Dataset<Row> run(Dataset<Row> rows, String textColumn, String embeddingColumn) {
        SparkVersion.check(rows.sparkSession().version());
        boolean caseSensitive = Boolean.parseBoolean(rows.sparkSession().conf().get("spark.sql.caseSensitive"));
        StructType schema = rows.schema();
        int text = textColumn(schema, textColumn, caseSensitive);
        if (!columns(schema, embeddingColumn, caseSensitive).isEmpty()) {
            throw new IllegalArgumentException("embeddingColumn = " + embeddingColumn
                    + "; allowed: a name that no column has; there are " + List.of(schema.fieldNames()));
        }
        DataType embedding = DataTypes.createArrayType(DataTypes.FloatType, false);
        return rows.mapPartitions(
                new EmbedRows(source, model, text, batch, threads),
                Encoders.row(schema.add(embeddingColumn, embedding, true)));
    }

    private static int textColumn(StructType schema, String name, boolean caseSensitive) {
        List<Integer> found = columns(schema, name, caseSensitive);
        if (found.size() != 1) {
            throw new IllegalArgumentException("textColumn = " + name + ", which " + found.size()
                    + " columns are called; allowed: one of " + List.of(schema.fieldNames()));
        }
        DataType type = schema.fields()[found.getFirst()].dataType();
        if (!(type instanceof StringType)) {
            throw new IllegalArgumentException(
                    "textColumn = " + name + " of type " + type.simpleString() + "; allowed: string");
        }
        return found.getFirst();
    }

    private static List<Integer> columns(StructType schema, String name, boolean caseSensitive) {
        String[] names = schema.fieldNames();
        return IntStream.range(0, names.length)
                .filter(i -> caseSensitive ? names[i].equals(name) : names[i].equalsIgnoreCase(name))
                .boxed()
                .toList();
    }

    /** A name for the model, by which tasks know that they have it. */
    private static String digest(TextEmbedder.Source source) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream stream = new ObjectOutputStream(bytes)) {
            stream.writeObject(source);
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.toByteArray()));
        } catch (IOException e) {
            throw new IllegalArgumentException("source = " + source + ", which cannot be sent to executors: " + e, e);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every JDK has SHA-256", e);
        }
    }
}
