package io.gatun.bindings;

import io.gatun.bindings.c.gatun_h;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
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

    private static final String FILE = System.mapLibraryName("gatun");
    private static final String SET_PATH = "set -D" + PATH_PROPERTY + "=<file or folder of " + FILE + ">";
    private static final List<String> searched = new ArrayList<>();
    private static final List<String> remedies = new ArrayList<>();
    private static volatile String loaded;

    private NativeLibrary() {}

    /**
     * Makes the functions of {@link gatun_h} callable. Cheap after the first call.
     *
     * @throws UnsatisfiedLinkError if no usable library was found: every place tried, why it failed, and the remedy; or
     *     if an environment variable has no value of its list. Later calls throw the same message again.
     */
    public static void load() {
        if (loaded == null) {
            loadOnce();
        }
    }

    /** Where the library was loaded from, for a person; null before a successful {@link #load()}. */
    public static String loaded() {
        return loaded;
    }

    /** The places tried so far, each with its outcome. */
    public static synchronized List<String> searched() {
        return List.copyOf(searched);
    }

    /** OS and architecture as resource paths and Maven classifiers name them, for instance linux-x86_64. */
    public static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        String osName = os.startsWith("mac") ? "osx" : os.startsWith("windows") ? "windows" : os;
        return osName + "-" + (arch.equals("amd64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch);
    }

    private static synchronized void loadOnce() {
        if (searched.isEmpty()) {
            try {
                search();
            } catch (IllegalCallerException denied) {
                Module module = NativeLibrary.class.getModule();
                searched.add("native access is denied: " + denied.getMessage());
                remedies.add("java --enable-native-access=" + (module.isNamed() ? module.getName() : "ALL-UNNAMED"));
            }
        }
        if (loaded == null) {
            throw new UnsatisfiedLinkError(message());
        }
    }

    private static void search() {
        String property = System.getProperty(PATH_PROPERTY);
        if (property != null) {
            Path path = Path.of(property);
            Path file = Files.isDirectory(path) ? path.resolve(FILE) : path;
            tryFile("system property " + PATH_PROPERTY + "=" + property, file);
        } else {
            searched.add("system property " + PATH_PROPERTY + ": not set");
            if (!tryResource("META-INF/native/" + platform() + "/" + FILE)) {
                tryBuildTree();
            }
        }
    }

    private static void tryFile(String place, Path file) {
        if (!Files.isRegularFile(file)) {
            searched.add(place + ": there is no file " + file.toAbsolutePath());
            return;
        }
        try {
            System.load(file.toRealPath().toString());
        } catch (UnsatisfiedLinkError | IOException first) {
            // The JVM refuses a file that another class loader has loaded, but not its copy.
            try (InputStream content = Files.newInputStream(file)) {
                loadCopy(content);
            } catch (UnsatisfiedLinkError | IOException e) {
                searched.add(place + ": " + first.getMessage());
                return;
            }
        }
        found(place);
    }

    /** Whether there is a resource, usable or not: then the search ends. */
    private static boolean tryResource(String name) {
        String place = "resource " + name;
        URL resource = NativeLibrary.class.getClassLoader().getResource(name);
        if (resource == null) {
            searched.add(place + ": not on the class path or module path");
            return false;
        }
        place = "resource " + resource;
        try (InputStream content = resource.openStream()) {
            loadCopy(content);
        } catch (UnsatisfiedLinkError | IOException e) {
            searched.add(place + ": " + e);
            remedies.add(
                    "set -Djava.io.tmpdir=<folder>, where the library is extracted, to one that is writable and not"
                            + " mounted noexec; it is " + System.getProperty("java.io.tmpdir"));
            remedies.add(SET_PATH);
            return true;
        }
        found(place);
        return true;
    }

    private static void tryBuildTree() {
        CodeSource source = NativeLibrary.class.getProtectionDomain().getCodeSource();
        Path file;
        try {
            // <root>/<module>/target/classes or <root>/<module>/target/<artifact>.jar
            Path code = Path.of(source.getLocation().toURI());
            Path root = code.resolve("../../..").normalize();
            file = root.resolve("native/target/cmake").resolve(FILE);
        } catch (URISyntaxException | RuntimeException e) {
            searched.add("build tree: the classes are not in files (" + source + ")");
            return;
        }
        tryFile("build tree " + file, file);
    }

    /** A library of another ABI ends the search, too: its functions would hide those of the next one. */
    private static void found(String place) {
        String problem = abiProblem();
        if (problem == null) {
            problem = environmentProblem();
        }
        searched.add(place + ": " + (problem == null ? "loaded" : problem));
        loaded = problem == null ? place : null;
    }

    /** Each copy has a path of its own, so that each class loader gets one; a loaded file needs no name any more. */
    private static void loadCopy(InputStream content) throws IOException {
        Path folder = Files.createTempDirectory("gatun-");
        Path copy = folder.resolve(FILE);
        try {
            Files.copy(content, copy, StandardCopyOption.REPLACE_EXISTING);
            System.load(copy.toString());
        } finally {
            Files.deleteIfExists(copy);
            Files.deleteIfExists(folder);
        }
    }

    /** What is wrong with the library that was just loaded, or null. */
    private static String abiProblem() {
        MemorySegment symbol =
                SymbolLookup.loaderLookup().find("gatun_abi_version").orElse(null);
        if (symbol == null) {
            return "this is not Gatun's library: it has no gatun_abi_version";
        }
        MethodHandle abiVersion =
                Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT));
        int abi;
        try {
            abi = (int) abiVersion.invokeExact();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        return abi == gatun_h.GATUN_ABI_VERSION()
                ? null
                : "the library has ABI " + abi + ", these classes need " + gatun_h.GATUN_ABI_VERSION();
    }

    /** What is wrong with an environment variable that the library reads, or null. */
    private static String environmentProblem() {
        List<String> tiers = IntStream.rangeClosed(gatun_h.GATUN_TIER_SCALAR(), gatun_h.GATUN_TIER_AVX512VNNI())
                .mapToObj(tier -> gatun_h.gatun_tier_name(tier).getString(0))
                .toList();
        String tier = System.getenv("GATUN_MAX_ISA");
        if (tier != null && !tier.isEmpty() && !tiers.contains(tier)) {
            remedies.add("set the environment variable GATUN_MAX_ISA to one of " + tiers + ", or not at all");
            return "GATUN_MAX_ISA: given " + tier + "; allowed: " + tiers;
        }
        String threads = System.getenv("GATUN_THREADS");
        if (threads != null && !(threads.matches("0*[1-9]\\d{0,3}") && Integer.parseInt(threads) <= 1024)) {
            remedies.add("set the environment variable GATUN_THREADS to a number in 1..1024, or not at all");
            return "GATUN_THREADS: given " + threads + "; allowed: 1..1024";
        }
        return null;
    }

    private static String message() {
        if (remedies.isEmpty()) {
            remedies.add("put io.gatun:gatun-native:" + platform()
                    + " of the version of gatun-bindings on the class path,"
                    + " or on the module path with --add-modules io.gatun.natives");
            remedies.add(SET_PATH);
            remedies.add("in Gatun's source tree: ./gatun doctor");
        }
        return "Gatun's native library for " + platform() + " can't be used. Tried:\n  - "
                + String.join("\n  - ", searched)
                + "\nRemedies:\n  - "
                + String.join("\n  - ", remedies);
    }
}
