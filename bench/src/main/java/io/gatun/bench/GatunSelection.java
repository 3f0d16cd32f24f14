package io.gatun.bench;

import static io.gatun.bench.AttentionCase.BLOCK;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.BlockMask;
import io.gatun.ops.Selection;
import java.lang.foreign.Arena;

/** Gatun's selections of blocks through the public API. The output is a map of them, [heads, blocks, blocks]. */
final class GatunSelection extends RotatingContender {
    /** What ours is called that selects and attends in one call. */
    static final String FUSED = "fused";

    private final Arena arena;
    private final Tensor q;
    private final Tensor k;
    private final Selection selection;
    private final Attention.Options options;
    private BlockMask mask;

    private GatunSelection(AttentionCase problem, AttentionData data, Arena arena) {
        super(
                Result.OURS + " " + Gatun.version(),
                "gatun_attention_select",
                "scores, choice and lists of blocks, through the Java API",
                1);
        this.arena = arena;
        q = GatunAttention.of(arena, problem, data.q());
        k = GatunAttention.of(arena, problem, data.k());
        selection = selection(problem);
        options = GatunAttention.options(problem);
    }

    private static Selection selection(AttentionCase problem) {
        return (problem.method().equals("means")
                        ? Selection.means()
                        : Selection.antidiagonal().withFirst(false).withDiagonal(false))
                .withStride(SelectionVerifier.STRIDE)
                .withBlocks(BLOCK, BLOCK)
                .withKeepFraction(problem.percent() / 100.0);
    }

    /** {@link Selection#select} of a case. */
    static GatunSelection prepare(AttentionCase problem, AttentionData data) {
        return new GatunSelection(problem, data, Arena.ofShared());
    }

    /** {@link Attention#run} with the selection of a case. */
    static Contender prepareFused(AttentionCase problem, AttentionData data) {
        return GatunAttention.prepare(
                FUSED, problem, data, GatunAttention.options(problem).withSelection(selection(problem)));
    }

    /** The share of the attention that the blocks keep which the last call has chosen. */
    double recall() {
        return Attention.recall(lse(mask), lse(null));
    }

    private Tensor lse(BlockMask seen) {
        Tensor lse = Tensor.allocate(
                arena, DType.F32, 1, q.shape().size(1), q.shape().size(2));
        Attention.run(q, k, null, null, options.withMask(seen).withLse(lse));
        return lse;
    }

    @Override
    protected void call(int copy) {
        mask = selection.select(q, k, options);
    }

    @Override
    protected void result(float[] map) {
        MaskContender.copyMap(mask, map);
    }

    @Override
    public void close() {
        arena.close();
    }
}
