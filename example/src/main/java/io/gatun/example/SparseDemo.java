package io.gatun.example;

import ai.onnxruntime.OrtException;
import io.gatun.Gatun;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.Sparsity;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Prunes every linear layer of MiniLM to 2:4 in one shot, in f32, in int8 and as ARMOR's product of three factors, and
 * compares accuracy and speed with the dense model.
 */
final class SparseDemo {
    static final Sparsity.Nm PATTERN = Sparsity.nm(2, 4);

    private static final long ARMOR_BLOCK = 64;

    /** Which of the models is which; after these, ONNX Runtime's in int8 and fp32. */
    private static final int F32 = 0;

    private static final int ARMOR = 2;
    private static final int INT8 = 3;
    private static final int DENSE_INT8 = 4;

    /**
     * How much is done.
     *
     * @param sentences to compare the models on
     * @param rounds of timing
     * @param armorRounds of ARMOR's fit
     */
    record Options(List<String> sentences, int rounds, int armorRounds) {
        /** The command line's. */
        static Options of(boolean quick) throws IOException {
            return new Options(Sentences.topical(), quick ? Demo.QUICK_ROUNDS : Demo.ROUNDS, quick ? 5 : 20);
        }
    }

    private final Progress progress = new Progress();
    private final Options options;
    private final List<ArmorLinear> fitted = new ArrayList<>();
    private final Comparison comparison;
    private final List<int[]> others;

    private SparseDemo(Options options) throws IOException {
        this.options = options;
        progress.phase("tokenizing");
        try (Tokenizer tokenizer = Tokenizer.load()) {
            comparison = new Comparison(progress, tokenizer, options.sentences);
            others = tokenizer.encode(Sentences.calibration());
        }
    }

    /** Prints the comparison. */
    static void run(Options options) throws IOException, OrtException {
        new SparseDemo(options).compare();
    }

    private void compare() throws IOException, OrtException {
        int threads = Gatun.threads();
        byte[] fp32Model = Resources.read(Demo.FP32_MODEL);
        byte[] int8Model = Resources.read(Demo.INT8_MODEL);
        progress.phase("starting ONNX Runtime");
        try (Workers workers = new Workers(threads);
                OrtEncoder fp32 = new OrtEncoder(fp32Model, threads);
                OrtEncoder int8 = new OrtEncoder(int8Model, threads)) {
            List<Contender> contenders = prune(workers);
            contenders.add(new Contender("ONNX Runtime int8", int8Model.length, int8));
            contenders.add(new Contender("ONNX Runtime fp32", fp32Model.length, fp32));
            Comparison.Outcome outcome = comparison.run(contenders, options.rounds);
            List<Report.Row> rows = outcome.rows();
            System.out.println(Report.header(comparison.topical(), options.rounds));
            System.out.println(explanation());
            System.out.println(Report.table(rows));
            System.out.println(speeds(rows));
            System.out.println(kernels(contenders));
            comparison.searches(outcome, INT8).forEach(System.out::println);
            System.out.println(lastLine(rows.get(F32), rows.get(ARMOR), rows.get(INT8), rows.get(DENSE_INT8)));
        }
    }

    /** Ours, in the order of the constants above. */
    private List<Contender> prune(Workers workers) throws IOException {
        progress.phase("reading the fp32 weights");
        MiniLmWeights weights = MiniLmWeights.load();
        progress.phase("calibrating with " + others.size() + " other sentences");
        Calibration calibration = Calibration.of(weights, others, workers);
        progress.phase("pruning");
        List<Contender> contenders = new ArrayList<>();
        add(contenders, "Gatun f32 2:4", weights, workers, f32(calibration));
        add(
                contenders,
                "Gatun f32 2:4, by magnitude",
                weights,
                workers,
                (linear, activation) -> SparseLinear.prune(linear, Score.magnitude(), PATTERN, activation));
        progress.step("fitting ARMOR's factors");
        add(contenders, "Gatun f32 2:4, ARMOR", weights, workers, (linear, activation) -> {
            fitted.add(ArmorLinear.fit(
                    linear, calibration.inputs(linear).norms(), PATTERN, ARMOR_BLOCK, options.armorRounds, activation));
            return fitted.getLast();
        });
        add(contenders, "Gatun int8 2:4", weights, workers, int8(calibration));
        add(contenders, "Gatun int8", weights, workers, WeightFormat.INT8.in(Mode.INT8_ROW));
        return contenders;
    }

    private static void add(
            List<Contender> contenders, String name, MiniLmWeights weights, Workers workers, LinearFormat format) {
        GatunEncoder encoder = new GatunEncoder(weights, format, workers);
        contenders.add(new Contender(name, encoder.bytes(), encoder));
    }

    /** 2:4 in f32, by Wanda's scores. */
    static LinearFormat f32(Calibration calibration) {
        return (linear, activation) ->
                SparseLinear.prune(linear, Score.wanda(calibration.inputs(linear)), PATTERN, activation);
    }

    /** The same weights in int8. */
    static LinearFormat int8(Calibration calibration) {
        return (linear, activation) ->
                SparseLinear.pruneInt8(linear, Score.wanda(calibration.inputs(linear)), PATTERN, activation);
    }

    private String explanation() {
        double first = fitted.stream().mapToDouble(ArmorLinear::firstLoss).sum();
        double last = fitted.stream().mapToDouble(ArmorLinear::lastLoss).sum();
        return format("""
                2:4 keeps two of every four weights of all linear layers, those with the largest |weight| x norm of its input
                (Wanda) over %d other sentences. That is one shot, nothing is retrained, and so it costs accuracy: models that
                are to be 2:4 are fine-tuned with the mask. Embeddings and LayerNorm stay dense. Gatun's models hold word
                embeddings in int8, those in f32, too; they are half of ONNX Runtime's fp32 model.
                ARMOR: block-diagonal x 2:4 x block-diagonal, blocks of %d; %d rounds of its fit leave %.1f %% of the weights'
                squared error, each input weighted as above.
                same nearest: sentences whose nearest other sentence is the one that the fp32 model finds
                """, others.size(), ARMOR_BLOCK, options.armorRounds, 100 * last / first);
    }

    /** Sparse models beside the dense ones of their precision. */
    static String speeds(List<Report.Row> rows) {
        return format("speed over dense models, one sentence at a time and by %d; below 1 is slower%n", Speed.BATCH)
                + speed(rows.get(F32), rows.getLast())
                + speed(rows.get(ARMOR), rows.getLast())
                + speed(rows.get(INT8), rows.get(DENSE_INT8));
    }

    private static String speed(Report.Row sparse, Report.Row dense) {
        return format(
                "  %-22s%5s%7s  %s%n",
                sparse.contender().name(),
                ratio(sparse.speed().single(), dense.speed().single()),
                ratio(sparse.speed().batched(), dense.speed().batched()),
                dense.contender().name());
    }

    private static String ratio(Speed.Rate sparse, Speed.Rate dense) {
        return Report.floor(sparse.median() / dense.median(), 2);
    }

    private String kernels(List<Contender> contenders) {
        int tokens = comparison.middleTokens(Speed.BATCH);
        int single = comparison.middleTokens(1);
        StringBuilder text = new StringBuilder(
                format("kernels for a batch of %d tokens and for a sentence of %d%n", tokens, single));
        for (int model : new int[] {F32, INT8, DENSE_INT8}) {
            GatunEncoder encoder = (GatunEncoder) contenders.get(model).encoder();
            text.append(format(
                    "  %s%n%s",
                    contenders.get(model).name(),
                    (encoder.explain(tokens, Speed.BATCH).linear().strip()
                                    + '\n'
                                    + encoder.explain(single, 1).linear())
                            .indent(4)));
        }
        return text.toString();
    }

    /** For scripts. Figures that have to reach a bound are rounded down. */
    static String lastLine(Report.Row f32, Report.Row armor, Report.Row int8, Report.Row denseInt8) {
        Speed.Rate sparse = int8.speed().batched();
        Speed.Rate dense = denseInt8.speed().batched();
        return format(
                "demo --sparse: f32_cos=%s armor_cos=%s int8_cos=%s int8_same=%.1f%% sentences_per_s=%.0f dense_int8=%.0f"
                        + " ratio=%s",
                Report.floor(f32.topical().mean(), 4),
                Report.floor(armor.topical().mean(), 4),
                Report.floor(int8.topical().mean(), 4),
                100 * int8.topical().sameNeighbour(),
                sparse.median(),
                dense.median(),
                ratio(sparse, dense));
    }

    private static String format(String pattern, Object... arguments) {
        return String.format(Locale.ROOT, pattern, arguments);
    }
}
