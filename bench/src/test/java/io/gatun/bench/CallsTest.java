package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class CallsTest {
    @Test
    void bothWaysOfTheSmallestCallWork() {
        CallOverheadBenchmark benchmark = new CallOverheadBenchmark();
        benchmark.prepare(); // compares y of the raw downcall
        assertEquals(0, benchmark.rawDowncall());
        benchmark.publicApi();
        assertTrue(benchmark.noOperation() >= 0);
    }

    @Test
    void callersOfBothKindsAreCounted() throws Exception {
        List<Result> results = Callers.measure(new Rounds(1, 1, 1));
        assertEquals(
                List.of(1, 1, 64, 64), results.stream().map(Result::threads).toList());
        results.forEach(result -> assertTrue(result.min() > 0 && result.max() >= result.median(), result.toString()));
    }

    @Test
    void limitsAreMeasuredAndRefused() {
        LimitsLibrary library = new LimitsLibrary();
        assertTrue(library.best(Limits.Kind.FMA, "scalar", 1, 0.01) > 0);
        String message = assertThrows(IllegalStateException.class, () -> library.best(Limits.Kind.FMA, "sse9", 1, 0.01))
                .getMessage();
        assertTrue(message.startsWith("limit fma f32: ") && message.contains("sse9"), message);
    }

    @Test
    void numbersKeepThreeDigits() {
        assertEquals("123457", Table.number(123456.7));
        assertEquals("12.3", Table.number(12.34));
        assertEquals("1.23", Table.number(1.234));
        assertEquals("0.012", Table.number(0.0123));
        assertEquals("3", Table.number(3));
    }
}
