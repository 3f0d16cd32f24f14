package io.gatun.bindings;

import io.gatun.bindings.c.gatun_h;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Finds, loads and checks libgatun, once per class loader. Places, in this order:
 *
 * <ol>
 *   <li>the system property {@code gatun.library.path}, a file or a folder; if it is set, nothing else is tried;
 *   <li>the resource {@code META-INF/native/<os>-<architecture>/libgatun.so} of a gatun-native jar;
 *   <li>{@code native/target/cmake} of the source tree that this class was built in.
 * </ol>
 *
 * <p>The environment variables {@code GATUN_MAX_ISA} and {@code GATUN_THREADS} are checked, too: a value that the library
 * does not know would be ignored.
 */
public final class NativeLibrary {
    /** The system property that names the library, or the folder that holds it. */
    public static final String PATH_PROPERTY = "gatun.library.path";

    private static final LibrarySearch SEARCH = new LibrarySearch(
            new LibrarySearch.Target(
                    "Gatun's native library",
                    System.mapLibraryName("gatun"),
                    PATH_PROPERTY,
                    "native/target/cmake",
                    "gatun-native",
                    "io.gatun.natives",
                    "gatun_abi_version",
                    gatun_h::GATUN_ABI_VERSION),
            remedies -> null,
            NativeLibrary::environmentProblem);

    private NativeLibrary() {}

    /**
     * Makes the functions of {@link gatun_h} callable. Cheap after the first call.
     *
     * @throws UnsatisfiedLinkError if no usable library was found: every place tried, why it failed, and the remedy; or
     *     if an environment variable has no value of its list. Later calls throw the same message again.
     */
    public static void load() {
        SEARCH.load();
    }

    /** Where the library was loaded from, for a person; null before a successful {@link #load()}. */
    public static String loaded() {
        return SEARCH.loaded();
    }

    /** The places tried so far, each with its outcome. */
    public static List<String> searched() {
        return SEARCH.searched();
    }

    /** OS and architecture as resource paths and Maven classifiers name them, for instance linux-x86_64. */
    public static String platform() {
        return LibrarySearch.platform();
    }

    /** What is wrong with an environment variable that the library reads, or null. */
    private static String environmentProblem(Consumer<String> remedies) {
        IntStream own = platform().endsWith("-aarch64")
                ? IntStream.rangeClosed(gatun_h.GATUN_TIER_NEON(), gatun_h.GATUN_TIER_I8MM())
                : IntStream.rangeClosed(gatun_h.GATUN_TIER_AVX2(), gatun_h.GATUN_TIER_AVX512VNNI());
        List<String> tiers = IntStream.concat(IntStream.of(gatun_h.GATUN_TIER_SCALAR()), own)
                .mapToObj(tier -> gatun_h.gatun_tier_name(tier).getString(0))
                .toList();
        String tier = System.getenv("GATUN_MAX_ISA");
        if (tier != null && !tier.isEmpty() && !tiers.contains(tier)) {
            remedies.accept("set the environment variable GATUN_MAX_ISA to one of " + tiers + ", or not at all");
            return "GATUN_MAX_ISA: given " + tier + "; allowed: " + tiers;
        }
        String threads = System.getenv("GATUN_THREADS");
        if (threads != null && !(threads.matches("0*[1-9]\\d{0,3}") && Integer.parseInt(threads) <= 1024)) {
            remedies.accept("set the environment variable GATUN_THREADS to a number in 1..1024, or not at all");
            return "GATUN_THREADS: given " + threads + "; allowed: 1..1024";
        }
        return null;
    }
}
