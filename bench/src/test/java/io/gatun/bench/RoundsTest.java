package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RoundsTest {
    private final List<String> turns = new ArrayList<>();

    /** Keeps calls that follow each other as one. */
    private void turn(String name) {
        if (turns.isEmpty() || !turns.getLast().equals(name)) {
            turns.add(name);
        }
    }

    @Test
    void theOrderRotatesAndTurns() {
        assertEquals(List.of(0, 1, 2), Rounds.order(0, 3));
        assertEquals(List.of(0, 2, 1), Rounds.order(1, 3));
        assertEquals(List.of(2, 0, 1), Rounds.order(2, 3));
        assertEquals(List.of(2, 1, 0), Rounds.order(3, 3));
    }

    @Test
    void everyRoundRunsEverybodyInItsOrder() throws Exception {
        List<Contender> contenders = IntStream.range(0, 3)
                .<Contender>mapToObj(i -> new FakeContender("c" + i, () -> turn("c" + i)))
                .toList();
        List<Summary> seconds = new Rounds(5, 1, 1).seconds(contenders);
        assertEquals(3, seconds.size());
        seconds.forEach(s -> assertTrue(0 < s.min() && s.min() <= s.median() && s.median() <= s.max(), s.toString()));
        assertEquals(
                List.of("c0", "c1", "c2", "c0", "c2", "c1", "c2", "c0", "c1", "c2", "c1", "c0", "c1", "c2", "c0"),
                turns);
    }

    @Test
    void saysWhoFailed() {
        Contender good = new FakeContender("good", () -> {});
        Contender bad = new FakeContender("bad", () -> {
            throw new IllegalStateException("out of luck");
        });
        Rounds.Failure failure =
                assertThrows(Rounds.Failure.class, () -> new Rounds(5, 1, 1).seconds(List.of(good, bad)));
        assertSame(bad, failure.contender());
        assertTrue(failure.getMessage().startsWith("bad failed while it was timed: "), failure.getMessage());
        assertTrue(failure.getMessage().contains("out of luck"), failure.getMessage());
    }
}
