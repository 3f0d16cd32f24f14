package io.gatun.bench;

/** Somebody else's attention. */
public interface AttentionPeer {
    /** Without the version: {@code libtorch}. */
    String name();

    /** The version that runs: {@code 2.13.0}. */
    String version();

    /** Set up for a case, or null if it has nothing for such a case. Its output is [heads, S, head size]. */
    Contender prepare(AttentionCase problem, AttentionData data) throws Exception;
}
