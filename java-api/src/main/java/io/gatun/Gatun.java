package io.gatun;

import static io.gatun.bindings.c.gatun_h.GATUN_INTERNAL;
import static io.gatun.bindings.c.gatun_h.GATUN_UNSUPPORTED;
import static io.gatun.bindings.c.gatun_h.gatun_cpu_report;
import static io.gatun.bindings.c.gatun_h.gatun_last_error;
import static io.gatun.bindings.c.gatun_h.gatun_self_test;
import static io.gatun.bindings.c.gatun_h.gatun_set_threads;
import static io.gatun.bindings.c.gatun_h.gatun_threads;
import static io.gatun.bindings.c.gatun_h.gatun_tier;
import static io.gatun.bindings.c.gatun_h.gatun_version;

import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The native library itself. It is loaded by the first call that needs it, which throws {@link UnsatisfiedLinkError}
 * with the places tried and the remedy if it cannot be.
 */
public final class Gatun {
    private static final long CPU_REPORT_BYTES = 4096;
    private static final long SELF_TEST_BYTES = 16384;

    private Gatun() {}

    /** The outcome of a self-test. */
    public enum Outcome {
        /** Every kernel agrees with the reference. */
        PASS,
        /** A kernel is wrong. */
        FAIL,
        /** The tier cannot run on this machine. */
        NOT_AVAILABLE
    }

    /**
     * A tier's self-test.
     *
     * @param tier what was tested
     * @param outcome of all its kernels together
     * @param report a line for each kernel, or why there is none
     */
    public record SelfTest(Tier tier, Outcome outcome, String report) {}

    /** "major.minor.patch" of the library that is loaded. */
    public static String version() {
        NativeLibrary.load();
        return gatun_version().getString(0);
    }

    /** The tier in use. */
    public static Tier tier() {
        NativeLibrary.load();
        return Tier.values()[gatun_tier()];
    }

    /**
     * The threads of a call that does not say how many: the processors that the affinity mask and the control group
     * allow, unless {@link #setThreads} or the environment variable {@code GATUN_THREADS} said otherwise.
     */
    public static int threads() {
        NativeLibrary.load();
        return gatun_threads();
    }

    /**
     * Sets that number, 1..1024, for the whole process. Results never depend on it.
     *
     * @throws IllegalArgumentException outside that range
     */
    public static void setThreads(int threads) {
        NativeLibrary.load();
        Native.check(gatun_set_threads(threads));
    }

    /** A few lines for a person: processor, tier in use, each other tier with the reason why it is not. */
    public static String cpuReport() {
        NativeLibrary.load();
        return Native.text(CPU_REPORT_BYTES, text -> gatun_cpu_report(text, CPU_REPORT_BYTES));
    }

    /** Runs every kernel of a tier on small problems and compares with the reference; under a second. */
    public static SelfTest selfTest(Tier tier) {
        Check.present("tier", tier);
        NativeLibrary.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(SELF_TEST_BYTES);
            int status = gatun_self_test(tier.ordinal(), text, SELF_TEST_BYTES);
            if (status == GATUN_UNSUPPORTED()) {
                return new SelfTest(
                        tier, Outcome.NOT_AVAILABLE, gatun_last_error().getString(0));
            }
            Outcome outcome = status == GATUN_INTERNAL() ? Outcome.FAIL : Outcome.PASS;
            if (outcome == Outcome.PASS) {
                Native.check(status);
            }
            return new SelfTest(tier, outcome, text.getString(0).stripTrailing());
        }
    }
}
