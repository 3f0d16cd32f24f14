package io.gatun.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link ClassLoadersTest} has a job that is refused. */
class SparkVersionTest {
    @ParameterizedTest
    @ValueSource(strings = {"4.2.0", "4.2.1", "4.2.0-preview5", "4.10.1", "4.3.0-SNAPSHOT", "4.2"})
    void theseAreSupported(String version) {
        SparkVersion.check(version);
    }

    @ParameterizedTest
    @ValueSource(strings = {"3.5.9", "4.0.4", "4.1.3", "5.0.0", "14.2.0", "4", "4.20x", ""})
    void theseAreNot(String version) {
        assertEquals(
                "gatun-spark and Spark " + version + "; allowed: 4.2 and newer of Spark 4 (tested with 4.2.0)",
                assertThrows(UnsupportedOperationException.class, () -> SparkVersion.check(version))
                        .getMessage());
    }
}
