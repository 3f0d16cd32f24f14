package io.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.c.gatun_h;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** With the documented flag the JVM has nothing to warn of, on the class path and on the module path. */
class LaunchTest {
    private static final String MAIN = Main.class.getName();

    /** Loads the library and calls it. */
    static final class Main {
        public static void main(String[] arguments) {
            NativeLibrary.load();
            System.out.println(gatun_h.gatun_version().getString(0));
        }
    }

    @Test
    void classPath() throws Exception {
        assertQuiet("--enable-native-access=ALL-UNNAMED", "-cp", "target/classes:target/test-classes", MAIN);
    }

    @Test
    void modulePath() throws Exception {
        assertQuiet(
                "--enable-native-access=io.gatun.bindings",
                "--module-path=target/classes",
                "--patch-module=io.gatun.bindings=target/test-classes",
                "--module=io.gatun.bindings/" + MAIN);
    }

    @Test
    void withoutTheFlagTheJvmWarns() throws Exception {
        String output = output("-cp", "target/classes:target/test-classes", MAIN);
        assertTrue(output.startsWith("WARNING: A restricted method"), output);
    }

    private static void assertQuiet(String... options) throws Exception {
        String output = output(options);
        assertTrue(output.matches("\\d+\\.\\d+\\.\\d+\n"), output);
    }

    private static String output(String... options) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        command.add("-D" + NativeLibrary.PATH_PROPERTY + "=" + System.getProperty(NativeLibrary.PATH_PROPERTY));
        command.addAll(List.of(options));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }
}
