package io.gatun.spark;

import com.sun.management.OperatingSystemMXBean;
import io.gatun.Gatun;
import io.gatun.example.MiniLm;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Sentences a second by all-MiniLM-L6-v2 in int8, tokenizing among it: in Spark, and by the same model directly; by the
 * clock, and by the time of processors that this process had, which tells what Spark adds where others use them, too.
 */
final class Speed {
    private static final int ROUNDS = 7;
    private static final int COPIES = 10;
    private static final int BATCH = 32;
    private static final int PARTITIONS = 16;

    private static MiniLm model;

    private Speed() {}

    private record Rate(double clock, double processors) {
        static Rate of(int sentences, Runnable work) {
            OperatingSystemMXBean process = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
            long begin = System.nanoTime();
            long before = process.getProcessCpuTime();
            work.run();
            double seconds = (System.nanoTime() - begin) / 1e9;
            return new Rate(sentences / seconds, sentences * 1e9 / (process.getProcessCpuTime() - before));
        }
    }

    public static void main(String[] arguments) throws Exception {
        model = MiniLm.load();
        List<String> texts = new ArrayList<>();
        Collections.nCopies(COPIES, LocalSpark.sentences(200)).forEach(texts::addAll);
        Map<String, List<Rate>> rates = new LinkedHashMap<>();
        for (int round = 0; round <= ROUNDS; round++) {
            if (round == 1) {
                rates.clear(); // what came before was to warm up
            }
            add(rates, "directly, 1 thread", direct(texts, 1));
            add(rates, "directly, 2 threads", direct(texts, 2));
            add(rates, "local[1]", spark(texts, "local[1]"));
            add(rates, "local[2]", spark(texts, "local[2]"));
        }
        System.out.println("sentences a second by the clock, of processors' time; median (min..max)");
        rates.forEach((name, all) -> System.out.printf(
                "%-20s %s  %s%n",
                name,
                summary(all.stream().mapToDouble(Rate::clock).sorted().toArray()),
                summary(all.stream().mapToDouble(Rate::processors).sorted().toArray())));
    }

    private static void add(Map<String, List<Rate>> rates, String name, Rate rate) {
        rates.computeIfAbsent(name, absent -> new ArrayList<>()).add(rate);
    }

    private static String summary(double[] sorted) {
        return "%.0f (%.0f..%.0f)".formatted(sorted[sorted.length / 2], sorted[0], sorted[sorted.length - 1]);
    }

    private static Rate direct(List<String> texts, int threads) {
        Gatun.setThreads(threads);
        return Rate.of(texts.size(), () -> {
            for (int first = 0; first < texts.size(); first += BATCH) {
                model.embed(texts.subList(first, Math.min(first + BATCH, texts.size())));
            }
        });
    }

    /** Of one job, the start of Spark not counted. */
    private static Rate spark(List<String> texts, String master) throws IOException {
        try (SparkSession spark = LocalSpark.start(master, 1)) {
            Dataset<Row> embedded = EmbeddingJob.of(() -> model::embed)
                    .withBatch(BATCH)
                    .run(LocalSpark.texts(spark, texts, PARTITIONS), "text", "embedding");
            return Rate.of(
                    texts.size(),
                    () -> embedded.write().format("noop").mode("overwrite").save());
        }
    }
}
