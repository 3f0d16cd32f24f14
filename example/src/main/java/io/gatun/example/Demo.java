package io.gatun.example;

import ai.onnxruntime.OrtException;
import io.gatun.Gatun;
import io.gatun.ops.QMatmul.Mode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Embeds sentences with all-MiniLM-L6-v2 in int8 and int4 on Gatun and compares size, accuracy and speed with ONNX
 * Runtime in the same process. {@code --quick} times fewer rounds. {@code --train} trains a classifier instead, see {@link
 * TrainingDemo}.
 */
public final class Demo {
    private static final String FP32_MODEL = "/all-minilm-l6-v2.onnx";
    private static final String INT8_MODEL = "/all-minilm-l6-v2-q.onnx";
    private static final Mode MODE = Mode.INT8_ROW;
    // As many as contenders: each begins a round once.
    private static final int ROUNDS = 7;
    private static final int QUICK_ROUNDS = 3;
    private static final List<String> QUERIES =
            List.of("How is a ship raised to a higher level of water?", "music that is made up on the spot");

    private final Progress progress = new Progress();
    private final List<String> sentences = Sentences.topical();
    private final List<int[]> topical;
    private final List<int[]> all;
    private final List<int[]> queries;

    private Demo() throws IOException {
        progress.phase("tokenizing");
        try (Tokenizer tokenizer = Tokenizer.load()) {
            topical = tokenizer.encode(sentences);
            all = new ArrayList<>(topical);
            all.addAll(tokenizer.encode(Sentences.brief()));
            queries = tokenizer.encode(QUERIES);
        }
    }

    public static void main(String[] arguments) throws IOException, OrtException {
        List<String> words = List.of(arguments);
        if (!Set.of("--train", "--quick").containsAll(words)) {
            System.err.println("usage: Demo [--train] [--quick]");
            System.exit(2);
        }
        boolean quick = words.contains("--quick");
        if (words.contains("--train")) {
            TrainingDemo.run(quick);
        } else {
            new Demo().run(quick ? QUICK_ROUNDS : ROUNDS);
        }
    }

    private void run(int rounds) throws IOException, OrtException {
        int threads = Gatun.threads();
        byte[] fp32Model = Resources.read(FP32_MODEL);
        byte[] int8Model = Resources.read(INT8_MODEL);
        progress.phase("starting ONNX Runtime");
        try (Workers workers = new Workers(threads);
                OrtEncoder fp32 = new OrtEncoder(fp32Model, threads);
                OrtEncoder int8 = new OrtEncoder(int8Model, threads)) {
            List<GatunEncoder> encoders = quantize(workers);
            List<Contender> contenders = new ArrayList<>();
            for (WeightFormat format : WeightFormat.values()) {
                GatunEncoder encoder = encoders.get(format.ordinal());
                contenders.add(new Contender("Gatun " + format.label(), encoder.bytes(), encoder));
            }
            contenders.add(new Contender("ONNX Runtime int8", int8Model.length, int8));
            contenders.add(new Contender("ONNX Runtime fp32", fp32Model.length, fp32));
            compare(contenders, encoders, rounds);
        }
    }

    private List<GatunEncoder> quantize(Workers workers) throws IOException {
        progress.phase("reading the fp32 weights");
        MiniLmWeights weights = MiniLmWeights.load();
        progress.phase("quantizing");
        List<GatunEncoder> encoders = new ArrayList<>();
        for (WeightFormat format : WeightFormat.values()) {
            progress.step(format.label());
            encoders.add(new GatunEncoder(weights, format, MODE, workers));
        }
        return encoders;
    }

    private void compare(List<Contender> contenders, List<GatunEncoder> encoders, int rounds) {
        Contender reference = contenders.getLast();
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
        Report.Row int8 = rows.get(WeightFormat.INT8.ordinal());
        Report.Row ortInt8 = rows.get(contenders.size() - 2);
        int int4 = WeightFormat.INT4_G32_ZERO_POINT.ordinal();
        System.out.println(Report.header(topical, rounds));
        System.out.println(Report.table(rows));
        System.out.println(Report.allSentences(all.size(), int8, ortInt8));
        System.out.println(Report.kernels(encoders, MODE, middleTokens(Speed.BATCH), middleTokens(1)));
        for (int q = 0; q < queries.size(); q++) {
            System.out.println(Report.search(
                    QUERIES.get(q),
                    sentences,
                    Search.of(reference, queries.get(q), topicalPart(embedded.getLast())),
                    Search.of(contenders.get(int4), queries.get(q), topicalPart(embedded.get(int4)))));
        }
        System.out.println(Report.lastLine(int8, rows.get(int4), ortInt8));
    }

    private static Accuracy accuracy(List<float[][]> embedded, int contender, int begin, int end) {
        return Accuracy.of(
                Arrays.copyOfRange(embedded.getLast(), begin, end),
                Arrays.copyOfRange(embedded.get(contender), begin, end));
    }

    private float[][] topicalPart(float[][] embeddings) {
        return Arrays.copyOf(embeddings, topical.size());
    }

    /** How many tokens the middle one of the timed batches has. */
    private int middleTokens(int batchSize) {
        List<List<Integer>> batches = Batches.byLength(topical, batchSize);
        return Batches.tokens(batches.get(batches.size() / 2), topical);
    }
}
