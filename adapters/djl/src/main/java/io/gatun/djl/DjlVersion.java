package io.gatun.djl;

import ai.djl.engine.Engine;

/** Whether the DJL on the class path is one that this artifact works with. */
final class DjlVersion {
    private static final String PROBLEM = problem(version());

    private DjlVersion() {}

    /** @throws UnsupportedOperationException if it is none */
    static void check() {
        if (PROBLEM != null) {
            throw new UnsupportedOperationException(PROBLEM);
        }
    }

    private static String version() {
        try {
            return Engine.getDjlVersion();
        } catch (NoSuchMethodError e) {
            return "before 0.20";
        }
    }

    /** The tests pass with the first and the last one. What a PyTorch array's handle points to is internal. */
    static String problem(String version) {
        return version != null && version.matches("0\\.(2[89]|3[0-6])\\..*")
                ? null
                : "DJL " + version + "; allowed: 0.28 to 0.36";
    }
}
