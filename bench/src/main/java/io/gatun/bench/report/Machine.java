package io.gatun.bench.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/** Where figures were measured. */
final class Machine {
    private static final double KIB_PER_GIB = 1 << 20;

    private Machine() {}

    /** Names and values for a list. */
    static Map<String, String> description() {
        Map<String, String> description = new LinkedHashMap<>();
        description.put("Processor", field("/proc/cpuinfo", "model name"));
        description.put(
                "Logical processors", Integer.toString(Runtime.getRuntime().availableProcessors()));
        description.put("Memory", memory());
        description.put("System", property("os.name") + " " + property("os.version") + " " + property("os.arch"));
        description.put("JVM", property("java.vm.name") + " " + property("java.runtime.version"));
        description.put(
                "Date",
                DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm z", Locale.ROOT).format(ZonedDateTime.now()));
        return description;
    }

    private static String memory() {
        String[] words = field("/proc/meminfo", "MemTotal").split(" ");
        return words.length == 2 && words[1].equals("kB")
                ? String.format(Locale.ROOT, "%.1f GiB", Double.parseDouble(words[0]) / KIB_PER_GIB)
                : String.join(" ", words);
    }

    /** The value of the first line "name: value" of a file of Linux. */
    private static String field(String file, String name) {
        try (Stream<String> lines = Files.lines(Path.of(file))) {
            return lines.filter(line -> line.startsWith(name))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse("unknown");
        } catch (IOException e) {
            return "unknown";
        }
    }

    private static String property(String name) {
        return System.getProperty(name);
    }
}
