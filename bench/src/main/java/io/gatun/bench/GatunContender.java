package io.gatun.bench;

import io.gatun.Gatun;
import io.gatun.Tensor;
import java.util.function.IntConsumer;

/** Gatun through its public API: a call that knows its operands, of which the weights rotate. */
final class GatunContender extends RotatingContender {
    private final Runnable closing;
    private final Tensor y;
    private final IntConsumer call;

    /**
     * A contender.
     *
     * @param way what distinguishes it from others of Gatun in the same case, or nothing
     * @param explanation of the operation: its first line starts with the kernel
     * @param timed what a call includes
     * @param closing frees the operands
     * @param y [rows, columns], contiguous: what calls write
     * @param copies of the weights
     * @param call computes y with a copy of the weights
     */
    GatunContender(
            String way, String explanation, String timed, Runnable closing, Tensor y, int copies, IntConsumer call) {
        super(
                (Result.OURS + " " + Gatun.version() + " " + way).stripTrailing(),
                explanation.lines().findFirst().orElseThrow().split(":", 2)[0],
                timed,
                copies);
        this.closing = closing;
        this.y = y;
        this.call = call;
    }

    @Override
    protected void call(int copy) {
        call.accept(copy);
    }

    @Override
    protected void result(float[] out) {
        float[] values = y.toFloatArray();
        System.arraycopy(values, 0, out, 0, values.length);
    }

    @Override
    public void close() {
        closing.run();
    }
}
