package io.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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

    @Test
    void deniedNativeAccessIsOneMessageWithTheFlag() throws Exception {
        boolean canDeny = Runtime.version().feature() >= 24;
        String deny = canDeny ? "--illegal-native-access=deny" : "--enable-native-access=java.base";
        assertRefused(
                List.of("native access is denied", "--enable-native-access=ALL-UNNAMED"),
                process(deny, "-cp", "target/classes:target/test-classes", MAIN));
        assertRefused(
                List.of("native access is denied", "--enable-native-access=io.gatun.bindings"),
                process(
                        deny,
                        "--module-path=target/classes",
                        "--patch-module=io.gatun.bindings=target/test-classes",
                        "--module=io.gatun.bindings/" + MAIN));
    }

    @Test
    void unknownValuesOfTheEnvironmentAreRefused() throws Exception {
        boolean arm = NativeLibrary.platform().endsWith("-aarch64");
        String tiers = arm ? "[scalar, neon, dotprod, i8mm]" : "[scalar, avx2, avxvnni, avx512, avx512vnni]";
        for (String[] bad : new String[][] {
            {"GATUN_MAX_ISA", "AVX2", tiers},
            {"GATUN_MAX_ISA", "sse", tiers},
            {"GATUN_MAX_ISA", arm ? "avx2" : "neon", tiers},
            {"GATUN_THREADS", "many", "1..1024"},
            {"GATUN_THREADS", "0", "1..1024"},
            {"GATUN_THREADS", "1025", "1..1024"},
            {"GATUN_THREADS", "", "1..1024"}
        }) {
            assertRefused(
                    List.of(bad[0] + ": given " + bad[1] + "; allowed: " + bad[2]), withEnvironment(bad[0], bad[1]));
        }
        for (String[] good : new String[][] {
            {"GATUN_MAX_ISA", "scalar"}, {"GATUN_MAX_ISA", ""}, {"GATUN_THREADS", "1"}, {"GATUN_THREADS", "1024"}
        }) {
            Process process = withEnvironment(good[0], good[1]).start();
            assertEquals(0, process.waitFor(), String.join("=", good));
        }
    }

    private static ProcessBuilder withEnvironment(String name, String value) {
        ProcessBuilder builder =
                process("--enable-native-access=ALL-UNNAMED", "-cp", "target/classes:target/test-classes", MAIN);
        builder.environment().put(name, value);
        return builder;
    }

    /** An uncaught UnsatisfiedLinkError with these parts and no cause. */
    private static void assertRefused(List<String> parts, ProcessBuilder builder) throws Exception {
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(1, process.waitFor(), output);
        assertTrue(output.contains("java.lang.UnsatisfiedLinkError: Gatun's native library"), output);
        assertFalse(output.contains("ExceptionInInitializerError") || output.contains("Caused by"), output);
        for (String part : parts) {
            assertTrue(output.contains(part), part + " is not in:\n" + output);
        }
    }

    private static void assertQuiet(String... options) throws Exception {
        String output = output(options);
        assertTrue(output.matches("\\d+\\.\\d+\\.\\d+\n"), output);
    }

    private static String output(String... options) throws IOException, InterruptedException {
        Process process = process(options).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }

    private static ProcessBuilder process(String... options) {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        command.add("-D" + NativeLibrary.PATH_PROPERTY + "=" + System.getProperty(NativeLibrary.PATH_PROPERTY));
        command.addAll(List.of(options));
        return new ProcessBuilder(command).redirectErrorStream(true);
    }
}
