package io.gatun.bench;

/** Somebody else's implementation of {@code qmatmul}. */
public interface Peer {
    /** Without the version: {@code onednn}. */
    String name();

    /** The version that runs: {@code 3.13}. */
    String version();

    /** Set up for a case, or null if it has nothing for such a case. */
    Contender prepare(QMatmulCase problem, QMatmulData data) throws Exception;
}
