package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every Java block of the README is a program that compiles without a warning, runs, and prints results. */
class ReadmeTest {
    private static final Path README = Path.of("..", "README.md");
    private static final Pattern BLOCK = Pattern.compile("```java\\R(.*?)```", Pattern.DOTALL);
    private static final Pattern RESULT = Pattern.compile("\\d\\.\\d*[1-9]");
    private static final Pattern CLASS_NAME = Pattern.compile("\\bclass (\\w+)");

    /** Java warns of what protobuf calls, unless it is told not to. */
    private static final List<String> UNSAFE =
            Runtime.version().feature() < 23 ? List.of() : List.of("--sun-misc-unsafe-memory-access=allow");

    @Test
    void javaBlocksRun(@TempDir Path classes) throws IOException, InterruptedException {
        List<String> programs = BLOCK.matcher(Files.readString(README))
                .results()
                .map(block -> block.group(1))
                .filter(program -> !program.contains("io.gatun.jlama")) // adapters/jlama has a test of it
                .toList();
        assertFalse(programs.isEmpty(), "README.md has no ```java block");
        compile(programs, classes);
        for (String program : programs) {
            List<String> command = new ArrayList<>(UNSAFE);
            command.addAll(List.of(
                    "--enable-native-access=ALL-UNNAMED",
                    "-cp",
                    classes + File.pathSeparator + System.getProperty("java.class.path"),
                    name(program)));
            String output = JavaProcess.run(command.toArray(String[]::new));
            assertTrue(RESULT.matcher(output).find(), () -> "nothing but zeros:\n" + output);
        }
    }

    private static void compile(List<String> programs, Path classes) {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter output = new StringWriter();
        boolean compiled = compiler.getTask(
                        output,
                        null,
                        null,
                        List.of(
                                "-d",
                                classes.toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                "-Xlint:all,-path,-classfile",
                                "-Werror",
                                "-proc:none"),
                        null,
                        programs.stream().map(ReadmeTest::source).toList())
                .call();
        assertTrue(compiled, output::toString);
    }

    private static String name(String program) {
        Matcher name = CLASS_NAME.matcher(program);
        assertTrue(name.find(), () -> "no class in this block of README.md:\n" + program);
        return name.group(1);
    }

    private static JavaFileObject source(String program) {
        return new SimpleJavaFileObject(
                URI.create("string:///" + name(program) + ".java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                return program;
            }
        };
    }
}
