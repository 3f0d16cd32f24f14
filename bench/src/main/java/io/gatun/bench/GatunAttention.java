package io.gatun.bench;

import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.BlockMask;
import java.lang.foreign.Arena;
import java.util.stream.IntStream;

/** Gatun's attention. q, k, v and the result are [1, heads, S, 128] of the type of the case. */
final class GatunAttention {
    /** What ours is called that multiplies in bf16 where another of ours multiplies codes of int8. */
    static final String BF16 = "bf16";

    private GatunAttention() {}

    /** {@link Attention#run} of a case to all blocks. */
    static Contender prepare(String way, AttentionCase problem, AttentionData data) {
        return prepare(way, problem, data, options(problem));
    }

    /** The same to the blocks of a map. */
    static Contender prepare(AttentionCase problem, AttentionData data, byte[] map) {
        BlockMask mask = BlockMask.ofBlocks(MaskContender.grid(problem), MaskContender.map(problem, map));
        return prepare("", problem, data, options(problem).withMask(mask));
    }

    /**
     * The same with options.
     *
     * @param way what distinguishes it from others of ours in the case
     */
    static Contender prepare(String way, AttentionCase problem, AttentionData data, Attention.Options options) {
        Arena arena = Arena.ofShared();
        Tensor q = of(arena, problem, data.q());
        Tensor k = of(arena, problem, data.k());
        Tensor v = of(arena, problem, data.v());
        Tensor y = allocate(arena, problem);
        return new GatunContender(
                way,
                Attention.explain(q, k, v, y, options),
                "attention, [heads, S, 128], through the Java API",
                arena::close,
                y,
                1,
                copy -> Attention.run(q, k, v, y, options));
    }

    static Attention.Options options(AttentionCase problem) {
        return Attention.Options.DEFAULT
                .withCausal(problem.causal())
                .withMode(problem.dtype().equals("int8") ? Attention.Mode.INT8 : Attention.Mode.EXACT)
                .withThreads(problem.threads());
    }

    static DType dtype(AttentionCase problem) {
        return switch (problem.dtype()) {
            case "f32" -> DType.F32;
            case "f16" -> DType.F16;
            default -> DType.BF16;
        };
    }

    private static Tensor allocate(Arena arena, AttentionCase problem) {
        DType dtype = dtype(problem);
        long bytes = dtype.bytes((long) HEADS * problem.length() * HEAD_SIZE);
        return Tensor.wrap(HugePages.allocate(arena, bytes), dtype, 1, HEADS, problem.length(), HEAD_SIZE);
    }

    /** The values in the type of the case. */
    static Tensor of(Arena arena, AttentionCase problem, Tensor values) {
        if (dtype(problem) == DType.F32) {
            return values.reshape(1, HEADS, problem.length(), HEAD_SIZE);
        }
        Tensor converted = allocate(arena, problem);
        IntStream.range(0, HEADS)
                .parallel()
                .forEach(head -> converted
                        .slice(1, head, head + 1L)
                        .copyFrom(values.slice(0, head, head + 1L).toFloatArray()));
        return converted;
    }
}
