package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OrtEncoderTest {
    @TempDir
    Path cache;

    /** Loads ONNX Runtime, in a process of its own. */
    static final class Load {
        public static void main(String[] arguments) {
            System.out.println(OrtEncoder.version());
        }
    }

    @Test
    void noTelemetryIsLeftInTheUsersCache() throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Load.class.getName());
        builder.environment().put("XDG_CACHE_HOME", cache.toString());
        // Either would silence ONNX Runtime without our doing.
        builder.environment().keySet().removeAll(List.of("CI", "ORT_DISABLE_TELEMETRY"));
        Process process = builder.redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        assertEquals("1.29.0", output.strip());
        try (Stream<Path> left = Files.list(cache)) {
            assertEquals(List.of(), left.toList());
        }
    }
}
