package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** {@code demo --sparse}, all of it, with some of the sentences and one round of everything. */
class SparseDemoTest {
    private static final int SENTENCES = 20;

    private static String text;

    @BeforeAll
    static void run() throws Exception {
        PrintStream out = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true));
        try {
            SparseDemo.run(new SparseDemo.Options(Sentences.topical().subList(0, SENTENCES), 1, 1));
        } finally {
            System.setOut(out);
        }
        text = printed.toString(StandardCharsets.UTF_8);
    }

    /** Size, four cosines, neighbours, two speeds with their ranges. */
    private static List<String> row(String name) {
        String number = " +([\\d.]+)";
        Matcher row = Pattern.compile(
                        "(?m)^" + Pattern.quote(name) + number.repeat(6) + " %" + (number + " +\\S+").repeat(2) + "$")
                .matcher(text);
        assertTrue(row.find(), name + " in " + text);
        return Stream.iterate(1, i -> i + 1).limit(8).map(row::group).toList();
    }

    private static double cosine(String name) {
        return Double.parseDouble(row(name).get(1));
    }

    @Test
    void modelsAreAsGoodAsTheirNames() {
        assertEquals(
                List.of("1.0000", "1.0000", "1.0000", "1.0000", "100.0"),
                row("ONNX Runtime fp32").subList(1, 6));
        assertTrue(cosine("Gatun int8") >= 0.997, text);
        assertTrue(cosine("Gatun f32 2:4") >= 0.75 && cosine("Gatun int8 2:4") >= 0.75, text);
        assertTrue(cosine("Gatun f32 2:4, by magnitude") < cosine("Gatun f32 2:4") - 0.1, text);
        assertTrue(cosine("Gatun f32 2:4, ARMOR") > cosine("Gatun f32 2:4") + 0.05, text);
        Matcher loss =
                Pattern.compile("1 rounds of its fit leave (\\d\\d\\.\\d) %").matcher(text);
        assertTrue(loss.find() && Double.parseDouble(loss.group(1)) < 80, text);
    }

    @Test
    void theLastLineSaysWhatTheTableSays() {
        Map<String, String> last = Stream.of(
                        text.lines().toList().getLast().split(": ")[1].split(" "))
                .map(word -> word.split("="))
                .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
        assertEquals(row("Gatun f32 2:4").get(1), last.get("f32_cos"));
        assertEquals(row("Gatun f32 2:4, ARMOR").get(1), last.get("armor_cos"));
        assertEquals(row("Gatun int8 2:4").get(1), last.get("int8_cos"));
        assertEquals(row("Gatun int8 2:4").get(5) + "%", last.get("int8_same"));
        assertEquals(row("Gatun int8 2:4").get(7), last.get("sentences_per_s"));
        assertEquals(row("Gatun int8").get(7), last.get("dense_int8"));
        assertEquals(speeds("Gatun int8 2:4", "Gatun int8").get(1), last.get("ratio"));
    }

    private static List<String> speeds(String sparse, String dense) {
        Matcher line = Pattern.compile(
                        "(?m)^  " + Pattern.quote(sparse) + " +([\\d.]+) +([\\d.]+)  " + Pattern.quote(dense) + "$")
                .matcher(text);
        assertTrue(line.find(), sparse + " over " + dense + " in " + text);
        return List.of(line.group(1), line.group(2));
    }

    @Test
    void speedsAreThoseOfTheTable() {
        for (String[] pair : new String[][] {
            {"Gatun f32 2:4", "ONNX Runtime fp32"},
            {"Gatun f32 2:4, ARMOR", "ONNX Runtime fp32"},
            {"Gatun int8 2:4", "Gatun int8"}
        }) {
            for (int way = 0; way < 2; way++) {
                double sparse = Double.parseDouble(row(pair[0]).get(6 + way));
                double dense = Double.parseDouble(row(pair[1]).get(6 + way));
                double printed = Double.parseDouble(speeds(pair[0], pair[1]).get(way));
                // The table rounds to whole sentences, the ratio is rounded down.
                double rounding = 0.01 + sparse / dense * (0.5 / sparse + 0.5 / dense) * 1.1;
                assertEquals(sparse / dense, printed, rounding, text);
            }
        }
    }

    @Test
    void saysWhatItCompares() throws IOException {
        assertTrue(text.contains("\n" + SENTENCES + " sentences of "), text);
        assertTrue(text.contains("over " + Sentences.calibration().size() + " other sentences"), text);
        for (String kernel : List.of("nm_matmul_f32_f32_f32_", "nm_matmul_i8_i8_f32_", "qmatmul_i8_u8_f32_")) {
            assertTrue(text.contains(kernel), kernel + " in " + text);
        }
        text.lines().forEach(line -> assertTrue(line.length() <= 150, line));
    }
}
