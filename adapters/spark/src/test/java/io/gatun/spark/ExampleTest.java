package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.example.MiniLm;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** README's program, submitted to a Spark that knows nothing of Gatun: all comes in the jars that README names. */
class ExampleTest {
    /** The modules in gatun-spark with the program, in gatun-0.1.0-all.jar, and in gatun-example. */
    private static final List<String> GATUN = List.of("spark", "java-api", "bindings", "example");

    private static final Pattern OTHERS = Pattern.compile("for name in (.*); do");

    @Test
    void programIsInReadme() throws IOException {
        String program = Files.readString(Path.of("src/test/java/EmbedColumn.java"));
        assertTrue(program.lines().count() <= 30, "longer than 30 lines");
        assertTrue(
                Files.readString(Path.of("README.md")).contains("```java\n" + program + "```"),
                "README.md has another program than EmbedColumn.java");
    }

    @Test
    void programRuns(@TempDir Path folder) throws Exception {
        Path natives = Files.createDirectory(folder.resolve("natives"));
        Matcher others = OTHERS.matcher(Files.readString(Path.of("README.md")));
        assertTrue(others.find(), "README.md names no jars");
        List<String> names = List.of(others.group(1).split(" "));
        List<Path> application = new ArrayList<>(ClassPath.gatun(natives));
        application.removeIf(entry -> !entry.equals(natives) && GATUN.stream().noneMatch(name -> isOf(name, entry)));
        for (String name : names) {
            List<Path> entries = ClassPath.select(entry -> isArtifact(name, entry));
            assertFalse(entries.isEmpty(), "not on the class path: " + name);
            application.addAll(entries);
        }
        List<String> jars = new ArrayList<>();
        for (Path entry : application) {
            Path jar = folder.resolve(jars.size() + ".jar");
            jars.add(Files.isDirectory(entry) ? pack(entry, jar) : entry.toString());
        }
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        command.addAll(List.of(System.getProperty("spark.options").trim().split("\\s+")));
        command.addAll(List.of(
                "-cp",
                ClassPath.select(entry ->
                                !ClassPath.isGatun(entry) && names.stream().noneMatch(name -> isArtifact(name, entry)))
                        .stream()
                        .map(Path::toString)
                        .collect(Collectors.joining(File.pathSeparator)),
                "org.apache.spark.deploy.SparkSubmit",
                "--master=local[2]",
                "--conf=spark.ui.enabled=false",
                "--conf=spark.driver.host=127.0.0.1",
                "--conf=spark.driver.bindAddress=127.0.0.1",
                "--jars=" + String.join(",", jars),
                "--class=EmbedColumn",
                jars.get(1)));
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .directory(folder.toFile())
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        List<List<String>> table = output.lines()
                .filter(line -> line.matches("\\| +[12]\\|.*"))
                .map(line -> List.of(line.replace(" ", "").substring(1).split("\\|")))
                .toList();
        try (MiniLm direct = MiniLm.load()) {
            String first = Float.toString(direct.embed(List.of("locks lift ships"))[0][0]);
            assertEquals(List.of(List.of("1", "384", first), List.of("2", "NULL", "NULL")), table, output);
        }
        assertTrue(!output.contains("WARNING"), output);
    }

    /** Whether it is what a module of Gatun was compiled to, packed or not. */
    private static boolean isOf(String module, Path entry) {
        return entry.toString().contains("/" + module + "/target/");
    }

    /** Whether it is an artifact of that name, of Gatun or of others. */
    private static boolean isArtifact(String name, Path entry) {
        return name.startsWith("gatun-")
                ? isOf(name.substring("gatun-".length()), entry)
                : entry.getFileName().toString().matches(Pattern.quote(name) + "-[0-9].*");
    }

    private static String pack(Path folder, Path jar) {
        assertEquals(
                0,
                ToolProvider.findFirst("jar")
                        .orElseThrow()
                        .run(System.out, System.err, "-c0f", jar.toString(), "-C", folder.toString(), "."));
        return jar.toString();
    }
}
