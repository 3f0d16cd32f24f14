package io.gatun.djl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.jar.Manifest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Versions that cannot be served: every call says why. */
class VersionsTest {
    @ParameterizedTest
    @ValueSource(strings = {"0.28.0", "0.29.0", "0.35.1", "0.36.0", "0.36.0-SNAPSHOT"})
    void allowed(String version) {
        assertNull(DjlVersion.problem(version));
        assertNull(DjlVersion.problem(Engine.getDjlVersion()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"0.27.0", "0.37.0", "0.3.0", "0.355.0", "1.30.0", "0.30", ""})
    void refused(String version) {
        assertEquals("DJL " + version + "; allowed: 0.28 to 0.36", DjlVersion.problem(version));
    }

    @Test
    void callsOfAnotherVersionAreRefused() throws Exception {
        ClassLoader before = Thread.currentThread().getContextClassLoader();
        try (OtherDjl classes = new OtherDjl()) {
            Thread.currentThread().setContextClassLoader(classes); // DJL asks it for engines
            Method with = classes.loadClass(NDOps.class.getName())
                    .getMethod("with", classes.loadClass(NDArray.class.getName()), Function.class);
            Function<Object, Object> none = tensor -> null;
            for (int call = 0; call < 2; call++) {
                Throwable e = assertThrows(InvocationTargetException.class, () -> with.invoke(null, null, none))
                        .getCause();
                assertInstanceOf(UnsupportedOperationException.class, e);
                assertEquals("DJL 0.20.0; allowed: 0.28 to 0.36", e.getMessage());
            }
        } finally {
            Thread.currentThread().setContextClassLoader(before);
        }
    }

    /** This class path, whose DJL says that it is 0.20.0. */
    private static final class OtherDjl extends URLClassLoader {
        OtherDjl() throws Exception {
            super(urls(), ClassLoader.getPlatformClassLoader());
        }

        private static URL[] urls() throws Exception {
            List<URL> urls = new ArrayList<>();
            for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
                urls.add(Path.of(entry).toUri().toURL());
            }
            return urls.toArray(URL[]::new);
        }

        @Override
        protected Package definePackage(String name, Manifest manifest, URL url) {
            String version = name.equals("ai.djl.engine") ? "0.20.0" : null;
            return definePackage(name, null, version, null, null, null, null, null);
        }
    }

    /** In a process where nothing has loaded libtorch. */
    static final class NoTorch {
        public static void main(String[] arguments) {
            for (int call = 0; call < 2; call++) {
                try {
                    PyTorchMemory.of("x", null);
                } catch (UnsupportedOperationException e) {
                    System.out.println(e.getMessage());
                }
            }
        }
    }

    @Test
    void pyTorchWithoutTheFunctionsIsRefused() throws Exception {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        System.getProperty("java.class.path"),
                        NoTorch.class.getName())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        String line = "x: given an array of a libtorch without aoti_torch_get_data_ptr and aoti_torch_get_strides; "
                + "allowed: PyTorch 2.2 or newer, loaded by DJL";
        assertEquals(List.of(line, line), output.lines().toList());
    }
}
