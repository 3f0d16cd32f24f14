package io.gatun.bench;

import java.net.URISyntaxException;
import java.nio.file.Path;

/** The source tree that this program was built in. */
final class BuildTree {
    private BuildTree() {}

    /** Its root: classes are in bench/target/classes, or in a jar in bench/target. */
    static Path root() {
        try {
            Path code = Path.of(BuildTree.class
                    .getProtectionDomain()
                    .getCodeSource()
                    .getLocation()
                    .toURI());
            return code.resolve("../../..").normalize();
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Where records and report go. */
    static Path results() {
        return root().resolve("bench/target/results");
    }
}
