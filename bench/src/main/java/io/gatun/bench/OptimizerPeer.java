package io.gatun.bench;

import java.util.Optional;

/** Somebody else's optimizers. */
public interface OptimizerPeer {
    /** Without the version: {@code libtorch}. */
    String name();

    /** The version that runs: {@code 2.13.0}. */
    String version();

    /** What it has for a case: the same rule, or the nearest one, on state as it keeps it; empty for nothing. */
    Optional<OptimizerCase> nearest(OptimizerCase problem);

    /**
     * Set up for a case of its own, on {@link OptimizerData}: one step with the gradients of step 1 is done, those of step 2
     * are in place.
     */
    Contender prepare(OptimizerCase problem);
}
