package io.gatun.bench.report;

import io.gatun.bench.Result;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Our speed on some number of threads against the limits of the machine, over the operations that a byte of memory
 * meets (Williams, Waterman and Patterson 2009).
 */
final class Roofline {
    private static final int WIDTH = 640;
    private static final int HEIGHT = 460;
    private static final double MARGIN = 2;

    private Roofline() {}

    private record Roof(String name, double perSecond) {}

    private record Point(double intensity, double perSecond) {}

    /** Empty without a case of ours whose work is known, or without limits, on so many threads. */
    static Optional<XYChart> chart(List<Result> results, int threads) {
        Map<String, List<Point>> kinds = points(results, threads);
        List<Roof> roofs = roofs(results, threads);
        Optional<Result> read = limits(results, threads).stream()
                .filter(limit -> limit.caseName().startsWith("read "))
                .findFirst();
        if (kinds.isEmpty() || roofs.isEmpty() || read.isEmpty()) {
            return Optional.empty();
        }
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .xAxisTitle("operations per byte of weights")
                .yAxisTitle("GOP/s")
                .build();
        Style.apply(chart.getStyler());
        chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE);
        chart.getStyler().setXAxisLogarithmic(true).setYAxisLogarithmic(true).setYAxisLogarithmicDecadeOnly(false);
        chart.getStyler().setMarkerSize(9);

        List<Point> all = kinds.values().stream().flatMap(List::stream).toList();
        double left = all.stream().mapToDouble(Point::intensity).min().orElseThrow() / MARGIN;
        double right = all.stream().mapToDouble(Point::intensity).max().orElseThrow() * MARGIN;
        addRoofs(chart, roofs, read.get().max(), left, right);
        // Of all numbers of threads together, so that a kind looks alike in every chart.
        List<String> allKinds = results.stream()
                .filter(Roofline::isPoint)
                .flatMap(result -> Work.of(result).stream())
                .map(Work::kind)
                .distinct()
                .toList();
        for (Map.Entry<String, List<Point>> kind : kinds.entrySet()) {
            int i = allKinds.indexOf(kind.getKey());
            XYSeries series = chart.addSeries(
                    kind.getKey(),
                    kind.getValue().stream().mapToDouble(Point::intensity).toArray(),
                    kind.getValue().stream().mapToDouble(Point::perSecond).toArray());
            series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
            series.setMarker(Style.MARKERS[i % Style.MARKERS.length]);
            series.setMarkerColor(Style.KINDS[i % Style.KINDS.length]);
        }
        return Optional.of(chart);
    }

    private static void addRoofs(XYChart chart, List<Roof> roofs, double bandwidth, double left, double right) {
        double highest = roofs.getFirst().perSecond();
        double ridge = Math.min(right, highest / bandwidth);
        addLine(
                chart,
                "DRAM read " + Numbers.digits(bandwidth) + " GB/s",
                0,
                left,
                bandwidth * left,
                ridge,
                bandwidth * ridge);
        for (int i = 0; i < roofs.size(); i++) {
            Roof roof = roofs.get(i);
            double from = Math.max(left, roof.perSecond() / bandwidth);
            if (from < right) {
                addLine(chart, roof.name(), i, from, roof.perSecond(), right, roof.perSecond());
            }
        }
    }

    private static void addLine(XYChart chart, String name, int stroke, double x0, double y0, double x1, double y1) {
        XYSeries line = chart.addSeries(name, new double[] {x0, x1}, new double[] {y0, y1});
        line.setMarker(SeriesMarkers.NONE);
        line.setLineColor(Style.LIMIT);
        line.setLineStyle(Style.STROKES[stroke % Style.STROKES.length]);
    }

    /** The limits of sparse work are none of dense ones. */
    private static boolean isPoint(Result result) {
        return result.isGatun() && !result.isDense() && result.metric().equals("time");
    }

    /** Our points by kind. */
    private static Map<String, List<Point>> points(List<Result> results, int threads) {
        Map<String, List<Point>> kinds = new LinkedHashMap<>();
        for (Result result : results) {
            if (isPoint(result) && result.threads() == threads) {
                Work.of(result)
                        .ifPresent(work -> kinds.computeIfAbsent(work.kind(), kind -> new ArrayList<>())
                                .add(new Point(work.intensity(), work.operations() / result.seconds() * 1e-9)));
            }
        }
        return kinds;
    }

    /** Limits of arithmetic, the highest one first. */
    private static List<Roof> roofs(List<Result> results, int threads) {
        return limits(results, threads).stream()
                .filter(limit -> limit.metric().equals("rate"))
                .sorted(Comparator.comparingDouble(Result::max).reversed())
                .map(limit -> new Roof(
                        limit.caseName().replace(" t=" + threads, "").replace("tier=", "") + " "
                                + Numbers.digits(limit.max()) + " " + limit.unit(),
                        limit.max()))
                .toList();
    }

    private static List<Result> limits(List<Result> results, int threads) {
        return results.stream()
                .filter(result -> result.op().equals("limits") && result.threads() == threads)
                .toList();
    }
}
