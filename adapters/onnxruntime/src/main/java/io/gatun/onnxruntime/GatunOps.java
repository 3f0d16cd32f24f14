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
 * Gatun's ops for ONNX Runtime, in the domain {@code io.gatun}: {@code QMatMul}, {@code NmMatMul} and {@code Attention}.
 * They run on the CPU, on ONNX Runtime's own threads; {@link ModelRewriter} puts them into existing models.
 *
 * <p>The native library is looked for in the system property {@value #PATH_PROPERTY} (a file or its folder; if it is set,
 * nothing else is tried) and in this artifact's jar.
 */
public final class GatunOps {
    /** The system property that names the library, or the folder that holds it. */
    public static final String PATH_PROPERTY = "gatun.onnxruntime.library.path";

    private static final String FILE = System.mapLibraryName("gatun_onnxruntime");
    private static final int[] OLDEST = {1, 16};

    private GatunOps() {}

    /**
     * Makes the ops known to sessions that are created with these options.
     *
     * @throws UnsupportedOperationException if ONNX Runtime is older than 1.16
     * @throws UnsatisfiedLinkError if there is no usable library: every place tried, and why it failed
     */
    public static void register(OrtSession.SessionOptions options) throws OrtException {
        checkVersion(OrtEnvironment.getEnvironment().getVersion());
        List<String> searched = new ArrayList<>();
        String property = System.getProperty(PATH_PROPERTY);
        if (property != null) {
            Path path = Path.of(property);
            Path file = Files.isDirectory(path) ? path.resolve(FILE) : path;
            if (Files.isRegularFile(file)) {
                options.registerCustomOpLibrary(file.toAbsolutePath().toString());
                return;
            }
            searched.add("system property " + PATH_PROPERTY + "=" + property + ": there is no file " + file);
        } else {
            searched.add("system property " + PATH_PROPERTY + ": not set");
            if (registerResource(options, searched)) {
                return;
            }
        }
        throw new UnsatisfiedLinkError(
                "Gatun's ops for ONNX Runtime cannot be loaded:\n  " + String.join("\n  ", searched)
                        + "\nremedy: use a jar of gatun-onnxruntime for " + platform() + ", or set -D" + PATH_PROPERTY
                        + "=<file of libgatun_onnxruntime.so>");
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

    private static boolean registerResource(OrtSession.SessionOptions options, List<String> searched)
            throws OrtException {
        String name = "META-INF/native/" + platform() + "/" + FILE;
        try (InputStream content = GatunOps.class.getClassLoader().getResourceAsStream(name)) {
            if (content == null) {
                searched.add("resource " + name + ": not on the class path");
                return false;
            }
            // ONNX Runtime loads the file at once; a loaded file needs no name any more.
            Path folder = Files.createTempDirectory("gatun-");
            Path copy = folder.resolve(FILE);
            try {
                Files.copy(content, copy);
                options.registerCustomOpLibrary(copy.toString());
            } finally {
                Files.deleteIfExists(copy);
                Files.deleteIfExists(folder);
            }
            return true;
        } catch (IOException e) {
            searched.add("resource " + name + ": " + e);
            return false;
        }
    }

    private static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        return (os.startsWith("mac") ? "osx" : os) + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }
}
