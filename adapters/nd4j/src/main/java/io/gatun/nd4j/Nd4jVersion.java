package io.gatun.nd4j;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Properties;
import org.nd4j.linalg.factory.Nd4j;

/** Whether the ND4J on the class path is one that this artifact works with. */
final class Nd4jVersion {
    /** The tests pass with these. */
    private static final List<String> ALLOWED =
            List.of("1.0.0-beta7", "1.0.0-M1", "1.0.0-M1.1", "1.0.0-M2", "1.0.0-M2.1");

    private static final String PROBLEM = problem(version());

    private Nd4jVersion() {}

    /** @throws UnsupportedOperationException if it is none */
    static void check() {
        if (PROBLEM != null) {
            throw new UnsupportedOperationException(PROBLEM);
        }
    }

    /** @param version of nd4j-api, or null where a repackaged jar does not tell */
    static String problem(String version) {
        return version == null || ALLOWED.contains(version)
                ? null
                : "ND4J " + version + "; allowed: " + String.join(", ", ALLOWED);
    }

    static String version() {
        try (InputStream content = Nd4j.class.getResourceAsStream("/META-INF/maven/org.nd4j/nd4j-api/pom.properties")) {
            if (content == null) {
                return null;
            }
            Properties properties = new Properties();
            properties.load(content);
            return properties.getProperty("version");
        } catch (IOException e) {
            return null;
        }
    }
}
