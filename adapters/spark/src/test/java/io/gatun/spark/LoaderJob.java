package io.gatun.spark;

import io.gatun.bindings.NativeLibrary;
import io.gatun.example.MiniLm;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.sql.SparkSession;

/** An application whose classes and Gatun's are those of a class loader: the vectors of some sentences. */
public final class LoaderJob implements Callable<List<float[]>> {
    private static final AtomicInteger OPENED = new AtomicInteger();

    @Override
    public List<float[]> call() throws IOException {
        try (SparkSession spark = LocalSpark.start("local[2]", 1)) {
            EmbeddingJob job = EmbeddingJob.of(() -> {
                OPENED.incrementAndGet();
                return MiniLm.load()::embed;
            });
            return LocalSpark.embeddings(job.withBatch(4)
                    .run(LocalSpark.texts(spark, LocalSpark.sentences(24), 4), "text", "embedding")
                    .collectAsList());
        }
    }

    /** Where the native library is from, and how often the model was opened. */
    @Override
    public String toString() {
        return NativeLibrary.loaded() + ", " + OPENED;
    }
}
