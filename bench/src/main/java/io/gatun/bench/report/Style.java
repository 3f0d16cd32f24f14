package io.gatun.bench.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.font.FontRenderContext;
import java.awt.font.TextLayout;
import java.util.Optional;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** How charts look. */
final class Style {
    static final Color GATUN = new Color(0x1f5fbf);
    static final Color PEER = new Color(0x8794a5);
    /** A peer whose error is larger than ours. */
    static final Color COARSER_PEER = new Color(0xcdd4dd);

    /** Told apart by those who see colours in other ways, too (Okabe and Ito, without yellow and black). */
    static final Color[] KINDS = {
        new Color(0x0072b2),
        new Color(0xd55e00),
        new Color(0x009e73),
        new Color(0xcc79a7),
        new Color(0xe69f00),
        new Color(0x56b4e9),
    };

    /** Of the kinds, in the same order. */
    static final Marker[] MARKERS = {
        SeriesMarkers.CIRCLE,
        SeriesMarkers.SQUARE,
        SeriesMarkers.DIAMOND,
        SeriesMarkers.TRIANGLE_UP,
        SeriesMarkers.TRIANGLE_DOWN,
        SeriesMarkers.CROSS
    };

    /** Of lines that are told apart by nothing else. */
    static final BasicStroke[] STROKES = {
        new BasicStroke(1.6f), dashed(8, 3), dashed(4, 3), dashed(2, 3), dashed(8, 3, 2, 3), dashed(12, 4)
    };

    static final Color LIMIT = new Color(0x5b6673);

    private static final Color TEXT = new Color(0x2b333d);
    private static final Color GRID = new Color(0xe3e7ec);
    private static final int SMALL = 11;

    private Style() {}

    private static BasicStroke dashed(float... dashes) {
        return new BasicStroke(1.6f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, dashes, 0);
    }

    /** Why text cannot be drawn, if so: a JVM has no fonts of its own. */
    static Optional<String> whyNoText() {
        try {
            new TextLayout("0", font(Font.PLAIN, SMALL), new FontRenderContext(null, true, false));
            return Optional.empty();
        } catch (RuntimeException | Error e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    static Font font(int style, int size) {
        return new Font(Font.SANS_SERIF, style, size);
    }

    static void apply(AxesChartStyler styler) {
        styler.setChartBackgroundColor(Color.WHITE)
                .setChartFontColor(TEXT)
                .setPlotBackgroundColor(Color.WHITE)
                .setPlotBorderVisible(false)
                .setChartTitleVisible(false)
                .setChartPadding(4)
                .setLegendBorderColor(Color.WHITE)
                .setLegendBackgroundColor(Color.WHITE)
                .setLegendFont(font(Font.PLAIN, SMALL));
        styler.setAxisTickLabelsFont(font(Font.PLAIN, SMALL))
                .setAxisTitleFont(font(Font.PLAIN, SMALL + 1))
                .setAxisTickLabelsColor(TEXT)
                .setAxisTickMarksColor(GRID)
                .setPlotGridLinesColor(GRID)
                .setPlotGridLinesStroke(new BasicStroke(1));
    }
}
