package io.gatun.bench;

import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/** Records as JSON: {@code <op>.json} is an array of them. */
final class Records {
    static final ObjectMapper JSON = JsonMapper.builder()
            .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .build();

    private Records() {}

    /** Writes all records of an op; a reader sees the old file or the new one. */
    static void write(Path folder, String op, List<Result> results) throws IOException {
        Files.createDirectories(folder);
        Path file = folder.resolve(op + ".json");
        Path draft = folder.resolve(op + ".json.new");
        DefaultPrettyPrinter lines = new DefaultPrettyPrinter();
        lines.indentArraysWith(DefaultIndenter.SYSTEM_LINEFEED_INSTANCE);
        JSON.writer(lines).writeValue(draft.toFile(), results);
        Files.move(draft, file, StandardCopyOption.REPLACE_EXISTING);
    }

    /** What {@link #write} wrote. */
    static List<Result> read(Path folder, String op) throws IOException {
        return List.of(JSON.readValue(folder.resolve(op + ".json").toFile(), Result[].class));
    }
}
