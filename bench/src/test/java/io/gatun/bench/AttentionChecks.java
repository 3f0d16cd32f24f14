package io.gatun.bench;

/** What tests of peers need of this package. */
public final class AttentionChecks {
    private AttentionChecks() {}

    /** The error of a contender against the definition. */
    public static double relError(Contender contender, AttentionCase problem, AttentionData data) throws Exception {
        byte[] map = problem.kind() == AttentionCase.Kind.SPARSE ? AttentionData.map(problem) : null;
        return new AttentionVerifier(problem, data, map).relError(contender);
    }
}
