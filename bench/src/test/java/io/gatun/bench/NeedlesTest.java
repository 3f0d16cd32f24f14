package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** A quarter of the keys and one head. */
class NeedlesTest {
    @Test
    void selectionsFindNeedlesAndChanceDoesNot() {
        Needles needles = new Needles(new Haystack(1, 1, 8192, 128, 0), 32);
        List<Needles.Outcome> outcomes = needles.outcomes(1);
        assertEquals(
                List.of("means", "vertical-slash", "random"),
                outcomes.stream().map(Needles.Outcome::method).toList());
        Needles.Outcome means = outcomes.getFirst();
        assertTrue(means.passes() && means.recall() > 0.95, means::toString);
        // Slashes are the same for fewer keys, and so a larger share of them.
        Needles.Outcome lines = outcomes.get(1);
        assertTrue(lines.keepsNeedles() && lines.relativeError() <= 0.05 && !lines.passes(), lines::toString);
        Needles.Outcome chance = outcomes.get(2);
        assertFalse(chance.keepsNeedles(), chance::toString);
        assertTrue(chance.relativeError() > 0.5 && chance.recall() < 0.5, chance::toString);
        Result record = means.record("f32 8192 seed=1");
        assertEquals("f32 8192 seed=1 means", record.caseName());
        assertEquals(100 * means.recall(), record.median());
    }
}
