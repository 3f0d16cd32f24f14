package io.gatun.bench.report;

import io.gatun.bench.Rating;
import io.gatun.bench.Result;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import org.knowm.xchart.internal.chartpart.Chart;

/** One page, which needs nothing but itself: what was measured, in charts and in full. */
public final class Report {
    private static final String FILE = "report.html";
    private static final String LIMITS = "limits";
    private static final String TIME = "time";

    private final Html html = new Html();
    private final List<Result> results;
    private final List<String> arguments;

    private Report(List<Result> results, List<String> arguments) {
        this.results = results;
        this.arguments = arguments;
    }

    /**
     * Writes {@code report.html}.
     *
     * @param folder where; made if it is not there
     * @param results all records of a run
     * @param arguments of {@code ./gatun bench}, for the command that reproduces them
     * @return the file
     */
    public static Path write(Path folder, List<Result> results, List<String> arguments) throws IOException {
        System.setProperty("java.awt.headless", "true");
        String document = new Report(results, arguments).document();
        Files.createDirectories(folder);
        Path draft = folder.resolve(FILE + ".new");
        Files.writeString(draft, document);
        return Files.move(draft, folder.resolve(FILE), StandardCopyOption.REPLACE_EXISTING);
    }

    private String document() {
        html.markup("<!DOCTYPE html>\n");
        html.element(
                "html",
                () -> html.element("head", this::head).element("body", () -> html.element("main", this::body)),
                "lang",
                "en",
                "xmlns",
                "http://www.w3.org/1999/xhtml");
        return html.toString();
    }

    private void head() {
        html.empty("meta", "charset", "utf-8");
        html.empty("meta", "name", "viewport", "content", "width=device-width, initial-scale=1");
        html.element("title", "Gatun bench");
        html.element("style", () -> html.markup(style()));
    }

    private void body() {
        html.element("h1", "Gatun bench");
        html.element("dl", this::machine, "class", "machine");
        limits();
        Style.whyNoText().ifPresentOrElse(this::noCharts, () -> {
            rooflines();
            shares(
                    Shares.QUANTIZE,
                    "Quantize and dequantize beside the limit of memory",
                    "The limit: a loop that reads and writes the same bytes, by plain or non-temporal stores, whichever is"
                            + " faster.");
            shares(
                    Shares.OPTIMIZER,
                    "Optimizers beside the limit of memory",
                    "The limit: a loop that reads gradients and changes parameters and state in place, as many bytes of each.");
            charts(
                    "Attention to blocks",
                    "Points: our time over the percent of blocks that are kept, at the right that of our dense attention in the"
                            + " same rounds. Lines: times in proportion.",
                    "densities",
                    threads -> Densities.chart(results, threads),
                    threads -> Densities.description(results, threads));
            shares(
                    Shares.DECODE,
                    "Attention to caches beside the limit of memory",
                    "The limit: a loop that reads as many bytes as keys and values take with their scales.");
            comparisons();
        });
        html.element("h2", "All records");
        html.element(
                "p",
                "Median, and the range of all samples. Limit: percent of what the machine was measured to allow. Ratio: time"
                        + " of the fastest peer with no larger error over ours, above 1 = ours is faster; any: of the"
                        + " fastest peer whatever its error. Error: against double, ‖y − expected‖ / ‖expected‖.");
        RecordTable.add(html, results);
    }

    private void machine() {
        Map<String, String> facts = new LinkedHashMap<>(Machine.description());
        facts.put(
                "Reproduce with",
                "./gatun bench"
                        + arguments.stream().map(word -> " " + quoted(word)).collect(Collectors.joining()));
        facts.forEach((name, value) ->
                html.element("div", () -> html.element("dt", name).element("dd", value)));
    }

    /** For a shell. */
    private static String quoted(String word) {
        return word.matches("[\\w./=,:@%+-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    private void limits() {
        List<Result> limits =
                results.stream().filter(result -> result.op().equals(LIMITS)).toList();
        if (limits.isEmpty()) {
            return;
        }
        html.element("h2", "What the machine can do");
        html.element(
                "p",
                "Measured in the same run; below, the fastest sample of each. A case's percent of the limit is of the better one of"
                        + " two samples of its own, taken right before and right after it.");
        html.element(
                "ul",
                () -> limits.forEach(limit -> html.element(
                        "li",
                        () -> html.element("b", Numbers.digits(limit.max()) + " " + limit.unit())
                                .element("span", limit.caseName()))),
                "class",
                "limits");
    }

    private void noCharts(String reason) {
        html.element(
                "p",
                "No charts: this JVM finds no fonts. Install fontconfig and a font (on Debian and Ubuntu: fontconfig,"
                        + " fonts-dejavu-core) and run again. It said: " + reason,
                "class",
                "warning");
    }

    private void rooflines() {
        charts(
                "Ours below the roofline",
                "Lines: the limits above. Points: our cases; the further right, the more rows share a byte of weights read"
                        + " from memory.",
                "roofline",
                threads -> Roofline.chart(results, threads),
                threads -> "Roofline; the figures are in the table below");
    }

    private void shares(Shares shares, String title, String text) {
        charts(
                title,
                text,
                "shares-" + shares.op(),
                threads -> shares.chart(results, threads),
                threads -> shares.description(results, threads));
    }

    /** A chart for each number of threads that has one. */
    private void charts(
            String title,
            String text,
            String id,
            IntFunction<Optional<? extends Chart<?, ?>>> chartOf,
            IntFunction<String> descriptionOf) {
        Map<Integer, Chart<?, ?>> charts = new TreeMap<>();
        results.stream()
                .map(Result::threads)
                .distinct()
                .forEach(threads -> chartOf.apply(threads).ifPresent(chart -> charts.put(threads, chart)));
        if (charts.isEmpty()) {
            return;
        }
        html.element("h2", title);
        html.element("p", text);
        html.element(
                "div",
                () -> charts.forEach((threads, chart) -> {
                    String caption = threads == 1 ? "1 thread" : threads + " threads";
                    String description = caption + ": " + descriptionOf.apply(threads);
                    figure(caption, "", Svg.of(chart, id + "-" + threads, description));
                }),
                "class",
                "grid wide");
    }

    private void comparisons() {
        Map<String, List<Result>> cases = results.stream()
                .filter(result -> result.metric().equals(TIME) && result.median() > 0)
                .collect(Collectors.groupingBy(
                        result -> result.op() + " " + result.caseName(), LinkedHashMap::new, Collectors.toList()));
        cases.values().removeIf(times -> times.size() < 2 || times.stream().noneMatch(Result::isGatun));
        if (cases.isEmpty()) {
            return;
        }
        html.element("h2", "Beside the peers");
        html.element(
                "p",
                "Speed, the fastest first; longer is better. Blue: ours. A star and the lighter grey: a larger error than ours.");
        html.element(
                "div",
                () -> {
                    int i = 0;
                    for (List<Result> times : cases.values()) {
                        comparison(times, "bars-" + i++);
                    }
                },
                "class",
                "grid");
    }

    private void comparison(List<Result> times, String id) {
        Result ours = times.stream().filter(Result::isGatun).findFirst().orElseThrow();
        Optional<Result> fastest = Rating.bestPeer(ours, times, false);
        List<String> relations = new ArrayList<>();
        if (ours.ratioToBestPeer() != null) {
            relations.add(Numbers.ratio(ours.ratioToBestPeer()) + " × best peer");
        } else if (fastest.isPresent()) {
            relations.add("no peer with as small an error");
        }
        String any = Numbers.ratio(Rating.ratio(ours, fastest));
        if (!any.isEmpty() && !any.equals(Numbers.ratio(ours.ratioToBestPeer()))) {
            relations.add(any + " × best peer of any error");
        }
        if (ours.percentOfLimit() != null) {
            relations.add(Numbers.percent(ours.percentOfLimit()) + " of the limit");
        }
        figure(ours.caseName(), String.join("; ", relations), Svg.of(Bars.chart(times), id, Bars.description(times)));
    }

    private void figure(String title, String text, String svg) {
        html.element(
                "figure",
                () -> html.element("figcaption", () -> html.element("b", title).element("span", text))
                        .markup(svg));
    }

    private static String style() {
        try (InputStream css = Report.class.getResourceAsStream("report.css")) {
            return new String(css.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
