package io.gatun.bench.report;

import io.gatun.bench.Result;
import java.util.ArrayList;
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

/** How near quantize and dequantize come to a loop that moves the same bytes, format by format. */
final class Shares {
    private static final int WIDTH = 640;
    private static final int HEIGHT = 380;
    private static final List<String> DIRECTIONS = List.of("quantize", "dequantize");
    private static final Pattern NAME = Pattern.compile("(.+) (quantize|dequantize) \\w+ t=\\d+");

    private Shares() {}

    /** By format and direction, in the order in which they were measured: percent of the limit of ours. */
    private static Map<String, Map<String, Double>> shares(List<Result> results, int threads) {
        Map<String, Map<String, Double>> shares = new LinkedHashMap<>();
        for (Result result : results) {
            Matcher name = NAME.matcher(result.caseName());
            boolean ours = result.isGatun() && result.metric().equals("time") && result.percentOfLimit() != null;
            if (result.op().equals("quantize") && result.threads() == threads && ours && name.matches()) {
                shares.computeIfAbsent(name.group(1), format -> new LinkedHashMap<>())
                        .put(name.group(2), result.percentOfLimit());
            }
        }
        return shares;
    }

    /** Empty without such a case on so many threads. */
    static Optional<CategoryChart> chart(List<Result> results, int threads) {
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
        List<String> formats = new ArrayList<>(shares.keySet());
        for (int i = 0; i < DIRECTIONS.size(); i++) {
            String direction = DIRECTIONS.get(i);
            List<Double> values = formats.stream()
                    .map(format -> shares.get(format).get(direction))
                    .toList();
            if (!values.stream().allMatch(value -> value == null)) {
                CategorySeries bars = chart.addSeries(direction, formats, values);
                bars.setFillColor(Style.KINDS[i]);
            }
        }
        return Optional.of(chart);
    }

    /** What the chart shows, in words. */
    static String description(List<Result> results, int threads) {
        return shares(results, threads).entrySet().stream()
                .map(format -> format.getKey() + ": "
                        + format.getValue().entrySet().stream()
                                .map(share -> share.getKey() + " " + Numbers.percent(share.getValue()))
                                .collect(Collectors.joining(", ")))
                .collect(Collectors.joining("; "));
    }
}
