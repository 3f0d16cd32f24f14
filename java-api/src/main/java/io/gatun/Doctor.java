package io.gatun;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_report;

import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Native;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * {@code java -jar gatun-<version>-all.jar}: whether Gatun works on this machine, and with what. Exit code 0 if it does,
 * 1 if the library cannot be loaded or a kernel is wrong.
 */
public final class Doctor {
    private static final long CUDA_REPORT_BYTES = 16384;
    private static final Path NVIDIA_DRIVER = Path.of("/proc/driver/nvidia/version");

    private final PrintStream out;

    private Doctor(PrintStream out) {
        this.out = out;
    }

    /** Prints the report to standard output and ends the process. */
    public static void main(String[] arguments) {
        System.exit(run(System.out));
    }

    /** Prints the report; returns the exit code. */
    static int run(PrintStream out) {
        return new Doctor(out).report();
    }

    private int report() {
        line(
                "JDK",
                System.getProperty("java.vm.name") + " " + Runtime.version() + " (" + System.getProperty("java.home")
                        + ")");
        line("platform", NativeLibrary.platform());
        line("GPU", gpu());
        try {
            NativeLibrary.load();
        } catch (UnsatisfiedLinkError e) {
            line("library", "not loaded");
            out.println(e.getMessage());
            out.println("Gatun does not work here.");
            return 1;
        }
        line("library", "Gatun " + Gatun.version() + ", " + NativeLibrary.loaded());
        NativeLibrary.searched().forEach(place -> out.println("  searched " + place));
        line("threads", Gatun.threads() + " by default, " + Runtime.getRuntime().availableProcessors() + " processors");
        line("tier", Gatun.tier().toString());
        out.println(Gatun.cpuReport().indent(2).stripTrailing());
        boolean works = selfTests();
        out.println(works ? "Gatun works here." : "Gatun is defective here: a kernel differs from the reference.");
        return works ? 0 : 1;
    }

    private boolean selfTests() {
        boolean works = true;
        for (Tier tier : Tier.values()) {
            Gatun.SelfTest test = Gatun.selfTest(tier);
            String outcome = switch (test.outcome()) {
                case PASS -> "pass, " + test.report().lines().count() + " kernels";
                case FAIL -> "FAIL\n" + test.report().indent(2).stripTrailing();
                case NOT_AVAILABLE -> "not available: " + test.report();
            };
            line("self-test " + tier, outcome);
            works &= test.outcome() != Gatun.Outcome.FAIL;
        }
        return works;
    }

    /** Not having one is no defect. */
    private static String gpu() {
        try {
            CudaLibrary.load();
        } catch (UnsatisfiedLinkError e) {
            return "none used; " + nvidiaDriver() + "\n"
                    + e.getMessage().indent(2).stripTrailing();
        }
        String devices = Native.cudaText(CUDA_REPORT_BYTES, text -> gatun_cuda_report(text, CUDA_REPORT_BYTES));
        return CudaLibrary.loaded() + "\n" + devices.indent(2).stripTrailing();
    }

    private static String nvidiaDriver() {
        try {
            return "NVIDIA driver: "
                    + Files.readAllLines(NVIDIA_DRIVER).getFirst().replaceAll("\\s+", " ");
        } catch (IOException | RuntimeException e) {
            return "no NVIDIA driver is visible (" + NVIDIA_DRIVER + ")";
        }
    }

    private void line(String name, String value) {
        out.printf("%-20s %s%n", name, value);
    }
}
