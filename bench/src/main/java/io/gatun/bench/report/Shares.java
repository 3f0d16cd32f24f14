package io.gatun.bench.report;

import io.gatun.bench.DecodeCase;
import io.gatun.bench.Result;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;

/**
 * How near an op that memory binds comes to a loop that moves the same bytes.
 *
 * @param op in the records
 * @param name of its cases, with two groups: {@code group}, what has bars of its own, and {@code bar}, which of them
 *     the case is
 * @param series the names of these bars
 */
record Shares(String op, Pattern name, List<String> series) {
    /** Bars of both directions for each format. */
    static final Shares QUANTIZE = new Shares(
            "quantize",
            Pattern.compile("(?<group>.+) (?<bar>quantize|dequantize) \\w+ t=\\d+"),
            List.of("quantize", "dequantize"));

    /** A bar for each optimizer and type of parameters. */
    static final Shares OPTIMIZER = new Shares(
            "optimizer",
            Pattern.compile("(?<group>\\w+) \\w+ (?<bar>f32|f16|bf16) t=\\d+"),
            List.of("f32", "f16", "bf16"));

    /** Bars of all types of caches for each number of keys and of heads. */
    static final Shares DECODE = new Shares(
            "decode",
            Pattern.compile("(?<bar>[\\w ]+?) (?<group>kv=\\d+ heads=\\S+) t=\\d+"),
            Arrays.stream(DecodeCase.Cache.values())
                    .map(DecodeCase.Cache::toString)
                    .toList());

    private static final int WIDTH = 640;
    private static final int HEIGHT = 380;

    /** By group and bar, in the order in which they were measured: percent of the limit of ours. */
    private Map<String, Map<String, Double>> shares(List<Result> results, int threads) {
        Map<String, Map<String, Double>> shares = new LinkedHashMap<>();
        for (Result result : results) {
            Matcher matcher = name.matcher(result.caseName());
            boolean ours = result.isGatun() && result.metric().equals("time") && result.percentOfLimit() != null;
            if (result.op().equals(op) && result.threads() == threads && ours && matcher.matches()) {
                shares.computeIfAbsent(matcher.group("group"), group -> new LinkedHashMap<>())
                        .putIfAbsent(
                                matcher.group("bar"), result.percentOfLimit()); // ours comes before other ways of ours
            }
        }
        return shares;
    }

    /** Empty without such a case on so many threads. */
    Optional<CategoryChart> chart(List<Result> results, int threads) {
        Map<String, Map<String, Double>> shares = shares(results, threads);
        if (shares.isEmpty()) {
            return Optional.empty();
        }
        CategoryChart chart = new CategoryChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .yAxisTitle("% of the limit")
                .build();
        Style.apply(chart.getStyler());
        chart.getStyler().setAvailableSpaceFill(0.7).setXAxisLabelRotation(30).setYAxisMin(0.0);
        chart.getStyler().setPlotGridVerticalLinesVisible(false);
        List<String> groups = new ArrayList<>(shares.keySet());
        for (int i = 0; i < series.size(); i++) {
            String bar = series.get(i);
            List<Double> values =
                    groups.stream().map(group -> shares.get(group).get(bar)).toList();
            if (!values.stream().allMatch(value -> value == null)) {
                CategorySeries bars = chart.addSeries(bar, groups, values);
                bars.setFillColor(Style.KINDS[i]);
            }
        }
        return Optional.of(chart);
    }

    /** What the chart shows, in words. */
    String description(List<Result> results, int threads) {
        return shares(results, threads).entrySet().stream()
                .map(group -> group.getKey() + ": "
                        + group.getValue().entrySet().stream()
                                .map(share -> share.getKey() + " " + Numbers.percent(share.getValue()))
                                .collect(Collectors.joining(", ")))
                .collect(Collectors.joining("; "));
    }
}
