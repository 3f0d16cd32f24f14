package io.gatun.example;

import io.gatun.Gatun;
import io.gatun.ops.QMatmul.Mode;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What the demo prints, in plain ASCII. */
final class Report {
    private static final int TEXT_WIDTH = 52;

    private Report() {}

    /** What is known of one contender; {@code all} is over the topical and the brief sentences. */
    record Row(Contender contender, Accuracy topical, Accuracy brief, Accuracy all, Speed speed) {}

    static String header(List<int[]> sentences, int rounds) {
        return format(
                """
                all-MiniLM-L6-v2 on Gatun %s beside ONNX Runtime %s; CPU tier %s, %d threads, Java %d
                %d sentences of %d..%d tokens, [CLS] and [SEP] not counted; cosines are rounded down
                timed: from token ids to embeddings, without tokenizing; median and min..max of %d rounds
                batches hold sentences of like length for all: ONNX Runtime pads them (%.1f %% more tokens), Gatun need not
                """,
                Gatun.version(),
                OrtEncoder.version(),
                Gatun.tier(),
                Gatun.threads(),
                Runtime.version().feature(),
                sentences.size(),
                sentences.stream().mapToInt(Tokenizer::contentLength).min().orElse(0),
                sentences.stream().mapToInt(Tokenizer::contentLength).max().orElse(0),
                rounds,
                100 * Batches.padding(sentences, Speed.BATCH));
    }

    static String table(List<Row> rows) {
        StringBuilder table = new StringBuilder();
        table.append(format(
                "%-29s%6s%16s%16s%9s%34s%n",
                "", "size", "cosine to fp32", "10 short ones", "same", "sentences/s, median min..max"));
        table.append(format(
                "%-29s%6s%8s%8s%8s%8s%9s%17s%17s%n",
                "", "MB", "mean", "worst", "mean", "worst", "nearest", "one at a time", "by " + Speed.BATCH));
        for (Row row : rows) {
            table.append(format(
                    "%-29s%6.1f%8s%8s%8s%8s%7.1f %%%17s%17s%n",
                    row.contender().name(),
                    row.contender().megabytes(),
                    floor(row.topical().mean(), 4),
                    floor(row.topical().worst(), 4),
                    floor(row.brief().mean(), 4),
                    floor(row.brief().worst(), 4),
                    100 * row.topical().sameNeighbour(),
                    rate(row.speed().single()),
                    rate(row.speed().batched())));
        }
        return table.toString();
    }

    private static String rate(Speed.Rate rate) {
        String range = format("%.0f..%.0f", rate.min(), rate.max());
        return format("%6.0f %10s", rate.median(), range);
    }

    /** The int8 models on all sentences, the short ones included. */
    static String allSentences(int count, Row int8, Row ortInt8) {
        return format("cosine to fp32 on all %d: %s; %s%n", count, meanAndWorst(int8), meanAndWorst(ortInt8));
    }

    private static String meanAndWorst(Row row) {
        return format(
                "%s mean %s, worst %s",
                row.contender().name(),
                floor(row.all().mean(), 4),
                floor(row.all().worst(), 4));
    }

    /** Which kernels run for a batch and for a single sentence; formats that share kernels share a paragraph. */
    static String kernels(List<GatunEncoder> encoders, Mode mode, int batchTokens, int singleTokens) {
        Map<String, List<String>> uses = new LinkedHashMap<>();
        for (WeightFormat format : WeightFormat.values()) {
            GatunEncoder encoder = encoders.get(format.ordinal());
            String kernels = encoder.explain(batchTokens, Speed.BATCH).linear().strip()
                    + '\n'
                    + encoder.explain(singleTokens, 1).linear();
            uses.computeIfAbsent(kernels, unused -> new ArrayList<>()).add(format.label());
        }
        StringBuilder text = new StringBuilder(format(
                "kernels for a batch of %d tokens and for a sentence of %d; activation mode %s%n",
                batchTokens, singleTokens, mode));
        uses.forEach((kernels, formats) -> text.append(paragraph("linears, " + String.join(", ", formats), kernels)));
        GatunEncoder.Kernels shared = encoders.getFirst().explain(batchTokens, Speed.BATCH);
        text.append(paragraph("attention", shared.attention()));
        text.append(paragraph("LayerNorm", shared.norm()));
        text.append(paragraph("word embeddings, quantized once, dequantized in every batch", shared.words()));
        return text.toString();
    }

    private static String paragraph(String title, String body) {
        return format("  %s%n%s", title, body.indent(4));
    }

    static String search(String query, List<String> sentences, Search left, Search right) {
        StringBuilder text = new StringBuilder(format("\"%s\"%n", query));
        text.append(format("  %-" + (TEXT_WIDTH + 8) + "s%s%n", left.contender(), right.contender()));
        for (int i = 0; i < left.hits().size(); i++) {
            String line =
                    "  " + hit(left.hits().get(i), sentences) + hit(right.hits().get(i), sentences);
            text.append(format("%s%n", line.stripTrailing()));
        }
        return text.toString();
    }

    private static String hit(Search.Hit hit, List<String> sentences) {
        String sentence = sentences.get(hit.sentence());
        String shown = sentence.length() <= TEXT_WIDTH ? sentence : sentence.substring(0, TEXT_WIDTH - 3) + "...";
        return format("%.3f %-" + (TEXT_WIDTH + 2) + "s", hit.score(), shown);
    }

    /** The last line, for scripts. Figures that have to reach a bound are rounded down. */
    static String lastLine(Row int8, Row int4, Row ortInt8) {
        double gatun = int8.speed().batched().median();
        double ort = ortInt8.speed().batched().median();
        return format(
                "demo: int8_cos=%s int4g32_cos=%s sentences_per_s=%.0f ort_int8=%.0f ratio=%s",
                floor(int8.topical().worst(), 4), floor(int4.topical().mean(), 4), gatun, ort, floor(gatun / ort, 2));
    }

    static String floor(double value, int decimals) {
        return BigDecimal.valueOf(value).setScale(decimals, RoundingMode.FLOOR).toPlainString();
    }

    private static String format(String pattern, Object... arguments) {
        return String.format(Locale.ROOT, pattern, arguments);
    }
}
