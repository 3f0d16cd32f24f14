package io.gatun.spark;

import io.gatun.bindings.NativeLibrary;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** The class path of the tests, in parts. */
final class ClassPath {
    private ClassPath() {}

    /** Gatun's, with the tests'. */
    static boolean isGatun(Path path) {
        return path.toString().contains("/target/") || path.toString().contains("/io/gatun/");
    }

    /** Those that fit. */
    static List<Path> select(Predicate<Path> filter) {
        return Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .map(Path::of)
                .filter(filter)
                .toList();
    }

    /** Those of {@link #isGatun}, behind the native library as gatun-native has it, which may not be packed yet. */
    static List<Path> gatun(Path folder) throws IOException {
        Path built = Path.of(System.getProperty(NativeLibrary.PATH_PROPERTY));
        Path resource = folder.resolve("META-INF/native").resolve(NativeLibrary.platform());
        Files.createDirectories(resource);
        Files.copy(built.resolve("libgatun.so"), resource.resolve("libgatun.so"));
        List<Path> paths = new ArrayList<>(List.of(folder));
        paths.addAll(select(ClassPath::isGatun));
        return paths;
    }
}
