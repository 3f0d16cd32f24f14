package io.gatun.bench;

/** An implementation whose calls go through the copies of its weights in turn. */
public abstract class RotatingContender implements Contender {
    private final String impl;
    private final String kernel;
    private final String timed;
    private final int copies;
    private int next;

    /** Of a peer; the other arguments are what the methods of their names return. */
    protected RotatingContender(Peer peer, String kernel, String timed, int copies) {
        this(peer.name() + " " + peer.version(), kernel, timed, copies);
    }

    /** Each argument is what the method of its name returns. */
    protected RotatingContender(String impl, String kernel, String timed, int copies) {
        this.impl = impl;
        this.kernel = kernel;
        this.timed = timed;
        this.copies = copies;
    }

    /** Multiplies by a copy of the weights. */
    protected abstract void call(int copy);

    /** Fills y with what the last call gave. */
    protected abstract void result(float[] y);

    @Override
    public final void run() {
        call(next);
        next = next + 1 == copies ? 0 : next + 1;
    }

    @Override
    public final int copies() {
        return copies;
    }

    @Override
    public final void output(int copy, float[] y) {
        call(copy);
        result(y);
    }

    @Override
    public final String impl() {
        return impl;
    }

    @Override
    public final String kernel() {
        return kernel;
    }

    @Override
    public final String timed() {
        return timed;
    }
}
