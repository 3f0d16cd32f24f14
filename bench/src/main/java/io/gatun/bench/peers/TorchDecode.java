package io.gatun.bench.peers;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.DecodeCase;
import io.gatun.bench.DecodeData;
import io.gatun.bench.DecodePeer;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.IntFunction;

/**
 * libtorch's scaled dot product attention with caches in f32 and in bf16, each a peer of its own. Heads of the query
 * that share keys are rows of one query, so keys are read once for all of them; {@code enable_gqa} copies keys for each
 * of them first.
 */
final class TorchDecode implements DecodePeer {
    private final Torch torch;
    private final DType dtype;

    private TorchDecode(Torch torch, DType dtype) {
        this.torch = torch;
        this.dtype = dtype;
    }

    /** A peer for each type. */
    static List<DecodePeer> all() throws IOException {
        Torch torch = new Torch();
        return List.of(new TorchDecode(torch, DType.F32), new TorchDecode(torch, DType.BF16));
    }

    @Override
    public String name() {
        return "libtorch" + (dtype == DType.F32 ? "" : "-bf16");
    }

    @Override
    public String version() {
        return torch.version();
    }

    /** bf16 is far slower than f32: beside a cache of bf16 only. */
    @Override
    public Contender prepare(DecodeCase problem, DecodeData data) {
        if (dtype == DType.BF16 && problem.cache() != DecodeCase.Cache.BF16) {
            return null;
        }
        Torch.Scope scope = torch.new Scope();
        try {
            torch.enter(problem.threads());
            MemorySegment query = CacheCopies.converted(scope.arena(), data.q().segment(), dtype, data.unit());
            return new TorchScaledDotProduct(
                    name() + " " + version(),
                    "attention, [heads, keys, " + HEAD_SIZE + "]",
                    torch,
                    scope,
                    new TorchScaledDotProduct.Operands(
                            type(),
                            scope.tensor(query, type(), 1, problem.heads(), problem.sharing(), HEAD_SIZE),
                            tensors(scope, problem, data, data::k),
                            tensors(scope, problem, data, data::v),
                            false,
                            problem.threads()));
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    private int type() {
        return dtype == DType.F32 ? Torch.F32 : Torch.BF16;
    }

    private List<MemorySegment> tensors(
            Torch.Scope scope, DecodeCase problem, DecodeData data, IntFunction<Tensor> values) {
        return CacheCopies.of(scope.arena(), problem, data, values, dtype).stream()
                .map(copy -> scope.tensor(copy, type(), 1, problem.heads(), problem.keys(), HEAD_SIZE))
                .toList();
    }
}
