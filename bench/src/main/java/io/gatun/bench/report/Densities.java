package io.gatun.bench.report;

import io.gatun.bench.AttentionCase;
import io.gatun.bench.Result;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The time of our attention to blocks over the share of blocks that it sees, and the line on which it would be if
 * blocks alone took time: from nothing to the time of our dense attention.
 */
final class Densities {
    private static final int WIDTH = 640;
    private static final int HEIGHT = 420;
    private static final int ALL = 100;

    private Densities() {}

    /** A time in ms at a percent of the blocks; of dense attention, the median of what was measured beside each. */
    record Point(int percent, double millis) {}

    /**
     * By type, keys and mask, in the order in which they were measured; the last point of each is that of all blocks.
     */
    static Map<String, List<Point>> points(List<Result> results, int threads) {
        Map<String, List<Point>> kinds = new LinkedHashMap<>();
        Map<String, List<Double>> dense = new LinkedHashMap<>();
        for (Result result : results) {
            Optional<AttentionCase> sparse = AttentionCase.named(result.caseName())
                    .filter(problem -> problem.kind() == AttentionCase.Kind.SPARSE);
            boolean time = result.op().equals("attention")
                    && result.isGatun()
                    && result.metric().equals("time");
            if (sparse.isEmpty() || !time || result.threads() != threads) {
                continue;
            }
            AttentionCase problem = sparse.get();
            String kind = problem.dtype() + " " + problem.length() + (problem.causal() ? " causal" : " full");
            double millis = 1e3 * result.seconds();
            if (result.isDense()) {
                dense.computeIfAbsent(kind, key -> new ArrayList<>()).add(millis);
            } else {
                kinds.computeIfAbsent(kind, key -> new ArrayList<>()).add(new Point(problem.percent(), millis));
            }
        }
        kinds.keySet().retainAll(dense.keySet());
        kinds.forEach((kind, list) -> list.add(new Point(ALL, median(dense.get(kind)))));
        return kinds;
    }

    private static double median(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        return (sorted.get((sorted.size() - 1) / 2) + sorted.get(sorted.size() / 2)) / 2;
    }

    /** Empty without such a case on so many threads. */
    static Optional<XYChart> chart(List<Result> results, int threads) {
        Map<String, List<Point>> kinds = points(results, threads);
        if (kinds.isEmpty()) {
            return Optional.empty();
        }
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .xAxisTitle("% of the blocks")
                .yAxisTitle("ms")
                .build();
        Style.apply(chart.getStyler());
        chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE);
        chart.getStyler().setXAxisMin(0.0).setXAxisMax((double) ALL).setYAxisMin(0.0);
        chart.getStyler().setMarkerSize(8);
        int i = 0;
        for (Map.Entry<String, List<Point>> kind : kinds.entrySet()) {
            XYSeries ideal = chart.addSeries(kind.getKey() + " ideal", new double[] {0, ALL}, new double[] {
                0, kind.getValue().getLast().millis()
            });
            ideal.setMarker(SeriesMarkers.NONE);
            ideal.setLineColor(Style.LIMIT);
            ideal.setLineStyle(Style.STROKES[i % Style.STROKES.length]);
            XYSeries times = chart.addSeries(
                    kind.getKey(),
                    kind.getValue().stream().mapToDouble(Point::percent).toArray(),
                    kind.getValue().stream().mapToDouble(Point::millis).toArray());
            times.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
            times.setMarker(Style.MARKERS[i % Style.MARKERS.length]);
            times.setMarkerColor(Style.KINDS[i % Style.KINDS.length]);
            i++;
        }
        return Optional.of(chart);
    }

    /** What the chart shows, in words. */
    static String description(List<Result> results, int threads) {
        return points(results, threads).entrySet().stream()
                .map(kind -> kind.getKey() + ": "
                        + kind.getValue().stream()
                                .map(point -> point.percent() + " % " + Numbers.digits(point.millis()) + " ms")
                                .collect(Collectors.joining(", ")))
                .collect(Collectors.joining("; "));
    }
}
