package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The jars as they are published, each way that README shows; the doctor tries all that is in them. */
class JarsTest {
    /** The jars of Gatun on this class path: gatun, gatun-bindings, gatun-native. */
    private static final List<Path> JARS = Stream.of(
                    System.getProperty("java.class.path").split(File.pathSeparator))
            .map(Path::of)
            .filter(path -> path.getFileName().toString().matches("gatun-(?!cuda).*\\.jar"))
            .toList();

    @Test
    void allJarIsTheDoctor() throws Exception {
        String output = JavaProcess.run("-jar", all().toString());
        assertTrue(output.contains("Gatun works here."), output);
        assertTrue(output.contains(all() + "!/META-INF/native/"), output);
    }

    @Test
    void modulePath() throws Exception {
        String output = JavaProcess.run(
                "--enable-native-access=io.gatun.bindings",
                "--module-path="
                        + String.join(
                                File.pathSeparator,
                                JARS.stream().map(Path::toString).toList()),
                "--add-modules=io.gatun.natives",
                "--module=io.gatun/io.gatun.Doctor");
        assertTrue(output.contains("Gatun works here."), output);
        assertTrue(output.contains(jar("gatun-native-.*") + "!/META-INF/native/"), output);
    }

    @Test
    void licenseIsInEveryJar() throws Exception {
        for (Path path : Stream.concat(JARS.stream(), Stream.of(all())).toList()) {
            try (JarFile jar = new JarFile(path.toFile())) {
                assertNotNull(jar.getEntry("META-INF/LICENSE"), path::toString);
            }
        }
    }

    private static Path jar(String name) {
        return JARS.stream()
                .filter(path -> path.getFileName().toString().matches(name + "\\.jar"))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no " + name + " among " + JARS));
    }

    private static Path all() {
        Path jar = jar("gatun-\\d.*");
        return jar.resolveSibling(jar.getFileName().toString().replace(".jar", "-all.jar"));
    }
}
