package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_BLOCKS;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_COLUMNS;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_NM;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_ROW;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_ROWS;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_TRANSPOSABLE;
import static io.gatun.bindings.c.gatun_h.GATUN_PATTERN_UNSTRUCTURED;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_prune_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Prune.Score;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/** The arguments of a call of {@link Prune}: checked, and then written into this thread's struct. */
final class PruneCall {
    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_prune_params::layout);

    private PruneCall() {}

    static void checkF32(String name, Tensor tensor) {
        Check.dtype(name, tensor, F32);
    }

    static void checkWeights(Tensor weights) {
        checkWeights("weights", weights);
    }

    static void checkWeights(String name, Tensor weights) {
        Check.present(name, weights);
        QuantizeCall.checkValueType(name, weights.dtype());
        Check.matrix(name, weights, -1, -1);
        Check.contiguous(name, weights);
        Check.reachable(name, weights);
    }

    static void checkMask(Mask mask, Shape shape) {
        Check.present("mask", mask);
        if (!mask.shape().equals(shape)) {
            throw Check.invalid("mask", "shape " + mask.shape(), shape + ", as the weights have");
        }
        Check.reachable("mask", mask.bits());
    }

    /** The shape of the weights, which given scores have, too. */
    static Shape shape(Tensor weights, Score score) {
        Check.present("score", score);
        if (weights == null && score.kind() == Score.Kind.GIVEN) {
            Check.matrix("scores", score.tensor(), -1, -1);
            return score.tensor().shape();
        }
        Check.present("weights", weights);
        Check.matrix("weights", weights, -1, -1);
        return weights.shape();
    }

    /** Given scores need no weights. */
    static MemorySegment weights(Tensor weights, Score score) {
        return score.kind() == Score.Kind.GIVEN ? MemorySegment.NULL : weights.segment();
    }

    static MemorySegment norms(Score score) {
        return score.kind() == Score.Kind.WANDA ? score.tensor().segment() : MemorySegment.NULL;
    }

    static MemorySegment scores(Score score) {
        return score.kind() == Score.Kind.GIVEN ? score.tensor().segment() : MemorySegment.NULL;
    }

    static MemorySegment params(Tensor weights, Score score, Sparsity pattern, int threads) {
        return params(weights, score, pattern, threads, null);
    }

    /** {@code kept}: the N:M of the struct, also where the pattern has none. */
    static MemorySegment params(Tensor weights, Score score, Sparsity pattern, int threads, Sparsity.Nm kept) {
        Shape shape = shape(weights, score);
        Check.present("pattern", pattern);
        Check.threads(threads);
        if (weights != null) {
            checkWeights(weights);
        }
        checkTensor(score, shape);
        MemorySegment params = PARAMS.get();
        gatun_prune_params.w_dtype(params, (weights == null ? DType.F32 : weights.dtype()).code());
        gatun_prune_params.score(params, score.kind().ordinal());
        gatun_prune_params.threads(params, threads);
        gatun_prune_params.columns(params, shape.size(0));
        gatun_prune_params.depth(params, shape.size(1));
        Sparsity.Nm nm = pattern instanceof Sparsity.Nm given ? given : kept;
        gatun_prune_params.n(params, nm == null ? 0 : nm.n());
        gatun_prune_params.m(params, nm == null ? 0 : nm.m());
        gatun_prune_params.vector(params, nm == null ? 1 : nm.vector());
        gatun_prune_params.keep(params, 0);
        gatun_prune_params.block_rows(params, 1);
        gatun_prune_params.block_depth(params, 1);
        writePattern(params, pattern, shape);
        return params;
    }

    private static void checkTensor(Score score, Shape shape) {
        if (score.kind() == Score.Kind.WANDA) {
            Check.vector("norms", score.tensor(), shape.size(1));
            Check.reachable("norms", score.tensor());
        } else if (score.kind() == Score.Kind.GIVEN) {
            Check.matrix("scores", score.tensor(), shape.size(0), shape.size(1));
            Check.reachable("scores", score.tensor());
        }
    }

    private static void writePattern(MemorySegment params, Sparsity pattern, Shape shape) {
        long rows = shape.size(0);
        long depth = shape.size(1);
        switch (pattern) {
            case Sparsity.Nm _ -> gatun_prune_params.pattern(params, GATUN_PATTERN_NM());
            case Sparsity.Transposable _ -> gatun_prune_params.pattern(params, GATUN_PATTERN_TRANSPOSABLE());
            case Sparsity.Unstructured p -> keep(params, GATUN_PATTERN_UNSTRUCTURED(), shape.elements(), p.sparsity());
            case Sparsity.PerRow p -> keep(params, GATUN_PATTERN_ROW(), depth, p.sparsity());
            case Sparsity.Rows p -> keep(params, GATUN_PATTERN_ROWS(), rows, p.sparsity());
            case Sparsity.Columns p -> keep(params, GATUN_PATTERN_COLUMNS(), depth, p.sparsity());
            case Sparsity.Blocks p -> {
                long blocks = Math.multiplyExact(Math.ceilDiv(rows, p.rows()), Math.ceilDiv(depth, p.depth()));
                keep(params, GATUN_PATTERN_BLOCKS(), blocks, p.sparsity());
                gatun_prune_params.block_rows(params, p.rows());
                gatun_prune_params.block_depth(params, p.depth());
            }
        }
    }

    private static void keep(MemorySegment params, int pattern, long count, double sparsity) {
        gatun_prune_params.pattern(params, pattern);
        boolean none = gatun_prune_params.columns(params) == 0 || gatun_prune_params.depth(params) == 0;
        gatun_prune_params.keep(params, none ? 0 : count - pruned(count, sparsity));
    }

    /** How many of {@code count} a share is, as {@link Sparsity} says. */
    static long pruned(long count, double sparsity) {
        return Math.min(Math.round(count * sparsity), count);
    }
}
