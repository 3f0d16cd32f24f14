package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.Tensor;
import io.gatun.bench.AttentionCase;
import io.gatun.bench.AttentionData;
import io.gatun.bench.AttentionPeer;
import io.gatun.bench.Contender;
import io.gatun.bench.RotatingContender;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * libtorch's scaled dot product attention in f32, as it is on a CPU: {@code
 * _scaled_dot_product_flash_attention_for_cpu}, whose products are OpenBLAS's. In bf16 it is far slower.
 */
final class TorchAttention implements AttentionPeer {
    private final Torch torch;

    /** (q, k, v, dropout, causal, pointer to mask, pointer to scale, pointers to y and log-sum-exp). */
    private final MethodHandle attention;

    TorchAttention() throws IOException {
        torch = new Torch();
        attention = torch.function(
                "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_DOUBLE,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS);
    }

    @Override
    public String name() {
        return "libtorch";
    }

    @Override
    public String version() {
        return torch.version();
    }

    @Override
    public Contender prepare(AttentionCase problem, AttentionData data) {
        if (problem.kind() != AttentionCase.Kind.DENSE) {
            return null;
        }
        Torch.Scope scope = torch.new Scope();
        try {
            torch.enter(problem.threads());
            return new Attention(scope, problem, data);
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    /** The calls of a case; each frees the result of the one before. */
    private final class Attention extends RotatingContender {
        private final Torch.Scope scope;
        private final AttentionCase problem;
        private final MemorySegment q;
        private final MemorySegment k;
        private final MemorySegment v;
        private final MemorySegment y;
        private final MemorySegment logSumExp;
        private boolean called;

        Attention(Torch.Scope scope, AttentionCase problem, AttentionData data) {
            super(name() + " " + version(), "scaled_dot_product_attention f32", "attention, [heads, S, 128]", 1);
            this.scope = scope;
            this.problem = problem;
            q = tensor(data.q());
            k = tensor(data.k());
            v = tensor(data.v());
            y = scope.arena().allocate(ADDRESS);
            logSumExp = scope.arena().allocate(ADDRESS);
        }

        private MemorySegment tensor(Tensor values) {
            return scope.tensor(
                    values.segment(), Torch.F32, 1, AttentionCase.HEADS, problem.length(), AttentionCase.HEAD_SIZE);
        }

        @Override
        protected void call(int copy) {
            torch.enter(problem.threads());
            free();
            try {
                torch.check((int) attention.invokeExact(
                        q, k, v, 0.0, problem.causal() ? 1 : 0, MemorySegment.NULL, MemorySegment.NULL, y, logSumExp));
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
            MemorySegment.copy(result, JAVA_FLOAT, 0, values, 0, values.length);
        }

        @Override
        public void close() {
            free();
            scope.close();
        }
    }
}
