package io.gatun.bindings;

import io.gatun.bindings.c.gatun_h;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Finds, loads and checks libgatun, once per class loader. Places, in this order:
 *
 * <ol>
 *   <li>the system property {@code gatun.library.path}, a file or a folder; if it is set, nothing else is tried;
 *   <li>the resource {@code META-INF/native/<os>-<architecture>/libgatun.so} of a gatun-native jar;
 *   <li>{@code native/target/cmake} of the source tree that this class was built in.
 * </ol>
 */
public final class NativeLibrary {
    /** The system property that names the library, or the folder that holds it. */
    public static final String PATH_PROPERTY = "gatun.library.path";

    private static final String FILE = System.mapLibraryName("gatun");
    private static final List<String> searched = new ArrayList<>();
    private static volatile String loaded;

    private NativeLibrary() {}

    /**
     * Makes the functions of {@link gatun_h} callable. Cheap after the first call.
     *
     * @throws UnsatisfiedLinkError if no usable library was found: every place tried, why it failed, and the remedy.
     *     Later calls throw the same message again.
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
            search();
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

    /** Whether a library was loaded, good or not: then the search ends. */
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
            searched.add(place + ": " + e.getMessage());
            return false;
        }
        found(place);
        return true;
    }

    private static void tryBuildTree() {
        CodeSource source = NativeLibrary.class.getProtectionDomain().getCodeSource();
        try {
            // <root>/<module>/target/classes or <root>/<module>/target/<artifact>.jar
            Path code = Path.of(source.getLocation().toURI());
            Path root = code.resolve("../../..").normalize();
            Path file = root.resolve("native/target/cmake").resolve(FILE);
            tryFile("build tree " + file, file);
        } catch (URISyntaxException | RuntimeException e) {
            searched.add("build tree: the classes are not in files (" + source + ")");
        }
    }

    /** A library of another ABI ends the search, too: its functions would hide those of the next one. */
    private static void found(String place) {
        String problem = abiProblem();
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
        int abi;
        try {
            abi = (int) Linker.nativeLinker()
                    .downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT))
                    .invokeExact();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        return abi == gatun_h.GATUN_ABI_VERSION()
                ? null
                : "the library has ABI " + abi + ", these classes need " + gatun_h.GATUN_ABI_VERSION();
    }

    private static String message() {
        return "Gatun's native library for " + platform() + " can't be used. Tried:\n  - "
                + String.join("\n  - ", searched)
                + "\nRemedy, one of:"
                + "\n  - put io.gatun:gatun-native:" + platform()
                + " of the version of gatun-bindings on the class path,"
                + " or on the module path with --add-modules io.gatun.natives"
                + "\n  - set -D" + PATH_PROPERTY + "=<file or folder of " + FILE + ">"
                + "\n  - in Gatun's source tree: ./gatun doctor";
    }
}
