package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Another JVM, started as a user would. */
final class JavaProcess {
    private JavaProcess() {}

    /** How it ended, and what it printed on both streams. */
    record Ended(int status, String output) {}

    /** What java prints with these options; it must end well and have nothing to warn of. */
    static String run(String... options) throws IOException, InterruptedException {
        Ended ended = start(options);
        assertEquals(0, ended.status(), ended.output());
        assertFalse(ended.output().contains("WARNING"), ended.output());
        return ended.output();
    }

    static Ended start(String... options) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        command.addAll(List.of(options));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Ended(process.waitFor(), output);
    }
}
