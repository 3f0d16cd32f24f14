package io.gatun.spark;

import java.util.regex.Pattern;

/** Whether this is a Spark that this artifact was written for. */
final class SparkVersion {
    private static final Pattern SUPPORTED = Pattern.compile("4\\.\\d+\\..*");

    private SparkVersion() {}

    /** @throws UnsupportedOperationException for a version that is not supported */
    static void check(String version) {
        if (!SUPPORTED.matcher(version).matches()) {
            throw new UnsupportedOperationException(
                    "gatun-spark and Spark " + version + "; allowed: Spark 4 (tested with 4.2.0)");
        }
    }
}
