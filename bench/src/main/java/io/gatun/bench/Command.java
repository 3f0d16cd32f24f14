package io.gatun.bench;

import io.gatun.bindings.NativeLibrary;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Another process that measures and prints a record a line, as JSON; other lines are its own affair. */
final class Command {
    private Command() {}

    /**
     * Runs it to its end.
     *
     * @throws IOException if it cannot start, fails, or prints a line that starts as a record and is none
     */
    static List<Result> run(List<String> command, Map<String, String> environment) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().putAll(environment);
        Process process = builder.start();
        Thread killer = new Thread(() -> destroy(process));
        Runtime.getRuntime().addShutdownHook(killer);
        try {
            process.getOutputStream().close();
            List<Result> results = new ArrayList<>();
            try (BufferedReader lines = process.inputReader()) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    if (line.startsWith("{")) {
                        results.add(Records.JSON.readValue(line, Result.class));
                    }
                }
            }
            int status = process.waitFor();
            if (status != 0) {
                throw new IOException("exit code " + status + " of " + String.join(" ", command));
            }
            return results;
        } catch (InterruptedException e) {
            throw new IOException("interrupted", e);
        } finally {
            destroy(process);
            removeHook(killer);
        }
    }

    private static void destroy(Process process) {
        process.descendants().forEach(ProcessHandle::destroy);
        process.destroy();
    }

    private static void removeHook(Thread hook) {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            hook.setName("shutting down"); // the hook runs already
        }
    }

    /** Runs a main class of this program in a JVM of its own. */
    static List<Result> java(Class<?> main, List<String> arguments, Map<String, String> environment)
            throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(jvmOptions());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(arguments);
        return run(command, environment);
    }

    /** What a JVM needs to run Gatun as this one does. */
    static List<String> jvmOptions() {
        List<String> options = new ArrayList<>(List.of("--enable-native-access=ALL-UNNAMED"));
        if (Runtime.version().feature() >= 23) {
            options.add("--sun-misc-unsafe-memory-access=allow"); // JMH's use of it is no news to a reader of figures
        }
        String library = System.getProperty(NativeLibrary.PATH_PROPERTY);
        if (library != null) {
            options.add("-D" + NativeLibrary.PATH_PROPERTY + "=" + library);
        }
        return options;
    }
}
