package io.gatun.bench.report;

import io.gatun.bench.Rating;
import io.gatun.bench.Result;
import java.awt.Color;
import java.awt.Font;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;

/** The speed of all implementations in one case, the fastest one first. */
final class Bars {
    private static final int WIDTH = 440;
    private static final int HEIGHT = 240;
    /** More names than these lean, or they would overlap. */
    private static final int UPRIGHT_NAMES = 4;

    private static final String VERSION = " v?\\d[\\w.+-]*$";

    private Bars() {}

    /** A bar for each of these times of one case. */
    static CategoryChart chart(List<Result> times) {
        List<Result> sorted = times.stream()
                .sorted(Comparator.comparingDouble(Result::seconds))
                .toList();
        Optional<Result> ours = sorted.stream().filter(Result::isGatun).findFirst();
        List<String> names = names(sorted, ours);
        CategoryChart chart = new CategoryChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .yAxisTitle(unit(sorted))
                .build();
        Style.apply(chart.getStyler());
        chart.getStyler().setLegendVisible(false);
        chart.getStyler()
                .setOverlapped(true)
                .setAvailableSpaceFill(0.7)
                .setAnnotationTextFont(Style.font(Font.BOLD, 11));
        chart.getStyler()
                .setYAxisMin(0.0)
                .setYAxisMax(1.15 * speed(sorted.getFirst()))
                .setPlotGridVerticalLinesVisible(false);
        if (sorted.size() > UPRIGHT_NAMES) {
            chart.getStyler().setXAxisLabelRotation(20);
        }
        for (int i = 0; i < sorted.size(); i++) {
            Result time = sorted.get(i);
            // Its own bar alone, so that it has its own colour.
            List<Double> values = new ArrayList<>(Collections.nCopies(sorted.size(), null));
            values.set(i, speed(time));
            CategorySeries bar = chart.addSeries(names.get(i), names, values);
            bar.setFillColor(color(time, ours));
            chart.addAnnotation(new AnnotationText(
                    Numbers.digits(speed(time)), i + 0.5, speed(time) + 0.06 * speed(sorted.getFirst()), false));
        }
        return chart;
    }

    /** Without versions, if they differ without; each once. A star marks an error larger than ours. */
    private static List<String> names(List<Result> times, Optional<Result> ours) {
        List<String> shortened = times.stream()
                .map(time -> time.impl().replaceFirst(VERSION, ""))
                .toList();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < times.size(); i++) {
            boolean unique = Collections.frequency(shortened, shortened.get(i)) == 1;
            String name =
                    (unique ? shortened.get(i) : times.get(i).impl()) + (isCoarser(times.get(i), ours) ? " *" : "");
            names.add(names.contains(name) ? name + " (" + (i + 1) + ")" : name);
        }
        return names;
    }

    private static Color color(Result time, Optional<Result> ours) {
        return time.isGatun() ? Style.GATUN : isCoarser(time, ours) ? Style.COARSER_PEER : Style.PEER;
    }

    private static boolean isCoarser(Result time, Optional<Result> ours) {
        return !time.isGatun() && ours.isPresent() && !Rating.isAsExact(time, ours.get());
    }

    /** Operations a second where they are known, else calls. */
    private static double speed(Result time) {
        return Work.of(time).map(work -> work.operations() * 1e-9).orElse(1.0) / time.seconds();
    }

    private static String unit(List<Result> times) {
        return Work.of(times.getFirst()).isPresent() ? "GOP/s" : "calls/s";
    }

    /** What the chart shows, in words. */
    static String description(List<Result> times) {
        return times.getFirst().caseName() + ": "
                + times.stream()
                        .sorted(Comparator.comparingDouble(Result::seconds))
                        .map(time -> time.impl() + " " + Numbers.digits(time.median()) + " " + time.unit())
                        .collect(Collectors.joining(", "));
    }
}
