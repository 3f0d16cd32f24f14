package io.gatun.bench.report;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.VectorGraphicsEncoder.VectorGraphicsFormat;
import org.knowm.xchart.internal.chartpart.Chart;

/** Charts as SVG elements within a document. */
final class Svg {
    private static final Pattern PROLOGUE = Pattern.compile("^.*?(?=<svg)", Pattern.DOTALL);
    private static final Pattern UNUSED_NAMESPACE = Pattern.compile(" xmlns:xlink=\"[^\"]*\"");
    /** Of a pixel, two decimals are plenty. */
    private static final Pattern DECIMALS = Pattern.compile("(\\d\\.\\d\\d)\\d+");

    private Svg() {}

    /**
     * The chart as an element that stands alone.
     *
     * @param id unique in the document
     * @param description for those who cannot see it
     */
    static String of(Chart<?, ?> chart, String id, String description) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try {
            VectorGraphicsEncoder.saveVectorGraphic(chart, bytes, VectorGraphicsFormat.SVG);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        String svg = PROLOGUE.matcher(bytes.toString(StandardCharsets.UTF_8)).replaceFirst("");
        svg = UNUSED_NAMESPACE.matcher(svg).replaceFirst("");
        svg = DECIMALS.matcher(svg).replaceAll("$1");
        // Identifiers hold for the whole document.
        svg = svg.replace("\"clip", "\"" + id + "-clip").replace("url(#clip", "url(#" + id + "-clip");
        return "<svg id=\"" + id + "\" role=\"img\" aria-label=\"" + Html.escape(description) + "\""
                + svg.substring("<svg".length());
    }
}
