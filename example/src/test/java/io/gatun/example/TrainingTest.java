package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** 8-bit state trains as well as 32-bit state. */
class TrainingTest {
    /** Weights of 32 x 128 and 128 x 128 have 8-bit state; those of 128 x 10, and biases, are too small for it. */
    private static final Training TRAINING = new Training(List.of(128, 128), 500);

    private static final long LARGE = 32 * 128 + 128 * 128;
    private static final long SMALL = 128 + 128 + 128 * 10 + 10;

    private record Run(Rule rule, State state, long seed) {
        Training.Outcome outcome(Mixture.Sample test) {
            return TRAINING.run(rule, state, seed, 1, test);
        }
    }

    @Test
    void eightBitStateReachesTheSameLoss() {
        Mixture.Sample test = Training.testPoints();
        double best = Mixture.bayesError();
        List<Run> runs = TrainingDemo.RULES.stream()
                .flatMap(rule -> LongStream.rangeClosed(1, 3)
                        .boxed()
                        .flatMap(seed -> Stream.of(State.F32, State.DYNAMIC8).map(state -> new Run(rule, state, seed))))
                .toList();
        Map<Run, Training.Outcome> outcomes =
                runs.parallelStream().collect(Collectors.toMap(Function.identity(), run -> run.outcome(test)));
        for (Run run : runs) {
            Training.Outcome outcome = outcomes.get(run);
            // At first it is 90 in a hundred, and planes come no lower than 85.
            assertTrue(outcome.last().error() < test.bestError() + 0.02, run + ": " + outcome);
            assertTrue(outcome.last().error() < 2 * best, run + ": " + outcome);
            assertTrue(outcome.last().loss() > test.bestLoss(), run + " beats what cannot be beaten: " + outcome);
            int states = run.rule() == Rule.ADAM ? 2 : 1;
            long bytes = run.state() == State.F32 ? 4 * LARGE : LARGE + LARGE / 256 * 4;
            assertEquals(states * (bytes + 4 * SMALL), outcome.stateBytes(), run.toString());
            if (run.state() == State.DYNAMIC8) {
                double full = outcomes.get(new Run(run.rule(), State.F32, run.seed()))
                        .last()
                        .loss();
                double ratio = outcome.last().loss() / full;
                assertEquals(1, ratio, 0.02, run.toString());
                assertNotEquals(1, ratio, run + " has 32-bit state");
            }
        }
    }

    @Test
    void trainingsRepeat() {
        Mixture.Sample test = new Mixture(5).draw(256);
        Training brief = new Training(List.of(128), 7);
        for (State state : State.values()) {
            Training.Outcome outcome = brief.run(Rule.ADAM, state, 3, 4, test);
            assertEquals(outcome, brief.run(Rule.ADAM, state, 3, 4, test));
            assertNotEquals(
                    outcome.curve(), brief.run(Rule.ADAM, state, 4, 4, test).curve());
            assertEquals(4, outcome.curve().size());
            assertEquals(outcome.last().loss(), outcome.curve().getLast());
            assertEquals(brief.network(3).score(test).loss(), outcome.curve().getFirst());
        }
    }
}
