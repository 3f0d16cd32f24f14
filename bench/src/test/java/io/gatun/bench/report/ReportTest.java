package io.gatun.bench.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.QMatmulCase;
import io.gatun.bench.Result;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilder;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.knowm.xchart.XYSeries;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class ReportTest {
    @TempDir
    Path folder;

    private String text; // of the last report

    /** The report as a browser would see it; it must be well-formed. */
    private Document report(List<Result> results, String... arguments) throws Exception {
        Path file = Report.write(folder.resolve("results"), results, List.of(arguments));
        assertEquals(folder.resolve("results").resolve("report.html"), file);
        text = Files.readString(file);
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setFeature("http://apache.org/xml/features/nonvalidating/load-external-dtd", false);
        DocumentBuilder parser = factory.newDocumentBuilder();
        parser.setErrorHandler(null);
        return parser.parse(new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)));
    }

    private static List<Element> elements(Document document, String name) {
        NodeList nodes = document.getElementsByTagName(name);
        return IntStream.range(0, nodes.getLength())
                .mapToObj(i -> (Element) nodes.item(i))
                .toList();
    }

    private static List<String> texts(Document document, String name) {
        return elements(document, name).stream().map(Element::getTextContent).toList();
    }

    @Test
    void holdsEveryRecord() throws Exception {
        List<Result> results = Samples.run();
        Document report = report(results);
        List<Element> rows = elements(report, "tr");
        assertEquals(1 + results.size(), rows.size());
        for (int i = 0; i < results.size(); i++) {
            List<String> cells = cells(rows.get(i + 1));
            Result result = results.get(i);
            assertTrue(cells.getFirst().endsWith(result.caseName()), cells::toString);
            assertEquals(result.impl(), cells.get(1));
            assertEquals(Numbers.digits(result.median()), cells.get(3));
            assertEquals(result.unit(), cells.get(5));
            assertEquals(result.kernel(), cells.get(10));
            assertEquals(result.isGatun(), rows.get(i + 1).getAttribute("class").startsWith("ours"));
        }
    }

    private static List<String> cells(Element row) {
        NodeList cells = row.getElementsByTagName("td");
        return IntStream.range(0, cells.getLength())
                .mapToObj(i -> cells.item(i).getTextContent())
                .toList();
    }

    @Test
    void showsBothGroupingsOfPeers() throws Exception {
        Document report = report(Samples.run());
        List<String> cells = cells(elements(report, "tr").get(4));
        assertEquals("gatun", cells.get(1));
        assertEquals("2.31", cells.get(7), "of the fastest peer as exact as ours");
        assertEquals("1.60", cells.get(8), "of the fastest peer");
    }

    @Test
    void drawsARooflineForEachNumberOfThreadsAndBarsForEachCaseWithPeers() throws Exception {
        List<Result> results = Samples.run();
        Document report = report(results);
        List<String> ids = elements(report, "svg").stream()
                .map(svg -> svg.getAttribute("id"))
                .toList();
        assertEquals(2, ids.stream().filter(id -> id.startsWith("roofline-")).count());
        assertEquals(16, ids.stream().filter(id -> id.startsWith("bars-")).count());
        List<String> captions = texts(report, "figcaption");
        for (Result result : results) {
            boolean compared = result.impl().contains("onednn");
            assertTrue(!compared || captions.stream().anyMatch(caption -> caption.startsWith(result.caseName())));
        }
        for (Element svg : elements(report, "svg")) {
            assertTrue(svg.getElementsByTagName("path").getLength() > 8, "axes, and text as outlines");
            assertFalse(svg.getAttribute("aria-label").isBlank());
        }
        assertTrue(
                elements(report, "svg").get(2).getAttribute("aria-label").contains("onnxruntime 1.29.0"), "names all");
    }

    /** Dense weights beside sparse ones are under no limit of the sparse work. */
    @Test
    void sparseWeightsAlonePutAPointBelowTheRoofline() {
        String name = "int8 2:4 4096x4096 m=512 t=1";
        List<Result> results = List.of(
                Samples.limit("read", 1, "bandwidth", "GB/s", 30),
                Samples.limit("dot int8", 1, "rate", "GOP/s", 469),
                sparse(name, "gatun 1", 30),
                sparse(name, "gatun 1 dense", 40),
                sparse("prune+compress f32 2:4 4096x4096 t=1", "gatun 1", 5));
        XYSeries points =
                Roofline.chart(results, 1).orElseThrow().getSeriesMap().get("int8 2:4");
        assertArrayEquals(new double[] {2.0 * 4096 * 4096 / 2 * 512 / 30e-3 * 1e-9}, points.getYData(), 1e-9);
    }

    /** Points at their percent, that of all blocks at 100; the line from nothing to there. */
    @Test
    void timesOfAttentionToBlocksAreDrawnOverTheirShare() throws Exception {
        List<Result> results = List.of(
                attention("bf16 sparse 8192 causal d=50 t=2", "gatun 1", 520),
                attention("bf16 sparse 8192 causal d=50 t=2", "gatun 1 dense", 1000),
                attention("bf16 sparse 8192 causal d=10 t=2", "gatun 1", 110),
                attention("bf16 sparse 8192 causal d=10 t=2", "gatun 1 dense", 1010),
                attention("bf16 sparse 8192 full d=10 t=2", "gatun 1", 210),
                attention("bf16 sparse 8192 full d=10 t=2", "gatun 1 dense", 2000),
                attention("bf16 sparse 8192 full d=10 t=2", "onnxruntime-sparse 1", 9000),
                attention("f32 sparse 8192 full d=10 t=2", "gatun 1", 410),
                attention("bf16 dense 8192 full t=2", "gatun 1", 1990));
        Map<String, XYSeries> series = Densities.chart(results, 2).orElseThrow().getSeriesMap();
        assertEquals(
                Set.of("bf16 8192 causal", "bf16 8192 causal ideal", "bf16 8192 full", "bf16 8192 full ideal"),
                series.keySet());
        assertArrayEquals(
                new double[] {50, 10, 100}, series.get("bf16 8192 causal").getXData());
        assertArrayEquals(
                new double[] {520, 110, 1005}, series.get("bf16 8192 causal").getYData(), 1e-9);
        assertArrayEquals(
                new double[] {0, 100}, series.get("bf16 8192 causal ideal").getXData());
        assertArrayEquals(
                new double[] {0, 1005}, series.get("bf16 8192 causal ideal").getYData(), 1e-9);
        assertTrue(Densities.chart(results, 1).isEmpty());
        assertTrue(Densities.chart(Samples.run(), 2).isEmpty());
        Document report = report(results);
        List<Element> charts = elements(report, "svg").stream()
                .filter(svg -> svg.getAttribute("id").startsWith("densities-"))
                .toList();
        assertEquals(1, charts.size());
        assertTrue(charts.getFirst().getAttribute("aria-label").contains("bf16 8192 full: 10 % 210 ms, 100 % 2000 ms"));
    }

    private static Result attention(String name, String impl, double millis) {
        return new Result(
                "attention", name, impl, 2, "time", "ms", millis, millis, millis, 50.0, null, 1e-3, "kernel", "timed");
    }

    private static Result sparse(String name, String impl, double millis) {
        return new Result(
                "nm_matmul", name, impl, 1, "time", "ms", millis, millis, millis, 50.0, null, 1e-3, "kernel", "timed");
    }

    /** A format of which one direction was measured has one bar; a peer none, nor a product. */
    @Test
    void drawsHowNearQuantizationComesToTheLimitOfMemory() throws Exception {
        Document report = report(List.of(
                quantization("int4 g32 quantize 64Mi t=1", "gatun", 1, 81.4),
                quantization("int4 g32 quantize 64Mi t=1", "mine", 1, 12.0),
                quantization("int4 g32 dequantize 64Mi t=1", "gatun", 1, 92.0),
                quantization("nf4 b64 dequantize 64Mi t=1", "gatun", 1, 103.0),
                quantization("nf4 b64 bf16 14336x4096 m=1 t=1", "gatun", 1, 55.0),
                quantization("int4 g32 quantize 64Mi t=2", "gatun", 2, 99.0)));
        List<Element> charts = elements(report, "svg").stream()
                .filter(svg -> svg.getAttribute("id").startsWith("shares-"))
                .toList();
        assertEquals(
                List.of(
                        "1 thread: int4 g32: quantize 81 %, dequantize 92 %; nf4 b64: dequantize 103 %",
                        "2 threads: int4 g32: quantize 99 %"),
                charts.stream().map(svg -> svg.getAttribute("aria-label")).toList());
        List<String> bars = fills(charts.getFirst());
        assertTrue(Collections.frequency(bars, "rgb(0,114,178)") >= 1, bars::toString);
        assertTrue(Collections.frequency(bars, "rgb(213,94,0)") >= 2, bars::toString);
    }

    /** Types of parameters beside each other. */
    @Test
    void drawsHowNearOptimizersComeToTheLimitOfMemory() throws Exception {
        Document report = report(List.of(
                optimization("adam8bit 64Mi f32 t=1", 88.4),
                optimization("adamw8bit 64Mi bf16 t=1", 71.0),
                optimization("adamw8bit 64Mi f32 t=1", 93.0)));
        List<Element> charts = elements(report, "svg").stream()
                .filter(svg -> svg.getAttribute("id").startsWith("shares-optimizer"))
                .toList();
        assertEquals(
                List.of("1 thread: adam8bit: f32 88 %; adamw8bit: bf16 71 %, f32 93 %"),
                charts.stream().map(svg -> svg.getAttribute("aria-label")).toList());
        assertTrue(fills(charts.getFirst()).contains("rgb(0,158,115)"), "bf16");
    }

    /** Types of caches beside each other; neither selections nor other ways of ours in a case have bars. */
    @Test
    void drawsHowNearAttentionToCachesComesToTheLimitOfMemory() throws Exception {
        Document report = report(List.of(
                decoding("bf16 kv=8192 heads=32/8 t=1", "gatun 1", 88.0),
                decoding("bf16 kv=8192 heads=32/8 t=1", "peer", 12.0),
                decoding("bf16 top=10% kv=8192 heads=32/8 t=1", "gatun 1", 61.0),
                decoding("int4 g32 kv=8192 heads=32/8 t=1", "gatun 1", 71.0),
                decoding("int4 g32 kv=8192 heads=32/8 t=1", "gatun 1 bf16", 33.0),
                decoding("int2 kv=32768 heads=32/32 t=1", "gatun 1", 52.0)));
        List<Element> charts = elements(report, "svg").stream()
                .filter(svg -> svg.getAttribute("id").startsWith("shares-decode"))
                .toList();
        assertEquals(
                List.of("1 thread: kv=8192 heads=32/8: bf16 88 %, int4 g32 71 %; kv=32768 heads=32/32: int2 52 %"),
                charts.stream().map(svg -> svg.getAttribute("aria-label")).toList());
        assertTrue(fills(charts.getFirst()).contains("rgb(86,180,233)"), "int2");
    }

    private static Result decoding(String name, String impl, double percent) {
        return new Result("decode", name, impl, 1, "time", "ms", 20, 19, 22, percent, null, 1e-3, "kernel", "timed");
    }

    private static Result optimization(String name, double percent) {
        return new Result(
                "optimizer", name, "gatun", 1, "time", "ms", 20, 19, 22, percent, null, 0.1, "kernel", "timed");
    }

    private static Result quantization(String name, String impl, int threads, double percent) {
        return new Result(
                "quantize", name, impl, threads, "time", "ms", 20, 19, 22, percent, null, 0.1, "kernel", "timed");
    }

    @Test
    void barsAreSortedAndOursStandsOut() throws Exception {
        Document report = report(Samples.run());
        // The second case: ours is slower than the peer.
        Element svg = elements(report, "svg").stream()
                .filter(element -> element.getAttribute("id").equals("bars-1"))
                .findFirst()
                .orElseThrow();
        List<String> fills = fills(svg);
        String ours = "rgb(31,95,191)", peer = "rgb(135,148,165)";
        assertTrue(fills.contains(ours) && fills.contains(peer), fills::toString);
        assertTrue(fills.indexOf(peer) < fills.indexOf(ours), fills::toString);
        // The first one: ours, a peer that is less exact, two that are as exact.
        Element first = elements(report, "svg").stream()
                .filter(element -> element.getAttribute("id").equals("bars-0"))
                .findFirst()
                .orElseThrow();
        String coarser = "rgb(205,212,221)";
        assertEquals(
                List.of(ours, coarser, peer, peer),
                fills(first).stream()
                        .filter(Set.of(ours, coarser, peer)::contains)
                        .toList());
    }

    private static List<String> fills(Element svg) {
        NodeList shapes = svg.getElementsByTagName("*");
        List<String> fills = new ArrayList<>();
        for (int i = 0; i < shapes.getLength(); i++) {
            String style = ((Element) shapes.item(i)).getAttribute("style");
            if (style.startsWith("fill:")) {
                fills.add(style.substring("fill:".length(), style.indexOf(';')));
            }
        }
        return fills;
    }

    @Test
    void identifiersAreUniqueAndReferencesResolve() throws Exception {
        Document report = report(Samples.run());
        Set<String> ids = new HashSet<>();
        for (Element element : elements(report, "*")) {
            String id = element.getAttribute("id");
            assertTrue(id.isEmpty() || ids.add(id), id);
        }
        for (Element element : elements(report, "*")) {
            String clip = element.getAttribute("clip-path");
            assertTrue(clip.isEmpty() || ids.contains(clip.replaceAll("^url\\(#|\\)$", "")), clip);
        }
    }

    @Test
    void needsNothingFromOutside() throws Exception {
        report(Samples.run());
        for (String outside :
                List.of("<script", "<link", "<img", "src=", "href=", "@import", "url(http", "<!DOCTYPE svg")) {
            assertFalse(text.contains(outside), outside);
        }
        // Names of namespaces are no addresses.
        assertFalse(text.replaceAll("xmlns=\"http://www.w3.org/(1999/xhtml|2000/svg)\"", "")
                .contains("://"));
    }

    @Test
    void escapesWhatOthersWrote() throws Exception {
        String hostile = "<script>alert(\"1\")</script> & 'x' \u0001 $1 \\";
        List<Result> results = Stream.of(hostile, "gatun")
                .map(impl -> new Result(
                        hostile,
                        hostile,
                        impl,
                        1,
                        "time",
                        hostile.equals(impl) ? "s" : "ms",
                        1,
                        1,
                        1,
                        null,
                        null,
                        null,
                        hostile,
                        hostile))
                .toList();
        Document report = report(results, hostile);
        assertFalse(text.contains("<script"));
        String shown = hostile.replace('\u0001', '\ufffd');
        assertEquals(shown, cells(elements(report, "tr").get(1)).getFirst());
        assertEquals(shown, cells(elements(report, "tr").get(1)).get(1));
        assertTrue(elements(report, "svg").getFirst().getAttribute("aria-label").contains(shown));
    }

    @Test
    void saysHowToReproduceIt() throws Exception {
        Document report = report(Samples.run(), "qmatmul", "--quick", "--peer", "mine=./my peer");
        assertTrue(texts(report, "dd").contains("./gatun bench qmatmul --quick --peer 'mine=./my peer'"));
        assertTrue(texts(report, "dt").containsAll(List.of("Processor", "Memory", "System", "JVM", "Date")));
        assertFalse(texts(report, "dd").stream().anyMatch(String::isBlank));
    }

    @Test
    void isWrittenWithoutFontsAndSaysSo() throws Exception {
        Path fonts = Files.writeString(folder.resolve("fonts.conf"), "<?xml version='1.0'?><fontconfig></fontconfig>");
        ProcessBuilder java = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Duser.home=" + folder, // where Java remembers the fonts that it found
                        "-cp",
                        System.getProperty("java.class.path"),
                        WriteReport.class.getName(),
                        folder.toString())
                .redirectErrorStream(true);
        java.environment().put("FONTCONFIG_FILE", fonts.toString());
        Process process = java.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        String page = Files.readString(folder.resolve("report.html"));
        assertTrue(page.contains("No charts: this JVM finds no fonts."), page);
        assertFalse(page.contains("<svg"));
        assertTrue(page.contains("<table>"));
    }

    /** As programs of others may print them. */
    @Test
    void drawsTheSameNameTwiceAndNoTimeOfZero() throws Exception {
        QMatmulCase problem = Samples.problem("int4", 32, 1, 1);
        Result time = Samples.time(problem, Samples.ONNX, 10, null, null, null);
        Result zero = Samples.time(problem, "nothing", Double.POSITIVE_INFINITY, null, null, null);
        List<Result> results =
                List.of(Samples.time(problem, Samples.GATUN, 20, null, null, null), time, time, time, zero);
        Document report = report(results);
        assertEquals(1, elements(report, "svg").size());
        String description = elements(report, "svg").getFirst().getAttribute("aria-label");
        assertEquals(4, description.split("ms").length, description);
        assertEquals(1 + results.size(), elements(report, "tr").size());
    }

    /** Axes of any scale: XChart searches labels that differ. */
    @Test
    void drawsSpeedsOfAnyMagnitude() throws Exception {
        for (double giga : new double[] {1e-7, 1e-3, 1, 1e7}) {
            List<Result> results = List.of(
                    Samples.limit("read", 1, "bandwidth", "GB/s", giga),
                    Samples.limit("dot int8", 1, "rate", "GOP/s", 7 * giga),
                    Samples.time(Samples.problem("int4", 32, 1, 1), Samples.GATUN, giga, null, null, null),
                    Samples.time(Samples.problem("int4", 32, 1, 1), Samples.ONNX, 1.01 * giga, null, null, null),
                    Samples.time(Samples.problem("int4", 32, 512, 1), Samples.GATUN, 6.9 * giga, null, null, null));
            Document report = assertTimeoutPreemptively(Duration.ofSeconds(30), () -> report(results));
            assertEquals(2, elements(report, "svg").size());
        }
    }

    @Test
    void isWrittenWithoutComparisonsToo() throws Exception {
        Document report = report(List.of());
        assertEquals(0, elements(report, "svg").size());
        assertEquals(1, elements(report, "tr").size());
    }

    @Test
    void numbersHaveThreeDigits() {
        assertEquals("0", Numbers.digits(0));
        assertEquals("12.3", Numbers.digits(12.345));
        assertEquals("0.00123", Numbers.digits(0.0012349));
        assertEquals("6.1e-07", Numbers.digits(6.1e-7));
        assertEquals("123457", Numbers.digits(123456.7));
        assertEquals("1.00", Numbers.digits(0.9999));
        assertEquals("-12.3", Numbers.digits(-12.345));
        assertEquals("NaN", Numbers.digits(Double.NaN));
    }
}
