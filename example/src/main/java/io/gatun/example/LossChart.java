package io.gatun.example;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.font.FontRenderContext;
import java.awt.font.TextLayout;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Test losses of both kinds of state, a chart for each rule, side by side. */
final class LossChart {
    static final int WIDTH = 520;
    static final int HEIGHT = 420;

    /** Told apart by those who see colours in other ways, too: a broad light line under a narrow dark one. */
    static final Color FULL = new Color(0x56b4e9);

    static final Color EIGHT_BITS = new Color(0xb03a00);
    private static final Color BEST = new Color(0x5b6673);
    private static final double KIB = 1024;

    private LossChart() {}

    /** Writes a PNG; if there are no fonts to draw with, writes nothing and tells why. */
    static Optional<String> write(List<TrainingDemo.Pair> pairs, int steps, double bestLoss, Path file)
            throws IOException {
        System.setProperty("java.awt.headless", "true");
        Optional<String> whyNot = whyNoText();
        if (whyNot.isPresent()) {
            return whyNot;
        }
        BufferedImage image = new BufferedImage(WIDTH * pairs.size(), HEIGHT, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        for (TrainingDemo.Pair pair : pairs) {
            chart(pair, steps, bestLoss).paint(graphics, WIDTH, HEIGHT);
            graphics.translate(WIDTH, 0);
        }
        graphics.dispose();
        Files.createDirectories(file.toAbsolutePath().getParent());
        if (!ImageIO.write(image, "png", file.toFile())) {
            throw new IOException("this JVM writes no PNG");
        }
        return Optional.empty();
    }

    /** A JVM has no fonts of its own. */
    private static Optional<String> whyNoText() {
        try {
            Font font = new Font(Font.SANS_SERIF, Font.PLAIN, 11);
            new TextLayout("0", font, new FontRenderContext(null, true, false));
            return Optional.empty();
        } catch (RuntimeException | Error e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    private static XYChart chart(TrainingDemo.Pair pair, int steps, double bestLoss) {
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .title(TrainingDemo.name(pair.rule()))
                .xAxisTitle("steps")
                .yAxisTitle("test loss")
                .build();
        chart.getStyler()
                .setYAxisLogarithmic(true)
                .setYAxisLogarithmicDecadeOnly(false)
                .setLegendPosition(Styler.LegendPosition.InsideNE)
                .setChartBackgroundColor(Color.WHITE)
                .setPlotBorderVisible(false);
        chart.getStyler().setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 9));
        add(chart, "32-bit state", pair.full(), steps, FULL, 5);
        add(chart, "8-bit state", pair.eightBits(), steps, EIGHT_BITS, 1.6f);
        XYSeries best =
                chart.addSeries("the least that there is", new double[] {0, steps}, new double[] {bestLoss, bestLoss});
        style(
                best,
                BEST,
                new BasicStroke(1.2f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, new float[] {6, 4}, 0));
        return chart;
    }

    private static void add(XYChart chart, String name, Training.Outcome outcome, int steps, Color color, float width) {
        List<Double> curve = outcome.curve();
        double[] x = IntStream.range(0, curve.size())
                .mapToDouble(i -> (double) steps * i / (curve.size() - 1))
                .toArray();
        double[] y = curve.stream().mapToDouble(loss -> loss).toArray();
        String memory = String.format(Locale.ROOT, "%s: %.0f KiB", name, outcome.stateBytes() / KIB);
        style(chart.addSeries(memory, x, y), color, new BasicStroke(width));
    }

    private static void style(XYSeries series, Color color, BasicStroke stroke) {
        series.setMarker(SeriesMarkers.NONE);
        series.setLineColor(color);
        series.setLineStyle(stroke);
    }
}
