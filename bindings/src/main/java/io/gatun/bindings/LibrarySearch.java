package io.gatun.bindings;

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
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntSupplier;

/**
 * Finds, loads and checks one of Gatun's libraries, once per class loader; {@link NativeLibrary} names the places. A
 * search that failed is not repeated.
 */
final class LibrarySearch {
    /**
     * What is searched.
     *
     * @param title for messages
     * @param file of the library
     * @param property the system property that names the file or its folder
     * @param buildFolder in the source tree
     * @param artifact that holds the resource
     * @param module name of that artifact on the module path
     * @param abiSymbol the function that tells the ABI
     * @param abi that the bindings need
     */
    record Target(
            String title,
            String file,
            String property,
            String buildFolder,
            String artifact,
            String module,
            String abiSymbol,
            IntSupplier abi) {}

    /** A check: what is wrong, or null; remedies go to the consumer. */
    @FunctionalInterface
    interface Condition extends Function<Consumer<String>, String> {}

    private final Target target;
    private final Condition before;
    private final Condition after;
    private final List<String> searched = new ArrayList<>();
    private final List<String> remedies = new ArrayList<>();
    private volatile String loaded;

    /** {@code before}: without what no place is tried. {@code after}: what the loaded library is asked. */
    LibrarySearch(Target target, Condition before, Condition after) {
        this.target = target;
        this.before = before;
        this.after = after;
    }

    void load() {
        if (loaded == null) {
            loadOnce();
        }
    }

    String loaded() {
        return loaded;
    }

    synchronized List<String> searched() {
        return List.copyOf(searched);
    }

    static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        String osName = os.startsWith("mac") ? "osx" : os.startsWith("windows") ? "windows" : os;
        return osName + "-" + (arch.equals("amd64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch);
    }

    private synchronized void loadOnce() {
        if (searched.isEmpty()) {
            try {
                String problem = before.apply(remedies::add);
                if (problem == null) {
                    search();
                } else {
                    searched.add(problem);
                }
            } catch (IllegalCallerException denied) {
                Module module = LibrarySearch.class.getModule();
                searched.add("native access is denied: " + denied.getMessage());
                remedies.add("java --enable-native-access=" + (module.isNamed() ? module.getName() : "ALL-UNNAMED"));
            }
        }
        if (loaded == null) {
            throw new UnsatisfiedLinkError(message());
        }
    }

    private void search() {
        String property = System.getProperty(target.property);
        if (property != null) {
            Path path = Path.of(property);
            Path file = Files.isDirectory(path) ? path.resolve(target.file) : path;
            tryFile("system property " + target.property + "=" + property, file);
        } else {
            searched.add("system property " + target.property + ": not set");
            if (!tryResource("META-INF/native/" + platform() + "/" + target.file)) {
                tryBuildTree();
            }
        }
    }

    private void tryFile(String place, Path file) {
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
    private boolean tryResource(String name) {
        String place = "resource " + name;
        URL resource = LibrarySearch.class.getClassLoader().getResource(name);
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
            remedies.add(setPath());
            return true;
        }
        found(place);
        return true;
    }

    private void tryBuildTree() {
        CodeSource source = LibrarySearch.class.getProtectionDomain().getCodeSource();
        Path file;
        try {
            // <root>/<module>/target/classes or <root>/<module>/target/<artifact>.jar
            Path code = Path.of(source.getLocation().toURI());
            Path root = code.resolve("../../..").normalize();
            file = root.resolve(target.buildFolder).resolve(target.file);
        } catch (URISyntaxException | RuntimeException e) {
            searched.add("build tree: the classes are not in files (" + source + ")");
            return;
        }
        tryFile("build tree " + file, file);
    }

    /** A library of another ABI ends the search, too: its functions would hide those of the next one. */
    private void found(String place) {
        String problem = abiProblem();
        if (problem == null) {
            problem = after.apply(remedies::add);
        }
        searched.add(place + ": " + (problem == null ? "loaded" : problem));
        loaded = problem == null ? place : null;
    }

    /** Each copy has a path of its own, so that each class loader gets one; a loaded file needs no name any more. */
    private void loadCopy(InputStream content) throws IOException {
        Path folder = Files.createTempDirectory("gatun-");
        Path copy = folder.resolve(target.file);
        try {
            Files.copy(content, copy, StandardCopyOption.REPLACE_EXISTING);
            System.load(copy.toString());
        } finally {
            Files.deleteIfExists(copy);
            Files.deleteIfExists(folder);
        }
    }

    /** What is wrong with the library that was just loaded, or null. */
    private String abiProblem() {
        MemorySegment symbol =
                SymbolLookup.loaderLookup().find(target.abiSymbol).orElse(null);
        if (symbol == null) {
            return "this is not Gatun's library: it has no " + target.abiSymbol;
        }
        MethodHandle abiVersion =
                Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT));
        int abi;
        try {
            abi = (int) abiVersion.invokeExact();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        int needed = target.abi.getAsInt();
        return abi == needed ? null : "the library has ABI " + abi + ", these classes need " + needed;
    }

    private String setPath() {
        return "set -D" + target.property + "=<file or folder of " + target.file + ">";
    }

    private String message() {
        if (remedies.isEmpty()) {
            remedies.add("put io.gatun:" + target.artifact + ":" + platform()
                    + " of the version of gatun-bindings on the class path,"
                    + " or on the module path with --add-modules " + target.module);
            remedies.add(setPath());
            remedies.add("in Gatun's source tree: ./gatun doctor");
        }
        return target.title + " for " + platform() + " can't be used. Tried:\n  - "
                + String.join("\n  - ", searched)
                + "\nRemedies:\n  - "
                + String.join("\n  - ", remedies);
    }
}
