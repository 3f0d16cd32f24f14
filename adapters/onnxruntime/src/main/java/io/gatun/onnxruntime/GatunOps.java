package io.gatun.onnxruntime;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Gatun's ops for ONNX Runtime, in the domain {@code io.gatun}: {@code QMatMul}, {@code NmMatMul}, {@code Attention} and
 * {@code LayerNorm}.
 * They run on the CPU, on ONNX Runtime's own threads; {@link ModelRewriter} puts them into existing models.
 *
 * <p>The native library is looked for in the system property {@value #PATH_PROPERTY} (a file or its folder; if it is set,
 * nothing else is tried) and in this artifact's jar.
 */
public final class GatunOps {
    /** The system property that names the library, or the folder that holds it. */
    public static final String PATH_PROPERTY = "gatun.onnxruntime.library.path";

    private static final String FILE = System.mapLibraryName("gatun_onnxruntime");
    private static final int[] OLDEST = {1, 17};

    private static Path extracted;

    private GatunOps() {}

    /**
     * Makes the ops known to sessions that are created with these options.
     *
     * @throws UnsupportedOperationException if ONNX Runtime is older than 1.17
     * @throws UnsatisfiedLinkError if there is no usable library: every place tried, and why it failed
     */
    public static void register(OrtSession.SessionOptions options) {
        checkVersion(OrtEnvironment.getEnvironment().getVersion());
        List<String> searched = new ArrayList<>();
        String property = System.getProperty(PATH_PROPERTY);
        if (property != null) {
            Path path = Path.of(property);
            Path file = Files.isDirectory(path) ? path.resolve(FILE) : path;
            if (registerFile(options, file, "system property " + PATH_PROPERTY + "=" + property, searched)) {
                return;
            }
        } else {
            searched.add("system property " + PATH_PROPERTY + ": not set");
            Path file = extracted(searched);
            if (file != null && registerFile(options, file, "its copy", searched)) {
                return;
            }
        }
        throw new UnsatisfiedLinkError("Gatun's ops for ONNX Runtime can't be used. Tried:\n  - "
                + String.join("\n  - ", searched)
                + "\nRemedies:\n  - use a jar of gatun-onnxruntime for " + platform() + "\n  - set -D" + PATH_PROPERTY
                + "=<file or folder of " + FILE + ">\n  - set -Djava.io.tmpdir=<folder>, where the library is"
                + " extracted, to one that is writable and not mounted noexec; it is "
                + System.getProperty("java.io.tmpdir"));
    }

    private static boolean registerFile(
            OrtSession.SessionOptions options, Path file, String place, List<String> searched) {
        if (!Files.isRegularFile(file)) {
            searched.add(place + ": there is no file " + file);
            return false;
        }
        try {
            options.registerCustomOpLibrary(file.toAbsolutePath().toString());
            return true;
        } catch (OrtException e) {
            searched.add(place + ": " + e.getMessage());
            return false;
        }
    }

    static void checkVersion(String version) {
        String[] parts = version.split("\\.");
        try {
            int major = Integer.parseInt(parts[0]);
            int minor = Integer.parseInt(parts[1]);
            if (major > OLDEST[0] || major == OLDEST[0] && minor >= OLDEST[1]) {
                return;
            }
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
            // Refused below.
        }
        throw new UnsupportedOperationException(
                "ONNX Runtime " + version + "; allowed: " + OLDEST[0] + "." + OLDEST[1] + " or newer");
    }

    /** The library of the jar as a file, the same one for all sessions; null if there is none. */
    private static synchronized Path extracted(List<String> searched) {
        if (extracted != null && Files.isRegularFile(extracted)) {
            return extracted;
        }
        String name = "META-INF/native/" + platform() + "/" + FILE;
        try (InputStream content = GatunOps.class.getClassLoader().getResourceAsStream(name)) {
            if (content == null) {
                searched.add("resource " + name + ": not on the class path");
                return null;
            }
            Path folder = Files.createTempDirectory("gatun-");
            folder.toFile().deleteOnExit();
            Path copy = folder.resolve(FILE);
            copy.toFile().deleteOnExit();
            Files.copy(content, copy);
            extracted = copy;
        } catch (IOException e) {
            searched.add("resource " + name + ": " + e);
        }
        return extracted;
    }

    private static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        return (os.startsWith("mac") ? "osx" : os) + "-"
                + (arch.equals("amd64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch);
    }
}
