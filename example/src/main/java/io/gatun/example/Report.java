package io.gatun.example;

import ai.onnxruntime.OrtEnvironment;
import io.gatun.Gatun;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What the demo prints, in plain ASCII. */
final class Report {
    private static final int TEXT_WIDTH = 52;

    private Report() {}

    /** What is known of one contender. */
    record Row(Contender contender, Accuracy topical, Accuracy brief, Speed speed) {}

    static String header(List<int[]> sentences) {
        return format(
                """
                all-MiniLM-L6-v2 on Gatun %s beside ONNX Runtime %s; CPU tier %s, %d threads, Java %d
                %d sentences of %d..%d tokens, [CLS] and [SEP] not counted; speeds are without tokenizing
                """,
                Gatun.version(),
                OrtEnvironment.getEnvironment().getVersion(),
                Gatun.tier(),
                Gatun.threads(),
                Runtime.version().feature(),
                sentences.size(),
                sentences.stream().mapToInt(Tokenizer::contentLength).min().orElse(0),
                sentences.stream().mapToInt(Tokenizer::contentLength).max().orElse(0));
    }

    static String table(List<Row> rows) {
        StringBuilder table = new StringBuilder();
        table.append(format(
                "%-30s%7s%20s%20s%11s%17s%n",
                "", "size", "cosine to fp32", "the 10 short ones", "same", "sentences/s"));
        table.append(format(
                "%-30s%7s%10s%10s%10s%10s%11s%8s%9s%n",
                "", "MB", "mean", "worst", "mean", "worst", "neighbour", "single", "by " + Speed.BATCH));
        for (Row row : rows) {
            table.append(format(
                    "%-30s%7.1f%10.4f%10.4f%10.4f%10.4f%9.1f %%%8.0f%9.0f%n",
                    row.contender().name(),
                    row.contender().megabytes(),
                    row.topical().mean(),
                    row.topical().worst(),
                    row.brief().mean(),
                    row.brief().worst(),
                    100 * row.topical().sameNeighbour(),
                    row.speed().single(),
                    row.speed().batched()));
        }
        return table.toString();
    }

    /** Which kernels run; formats that share a kernel share a paragraph. */
    static String kernels(List<GatunEncoder> encoders, int tokens) {
        Map<String, List<String>> uses = new LinkedHashMap<>();
        for (WeightFormat format : WeightFormat.values()) {
            List<String> explained = encoders.get(format.ordinal()).explain(tokens);
            uses.computeIfAbsent(explained.getFirst(), kernel -> new ArrayList<>())
                    .add(format.label());
        }
        uses.put(encoders.getFirst().explain(tokens).getLast(), List.of("LayerNorm"));
        StringBuilder text = new StringBuilder(format("kernels for a batch of %d tokens%n", tokens));
        uses.forEach((kernel, users) -> text.append(format("  %s%n%s", String.join(", ", users), kernel.indent(4))));
        return text.toString();
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

    /** The last line, for scripts. */
    static String lastLine(Row int8, Row int4, Row ortInt8) {
        return format(
                "demo: int8_cos=%.4f int4g32_cos=%.4f sentences_per_s=%.0f ort_int8=%.0f ratio=%.2f",
                int8.topical().worst(),
                int4.topical().mean(),
                int8.speed().batched(),
                ortInt8.speed().batched(),
                int8.speed().batched() / ortInt8.speed().batched());
    }

    private static String format(String pattern, Object... arguments) {
        return String.format(Locale.ROOT, pattern, arguments);
    }
}
