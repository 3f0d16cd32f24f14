package io.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_h;
import io.gatun.ops.Norm;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Locale;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class GatunTest {
    @Test
    void enumsAreThoseOfTheCHeaders() {
        assertEquals(gatun_h.GATUN_TIER_SCALAR(), Tier.SCALAR.ordinal());
        assertEquals(gatun_h.GATUN_TIER_AVX2(), Tier.AVX2.ordinal());
        assertEquals(gatun_h.GATUN_TIER_AVXVNNI(), Tier.AVXVNNI.ordinal());
        assertEquals(gatun_h.GATUN_TIER_AVX512(), Tier.AVX512.ordinal());
        assertEquals(gatun_h.GATUN_TIER_AVX512VNNI(), Tier.AVX512VNNI.ordinal());
        assertEquals(gatun_h.GATUN_TIER_NEON(), Tier.NEON.ordinal());
        assertEquals(gatun_h.GATUN_TIER_DOTPROD(), Tier.DOTPROD.ordinal());
        assertEquals(gatun_h.GATUN_TIER_I8MM(), Tier.I8MM.ordinal());
        assertEquals(gatun_h.GATUN_ACTIVATION_NONE(), QMatmul.Activation.NONE.ordinal());
        assertEquals(gatun_h.GATUN_ACTIVATION_RELU(), QMatmul.Activation.RELU.ordinal());
        assertEquals(gatun_h.GATUN_ACTIVATION_GELU(), QMatmul.Activation.GELU.ordinal());
        assertEquals(gatun_h.GATUN_ACTIVATION_GELU_TANH(), QMatmul.Activation.GELU_TANH.ordinal());
        assertEquals(gatun_h.GATUN_ACTIVATION_SILU(), QMatmul.Activation.SILU.ordinal());
        assertEquals(gatun_h.GATUN_QMATMUL_INT8_ROW(), QMatmul.Mode.INT8_ROW.ordinal());
        assertEquals(gatun_h.GATUN_QMATMUL_INT8_GROUP(), QMatmul.Mode.INT8_GROUP.ordinal());
        assertEquals(gatun_h.GATUN_QMATMUL_PRECISE(), QMatmul.Mode.PRECISE.ordinal());
        assertEquals(gatun_h.GATUN_QMATMUL_BF16(), QMatmul.Mode.BF16.ordinal());
        assertEquals(gatun_h.GATUN_ZERO_NONE(), QuantSpec.ZeroPoint.NONE.ordinal());
        assertEquals(gatun_h.GATUN_ZERO_INTEGER(), QuantSpec.ZeroPoint.INTEGER.ordinal());
        assertEquals(gatun_h.GATUN_ZERO_FLOAT(), QuantSpec.ZeroPoint.FLOAT.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_DEFAULT(), QuantSpec.ScaleRule.DEFAULT.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_GIVEN(), QuantSpec.ScaleRule.GIVEN.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_FULL_RANGE(), QuantSpec.ScaleRule.FULL_RANGE.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_NO_CLIPPING(), QuantSpec.ScaleRule.NO_CLIPPING.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_FLOOR(), QuantSpec.ScaleRule.FLOOR.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_CEIL(), QuantSpec.ScaleRule.CEIL.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_RCEIL(), QuantSpec.ScaleRule.RCEIL.ordinal());
        assertEquals(gatun_h.GATUN_SCALE_EVEN(), QuantSpec.ScaleRule.EVEN.ordinal());
        assertEquals(gatun_h.GATUN_ROUND_NEAREST(), Quantize.Rounding.NEAREST.ordinal());
        assertEquals(gatun_h.GATUN_ROUND_STOCHASTIC(), Quantize.Rounding.STOCHASTIC.ordinal());
        assertEquals(gatun_h.GATUN_ROUND_GIVEN(), Quantize.Rounding.GIVEN.ordinal());
        assertEquals(gatun_h.GATUN_NORM_LAYER(), Norm.Kind.LAYER.ordinal());
        assertEquals(gatun_h.GATUN_NORM_RMS(), Norm.Kind.RMS.ordinal());
        NativeLibrary.load();
        for (Tier tier : Tier.values()) {
            assertEquals(
                    tier.toString(), gatun_h.gatun_tier_name(tier.ordinal()).getString(0));
        }
    }

    /** GATUN_MAX_ISA, set by the test run, can only lower the tier. */
    @Test
    @Tag("tier")
    void usesTheHighestTierThatIsAllowed() {
        String limit = System.getenv("GATUN_MAX_ISA");
        Tier expected = Arrays.stream(Tier.values())
                .filter(Tier::isSupported)
                .filter(tier -> limit == null || tier.compareTo(Tier.valueOf(limit.toUpperCase(Locale.ROOT))) <= 0)
                .reduce(Tier.SCALAR, (lower, higher) -> higher);
        assertEquals(expected, Gatun.tier());
        assertTrue(Gatun.cpuReport().contains(expected.toString()), Gatun.cpuReport());
    }

    @Test
    void threadsCanBeSet() {
        int before = Gatun.threads();
        assertTrue(before >= 1);
        try {
            Gatun.setThreads(3);
            assertEquals(3, Gatun.threads());
            for (int bad : new int[] {0, -1, 1025}) {
                String message = assertThrows(IllegalArgumentException.class, () -> Gatun.setThreads(bad))
                        .getMessage();
                assertTrue(message.contains("threads") && message.contains("1..1024"), message);
            }
            assertEquals(3, Gatun.threads());
        } finally {
            Gatun.setThreads(before);
        }
    }

    @ParameterizedTest
    @EnumSource(Tier.class)
    void selfTestSaysWhatItFound(Tier tier) {
        Gatun.SelfTest test = Gatun.selfTest(tier);
        assertEquals(
                tier.isSupported() ? Gatun.Outcome.PASS : Gatun.Outcome.NOT_AVAILABLE, test.outcome(), test.report());
        assertFalse(test.report().isBlank());
    }

    /** The build runs all tests as a module, and again on the class path. */
    @Test
    void runsWhereTheBuildSays() {
        assertEquals(
                Boolean.getBoolean("gatun.test.module"), Gatun.class.getModule().isNamed());
    }

    @Test
    void versionHasThreeParts() {
        assertTrue(Gatun.version().matches("\\d+\\.\\d+\\.\\d+"), Gatun.version());
    }

    @Test
    void doctorReports() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int exit = Doctor.run(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        String report = bytes.toString(StandardCharsets.UTF_8);
        assertEquals(0, exit, report);
        for (String part : new String[] {
            "JDK",
            "platform",
            "GPU",
            "library",
            "searched",
            "threads",
            "tier",
            "self-test scalar",
            "pass",
            "Gatun works here."
        }) {
            assertTrue(report.contains(part), part + " is missing in\n" + report);
        }
        for (Tier tier : Tier.values()) {
            assertNotEquals(tier.isSupported(), report.matches("(?s).*self-test " + tier + " +not available.*"));
        }
    }

    /** In a process of its own, since a library that is loaded stays loaded. */
    @Test
    void doctorPrintsTheOneErrorWhenTheLibraryIsMissing() throws Exception {
        boolean module = Doctor.class.getModule().isNamed();
        String path = System.getProperty(module ? "jdk.module.path" : "java.class.path");
        ProcessBuilder builder = new ProcessBuilder(
                System.getProperty("java.home") + "/bin/java",
                "--enable-native-access=" + (module ? "io.gatun.bindings" : "ALL-UNNAMED"),
                "-Dgatun.library.path=no/such/folder",
                module ? "--module-path" : "--class-path",
                path,
                module ? "--module" : "io.gatun.Doctor");
        if (module) {
            builder.command().add("io.gatun/io.gatun.Doctor");
        }
        Process process = builder.redirectErrorStream(true).start();
        String report = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(1, process.waitFor(), report);
        assertTrue(report.contains("no/such/folder") && report.contains("Gatun does not work here."), report);
        assertFalse(report.contains("Exception"), report);
    }
}
