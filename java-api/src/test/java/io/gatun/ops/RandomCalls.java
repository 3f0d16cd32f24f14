package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.regex.Pattern;

/** Runs an operation on random arguments, valid and invalid: each call must be refused or give the right answer. */
final class RandomCalls {
    private static final int CALLS = 10_000;
    private static final long SEED = Long.getLong("gatun.test.seed", 2026);

    /** "argument: given ...; allowed: ..." of Java, "argument = ...; allowed: ..." and the like of C. */
    private static final Pattern REFUSAL = Pattern.compile(
            "[a-z][\\w.]*(\\[\\d+(, \\d+)*\\])*:? .*"
                    + "(; allowed( with [\\w ]+)?: .+|; the packed weights have \\d+|; its weights need \\d+|starts with 0x[0-9a-f]+\\))");

    private RandomCalls() {}

    /**
     * One call.
     *
     * @param what for the message of a failure
     * @param right what must happen
     * @param run the call
     * @param verify compares the outputs after an accepted call
     * @param unchanged whether the outputs are as they were before
     */
    record Call(String what, Outcome right, Runnable run, Runnable verify, BooleanSupplier unchanged) {
        Call(String what, boolean valid, Runnable run, Runnable verify, BooleanSupplier unchanged) {
            this(what, valid ? Outcome.ACCEPTED : Outcome.REFUSED, run, verify, unchanged);
        }
    }

    enum Outcome {
        ACCEPTED,
        REFUSED,
        EITHER
    }

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
                | UnsupportedOperationException
                | WrongThreadException
                | NullPointerException refusal) {
            if (call.right == Outcome.ACCEPTED) {
                fail("refused: " + context, refusal);
            }
            String message = String.valueOf(refusal.getMessage());
            assertTrue(REFUSAL.matcher(message).matches(), "\"" + message + "\": " + context);
            assertTrue(call.unchanged.getAsBoolean(), "refused, but outputs were written: " + context);
            return false;
        }
        assertTrue(call.right != Outcome.REFUSED, "accepted: " + context);
        call.verify.run();
        return true;
    }
}
