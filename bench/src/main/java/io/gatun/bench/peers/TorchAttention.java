package io.gatun.bench.peers;

import io.gatun.Tensor;
import io.gatun.bench.AttentionCase;
import io.gatun.bench.AttentionData;
import io.gatun.bench.AttentionPeer;
import io.gatun.bench.Contender;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * libtorch's scaled dot product attention in f32, as it is on a CPU: {@code
 * _scaled_dot_product_flash_attention_for_cpu}, whose products are OpenBLAS's. In bf16 it is far slower.
 */
final class TorchAttention implements AttentionPeer {
    private final Torch torch;

    TorchAttention() throws IOException {
        torch = new Torch();
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
            return new TorchScaledDotProduct(
                    name() + " " + version(),
                    "attention, [heads, S, 128]",
                    torch,
                    scope,
                    new TorchScaledDotProduct.Operands(
                            Torch.F32,
                            tensor(scope, problem, data.q()),
                            List.of(tensor(scope, problem, data.k())),
                            List.of(tensor(scope, problem, data.v())),
                            problem.causal(),
                            problem.threads()));
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    private static MemorySegment tensor(Torch.Scope scope, AttentionCase problem, Tensor values) {
        return scope.tensor(
                values.segment(), Torch.F32, 1, AttentionCase.HEADS, problem.length(), AttentionCase.HEAD_SIZE);
    }
}
