package io.gatun.spark;

import java.util.regex.Pattern;

/**
 * Whether this is a Spark that this artifact was written for. On Java 24 and newer 4.1 and older cannot open a file:
 * their Hadoop asks for the subject of a security manager.
 */
final class SparkVersion {
    private static final Pattern SUPPORTED = Pattern.compile("4\\.([2-9]|[1-9]\\d+)(\\..*)?");

    private SparkVersion() {}

    /** @throws UnsupportedOperationException for a version that is not supported */
    static void check(String version) {
        if (!SUPPORTED.matcher(version).matches()) {
            throw new UnsupportedOperationException(
                    "gatun-spark and Spark " + version + "; allowed: 4.2 and newer of Spark 4 (tested with 4.2.0)");
        }
    }
}
