package io.gatun.ops;

import io.gatun.ops.RandomCalls.Call;
import java.util.function.Consumer;

/** The arguments of one call of an operation, drawn by the constructor as good ones; a share of them then gets a flaw. */
abstract class RandomCall {
    /** The share of calls that get a flaw. */
    private static final double FLAWED = 0.5;

    final Random random;

    RandomCall(Random random) {
        this.random = random;
    }

    /** The arguments, for the message of a failure. */
    abstract String describe();

    /** The last flaw that {@link #spoil} knows. */
    abstract int lastFlaw();

    /** Changes the arguments into what no call may take. */
    abstract void spoil(int flaw);

    abstract void run();

    /** Computes the answer, inputs being what they are before the call; what is returned compares outputs after it. */
    abstract Consumer<String> expected();

    /** Whether no output has changed since it was drawn. */
    abstract boolean unchanged();

    /** Whether arguments without a flaw have values that are refused, after which outputs hold anything. */
    boolean hasBadValues() {
        return false;
    }

    final Call call() {
        String arguments = describe();
        if (random.chance(FLAWED)) {
            int flaw = random.between(0, lastFlaw());
            spoil(flaw);
            return new Call(arguments + " flaw " + flaw, false, this::run, null, this::unchanged);
        }
        if (hasBadValues()) {
            return new Call(arguments, false, this::run, null, () -> true);
        }
        Consumer<String> expected = expected();
        return new Call(arguments, true, this::run, () -> expected.accept(arguments), this::unchanged);
    }
}
