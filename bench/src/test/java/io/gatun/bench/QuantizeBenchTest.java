package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.Test;

class QuantizeBenchTest {
    @Test
    void everyCaseHasItsName() {
        List<String> names =
                QuantizeCase.all(List.of(1, 2)).stream().map(QuantizeCase::name).toList();
        names.forEach(name -> assertTrue(name.matches("[a-z0-9_ ]+ (quantize|dequantize) 64Mi t=[12]"), name));
        assertEquals(names.size(), new HashSet<>(names).size());
        assertTrue(names.containsAll(List.of(
                "int8 row quantize 64Mi t=1",
                "int4 g32 dequantize 64Mi t=2",
                "nf4 b64 quantize 64Mi t=2",
                "dynamic8 b256 dequantize 64Mi t=1",
                "q8_0 quantize 64Mi t=1")));
    }

    @Test
    void everyProductHasItsName() {
        List<String> names = FormatProductCase.WEIGHTS.stream()
                .flatMap(weights -> FormatProductCase.of(weights, List.of(1, 2)).stream())
                .map(FormatProductCase::name)
                .toList();
        assertEquals(names.size(), new HashSet<>(names).size());
        assertTrue(names.containsAll(List.of(
                "nf4 b64 bf16 14336x4096 m=1 t=1",
                "mxfp4 i8row 14336x4096 m=512 t=1",
                "q4_k i8row 14336x4096 m=512 t=2")));
        names.forEach(name ->
                assertEquals(name, FormatProductCase.named(name).orElseThrow().name()));
        assertTrue(FormatProductCase.named("q6_k i8row 14336x4096 m=1 t=1").isEmpty());
        assertTrue(FormatProductCase.named("q8_0 quantize 64Mi t=1").isEmpty());
    }

    @Test
    void streamsHaveTheProportionOfTheBytes() {
        assertEquals(new Limits.Proportion(4, 1), Limits.Proportion.of(4, 1));
        assertEquals(new Limits.Proportion(1, 4), Limits.Proportion.of(1, 4));
        assertEquals(new Limits.Proportion(7, 1), Limits.Proportion.of(4, 0.5625));
        assertEquals(new Limits.Proportion(1, 8), Limits.Proportion.of(1, 100));
        assertEquals(new Limits.Proportion(1, 1), Limits.Proportion.of(5, 5));
    }

    @Test
    void timesBecomeRates() {
        Result time =
                new Result("quantize", "c", "gatun", 1, "time", "ms", 10, 5, 20, null, null, null, "kernel", "timed");
        Result rate = time.rateOf(100e6, "f32 input");
        assertEquals(10, rate.median(), 1e-12);
        assertEquals(5, rate.min(), 1e-12);
        assertEquals(20, rate.max(), 1e-12);
        assertEquals("GB/s", rate.unit());
        assertEquals("f32 input", rate.metric());
    }

    @Test
    void valuesThatAreTooFarOrTooNearAreWrong() throws Exception {
        try (Arena arena = Arena.ofShared()) {
            Tensor x = QuantizeBench.normals(arena, QuantizeCase.ROWS, QuantizeCase.DEPTH);
            QuantizeCase problem = QuantizeCase.all(List.of(1)).getFirst();
            QuantizeVerifier verifier = new QuantizeVerifier(problem, x);
            float[] values = x.segment().toArray(ValueLayout.JAVA_FLOAT);
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError("copy", values));
            double expected = problem.format().error();
            for (int i = 0; i < values.length; i++) {
                values[i] *= (float) (1 + (i % 2 == 0 ? expected : -expected));
            }
            assertEquals(expected, verifier.relError("right", values), 1e-5);
            for (int i = 0; i < values.length; i++) {
                values[i] *= 1.003f;
            }
            verifier.relError("about right", values);
            for (int i = 0; i < values.length; i++) {
                values[i] *= 1.01f;
            }
            assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError("wrong", values));
        }
    }
}
