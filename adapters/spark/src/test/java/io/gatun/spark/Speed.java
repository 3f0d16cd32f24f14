package io.gatun.spark;

import io.gatun.Gatun;
import io.gatun.example.MiniLm;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.SparkSession;

/** Sentences a second by all-MiniLM-L6-v2 in int8, tokenizing among it: in Spark, and by the same model directly. */
final class Speed {
    private static final int ROUNDS = 5;
    private static final int COPIES = 10;
    private static final int BATCH = 32;
    private static final int PARTITIONS = 16;

    private static MiniLm model;

    private Speed() {}

    public static void main(String[] arguments) throws Exception {
        model = MiniLm.load();
        List<String> texts = new ArrayList<>();
        Collections.nCopies(COPIES, LocalSpark.sentences(200)).forEach(texts::addAll);
        Map<String, double[]> rates = new LinkedHashMap<>();
        // The first round is not counted.
        for (int round = 0; round <= ROUNDS; round++) {
            rates.computeIfAbsent("directly, 1 thread", name -> new double[ROUNDS + 1])[round] = direct(texts, 1);
            rates.computeIfAbsent("directly, 2 threads", name -> new double[ROUNDS + 1])[round] = direct(texts, 2);
            rates.computeIfAbsent("local[1]", name -> new double[ROUNDS + 1])[round] = spark(texts, "local[1]");
            rates.computeIfAbsent("local[2]", name -> new double[ROUNDS + 1])[round] = spark(texts, "local[2]");
        }
        System.out.println(model.bytes() + " bytes of weights; sentences a second, median (min..max):");
        rates.forEach((name, all) -> {
            double[] counted = Arrays.copyOfRange(all, 1, all.length);
            Arrays.sort(counted);
            System.out.printf("%-20s %.0f (%.0f..%.0f)%n", name, counted[ROUNDS / 2], counted[0], counted[ROUNDS - 1]);
        });
    }

    private static double direct(List<String> texts, int threads) {
        Gatun.setThreads(threads);
        long begin = System.nanoTime();
        for (int first = 0; first < texts.size(); first += BATCH) {
            model.embed(texts.subList(first, Math.min(first + BATCH, texts.size())));
        }
        return texts.size() * 1e9 / (System.nanoTime() - begin);
    }

    /** Of one job, the start of Spark not counted. */
    private static double spark(List<String> texts, String master) throws IOException {
        try (SparkSession spark = LocalSpark.start(master, 1)) {
            var embedded = EmbeddingJob.of(() -> model::embed)
                    .withBatch(BATCH)
                    .run(LocalSpark.texts(spark, texts, PARTITIONS), "text", "embedding");
            long begin = System.nanoTime();
            embedded.write().format("noop").mode("overwrite").save();
            return texts.size() * 1e9 / (System.nanoTime() - begin);
        }
    }
}
