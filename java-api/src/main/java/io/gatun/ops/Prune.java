package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_nm_prune;
import static io.gatun.bindings.c.gatun_h.gatun_prune;
import static io.gatun.bindings.c.gatun_h.gatun_prune_explain;
import static io.gatun.bindings.c.gatun_h.gatun_prune_regrow;
import static io.gatun.bindings.c.gatun_h.gatun_prune_scores;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_regrow_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Pruning: which weights of a matrix [rows, depth] to keep, by a {@link Score} of each of them and a pattern of
 * {@link Sparsity}.
 *
 * <pre>
 * ActivationStats inputs = ActivationStats.of(depth);
 * inputs.observe(x); // as often as there are batches
 * Mask mask = Prune.run(weights, Score.wanda(inputs), Sparsity.nm(2, 4));
 * </pre>
 *
 * Scores of weights that are kept or pruned together add up, in doubles. Of equal scores the lower index is kept. Results do
 * not depend on the number of threads.
 */
public final class Prune {
    /**
     * How much a weight w at (r, k) counts. Scores are f32, products rounded once.
     *
     * @param kind the formula
     * @param tensor what it needs beside the weights: norms, scores, or null
     */
    public record Score(Kind kind, Tensor tensor) {
        /** Formulas of scores. */
        public enum Kind {
            /** |w| */
            MAGNITUDE,
            /** |w| norms[k] ("A Simple and Effective Pruning Approach for Large Language Models"). */
            WANDA,
            /**
             * w^2 / (sum of w'^2 over all weights of the matrix with |w'| >= |w|), which may be compared between layers
             * ("Layer-adaptive sparsity for the magnitude-based pruning").
             */
            LAMP,
            /** A number of one's own. */
            GIVEN
        }

        private static final Score OF_MAGNITUDE = new Score(Kind.MAGNITUDE, null);
        private static final Score OF_LAMP = new Score(Kind.LAMP, null);

        /** Refuses a tensor that the formula does not have, or of another type. */
        public Score {
            Check.present("kind", kind);
            String name = name(kind);
            if (kind == Kind.WANDA || kind == Kind.GIVEN) {
                Check.present(name, tensor);
                PruneCall.checkF32(name, tensor);
                Check.contiguous(name, tensor);
            } else if (tensor != null) {
                throw Check.invalid("tensor", tensor.describe() + " with " + kind, "null");
            }
        }

        /** |w| */
        public static Score magnitude() {
            return OF_MAGNITUDE;
        }

        /**
         * |w| times the norm of its input.
         *
         * @throws IllegalArgumentException if no row was observed: norms of 0 would make all weights alike
         */
        public static Score wanda(ActivationStats inputs) {
            Check.present("inputs", inputs);
            if (inputs.rows() == 0) {
                throw Check.invalid("inputs", inputs, "at least one row");
            }
            return wanda(inputs.norms());
        }

        /** |w| norms[k], with f32 [depth], finite and not below 0. */
        public static Score wanda(Tensor norms) {
            return new Score(Kind.WANDA, norms);
        }

        /** See {@link Kind#LAMP}. */
        public static Score lamp() {
            return OF_LAMP;
        }

        /** These, f32 [rows, depth], not NaN. */
        public static Score given(Tensor scores) {
            return new Score(Kind.GIVEN, scores);
        }

        private static String name(Kind kind) {
            return kind == Kind.WANDA ? "norms" : "scores";
        }

        /** What the tensor is called in messages. */
        String tensorName() {
            return name(kind);
        }

        /** The formula: {@code WANDA}. */
        @Override
        public String toString() {
            return kind.toString();
        }
    }

    private static final long EXPLAIN_BYTES = 1024;
    private static final ThreadLocal<MemorySegment> REGROW_PARAMS = Native.params(gatun_regrow_params::layout);

    private Prune() {}

    // ---- masks -----------------------------------------------------------------------------------------------------

    /** The weights to keep, in new memory; otherwise as {@link #run(Tensor, Score, Sparsity, Mask, int)}. */
    public static Mask run(Tensor weights, Score score, Sparsity pattern) {
        Shape shape = PruneCall.shape(weights, score);
        Mask mask = Mask.allocate(shape.size(0), shape.size(1));
        run(weights, score, pattern, mask, 0);
        return mask;
    }

    /**
     * Decides which weights to keep. O(rows * depth); LAMP sorts.
     *
     * @param weights f32, f16 or bf16 [rows, depth], contiguous; with given scores it may be null
     * @param score of each weight
     * @param pattern what is kept together
     * @param mask of the weights' shape; its bits are replaced
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit, or a weight or score is NaN, with its place
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void run(Tensor weights, Score score, Sparsity pattern, Mask mask, int threads) {
        MemorySegment params = PruneCall.params(weights, score, pattern, threads);
        PruneCall.checkMask(mask, PruneCall.shape(weights, score));
        checkOutput("mask", mask.bits(), weights, score);
        Native.call(() -> gatun_prune(
                params,
                PruneCall.weights(weights, score),
                PruneCall.norms(score),
                PruneCall.scores(score),
                mask.bits().segment()));
    }

    /** The scores themselves, f32 [rows, depth], in new memory. */
    public static Tensor scores(Tensor weights, Score score) {
        Check.present("score", score);
        if (score.kind() == Score.Kind.GIVEN) {
            throw Check.invalid("score", score, "MAGNITUDE, WANDA, LAMP");
        }
        return scores(Arena.ofAuto(), weights, score);
    }

    static Tensor scores(Arena arena, Tensor weights, Score score) {
        MemorySegment params = PruneCall.params(weights, score, Sparsity.unstructured(0), 0);
        Tensor scores = Tensor.allocate(arena, DType.F32, weights.shape().toArray());
        Native.call(() -> gatun_prune_scores(params, weights.segment(), PruneCall.norms(score), scores.segment()));
        return scores;
    }

    /**
     * Which share of each layer to prune so that of all their weights together those with the lowest LAMP scores are pruned
     * (Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021).
     * {@code Sparsity.unstructured(shares[i])} with {@link Score#lamp} prunes these weights of layer i; other patterns take
     * the shares, too. Layers are scored three times, one after the other: the scores of one are in memory at a time.
     *
     * @param weights of the layers, each f32, f16 or bf16 [rows, depth], contiguous
     * @param sparsity of all of them, 0 to 1: {@code Math.round(count * sparsity)} of all {@code count} weights are pruned; of
     *     equal scores those of later layers first
     * @return a share for each layer, 0 for one without weights
     * @throws IllegalArgumentException if an argument does not fit, or a weight is NaN or infinite, with its layer and place
     * @throws GatunException if it shows that another thread changed weights meanwhile
     */
    public static double[] lampSparsities(List<Tensor> weights, double sparsity) {
        return LampShares.of(weights, sparsity);
    }

    /** Which kernels a call uses for these arguments, and why; for a person. */
    public static String explain(Tensor weights, Score score, Sparsity pattern) {
        MemorySegment params = PruneCall.params(weights, score, pattern, 0);
        return Native.text(EXPLAIN_BYTES, text -> gatun_prune_explain(params, text, EXPLAIN_BYTES));
    }

    // ---- compressed ------------------------------------------------------------------------------------------------

    /** As {@link #compress(Tensor, Score, Sparsity.Nm, int)} with all threads. */
    public static SparseTensor compress(Tensor weights, Score score, Sparsity.Nm pattern) {
        return compress(weights, score, pattern, 0);
    }

    /**
     * Prunes and compresses in one pass over the weights: the same bits as {@link #run} and then
     * {@link SparseTensor#compress(Tensor, Mask, Sparsity.Nm)}.
     *
     * <p>This is what GPUs have kernels for, by the scores MAGNITUDE, WANDA and GIVEN, whose tensors are on the device
     * of the weights. It waits for the work there, to know whether a score is NaN; norms are not looked at.
     *
     * @throws IllegalArgumentException as {@link #run(Tensor, Score, Sparsity, Mask, int)}
     */
    public static SparseTensor compress(Tensor weights, Score score, Sparsity.Nm pattern, int threads) {
        Check.present("pattern", pattern);
        return compress(weights, score, pattern, pattern, threads);
    }

    /** The same for 2:4 that is 2:4 also when transposed. */
    public static SparseTensor compress(Tensor weights, Score score, Sparsity.Transposable pattern) {
        Check.present("pattern", pattern);
        return compress(weights, score, pattern, Sparsity.nm(2, 4), 0);
    }

    private static SparseTensor compress(Tensor weights, Score score, Sparsity pattern, Sparsity.Nm kept, int threads) {
        Check.present("weights", weights);
        PruneCall.params(weights, score, pattern, threads, kept); // checks, before anything is allocated
        SparseTensor out = SparseTensor.allocate(
                weights.device(),
                kept,
                null,
                weights.dtype(),
                weights.shape().size(0),
                weights.shape().size(1));
        compress(weights, score, pattern, out, threads);
        return out;
    }

    /**
     * The same into tensors that are there already, with their pattern. Allocates nothing once warmed up, on a GPU but
     * for a few small objects.
     *
     * @param out of the weights' shape and type, on their device; values and indices are replaced
     * @throws IllegalArgumentException as {@link #run(Tensor, Score, Sparsity, Mask, int)}
     */
    public static void compress(Tensor weights, Score score, SparseTensor out, int threads) {
        Check.present("weights", weights);
        Check.present("out", out);
        if (out.values().dtype() != weights.dtype()) {
            throw Check.invalid("out", out, "values of " + weights.dtype() + ", as the weights have");
        }
        if (!out.shape().equals(weights.shape())) {
            throw Check.invalid("out", out, "shape " + weights.shape() + ", as the weights have");
        }
        out.checkReachable("out");
        out.checkDevice("out", "weights", weights.device());
        checkOutput("out.values", out.values(), weights, score);
        checkOutput("out.indices", out.indices(), weights, score);
        compress(weights, score, out.pattern(), out, threads);
    }

    private static void checkOutput(String name, Tensor out, Tensor weights, Score score) {
        Check.present("score", score);
        Check.writable(name, out);
        Check.disjoint(name, out, "weights", weights);
        Check.disjoint(name, out, score.tensorName(), score.tensor());
    }

    private static void compress(Tensor weights, Score score, Sparsity pattern, SparseTensor out, int threads) {
        MemorySegment params = PruneCall.params(weights, score, pattern, threads, out.pattern());
        Check.device(score.tensorName(), score.tensor(), "weights", weights.device());
        MemorySegment format = NmFormat.of(out, threads);
        if (weights.device() != Device.CPU) {
            CudaNmFormat.prune(format, params, weights, score, out);
            return;
        }
        try {
            Native.check(gatun_nm_prune(
                    format,
                    params,
                    weights.segment(),
                    PruneCall.norms(score),
                    PruneCall.scores(score),
                    out.values().segment(),
                    out.indices().segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    // ---- regrowing -------------------------------------------------------------------------------------------------

    /**
     * How {@link #regrow} works.
     *
     * @param groups the groups that keep their number of weights, vector 1, or null: rows keep theirs
     * @param maxCycles of pruning and growing, >= 0
     * @param threshold a row whose expected reconstruction error is at most that is done
     * @param variancePower the exponent of the variance in the growing criterion, >= 0
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     */
    public record Regrow(Sparsity.Nm groups, int maxCycles, float threshold, float variancePower, int threads) {
        /** Rows, and the numbers of the paper: 50 cycles, threshold 0.1, power 1; all threads. */
        public static final Regrow DEFAULT = new Regrow(null, 50, 0.1f, 1, 0);

        /** Refuses what no call can take. */
        public Regrow {
            if (groups != null && groups.vector() != 1) {
                throw Check.invalid("groups", groups, "N:M without a vector");
            }
            Check.range("maxCycles", maxCycles, 0, Integer.MAX_VALUE);
            checkNumber("threshold", threshold);
            checkNumber("variancePower", variancePower);
            Check.threads(threads);
        }

        private static void checkNumber(String name, float number) {
            if (!(number >= 0 && number <= Float.MAX_VALUE)) {
                throw Check.invalid(name, number, "finite numbers >= 0");
            }
        }

        /** With groups that keep their number of weights, or null for rows. */
        public Regrow withGroups(Sparsity.Nm kept) {
            return new Regrow(kept, maxCycles, threshold, variancePower, threads);
        }

        /** With at most so many cycles. */
        public Regrow withMaxCycles(int cycles) {
            return new Regrow(groups, cycles, threshold, variancePower, threads);
        }
    }

    /**
     * DSnoT ("Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs"): prunes and grows weights of a mask,
     * row by row, while that brings the row's expected reconstruction error nearer to 0. The number of kept weights stays,
     * of each row or each group.
     *
     * @param weights f32, f16 or bf16 [rows, depth], contiguous
     * @param inputs of the layer
     * @param mask of the weights' shape; changed in place
     * @throws IllegalArgumentException if an argument does not fit, or a weight is NaN or infinite, with its place
     */
    public static void regrow(Tensor weights, ActivationStats inputs, Mask mask, Regrow options) {
        Check.present("weights", weights);
        Check.present("inputs", inputs);
        Check.present("options", options);
        PruneCall.checkWeights(weights);
        if (inputs.depth() != weights.shape().size(1)) {
            throw Check.invalid("inputs", inputs, weights.shape().size(1) + " inputs, as of weights");
        }
        PruneCall.checkMask(mask, weights.shape());
        Check.writable("mask", mask.bits().segment());
        Check.disjoint("mask", mask.bits(), "weights", weights);
        MemorySegment params = REGROW_PARAMS.get();
        gatun_regrow_params.w_dtype(params, weights.dtype().code());
        gatun_regrow_params.n(params, options.groups == null ? 0 : options.groups.n());
        gatun_regrow_params.m(params, options.groups == null ? 0 : options.groups.m());
        gatun_regrow_params.max_cycles(params, options.maxCycles);
        gatun_regrow_params.threads(params, options.threads);
        gatun_regrow_params.threshold(params, options.threshold);
        gatun_regrow_params.variance_power(params, options.variancePower);
        gatun_regrow_params.columns(params, weights.shape().size(0));
        gatun_regrow_params.depth(params, weights.shape().size(1));
        Native.call(() -> gatun_prune_regrow(
                params,
                weights.segment(),
                inputs.means().segment(),
                inputs.variances().segment(),
                inputs.norms().segment(),
                mask.bits().segment()));
    }
}
