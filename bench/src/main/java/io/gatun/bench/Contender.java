package io.gatun.bench;

/** An implementation that is set up for one case: nothing but the work itself is left to do. */
public interface Contender extends AutoCloseable {
    /** Its name in the records, with its version: {@code onednn 3.13}. */
    String impl();

    /** Which of its kernels runs, as far as it tells. */
    String kernel();

    /** What {@link #run} does, and what was done before: {@code activation quantization + product}. */
    String timed();

    /** One call, with the next copy of the weights. */
    void run();

    /** How many copies of the weights it has; those of peers are as {@link QMatmulData#codeOf} says, ours all alike. */
    int copies();

    /** Fills y, [M, N] row by row, with what a call with that copy of the weights gives. */
    void output(int copy, float[] y);

    @Override
    void close();
}
