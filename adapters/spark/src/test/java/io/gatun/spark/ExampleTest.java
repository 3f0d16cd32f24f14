package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.example.MiniLm;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** README's program, submitted to a Spark that knows nothing of Gatun: all comes in jars named to spark-submit. */
class ExampleTest {
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
        List<Path> application = new ArrayList<>(ClassPath.gatun(natives));
        application.addAll(ClassPath.select(ExampleTest::isModel));
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
                ClassPath.select(entry -> !ClassPath.isGatun(entry) && !isModel(entry)).stream()
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

    /** What MiniLM needs beside Gatun. */
    private static boolean isModel(Path path) {
        return path.toString().contains("/ai/djl/") || path.toString().contains("/dev/langchain4j/");
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
