package io.gatun.nd4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Versions that cannot be served: every call says why. */
class VersionTest {
    @Test
    void thisOneIsFine() {
        assertNotNull(Nd4jVersion.version());
        assertNull(Nd4jVersion.problem(Nd4jVersion.version()));
        assertNull(Nd4jVersion.problem(null), "a repackaged jar without a version");
    }

    @Test
    void callsOfAnotherVersionAreRefused(@TempDir Path folder) throws Exception {
        Path properties = folder.resolve("META-INF/maven/org.nd4j/nd4j-api/pom.properties");
        Files.createDirectories(properties.getParent());
        Files.writeString(properties, "version=1.0.0-beta3\n");
        List<URL> urls = new ArrayList<>(List.of(folder.toUri().toURL()));
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            urls.add(Path.of(entry).toUri().toURL());
        }
        try (URLClassLoader classes =
                new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
            Method with = classes.loadClass(Nd4jOps.class.getName())
                    .getMethod("with", classes.loadClass(INDArray.class.getName()), Function.class);
            Function<Object, Object> none = tensor -> null;
            for (int call = 0; call < 2; call++) {
                Throwable e = assertThrows(InvocationTargetException.class, () -> with.invoke(null, null, none))
                        .getCause();
                assertInstanceOf(UnsupportedOperationException.class, e);
                assertEquals(
                        "ND4J 1.0.0-beta3; allowed: 1.0.0-beta7, 1.0.0-M1, 1.0.0-M1.1, 1.0.0-M2, 1.0.0-M2.1",
                        e.getMessage());
            }
        }
    }
}
