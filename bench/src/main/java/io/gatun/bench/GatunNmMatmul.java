package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Mask;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.SparseTensor;
import io.gatun.ops.Sparsity;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Gatun's side of a multiplication by sparse weights. */
final class GatunNmMatmul {
    private GatunNmMatmul() {}

    /** What we are called where we multiply by the same weights with their zeros. */
    static String dense() {
        return Result.OURS + " " + Gatun.version() + " " + Result.DENSE;
    }

    /** {@link NmMatmul#run}; its input is of the type that dense peers of the case get. */
    static Contender prepare(NmMatmulCase problem, NmMatmulData data) {
        Arena arena = Arena.ofShared();
        QMatmul.Options options =
                QMatmul.Options.DEFAULT.withMode(mode(problem)).withThreads(problem.threads());
        Tensor x = Tensor.allocate(
                        arena,
                        problem.values().equals("bf16") ? DType.BF16 : DType.F32,
                        problem.rows(),
                        problem.depth())
                .copyFrom(data.dense.x);
        Tensor y = Tensor.allocate(arena, DType.F32, problem.rows(), problem.columns());
        NmWeights packed = NmMatmul.pack(sparse(problem, data), NmWeights.Dense.NEVER, arena);
        List<NmWeights> copies = GatunQMatmul.copies(packed, weights -> copy(weights, arena), data.copies);
        return new GatunContender(
                "",
                NmMatmul.explain(x, packed, y, options),
                timed(problem),
                arena::close,
                y,
                data.copies,
                copy -> NmMatmul.run(x, copies.get(copy), y, options));
    }

    private static NmWeights copy(NmWeights weights, Arena arena) {
        MemorySegment packed = weights.segment();
        return NmWeights.wrap(HugePages.allocate(arena, packed.byteSize()).copyFrom(packed));
    }

    private static QMatmul.Mode mode(NmMatmulCase problem) {
        return switch (problem.values()) {
            case "f32" -> QMatmul.Mode.PRECISE;
            case "bf16" -> QMatmul.Mode.BF16;
            default -> QMatmul.Mode.INT8_ROW;
        };
    }

    private static String timed(NmMatmulCase problem) {
        return switch (problem.values()) {
            case "f32" -> "product, through the Java API";
            case "bf16" -> "product (activations converted before), through the Java API";
            default -> "activation quantization and product, through the Java API";
        };
    }

    /** The weights of copy 0. */
    static SparseTensor sparse(NmMatmulCase problem, NmMatmulData data) {
        Tensor bits = Tensor.of(DType.U8, data.mask, problem.columns(), NmMatmulData.maskBytes(problem.depth()));
        Mask mask = Mask.wrap(bits, problem.depth());
        Sparsity.Nm pattern = Sparsity.nm(problem.n(), problem.m());
        return problem.isInteger()
                ? SparseTensor.compress(GatunQMatmul.quantized(problem.dense(), data.dense), mask, pattern)
                : SparseTensor.compress(values(problem, data.dense), mask, pattern);
    }

    private static Tensor values(NmMatmulCase problem, QMatmulData dense) {
        int depth = Math.toIntExact(problem.depth());
        float[] values = new float[dense.codes.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = dense.codes[i] * dense.scales[i / depth];
        }
        return Tensor.of(problem.values().equals("bf16") ? DType.BF16 : DType.F32, values, problem.columns(), depth);
    }
}
