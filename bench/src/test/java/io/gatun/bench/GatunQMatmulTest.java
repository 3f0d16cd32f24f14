package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GatunQMatmulTest {
    private static QMatmulCase problem(String weights, int group, String activations, long rows) {
        return new QMatmulCase(weights, group, activations, 67, 203, rows, 2, null, activations.equals("f32"), false);
    }

    @ParameterizedTest
    @CsvSource({
        "int4, 32, i8row, 17",
        "int4, 32, i8group, 17",
        "int4, 128, i8row, 20",
        "int4, 0, i8row, 20",
        "int4, 32, f32, 20",
        "int8, 0, i8row, 20",
        "int8, 32, i8row, 20",
        "int8, 0, f32, 19"
    })
    void computesWhatTheOracleSays(String weights, int group, String activations, long rows) throws Exception {
        QMatmulCase problem = problem(weights, group, activations, rows);
        QMatmulData data = new QMatmulData(problem);
        try (Contender contender = GatunQMatmul.prepare(problem, data)) {
            QMatmulVerifier verifier = QMatmulVerifier.of(problem, data);
            double error = verifier.relError(contender);
            assertTrue(error < (problem.precise() ? 1e-6 : 0.03), "error " + error);
            contender.run();
            assertEquals(error, verifier.relError(contender));
            // Far below what 8-bit activations explain, far above rounding.
            Contender wrong = FakeContender.withError(contender, 66, 3e-3f);
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(wrong));
        }
    }

    @Test
    void anOutputThatIsNotWrittenIsWrong() {
        QMatmulCase problem = problem("int4", 32, "i8row", 20);
        QMatmulData data = new QMatmulData(problem);
        QMatmulVerifier verifier = QMatmulVerifier.of(problem, data);
        Contender idle = new FakeContender("gatun 9", () -> {});
        assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError(idle));
    }

    @Test
    void copiesFillTheRotation() {
        QMatmulCase problem = new QMatmulCase("int8", 0, "i8row", 2048, 8192, 1, 1, null, false, false);
        QMatmulData data = new QMatmulData(problem);
        assertTrue(data.copies * problem.weightBytes() >= 512L << 20);
        assertTrue((data.copies - 1) * problem.weightBytes() < 512L << 20);
        assertEquals(1, new QMatmulData(problem("int8", 0, "i8row", 17)).copies);
    }

    @Test
    void copiesDifferAndStayCodes() {
        for (String weights : new String[] {"int4", "int8"}) {
            QMatmulData data = new QMatmulData(problem(weights, 0, "i8row", 17));
            Set<String> first = new HashSet<>();
            for (int copy = 0; copy < 4096; copy++) {
                StringBuilder codes = new StringBuilder();
                for (int k = 0; k < 8; k++) {
                    byte code = data.codeOf(copy, 0, k);
                    boolean isCode = weights.equals("int4") ? 0 <= code && code <= 15 : -127 <= code;
                    assertTrue(isCode, weights + " " + code);
                    codes.append(code).append(' ');
                }
                assertTrue(first.add(codes.toString()), "copy " + copy);
                assertEquals(data.codes[203 + 1], data.codeOf(copy, 1, 1));
            }
        }
    }

    @Test
    void sharesWeightsOfTheSameSizesOnly() {
        QMatmulData data = new QMatmulData(problem("int4", 32, "i8row", 17));
        assertEquals(data.codes, new QMatmulData(problem("int4", 32, "i8row", 20), data).codes);
        assertNotEquals(data.codes, new QMatmulData(problem("int4", 128, "i8row", 17), data).codes);
    }

    @Test
    void scalesOfGroupsAreExactInF16() {
        for (float scale : new QMatmulData(problem("int4", 32, "i8row", 17)).scales) {
            assertEquals(scale, Float.float16ToFloat(Float.floatToFloat16(scale)));
            assertTrue(scale > 0);
        }
    }

    @Test
    void aTierIsForcedInAProcessOfItsOwn() throws Exception {
        QMatmulCase problem = new QMatmulCase("int4", 32, "i8row", 67, 203, 20, 1, "scalar", false, false);
        Limits limits = (kind, tier, threads) -> kind == Limits.Kind.FMA ? 1e9 : 4e9;
        List<Result> results = ForcedTier.measure(problem, limits);
        Result result = results.getFirst();
        assertTrue(result.kernel().endsWith("_scalar"), result.kernel());
        assertEquals("int4 g32 i8row 67x203 m=20 t=1 tier=scalar", result.caseName());
        assertTrue(result.median() > 0 && result.relError() < 0.03, result.toString());
        double atLimit = problem.operations() / 4e9;
        assertEquals(100 * atLimit / result.seconds(), result.percentOfLimit(), 1e-9 * result.percentOfLimit());
        Result share = results.getLast();
        assertEquals("of_fma_limit %", share.metric() + " " + share.unit());
        assertEquals(4 * result.percentOfLimit(), share.median(), 1e-9 * share.median());
        assertTrue(share.min() <= share.median() && share.median() <= share.max(), share.toString());
    }
}
