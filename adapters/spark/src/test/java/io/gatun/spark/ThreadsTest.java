package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;

/** The threads of Gatun's kernels in this process. They never end, so what is seen after a job is the most it had. */
class ThreadsTest {
    /** Two tasks at a time multiply by weights that are worth many threads. */
    private record Products() implements TextEmbedder.Source {
        private static final int SIZE = 2048;

        @Override
        public TextEmbedder open() {
            PackedWeights weights = QMatmul.pack(Tensor.allocate(DType.F32, SIZE, SIZE), QuantSpec.int8());
            CyclicBarrier both = new CyclicBarrier(2);
            return texts -> {
                both.await(60, TimeUnit.SECONDS);
                Tensor y = Tensor.allocate(DType.F32, 64, SIZE);
                for (int i = 0; i < 10; i++) {
                    QMatmul.run(Tensor.allocate(DType.F32, 64, SIZE), weights, y);
                }
                return new float[texts.size()][1];
            };
        }
    }

    @Test
    void executorsHaveNoMoreThanTheirProcessors() throws IOException {
        EmbeddingJob job = EmbeddingJob.of(new Products());
        try (SparkSession spark = LocalSpark.start("local[2]", 1)) {
            assertEquals(0, threadsAfter(job, spark));
        }
        try (SparkSession spark = LocalSpark.start("local[4]", 2)) {
            assertEquals(1, threadsAfter(job, spark));
            assertEquals(2, threadsAfter(job.withThreads(3), spark));
        }
    }

    private static long threadsAfter(EmbeddingJob job, SparkSession spark) throws IOException {
        Gatun.setThreads(8); // what kernels would take
        job.withBatch(1)
                .run(LocalSpark.texts(spark, List.of("a", "b", "c", "d"), 2), "text", "embedding")
                .collectAsList();
        return threads();
    }

    private static long threads() throws IOException {
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            return tasks.filter(task -> name(task).startsWith("gatun-")).count();
        }
    }

    private static String name(Path task) {
        try {
            return Files.readString(task.resolve("comm"));
        } catch (IOException e) {
            return ""; // it has ended
        }
    }
}
