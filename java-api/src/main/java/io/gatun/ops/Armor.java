package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_armor_fit;
import static io.gatun.bindings.c.gatun_h.gatun_armor_matmul;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_armor_fit_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;

/**
 * Weights as block-diagonal x N:M sparse x block-diagonal, w = A S B, which are nearer to dense weights than N:M sparse ones
 * alone ("ARMOR: High-Performance Semi-Structured Pruning via Adaptive Matrix Factorization"):
 *
 * <pre>y = activation(A (S (B x)) + bias) + residual</pre>
 *
 * A [columns, columns] and B [depth, depth] have blocks of d x d on their diagonals; S [columns, depth].
 *
 * <pre>
 * Armor.Factors factors = Armor.fit(weights, inputs.norms(), Sparsity.nm(2, 4), 64, 20);
 * Armor.run(x, factors.pack(), y, Options.DEFAULT);
 * </pre>
 */
public final class Armor {
    /** Its square is in the range of long. */
    private static final long MOST_BLOCK = 1L << 31;

    /** Fits get no better long before that, and a number is kept of each round. */
    private static final int MOST_ROUNDS = 1_000_000;

    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> FIT_PARAMS = Native.params(gatun_armor_fit_params::layout);

    /**
     * What {@link #fit} finds.
     *
     * @param block d
     * @param left f32, the blocks of A after each other, each [d, d] row-major; the last one [r, r] if r = columns % d is
     *     not 0
     * @param core S
     * @param right f32, the blocks of B, likewise of the depth
     * @param losses the minimized sum before the first round and after each
     */
    public record Factors(long block, Tensor left, SparseTensor core, Tensor right, double[] losses) {
        /** Packed, to be multiplied by. */
        public Weights pack() {
            return new Weights(block, left, NmMatmul.pack(core), right);
        }

        /** Core, block and losses: {@code sparse[384, 1536] 2:4 f32 between blocks of 64, losses [12.5, 9.25]}. */
        @Override
        public String toString() {
            return core + " between blocks of " + block + ", losses " + Arrays.toString(losses);
        }
    }

    /**
     * Weights to multiply by. The core may be of any values that {@link NmMatmul} takes.
     *
     * @param block d, at least 1
     * @param left f32 vector, as of {@link Factors}
     * @param core S, packed
     * @param right f32 vector, as of {@link Factors}
     */
    public record Weights(long block, Tensor left, NmWeights core, Tensor right) {
        /** Refuses what does not fit together. */
        public Weights {
            Check.range("block", block, 1, Long.MAX_VALUE);
            Check.present("left", left);
            Check.present("core", core);
            Check.present("right", right);
            Check.dtype("left", left, F32);
            Check.vector("left", left, elements(core.rows(), block));
            Check.dtype("right", right, F32);
            Check.vector("right", right, elements(core.depth(), block));
        }
    }

    private Armor() {}

    /** The elements of blocks of d x d on a diagonal of {@code size}. */
    static long elements(long size, long block) {
        long most = Math.min(size, block);
        if (most > MOST_BLOCK || size > 0 && size / most > Long.MAX_VALUE / 2 / (most * most)) {
            throw Check.invalid("block", block + " on a diagonal of " + size, "blocks of fewer elements");
        }
        return size == 0 ? 0 : size / most * most * most + size % most * (size % most);
    }

    /** As {@link #fit(Tensor, Tensor, Sparsity.Nm, long, int, int)} with all threads. */
    public static Factors fit(Tensor weights, Tensor norms, Sparsity.Nm pattern, long block, int rounds) {
        return fit(weights, norms, pattern, block, rounds, 0);
    }

    /**
     * Fits A, S and B to weights: minimizes the sum over i and j of norms[j]^2 (w - A S B)[i][j]^2 by turns, starting from A
     * = I, B = I and S = w pruned by Wanda's scores. No round makes it larger.
     *
     * @param weights f32 [columns, depth], contiguous
     * @param norms f32 [depth] of the inputs, see {@link ActivationStats#norms}, or null for 1
     * @param pattern of S, without a vector
     * @param block d, at least 1
     * @param rounds of the fit, 0 to 1,000,000
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static Factors fit(Tensor weights, Tensor norms, Sparsity.Nm pattern, long block, int rounds, int threads) {
        Check.present("weights", weights);
        Check.present("pattern", pattern);
        Check.dtype("weights", weights, F32);
        Check.matrix("weights", weights, -1, -1);
        Check.contiguous("weights", weights);
        Check.reachable("weights", weights.segment());
        long columns = weights.shape().size(0);
        long depth = weights.shape().size(1);
        if (norms != null) {
            Check.dtype("norms", norms, F32);
            Check.vector("norms", norms, depth);
            Check.reachable("norms", norms.segment());
        }
        if (pattern.vector() != 1) {
            throw Check.invalid("pattern", pattern, "N:M without a vector");
        }
        Check.range("block", block, 1, Long.MAX_VALUE);
        Check.range("rounds", rounds, 0, MOST_ROUNDS);
        Check.threads(threads);

        Tensor left = Tensor.allocate(DType.F32, elements(columns, block));
        Tensor right = Tensor.allocate(DType.F32, elements(depth, block));
        SparseTensor core = SparseTensor.allocate(Device.CPU, pattern, null, DType.F32, columns, depth);
        MemorySegment params = FIT_PARAMS.get();
        gatun_armor_fit_params.n(params, pattern.n());
        gatun_armor_fit_params.m(params, pattern.m());
        gatun_armor_fit_params.rounds(params, rounds);
        gatun_armor_fit_params.threads(params, threads);
        gatun_armor_fit_params.columns(params, columns);
        gatun_armor_fit_params.depth(params, depth);
        gatun_armor_fit_params.block(params, block);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment losses = arena.allocate(ValueLayout.JAVA_DOUBLE, rounds + 1L);
            Native.call(() -> gatun_armor_fit(
                    params,
                    weights.segment(),
                    Native.segment(norms),
                    left.segment(),
                    core.values().segment(),
                    core.indices().segment(),
                    right.segment(),
                    losses));
            return new Factors(block, left, core, right, losses.toArray(ValueLayout.JAVA_DOUBLE));
        }
    }

    /**
     * Computes y. What S takes in and gives out is f32; the products with B and A are f32 sums in ascending order.
     * O(rows * (columns * d + columns * depth * N / M + depth * d)). Allocates nothing once warmed up.
     *
     * @param x f32 or bf16 [rows, depth], columns adjacent, rows at any distance
     * @param w [columns, depth]
     * @param y f32 or bf16 [rows, columns], columns adjacent, rows at any distance; overlaps no input, except that the
     *     residual may be y itself
     * @param options as of {@link NmMatmul}, but for columns: all, as A mixes them
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if the core does not take the mode
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void run(Tensor x, Weights w, Tensor y, Options options) {
        Check.present("w", w);
        MemorySegment params = NmMatmul.params(x, w.core, y, options);
        long end = QMatmulCall.columnEnd(options, w.core.rows());
        if (options.columnBegin() != 0 || end != w.core.rows()) {
            throw Check.invalid("columns", options.columnBegin() + ".." + end, "0.." + w.core.rows() + ", all of them");
        }
        Check.reachable("w.left", w.left.segment());
        Check.reachable("w.right", w.right.segment());
        Check.disjoint("y", y, "w.left", w.left);
        Check.disjoint("y", y, "w.right", w.right);
        try {
            Native.check(gatun_armor_matmul(
                    params,
                    w.block,
                    x.segment(),
                    w.right.segment(),
                    w.core.segment(),
                    w.core.segment().byteSize(),
                    w.left.segment(),
                    Native.segment(options.bias()),
                    Native.segment(options.residual()),
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }
}
