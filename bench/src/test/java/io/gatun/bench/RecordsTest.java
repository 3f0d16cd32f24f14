package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RecordsTest {
    @TempDir
    private Path folder;

    @Test
    void writesTheDocumentedFields() throws Exception {
        Result result = new Result("qmatmul", "c", "gatun 1", 2, "time", "ms", 2, 1, 3, 50.0, 1.5, 0.01, "k", "all");
        Records.write(folder, "qmatmul", List.of(result, result.rated(null, null)));
        JsonNode array = Records.JSON.readTree(folder.resolve("qmatmul.json").toFile());
        assertEquals(2, array.size());
        List<String> names = new ArrayList<>();
        array.get(0).fieldNames().forEachRemaining(names::add);
        assertEquals(
                List.of(
                        "op",
                        "case",
                        "impl",
                        "threads",
                        "metric",
                        "unit",
                        "median",
                        "min",
                        "max",
                        "percent_of_limit",
                        "ratio_to_best_peer",
                        "rel_error",
                        "kernel",
                        "timed"),
                names);
        assertEquals(1.5, array.get(0).get("ratio_to_best_peer").asDouble());
        assertEquals(true, array.get(1).get("percent_of_limit").isNull());
        assertEquals(List.of(result, result.rated(null, null)), Records.read(folder, "qmatmul"));
    }

    @Test
    void replacesWhatWasThere() throws Exception {
        Files.writeString(folder.resolve("limits.json"), "old");
        Records.write(folder, "limits", List.of());
        assertEquals(List.of(), Records.read(folder, "limits"));
        try (var files = Files.list(folder)) {
            assertEquals(List.of(folder.resolve("limits.json")), files.toList());
        }
    }
}
