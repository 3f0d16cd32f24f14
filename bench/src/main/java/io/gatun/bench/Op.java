package io.gatun.bench;

/** The benchmark of one op: its cases and who takes part in them. */
interface Op {
    /** As the command line and the records call it. */
    String name();

    /** Measures every case. */
    void run(Session session) throws Exception;
}
