package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.bench.RotatingContender;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Calls of libtorch's attention with copies of k and v in turn; each frees the result of the one before. */
final class TorchScaledDotProduct extends RotatingContender {
    private final Torch torch;
    private final Torch.Scope scope;
    private final Operands operands;
    private final MemorySegment y;
    private final MemorySegment logSumExp;
    private boolean called;

    /**
     * Tensors of a type.
     *
     * @param k as many as copies of v
     */
    record Operands(
            int type, MemorySegment q, List<MemorySegment> k, List<MemorySegment> v, boolean causal, int threads) {}

    /** All of them are the scope's, which is closed with this. */
    TorchScaledDotProduct(String impl, String timed, Torch torch, Torch.Scope scope, Operands operands) {
        super(
                impl,
                "scaled_dot_product_attention " + (operands.type == Torch.F32 ? "f32" : "bf16"),
                timed,
                operands.k.size());
        this.torch = torch;
        this.scope = scope;
        this.operands = operands;
        y = scope.arena().allocate(ADDRESS);
        logSumExp = scope.arena().allocate(ADDRESS);
    }

    @Override
    protected void call(int copy) {
        torch.enter(operands.threads);
        free();
        try {
            torch.check((int) torch.attention.invokeExact(
                    operands.q,
                    operands.k.get(copy),
                    operands.v.get(copy),
                    0.0,
                    operands.causal ? 1 : 0,
                    MemorySegment.NULL,
                    MemorySegment.NULL,
                    y,
                    logSumExp));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
        called = true;
    }

    private void free() {
        if (called) {
            called = false;
            torch.free(y.get(ADDRESS, 0));
            torch.free(logSumExp.get(ADDRESS, 0));
        }
    }

    @Override
    protected void result(float[] values) {
        MemorySegment result = torch.data(y.get(ADDRESS, 0), (long) values.length * Float.BYTES);
        if (operands.type == Torch.F32) {
            MemorySegment.copy(result, JAVA_FLOAT, 0, values, 0, values.length);
        } else {
            Bf16.copy(result, values);
        }
    }

    @Override
    public void close() {
        free();
        scope.close();
    }
}
