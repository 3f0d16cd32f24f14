package io.gatun.example;

import ai.onnxruntime.OrtException;
import io.gatun.Gatun;
import io.gatun.onnxruntime.ModelRewriter;
import io.gatun.ops.QMatmul.Mode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Embeds sentences with all-MiniLM-L6-v2 in int8 and int4 on Gatun and compares size, accuracy and speed with ONNX
 * Runtime in the same process, as it is and with Gatun's ops in the same program. {@code --quick} times fewer rounds. {@code --train} trains a classifier instead, see {@link
 * TrainingDemo}; {@code --sparse} prunes the model, see {@link SparseDemo}.
 */
public final class Demo {
    static final String FP32_MODEL = "/all-minilm-l6-v2.onnx";
    static final String INT8_MODEL = "/all-minilm-l6-v2-q.onnx";
    // As many as contenders: each begins a round once.
    static final int ROUNDS = 8;
    static final int QUICK_ROUNDS = 3;

    private static final Mode MODE = Mode.INT8_ROW;

    private final Progress progress = new Progress();
    private final Comparison comparison;

    private Demo() throws IOException {
        progress.phase("tokenizing");
        try (Tokenizer tokenizer = Tokenizer.load()) {
            comparison = new Comparison(progress, tokenizer, Sentences.topical());
        }
    }

    public static void main(String[] arguments) throws IOException, OrtException {
        List<String> words = List.of(arguments);
        boolean both = words.containsAll(List.of("--train", "--sparse"));
        if (both || !Set.of("--train", "--sparse", "--quick").containsAll(words)) {
            System.err.println("usage: Demo [--train | --sparse] [--quick]");
            System.exit(2);
        }
        boolean quick = words.contains("--quick");
        if (words.contains("--train")) {
            TrainingDemo.run(quick);
        } else if (words.contains("--sparse")) {
            SparseDemo.run(SparseDemo.Options.of(quick));
        } else {
            new Demo().run(quick ? QUICK_ROUNDS : ROUNDS);
        }
    }

    private void run(int rounds) throws IOException, OrtException {
        int threads = Gatun.threads();
        byte[] fp32Model = Resources.read(FP32_MODEL);
        byte[] int8Model = Resources.read(INT8_MODEL);
        progress.phase("starting ONNX Runtime");
        byte[] rewritten = ModelRewriter.rewrite(fp32Model).model();
        try (Workers workers = new Workers(threads);
                OrtEncoder fp32 = new OrtEncoder(fp32Model, threads);
                OrtEncoder int8 = new OrtEncoder(int8Model, threads);
                OrtEncoder ops = new OrtEncoder(rewritten, threads)) {
            List<GatunEncoder> encoders = quantize(workers);
            List<Contender> contenders = new ArrayList<>();
            for (WeightFormat format : WeightFormat.values()) {
                GatunEncoder encoder = encoders.get(format.ordinal());
                contenders.add(new Contender("Gatun " + format.label(), encoder.bytes(), encoder));
            }
            contenders.add(new Contender("ONNX Runtime, Gatun's ops", rewritten.length, ops));
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
            encoders.add(new GatunEncoder(weights, format.in(MODE), workers));
        }
        return encoders;
    }

    private void compare(List<Contender> contenders, List<GatunEncoder> encoders, int rounds) {
        Comparison.Outcome outcome = comparison.run(contenders, rounds);
        List<Report.Row> rows = outcome.rows();
        Report.Row int8 = rows.get(WeightFormat.INT8.ordinal());
        Report.Row ortInt8 = rows.get(contenders.size() - 2);
        int int4 = WeightFormat.INT4_G32_ZERO_POINT.ordinal();
        System.out.println(Report.header(comparison.topical(), rounds));
        System.out.println(Report.table(rows));
        System.out.println(Report.allSentences(comparison.size(), int8, ortInt8));
        System.out.println(
                Report.kernels(encoders, MODE, comparison.middleTokens(Speed.BATCH), comparison.middleTokens(1)));
        comparison.searches(outcome, int4).forEach(System.out::println);
        System.out.println(Report.lastLine(int8, rows.get(int4), ortInt8));
    }
}
