package io.gatun.bench;

import io.gatun.bindings.NativeLibrary;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.stream.Stream;

/** Another process that measures and prints a record a line, as JSON; other lines are its own affair. */
final class Command {
    /** Properties that a JVM has from this one: tests ignore JMH's lock, which a bench on the same machine may hold. */
    private static final List<String> INHERITED = List.of(NativeLibrary.PATH_PROPERTY, "jmh.ignoreLock");

    /** For a program of this bench: much more than any takes, so that one that hangs does not go unnoticed. */
    private static final Duration OWN_LIMIT = Duration.ofMinutes(10);

    private Command() {}

    /**
     * Runs it to its end. After the limit it is killed, with all processes that it has started.
     *
     * @throws IOException if it cannot start, fails, takes longer than the limit, or prints a line that starts as a record
     *     and is none
     */
    static List<Result> run(List<String> command, Map<String, String> environment, Duration limit) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().putAll(environment);
        Process process = builder.start();
        Thread killer = new Thread(() -> end(process, ProcessHandle::destroy));
        Runtime.getRuntime().addShutdownHook(killer);
        try {
            process.getOutputStream().close();
            // On a thread of its own: a process that left its tree may keep the pipe open for ever.
            FutureTask<List<Result>> ended = new FutureTask<>(() -> readToEnd(process, command));
            Thread.ofPlatform().daemon().start(ended);
            return ended.get(limit.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            end(process, ProcessHandle::destroyForcibly);
            throw new IOException(
                    "killed, as it took longer than " + limit.toSeconds() + " s: " + String.join(" ", command), e);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof IOException failure ? failure : new IOException(e.getCause());
        } catch (InterruptedException e) {
            throw new IOException("interrupted", e);
        } finally {
            end(process, ProcessHandle::destroy);
            removeHook(killer);
        }
    }

    private static List<Result> readToEnd(Process process, List<String> command)
            throws IOException, InterruptedException {
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
    }

    /** The whole tree, listed before any of it ends: children of a process that has ended are no longer its. */
    private static void end(Process process, Consumer<ProcessHandle> how) {
        Stream.concat(Stream.of(process.toHandle()), process.descendants())
                .toList()
                .forEach(how);
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
        return run(command, environment, OWN_LIMIT);
    }

    /** What a JVM needs to run Gatun as this one does. */
    static List<String> jvmOptions() {
        List<String> options = new ArrayList<>(List.of("--enable-native-access=ALL-UNNAMED"));
        if (Runtime.version().feature() >= 23) {
            options.add("--sun-misc-unsafe-memory-access=allow"); // JMH's use of it is no news to a reader of figures
        }
        for (String property : INHERITED) {
            String value = System.getProperty(property);
            if (value != null) {
                options.add("-D" + property + "=" + value);
            }
        }
        return options;
    }
}
