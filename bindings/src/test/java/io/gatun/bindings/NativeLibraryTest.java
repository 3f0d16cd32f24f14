package io.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each test loads the class anew, in a class loader of its own. */
class NativeLibraryTest {
    private static final String FILE = System.mapLibraryName("gatun");
    private static final Path CLASSES = Path.of("target/classes").toAbsolutePath();
    private static final String BUILT = System.getProperty(NativeLibrary.PATH_PROPERTY);

    @TempDir
    private Path folder;

    private Path library;
    private final List<URLClassLoader> loaders = new ArrayList<>();

    @BeforeEach
    void findLibrary() {
        Path built = Path.of(BUILT);
        library = Files.isDirectory(built) ? built.resolve(FILE) : built;
        assertTrue(Files.isRegularFile(library), library::toString);
        System.clearProperty(NativeLibrary.PATH_PROPERTY);
    }

    @AfterEach
    void restoreProperty() throws IOException {
        System.setProperty(NativeLibrary.PATH_PROPERTY, BUILT);
        for (URLClassLoader loader : loaders) {
            loader.close();
        }
    }

    @Test
    void aMissingLibraryNamesEveryPlaceAndTheRemedy() throws Exception {
        Class<?> type = fresh(copyOfClasses());
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertContains(error, "for " + NativeLibrary.platform());
        assertContains(error, "system property gatun.library.path: not set");
        assertContains(error, "resource META-INF/native/" + NativeLibrary.platform() + "/" + FILE + ": not on");
        assertContains(
                error, "build tree " + folder.resolve("native/target/cmake").resolve(FILE) + ": there is no file");
        assertContains(error, "put io.gatun:gatun-native:" + NativeLibrary.platform());
        assertContains(error, "-Dgatun.library.path=");

        UnsatisfiedLinkError again = assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertEquals(error.getMessage(), again.getMessage());
        assertNull(call(type, "loaded"));
        assertEquals(3, ((List<?>) call(type, "searched")).size());
    }

    @Test
    void thePropertyWinsOverTheResource() throws Exception {
        Path file = Files.copy(library, folder.resolve("renamed.so"));
        System.setProperty(NativeLibrary.PATH_PROPERTY, file.toString());
        Class<?> type = fresh(CLASSES, folderWithResource(library));
        load(type);
        assertEquals("system property gatun.library.path=" + file, call(type, "loaded"));
        assertEquals(List.of("system property gatun.library.path=" + file + ": loaded"), call(type, "searched"));
    }

    @Test
    void thePropertyMayNameAFolder() throws Exception {
        System.setProperty(NativeLibrary.PATH_PROPERTY, library.getParent().toString());
        Class<?> type = fresh(CLASSES);
        load(type);
        assertWorks(type);
    }

    @Test
    void aWrongPropertyIsAnErrorAndNotPassedOver() throws Exception {
        Path absent = folder.resolve("absent");
        System.setProperty(NativeLibrary.PATH_PROPERTY, absent.toString());
        Class<?> type = fresh(CLASSES, folderWithResource(library));
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertContains(error, "gatun.library.path=" + absent + ": there is no file " + absent);
    }

    @Test
    void aFileThatIsNoLibraryIsReportedWithTheReasonOfTheSystem() throws Exception {
        Path text = Files.writeString(folder.resolve(FILE), "not a library");
        System.setProperty(NativeLibrary.PATH_PROPERTY, text.toString());
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(fresh(CLASSES)));
        assertContains(error, "gatun.library.path=" + text + ": " + text);
    }

    @Test
    void theResourceIsExtractedAndCleanedUp() throws Exception {
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        List<Path> before = gatunFolders(temporary);
        Class<?> type = fresh(copyOfClasses(), folderWithResource(library));
        load(type);
        assertWorks(type);
        assertContains(call(type, "loaded"), "META-INF/native/" + NativeLibrary.platform() + "/" + FILE);
        assertEquals(before, gatunFolders(temporary));
    }

    @Test
    void aResourceThatCannotBeExtractedEndsTheSearch() throws Exception {
        Path classes = copyOfClasses();
        Path built = folder.resolve("native/target/cmake").resolve(FILE);
        Files.createDirectories(built.getParent());
        Files.copy(library, built);
        Class<?> type = fresh(classes, folderWithResource(Files.writeString(folder.resolve("text"), "not a library")));
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertContains(error, FILE + ": java.lang.UnsatisfiedLinkError: ");
        assertContains(error, "-Djava.io.tmpdir=");
        assertContains(error, "noexec; it is " + System.getProperty("java.io.tmpdir"));
        assertContains(error, "-Dgatun.library.path=");
        assertEquals(2, ((List<?>) call(type, "searched")).size());
    }

    @Test
    void theBuildTreeIsTheLastPlace() throws Exception {
        Path classes = copyOfClasses();
        Path built = folder.resolve("native/target/cmake").resolve(FILE);
        Files.createDirectories(built.getParent());
        Files.copy(library, built);
        Class<?> type = fresh(classes);
        load(type);
        assertWorks(type);
        assertEquals("build tree " + built, call(type, "loaded"));
    }

    @Test
    void eachClassLoaderGetsItsLibrary() throws Exception {
        System.setProperty(NativeLibrary.PATH_PROPERTY, library.toString());
        Class<?> first = fresh(CLASSES);
        Class<?> second = fresh(CLASSES);
        assertNotEquals(first, second);
        load(first);
        load(second);
        assertWorks(first);
        assertWorks(second);

        System.clearProperty(NativeLibrary.PATH_PROPERTY);
        Path resources = folderWithResource(library);
        for (int i = 0; i < 2; i++) {
            Class<?> type = fresh(copyOfClasses(), resources);
            load(type);
            assertWorks(type);
        }
    }

    @Test
    void anotherAbiIsRefused() throws Exception {
        Path wrong = compile("int gatun_abi_version(void) { return 1234567; }");
        Class<?> type = fresh(copyOfClasses(), folderWithResource(wrong));
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertContains(error, "the library has ABI 1234567, these classes need 2");
        assertThrows(UnsatisfiedLinkError.class, () -> load(type));
        assertNull(call(type, "loaded"));
    }

    @Test
    void aForeignLibraryIsRefused() throws Exception {
        System.setProperty(
                NativeLibrary.PATH_PROPERTY, compile("int answer = 42;").toString());
        UnsatisfiedLinkError error = assertThrows(UnsatisfiedLinkError.class, () -> load(fresh(CLASSES)));
        assertContains(error, "not Gatun's library");
    }

    private Path compile(String c) throws IOException, InterruptedException {
        Path source = Files.writeString(folder.resolve("fake.c"), c);
        Path fake = folder.resolve("fake.so");
        Process compiler = new ProcessBuilder("cc", "-shared", "-fPIC", "-o", fake.toString(), source.toString())
                .inheritIO()
                .start();
        assertEquals(0, compiler.waitFor());
        return fake;
    }

    /** A copy of the classes outside of any build tree, as {@code <folder>/bindings/target/classes}. */
    private Path copyOfClasses() throws IOException {
        Path copy = folder.resolve("bindings/target/classes");
        try (Stream<Path> files = Files.walk(CLASSES)) {
            for (Path file : files.toList()) {
                Path target = copy.resolve(CLASSES.relativize(file));
                if (!Files.exists(target)) {
                    Files.createDirectories(target.getParent());
                    Files.copy(file, target);
                }
            }
        }
        return copy;
    }

    private Path folderWithResource(Path content) throws IOException {
        Path resources = folder.resolve("resources");
        Path resource = resources
                .resolve("META-INF/native")
                .resolve(NativeLibrary.platform())
                .resolve(FILE);
        Files.createDirectories(resource.getParent());
        Files.copy(content, resource);
        return resources;
    }

    private static List<Path> gatunFolders(Path temporary) throws IOException {
        try (Stream<Path> files = Files.list(temporary)) {
            return files.filter(file -> file.getFileName().toString().startsWith("gatun-"))
                    .sorted()
                    .toList();
        }
    }

    private Class<?> fresh(Path... classPath) throws IOException, ClassNotFoundException {
        URL[] urls = new URL[classPath.length];
        for (int i = 0; i < urls.length; i++) {
            urls[i] = classPath[i].toUri().toURL();
        }
        // The JDK's other class loaders would find the class in the module under test.
        URLClassLoader loader = new URLClassLoader(urls, null);
        loaders.add(loader);
        return loader.loadClass(NativeLibrary.class.getName());
    }

    private static void load(Class<?> type) throws ReflectiveOperationException {
        try {
            type.getMethod("load").invoke(null);
        } catch (InvocationTargetException e) {
            throw e.getCause() instanceof UnsatisfiedLinkError error ? error : new AssertionError(e);
        }
    }

    private static Object call(Class<?> type, String method) throws ReflectiveOperationException {
        return type.getMethod(method).invoke(null);
    }

    /** The generated classes of the same class loader find the functions. */
    private static void assertWorks(Class<?> type) throws ReflectiveOperationException {
        assertNotNull(call(type, "loaded"));
        Class<?> functions = type.getClassLoader().loadClass("io.gatun.bindings.c.gatun_h");
        assertEquals(call(functions, "GATUN_ABI_VERSION"), call(functions, "gatun_abi_version"));
    }

    private static void assertContains(Object text, String part) {
        assertTrue(text.toString().contains(part), () -> "\"" + part + "\" is not in: " + text);
    }
}
