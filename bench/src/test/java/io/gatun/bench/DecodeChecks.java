package io.gatun.bench;

/** What tests of peers need of this package. */
public final class DecodeChecks {
    private DecodeChecks() {}

    /** The error of a contender against the definition. */
    public static double relError(Contender contender, DecodeCase problem, DecodeData data) throws Exception {
        return new DecodeVerifier(problem, data).relError(contender);
    }
}
