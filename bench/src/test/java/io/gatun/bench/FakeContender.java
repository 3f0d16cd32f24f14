package io.gatun.bench;

import java.util.function.Consumer;

/** A contender that does what a test says. */
final class FakeContender implements Contender {
    private final String impl;
    private final Runnable work;
    private final Consumer<float[]> result;
    private boolean closed;

    FakeContender(String impl, Runnable work) {
        this(impl, work, y -> {});
    }

    FakeContender(String impl, Runnable work, Consumer<float[]> result) {
        this.impl = impl;
        this.work = work;
        this.result = result;
    }

    /** What another does, with an error in an element of its result. */
    static FakeContender withError(Contender contender, int index, float error) {
        return new FakeContender(contender.impl(), contender::run, y -> {
            contender.output(0, y);
            y[index] += error;
        });
    }

    boolean isClosed() {
        return closed;
    }

    @Override
    public String impl() {
        return impl;
    }

    @Override
    public String kernel() {
        return "fake";
    }

    @Override
    public String timed() {
        return "nothing";
    }

    @Override
    public void run() {
        work.run();
    }

    @Override
    public int copies() {
        return 1;
    }

    @Override
    public void output(int copy, float[] y) {
        result.accept(y);
    }

    @Override
    public void close() {
        closed = true;
    }
}
