package io.gatun.bench;

import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Prune;
import io.gatun.ops.SparseTensor;
import io.gatun.ops.Sparsity;
import java.lang.foreign.MemorySegment;

/** Gatun through its public API: weights to what is kept of them. The output is what is kept, with zeros between. */
final class NmPruneContender extends RotatingContender {
    private final NmPruneCase problem;
    private final Tensor weights;
    private final SparseTensor kept;

    /** Its pages are there before anything is timed. */
    NmPruneContender(NmPruneCase problem, Tensor weights) {
        this(problem, weights, Prune.compress(weights, Prune.Score.magnitude(), Sparsity.nm(problem.n(), problem.m())));
    }

    private NmPruneContender(NmPruneCase problem, Tensor weights, SparseTensor kept) {
        super(
                Result.OURS + " " + Gatun.version(),
                kept.explain().lines().findFirst().orElseThrow().split(":", 2)[0],
                "values and indices, through the Java API",
                1);
        this.problem = problem;
        this.weights = weights;
        this.kept = kept;
    }

    @Override
    protected void call(int copy) {
        Prune.compress(weights, Prune.Score.magnitude(), kept, problem.threads());
    }

    @Override
    protected void result(float[] out) {
        Tensor dense = kept.decompress();
        MemorySegment.copy(
                dense.segment(),
                0,
                MemorySegment.ofArray(out),
                0,
                dense.segment().byteSize());
    }

    @Override
    public void close() {} // what it holds is freed with it
}
