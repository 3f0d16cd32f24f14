package io.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.gatun.bindings.c.gatun_cuda_h;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each test loads the library in a process of its own. */
class CudaLibraryTest {
    private static final String[] CLASS_PATH = {
        "--enable-native-access=ALL-UNNAMED", "-cp", "target/classes:target/test-classes", Main.class.getName()
    };
    private static final String[] MODULE_PATH = {
        "--enable-native-access=io.gatun.bindings",
        "--module-path=target/classes",
        "--patch-module=io.gatun.bindings=target/test-classes",
        "--module=io.gatun.bindings/" + Main.class.getName()
    };

    /** Loads twice; prints the message of each failure, or what the library says. */
    static final class Main {
        public static void main(String[] arguments) {
            for (int i = 0; i < 2; i++) {
                try {
                    CudaLibrary.load();
                    System.out.println(gatun_cuda_h.gatun_cuda_version().getString(0) + " " + CudaLibrary.loaded());
                } catch (UnsatisfiedLinkError e) {
                    System.out.println(e.getMessage());
                }
            }
            System.out.println(CudaLibrary.searched());
        }
    }

    @Test
    void withoutADriverOneMessageSaysSo() throws Exception {
        assumeFalse(hasDriver(), "there is a driver");
        for (String[] launch : List.of(CLASS_PATH, MODULE_PATH)) {
            String output = output(null, launch);
            String message = "Gatun's CUDA library for " + NativeLibrary.platform() + " can't be used. Tried:\n"
                    + "  - NVIDIA driver: the system's loader finds no libcuda.so.1\nRemedies:\n";
            assertTrue(output.startsWith(message), output);
            assertEquals(output.indexOf(message, 1), output.lastIndexOf(message), output);
            assertTrue(output.contains("Device.CPU"), output);
            assertFalse(output.contains("Exception"), output);
        }
    }

    @Test
    void noOtherPlaceIsTriedWithoutADriver(@TempDir Path folder) throws Exception {
        assumeFalse(hasDriver(), "there is a driver");
        Path file = Files.copy(emulated(), folder.resolve(System.mapLibraryName("gatun_cuda")));
        String output = output(file, CLASS_PATH);
        assertTrue(output.contains("finds no libcuda.so.1"), output);
        assertFalse(output.contains(file.toString()), output);
    }

    @Test
    void theEmulatedLibraryNeedsNoDriver() throws Exception {
        for (String[] launch : List.of(CLASS_PATH, MODULE_PATH)) {
            String output = output(emulated(), launch);
            String place = "system property gatun.cuda.library.path=" + emulated();
            assertTrue(output.matches("(?s)(\\d+\\.\\d+\\.\\d+ \\Q" + place + "\\E\n){2}.*"), output);
            assertTrue(output.endsWith("[" + place + ": loaded]\n"), output);
        }
    }

    @Test
    void aFileThatIsNoLibraryIsReported(@TempDir Path folder) throws Exception {
        Path text = Files.writeString(folder.resolve(emulated().getFileName()), "no library");
        String output = output(text, CLASS_PATH);
        assertTrue(output.contains("gatun.cuda.library.path=" + text + ": " + text), output);
        assertTrue(output.contains("put io.gatun:gatun-cuda-native:" + NativeLibrary.platform()), output);
        assertTrue(output.contains("--add-modules io.gatun.cuda.natives"), output);
        assertTrue(output.contains("set -Dgatun.cuda.library.path=<file or folder of libgatun_cuda.so>"), output);
    }

    private static Path emulated() {
        return Path.of(System.getProperty(CudaLibrary.PATH_PROPERTY));
    }

    private static boolean hasDriver() {
        try {
            SymbolLookup.libraryLookup("libcuda.so.1", Arena.global());
            return true;
        } catch (IllegalArgumentException absent) {
            return false;
        }
    }

    private static String output(Path library, String... options) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        if (library != null) {
            command.add("-D" + CudaLibrary.PATH_PROPERTY + "=" + library);
        }
        command.addAll(List.of(options));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }
}
