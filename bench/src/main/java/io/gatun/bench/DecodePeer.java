package io.gatun.bench;

/** Somebody else's attention to a cache. */
public interface DecodePeer {
    /** Without the version: {@code libtorch}. */
    String name();

    /** The version that runs: {@code 2.13.0}. */
    String version();

    /** Set up for a case, or null if it has nothing for such a cache. Its output is [query heads, head size]. */
    Contender prepare(DecodeCase problem, DecodeData data) throws Exception;
}
