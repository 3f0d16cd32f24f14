package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.function.BooleanSupplier;
import java.util.function.Function;

/** Runs an operation on random arguments, valid and invalid: each call must be refused or give the right answer. */
final class RandomCalls {
    private static final int CALLS = 10_000;
    private static final long SEED = Long.getLong("gatun.test.seed", 2026);

    private RandomCalls() {}

    /**
     * One call.
     *
     * @param what for the message of a failure
     * @param valid whether it must be accepted
     * @param run the call
     * @param verify compares the outputs after an accepted call
     * @param unchanged whether the outputs are as they were before
     */
    record Call(String what, boolean valid, Runnable run, Runnable verify, BooleanSupplier unchanged) {}

    static void run(String operation, Function<Random, Call> draw) {
        int accepted = 0;
        for (int i = 0; i < CALLS; i++) {
            Random random = new Random(SEED + i);
            Call call = draw.apply(random);
            String context = operation + " seed " + random.seed + ": " + call.what;
            if (accepts(call, context)) {
                accepted++;
            }
        }
        int rejected = CALLS - accepted;
        System.out.println(operation + ": " + CALLS + " random calls from seed " + SEED + ", " + accepted
                + " accepted with the right answer, " + rejected + " rejected");
        assertTrue(accepted >= CALLS / 5 && rejected >= CALLS / 5, accepted + " accepted, " + rejected + " rejected");
    }

    private static boolean accepts(Call call, String context) {
        try {
            call.run.run();
        } catch (IllegalArgumentException
                | IllegalStateException
                | WrongThreadException
                | NullPointerException refusal) {
            if (call.valid) {
                fail("refused: " + context, refusal);
            }
            assertFalse(refusal.getMessage() == null || refusal.getMessage().isBlank(), "no message: " + context);
            assertTrue(call.unchanged.getAsBoolean(), "refused, but outputs were written: " + context);
            return false;
        }
        assertTrue(call.valid, "accepted: " + context);
        call.verify.run();
        return true;
    }
}
