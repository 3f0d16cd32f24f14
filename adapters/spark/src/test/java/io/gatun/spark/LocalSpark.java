package io.gatun.spark;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;

/** Spark in this process, and texts for it. */
final class LocalSpark {
    private LocalSpark() {}

    static SparkSession start(String master, int taskCpus) {
        return SparkSession.builder()
                .master(master)
                .config("spark.task.cpus", taskCpus)
                .config("spark.ui.enabled", false)
                .config("spark.driver.bindAddress", "127.0.0.1")
                .config("spark.driver.host", "127.0.0.1")
                .getOrCreate();
    }

    /** Columns {@code id}, from 0 on, and {@code text}, in that many partitions; in their order. */
    static Dataset<Row> texts(SparkSession spark, List<String> texts, int partitions) {
        List<Row> rows = new ArrayList<>();
        for (String text : texts) {
            rows.add(RowFactory.create(rows.size(), text));
        }
        return spark.createDataFrame(
                JavaSparkContext.fromSparkContext(spark.sparkContext()).parallelize(rows, partitions),
                StructType.fromDDL("id INT, text STRING"));
    }

    /** Sentences of the demo. */
    static List<String> sentences(int count) {
        try (InputStream stream = LocalSpark.class.getResourceAsStream("/io/gatun/example/sentences.txt")) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.isBlank() && !line.startsWith("#"))
                    .limit(count)
                    .toList();
        } catch (IOException e) {
            throw new IllegalStateException("sentences.txt cannot be read", e);
        }
    }

    /** The last column's vectors, or null for rows that have none. */
    static List<float[]> embeddings(List<Row> rows) {
        List<float[]> vectors = new ArrayList<>();
        for (Row row : rows) {
            List<Float> values = row.isNullAt(row.size() - 1) ? null : row.getList(row.size() - 1);
            float[] vector = values == null ? null : new float[values.size()];
            for (int i = 0; values != null && i < vector.length; i++) {
                vector[i] = values.get(i);
            }
            vectors.add(vector);
        }
        return vectors;
    }
}
