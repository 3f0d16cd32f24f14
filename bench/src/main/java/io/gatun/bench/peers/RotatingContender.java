package io.gatun.bench.peers;

import io.gatun.bench.Contender;
import io.gatun.bench.Peer;

/** A peer that is set up for a case: calls go through the copies of its weights in turn. */
abstract class RotatingContender implements Contender {
    private final String impl;
    private final String kernel;
    private final String timed;
    private final int copies;
    private int next;

    RotatingContender(Peer peer, String kernel, String timed, int copies) {
        this.impl = peer.name() + " " + peer.version();
        this.kernel = kernel;
        this.timed = timed;
        this.copies = copies;
    }

    /** Multiplies by a copy of the weights. */
    abstract void call(int copy);

    /** Fills y with what the last call gave. */
    abstract void result(float[] y);

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
