package io.gatun.jlama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Class paths that Gatun cannot serve: every operation says why, and none is done by others silently. */
class JlamaVersionTest {
    private static final String OPERATIONS = "com.github.tjake.jlama.tensor.operations.";

    @Test
    void thisOneIsFine() {
        assertNull(JlamaVersion.problem());
        assertNull(JlamaVersion.problem(null, JlamaVersion.methods()), "a repackaged jar without a version");
    }

    @Test
    void otherMethodsAreAnotherVersion() {
        Set<String> methods = new TreeSet<>(JlamaVersion.methods());
        methods.remove("float sum(AbstractTensor)");
        methods.add("double sum(AbstractTensor)");
        methods.add("void scale(float, AbstractTensor, int, long)");
        assertEquals(
                "a jlama-core whose TensorOperations differs in [double sum(AbstractTensor), "
                        + "float sum(AbstractTensor), void scale(float, AbstractTensor, int, long)]; allowed: 0.8.4",
                JlamaVersion.problem(null, methods));
    }

    @Test
    void anotherVersionIsRefused(@TempDir Path folder) throws Exception {
        Path properties = folder.resolve("META-INF/maven/com.github.tjake/jlama-core/pom.properties");
        Files.createDirectories(properties.getParent());
        Files.writeString(properties, "version=0.9.0\n");
        expectRefusal(folder.toUri().toURL(), "jlama-core 0.9.0; allowed: 0.8.4");
    }

    @Test
    void jlamaNativeBesidesIsRefused() throws Exception {
        Path jar = Path.of(System.getProperty("jlama.native.jar"));
        assertTrue(Files.isRegularFile(jar), jar.toString());
        expectRefusal(
                null,
                "jlama-native and gatun-jlama are both on the class path",
                jar.toUri().toURL());
    }

    /** Where jlama-native comes first, Jlama asks Gatun nothing. */
    @Test
    void requireTellsWhatIsUsedInstead() throws Exception {
        URL jar = Path.of(System.getProperty("jlama.native.jar")).toUri().toURL();
        try (URLClassLoader loader = classPath(jar)) {
            String message = requireFails(loader);
            assertTrue(message.startsWith("Jlama uses Native SIMD Operations; for Gatun: gatun-jlama"), message);
        }
    }

    private static String requireFails(ClassLoader loader) throws ReflectiveOperationException {
        Method require =
                loader.loadClass("io.gatun.jlama.GatunTensorOperations").getMethod("require");
        Throwable e = assertThrows(InvocationTargetException.class, () -> require.invoke(null))
                .getCause();
        assertTrue(e instanceof IllegalStateException, e.toString());
        return e.getMessage();
    }

    private static void expectRefusal(URL before, String message, URL... behind) throws Exception {
        try (URLClassLoader loader = classPath(before, behind)) {
            Object used = loader.loadClass(OPERATIONS + "TensorOperationsProvider")
                    .getMethod("get")
                    .invoke(null);
            Class<?> operations = loader.loadClass(OPERATIONS + "TensorOperations");
            String name = (String) operations.getMethod("name").invoke(used);
            assertTrue(name.startsWith("Gatun for Jlama, which cannot be used: " + message), name);
            int refused = 0;
            for (Method method : operations.getMethods()) {
                if (!method.getName().equals("name") && !method.getName().startsWith("dotProduct")) {
                    expectRefusal(method, used, name);
                    refused++;
                }
            }
            assertEquals(10, refused);
            assertEquals(name, requireFails(loader));
        }
    }

    private static void expectRefusal(Method method, Object operations, String message) {
        Object[] arguments = new Object[method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            Class<?> type = method.getParameterTypes()[i];
            arguments[i] = type == int.class ? (Object) 0 : type == float.class ? (Object) 0f : null;
        }
        // The short form of a product reads b before it calls the long one.
        if (method.getName().equals("batchDotProduct") && arguments.length == 6) {
            return;
        }
        Throwable e = assertThrows(
                        InvocationTargetException.class, () -> method.invoke(operations, arguments), method.toString())
                .getCause();
        assertTrue(e instanceof UnsupportedOperationException, e.toString());
        assertEquals(message, e.getMessage());
    }

    /** A class path of its own: this one's, with something before or behind it. */
    private static URLClassLoader classPath(URL before, URL... behind) throws MalformedURLException {
        List<URL> urls = new ArrayList<>();
        if (before != null) {
            urls.add(before);
        }
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            urls.add(Path.of(entry).toUri().toURL());
        }
        urls.addAll(List.of(behind));
        return new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
    }
}
