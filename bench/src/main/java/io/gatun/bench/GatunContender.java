package io.gatun.bench;

import io.gatun.Gatun;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.IntConsumer;

/** Gatun through its public API: a call that knows its operands, of which the weights rotate. */
final class GatunContender implements Contender {
    private final String impl;
    private final String kernel;
    private final String timed;
    private final Arena arena;
    private final Tensor y;
    private final int copies;
    private final IntConsumer call;
    private int next;

    /**
     * A contender.
     *
     * @param way what distinguishes it from others of Gatun in the same case, or nothing
     * @param explanation of the operation: its first line starts with the kernel
     * @param timed what a call includes
     * @param arena of the operands, closed with this
     * @param y [rows, columns], contiguous: what calls write
     * @param copies of the weights
     * @param call computes y with a copy of the weights
     */
    GatunContender(String way, String explanation, String timed, Arena arena, Tensor y, int copies, IntConsumer call) {
        this.impl = (Result.OURS + " " + Gatun.version() + " " + way).stripTrailing();
        this.kernel = explanation.lines().findFirst().orElseThrow().split(":", 2)[0];
        this.timed = timed;
        this.arena = arena;
        this.y = y;
        this.copies = copies;
        this.call = call;
    }

    @Override
    public String impl() {
        return impl;
    }

    @Override
    public String kernel() {
        return kernel;
    }

    @Override
    public String timed() {
        return timed;
    }

    @Override
    public void run() {
        call.accept(next);
        next = next + 1 == copies ? 0 : next + 1;
    }

    @Override
    public int copies() {
        return copies;
    }

    @Override
    public void output(int copy, float[] out) {
        call.accept(copy);
        MemorySegment.copy(
                y.segment(), 0, MemorySegment.ofArray(out), 0, y.segment().byteSize());
    }

    @Override
    public void close() {
        arena.close();
    }
}
