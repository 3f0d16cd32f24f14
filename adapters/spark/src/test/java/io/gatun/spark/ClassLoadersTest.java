package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.NativeLibrary;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Applications in class loaders of their own above one Spark, as notebooks, servers of jobs and --jars make them.
 * Spark's loaders stay open: it needs classes at the end of the process.
 */
class ClassLoadersTest {
    @Test
    void eachClassLoaderHasNativesAndModel(@TempDir Path folder) throws Exception {
        List<Path> gatun = ClassPath.gatun(folder);
        String path = System.clearProperty(NativeLibrary.PATH_PROPERTY);
        ClassLoader spark = loader(ClassPath.select(entry -> !ClassPath.isGatun(entry)), null);
        try (URLClassLoader first = loader(gatun, spark);
                URLClassLoader second = loader(gatun, spark)) {
            Callable<List<float[]>> one = job(first);
            Callable<List<float[]>> other = job(second);
            assertNotSame(one.getClass(), other.getClass());
            List<float[]> vectors = run(one);
            List<float[]> again = run(other);
            assertEquals(24, vectors.size());
            for (int i = 0; i < 24; i++) {
                assertEquals(384, vectors.get(i).length);
                assertArrayEquals(vectors.get(i), again.get(i), 0, "sentence " + i);
            }
            String resource = "META-INF/native/" + NativeLibrary.platform() + "/libgatun.so";
            for (Object job : List.of(one, other)) {
                assertTrue(job.toString().contains(resource) && job.toString().endsWith(", 1"), job.toString());
            }
        } finally {
            System.setProperty(NativeLibrary.PATH_PROPERTY, path);
        }
    }

    @Test
    void anotherVersionOfSparkIsRefused(@TempDir Path folder, @TempDir Path natives) throws Exception {
        Files.writeString(folder.resolve("spark-version-info.properties"), "version=5.0.0\n");
        List<Path> paths = new ArrayList<>(List.of(folder));
        paths.addAll(ClassPath.select(entry -> !ClassPath.isGatun(entry)));
        ClassLoader spark = loader(paths, null);
        try (URLClassLoader gatun = loader(ClassPath.gatun(natives), spark)) {
            Callable<List<float[]>> job = job(gatun);
            String message = assertThrows(UnsupportedOperationException.class, () -> run(job))
                    .getMessage();
            assertTrue(message.startsWith("gatun-spark and Spark 5.0.0; allowed: 4.2 and newer"), message);
        }
    }

    private static URLClassLoader loader(List<Path> paths, ClassLoader parent) throws MalformedURLException {
        URL[] urls = new URL[paths.size()];
        for (int i = 0; i < urls.length; i++) {
            urls[i] = paths.get(i).toUri().toURL();
        }
        return new URLClassLoader(urls, parent == null ? ClassLoader.getPlatformClassLoader() : parent);
    }

    @SuppressWarnings("unchecked")
    private static Callable<List<float[]>> job(ClassLoader loader) throws ReflectiveOperationException {
        return (Callable<List<float[]>>)
                loader.loadClass("io.gatun.spark.LoaderJob").getConstructor().newInstance();
    }

    /** Spark finds the classes of an application by the class loader of the thread that starts it. */
    private static List<float[]> run(Callable<List<float[]>> job) throws Exception {
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        thread.setContextClassLoader(job.getClass().getClassLoader());
        try {
            return job.call();
        } finally {
            thread.setContextClassLoader(before);
        }
    }
}
