package io.gatun.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;

/** Without a GPU there is one message, and the CPU's ops work. */
@DisabledIfSystemProperty(named = Devices.PROPERTY, matches = ".+")
class CudaAbsentTest {
    /** Prints what asking for a device twice says, and that the CPU works. */
    static final class Main {
        public static void main(String[] arguments) {
            for (int i = 0; i < 2; i++) {
                try {
                    Cuda.devices();
                } catch (UnsatisfiedLinkError e) {
                    System.out.println(e.getMessage());
                }
            }
            System.out.println(Tensor.of(new float[] {1, 2}, 2).to(Device.CPU) + " " + DType.F32);
        }
    }

    @Test
    void withoutADriverTheMessageSaysSo() throws Exception {
        assumeFalse(hasDriver(), "there is a driver");
        Process process = new ProcessBuilder(List.of(
                        System.getProperty("java.home") + "/bin/java",
                        "--enable-native-access=ALL-UNNAMED",
                        "-D" + NativeLibrary.PATH_PROPERTY + "=" + System.getProperty(NativeLibrary.PATH_PROPERTY),
                        "-cp",
                        System.getProperty("java.class.path") + ":" + System.getProperty("jdk.module.path", "")
                                + ":target/test-classes",
                        Main.class.getName()))
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        String message = "Gatun's CUDA library for " + NativeLibrary.platform() + " can't be used. Tried:\n"
                + "  - NVIDIA driver: the system's loader finds no libcuda.so.1";
        assertTrue(output.startsWith(message), output);
        assertTrue(output.lastIndexOf(message) > 0, output);
        assertTrue(output.endsWith("f32[2] [1., 2.] f32\n"), output);
        assertFalse(output.contains("Exception"), output);
    }

    /** The emulated library is there, the natives of the presets are not. */
    @Test
    void withoutTheRuntimeTheMessageSaysSo() {
        assumeFalse(hasDriver(), "there is a driver");
        CudaLibrary.load();
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, Cuda::devices);
        assertTrue(
                error.getMessage().startsWith("The CUDA runtime of JavaCPP's presets can't be used:"),
                error::getMessage);
        assertTrue(error.getMessage().contains("classifier " + NativeLibrary.platform()), error::getMessage);
        assertTrue(error.getMessage().contains("libcudart.so.13"), error::getMessage);
        assertEquals(
                error.getMessage(),
                assertThrows(UnsatisfiedLinkError.class, Cuda::report).getMessage());
    }

    private static boolean hasDriver() {
        try {
            SymbolLookup.libraryLookup("libcuda.so.1", Arena.global());
            return true;
        } catch (IllegalArgumentException absent) {
            return false;
        }
    }
}
