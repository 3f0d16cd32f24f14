package io.gatun.jlama;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** README's program for Jlama is the class JlamaProduct, which prints products by a kernel of Gatun. */
class ReadmeTest {
    @Test
    void programIsInReadme() throws IOException {
        String program = Files.readString(Path.of("src/test/java/JlamaProduct.java"));
        assertTrue(program.lines().count() <= 30, "longer than 30 lines");
        assertTrue(
                Files.readString(Path.of("../../README.md")).contains("```java\n" + program + "```"),
                "README.md has another program than JlamaProduct.java");
    }

    @Test
    void programRuns() throws ReflectiveOperationException {
        Method main = Class.forName("JlamaProduct").getDeclaredMethod("main", String[].class);
        main.setAccessible(true);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream before = System.out;
        System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        try {
            main.invoke(null, (Object) new String[0]);
        } finally {
            System.setOut(before);
        }
        String output = bytes.toString(StandardCharsets.UTF_8);
        // Sums of sin k cos(n + k): near -512 sin n, by 4 bits.
        String[] last = output.lines().reduce((a, b) -> b).orElseThrow().split(" ");
        assertTrue(output.startsWith("Gatun ") && output.contains("qmatmul_i8_u4"), output);
        assertTrue(Math.abs(Float.parseFloat(last[0]) + 512 * Math.sin(1)) < 15, output);
        assertTrue(Math.abs(Float.parseFloat(last[1]) + 512 * Math.sin(255)) < 15, output);
    }
}
