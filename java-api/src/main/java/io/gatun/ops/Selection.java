package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;

/**
 * How the blocks of keys that a block of queries sees are chosen from q and k, as published methods do it:
 *
 * <pre>{@code
 * Selection best = Selection.means().withKeepFraction(0.1);
 * Attention.run(q, k, v, out, options.withSelection(best));   // chosen and used in one call
 * BlockMask mask = best.select(q, k, options);                // or chosen once, and used as often as wanted
 * }</pre>
 *
 * <p>Immutable; of any thread. Blocks that causal masks and windows hide whole are never chosen. Layout, heads, scale,
 * causal masks, windows, sequences and threads are those of the options of the call. Slopes and sinks are left out, as
 * are soft caps but by MASS, VERTICAL_SLASH and budgets.
 *
 * <p>On a GPU all tensors are there, calls return before their work is done, and masks and scores are made there.
 * Scores differ from the CPU's in last bits, so a block on the edge may be chosen by one of both; of given scores
 * choices are the same.
 *
 * <p>How much of the attention a selection keeps: {@link Attention#recall}, from the log-sum-exps of a call with it and
 * of one without. A mask that {@link #select} made, or {@link HeadPatterns}, may be kept across steps (SparseD, Wang et
 * al. 2025), as may the log-sum-exp of a dense step, for {@link #mass}.
 *
 * @param kind whose method
 * @param keep what {@code amount} is of
 * @param amount 0..1
 * @param queryBlock queries in a block, a multiple of 16 in 16..128
 * @param keyBlock keys in a block, likewise
 * @param keepFirst whether block 0 is always kept (a sink)
 * @param keepDiagonal whether the blocks with the queries' own positions are always kept
 * @param similarity MEANS: blocks whose rows are less alike (mean cosine of their pairs) are always kept; -1: all are
 *     alike
 * @param stride ANTIDIAGONAL: 1..16, divides both blocks
 * @param lastQueries VERTICAL_SLASH and {@link #budgets(Tensor, Tensor, Attention.Options)}: 1..1024, from which lines
 *     come
 * @param verticals VERTICAL_SLASH: columns to keep
 * @param slashes VERTICAL_SLASH: diagonals to keep
 * @param forcedVerticals of the verticals, the first columns
 * @param forcedSlashes of the slashes, the latest diagonals
 * @param proxyHeads PROXY: divides the heads of q
 * @param budgets f32 [batch, query heads], an amount for each head instead of {@code amount}; or null
 * @param lseBefore MASS: the log-sum-exp of an earlier step, as {@link Attention.Options#lse}; otherwise null
 * @param density f32 [batch, query heads], where {@link Attention#run} writes which share of the allowed blocks it
 *     used; or null
 */
public record Selection(
        Kind kind,
        Keep keep,
        float amount,
        int queryBlock,
        int keyBlock,
        boolean keepFirst,
        boolean keepDiagonal,
        float similarity,
        int stride,
        int lastQueries,
        long verticals,
        long slashes,
        long forcedVerticals,
        long forcedSlashes,
        int proxyHeads,
        Tensor budgets,
        Tensor lseBefore,
        Tensor density) {
    /** How blocks are scored. */
    public enum Kind {
        /** Softmax of the products of block means (SpargeAttn, Zhang et al. 2025). */
        MEANS,
        /** Softmax of sums of logits along antidiagonals (XAttention, Xu et al. 2025). */
        ANTIDIAGONAL,
        /**
         * Columns and diagonals of the attention of the last queries (MInference, Jiang et al. 2024). It has no scores.
         */
        VERTICAL_SLASH,
        /** Scores that the heads of a group share (ProxyAttn, Wang et al. 2025). */
        PROXY,
        /** The exact attention mass, from the log-sum-exp of an earlier step (AdaSpa, SparseD). */
        MASS
    }

    /** How many of the best blocks of a row are kept. */
    public enum Keep {
        /** max(1, floor(amount * allowed blocks)). */
        FRACTION,
        /** The fewest whose scores sum to at least {@code amount} of the row's sum. */
        MASS,
        /** As many as sum to at most {@code amount} of the row's sum, at least 1. */
        BELOW_MASS
    }

    /** Refuses what no call can take. */
    public Selection {
        Check.present("kind", kind);
        Check.present("keep", keep);
        if (!(amount >= 0 && amount <= 1)) {
            throw Check.invalid("amount", amount, "0..1");
        }
        // The same rule, with the same message.
        new BlockGrid(0, 0, queryBlock, keyBlock);
        if (!Float.isFinite(similarity)) {
            throw Check.invalid("similarity", similarity, "finite numbers");
        }
        if (kind == Kind.ANTIDIAGONAL && (stride < 1 || stride > 16 || queryBlock % stride + keyBlock % stride != 0)) {
            throw Check.invalid("stride", stride, "1..16 that divide blocks of " + queryBlock + " x " + keyBlock);
        }
        Check.range("lastQueries", lastQueries, 1, 1024);
        Check.range("verticals", verticals, 0, Long.MAX_VALUE);
        Check.range("slashes", slashes, 0, Long.MAX_VALUE);
        Check.range("forcedVerticals", forcedVerticals, 0, Long.MAX_VALUE);
        Check.range("forcedSlashes", forcedSlashes, 0, Long.MAX_VALUE);
        Check.range("proxyHeads", proxyHeads, 1, Integer.MAX_VALUE);
        if ((kind == Kind.MASS) != (lseBefore != null)) {
            throw Check.invalid("lseBefore", lseBefore == null ? null : "a tensor", "one for MASS, null otherwise");
        }
    }

    private static Selection of(Kind kind, Keep keep, double amount, int queryBlock, int keyBlock) {
        return new Selection(
                kind,
                keep,
                (float) amount,
                queryBlock,
                keyBlock,
                false,
                false,
                -1,
                16,
                64,
                0,
                0,
                0,
                0,
                1,
                null,
                null,
                null);
    }

    /**
     * SpargeAttn's (Zhang et al. 2025): the softmax of the products of block means, of blocks of 128 queries by 64 keys
     * the best half, all of them similar enough. Its other set of parameters: {@code
     * means().withKeepBelowMass(0.98).withSimilarity(0.6)}, cdfthreshd and simthreshd1.
     */
    public static Selection means() {
        return of(Kind.MEANS, Keep.FRACTION, 0.5, 128, 64);
    }

    /**
     * XAttention's (Xu et al. 2025): the softmax of sums of logits along antidiagonals at distance 16, blocks of 128,
     * the fewest with 0.9 of the mass, the first block and the diagonal always. See {@link #withStride}, {@link
     * #withKeepMass}: its threshold.
     */
    public static Selection antidiagonal() {
        return of(Kind.ANTIDIAGONAL, Keep.MASS, 0.9, 128, 128).withFirst(true).withDiagonal(true);
    }

    /**
     * MInference's vertical lines and slashes (Jiang et al. 2024): the whole blocks of 64 with something of the best
     * columns and diagonals of the attention of the last 64 queries.
     *
     * @param verticals columns, at least 30, the first 30 always
     * @param slashes diagonals, at least 50, the 30 next to the queries always
     */
    public static Selection verticalSlash(long verticals, long slashes) {
        return of(Kind.VERTICAL_SLASH, Keep.FRACTION, 1, 64, 64)
                .withLines(Math.max(verticals, 30), Math.max(slashes, 50), 30, 30);
    }

    /**
     * MInference's A-shape (Jiang et al. 2024), as StreamingLLM's (Xiao et al. 2023): the whole blocks of 64 with some
     * of the first keys or of a window before a query.
     */
    public static Selection aShape(long firstKeys, long window) {
        return of(Kind.VERTICAL_SLASH, Keep.FRACTION, 1, 64, 64).withLines(firstKeys, window, firstKeys, window);
    }

    /**
     * ProxyAttn's (Wang et al. 2025): the query heads of each of so many groups share the scores of their mean, token
     * by token, and each keeps its own share of the blocks of 64:
     *
     * <pre>{@code
     * Selection proxy = Selection.proxy(8);
     * Tensor budgets = proxy.withKeepMass(0.9).budgets(q, k, options); // how many of its blocks hold 0.9 of a head
     * Attention.run(q, k, v, out, options.withSelection(proxy.withBudgets(budgets)));
     * }</pre>
     *
     * <p>Without budgets, a tenth of the blocks.
     */
    public static Selection proxy(int heads) {
        return of(Kind.PROXY, Keep.FRACTION, 0.1, 64, 64).withProxyHeads(heads);
    }

    /**
     * AdaSpa's (Xia et al. 2025): the fewest blocks of 64 with 0.95 of the attention, computed from the log-sum-exp of
     * an earlier, dense step instead of a softmax of their own. As much work as the products of q and k, so the mask is
     * for several steps.
     *
     * @param lseBefore as {@link Attention.Options#lse}
     */
    public static Selection mass(Tensor lseBefore) {
        return new Selection(
                Kind.MASS, Keep.MASS, 0.95f, 64, 64, false, false, -1, 16, 64, 0, 0, 0, 0, 1, null, lseBefore, null);
    }

    // ---- changes ---------------------------------------------------------------------------------------------------

    private Selection with(Keep rule, double part) {
        Draft draft = new Draft(this);
        draft.keep = rule;
        draft.amount = (float) part;
        return draft.build();
    }

    private Selection with(boolean first, boolean diagonal) {
        Draft draft = new Draft(this);
        draft.keepFirst = first;
        draft.keepDiagonal = diagonal;
        return draft.build();
    }

    /** Keeping this share of the allowed blocks of each row. */
    public Selection withKeepFraction(double fraction) {
        return with(Keep.FRACTION, fraction);
    }

    /** Keeping the fewest blocks with at least this share of the mass. */
    public Selection withKeepMass(double mass) {
        return with(Keep.MASS, mass);
    }

    /** Keeping as many blocks as have at most this share of the mass (SpargeAttn's cdfthreshd). */
    public Selection withKeepBelowMass(double mass) {
        return with(Keep.BELOW_MASS, mass);
    }

    /** Always or not always keeping block 0. */
    public Selection withFirst(boolean kept) {
        return with(kept, keepDiagonal);
    }

    /** Always or not always keeping the blocks with the queries' own positions. */
    public Selection withDiagonal(boolean kept) {
        return with(keepFirst, kept);
    }

    /** With blocks of these sizes. */
    public Selection withBlocks(int queries, int keys) {
        Draft draft = new Draft(this);
        draft.queryBlock = queries;
        draft.keyBlock = keys;
        return draft.build();
    }

    /** MEANS: always keeping what is less alike than this (SpargeAttn's simthreshd1). */
    public Selection withSimilarity(double threshold) {
        Draft draft = new Draft(this);
        draft.similarity = (float) threshold;
        return draft.build();
    }

    /** ANTIDIAGONAL: with antidiagonals at this distance. */
    public Selection withStride(int distance) {
        Draft draft = new Draft(this);
        draft.stride = distance;
        return draft.build();
    }

    /** Looking at so many of the last queries. */
    public Selection withLastQueries(int queries) {
        Draft draft = new Draft(this);
        draft.lastQueries = queries;
        return draft.build();
    }

    /** VERTICAL_SLASH: with so many columns and diagonals, and how many of each are forced. */
    public Selection withLines(long columns, long diagonals, long forcedColumns, long forcedDiagonals) {
        Draft draft = new Draft(this);
        draft.verticals = columns;
        draft.slashes = diagonals;
        draft.forcedVerticals = forcedColumns;
        draft.forcedSlashes = forcedDiagonals;
        return draft.build();
    }

    private Selection withProxyHeads(int heads) {
        Draft draft = new Draft(this);
        draft.proxyHeads = heads;
        return draft.build();
    }

    /** With an amount for each head, f32 [batch, query heads], as {@link #budgets} gives it; or null. */
    public Selection withBudgets(Tensor perHead) {
        Draft draft = new Draft(this);
        draft.budgets = perHead;
        return draft.build();
    }

    /** Writing the share of blocks that {@link Attention#run} used to f32 [batch, query heads]; or null. */
    public Selection withDensity(Tensor written) {
        Draft draft = new Draft(this);
        draft.density = written;
        return draft.build();
    }

    /** What is changed of a copy. */
    private static final class Draft {
        private Kind kind;
        private Keep keep;
        private float amount;
        private int queryBlock;
        private int keyBlock;
        private boolean keepFirst;
        private boolean keepDiagonal;
        private float similarity;
        private int stride;
        private int lastQueries;
        private long verticals;
        private long slashes;
        private long forcedVerticals;
        private long forcedSlashes;
        private int proxyHeads;
        private Tensor budgets;
        private Tensor lseBefore;
        private Tensor density;

        Draft(Selection from) {
            kind = from.kind;
            keep = from.keep;
            amount = from.amount;
            queryBlock = from.queryBlock;
            keyBlock = from.keyBlock;
            keepFirst = from.keepFirst;
            keepDiagonal = from.keepDiagonal;
            similarity = from.similarity;
            stride = from.stride;
            lastQueries = from.lastQueries;
            verticals = from.verticals;
            slashes = from.slashes;
            forcedVerticals = from.forcedVerticals;
            forcedSlashes = from.forcedSlashes;
            proxyHeads = from.proxyHeads;
            budgets = from.budgets;
            lseBefore = from.lseBefore;
            density = from.density;
        }

        Selection build() {
            return new Selection(
                    kind,
                    keep,
                    amount,
                    queryBlock,
                    keyBlock,
                    keepFirst,
                    keepDiagonal,
                    similarity,
                    stride,
                    lastQueries,
                    verticals,
                    slashes,
                    forcedVerticals,
                    forcedSlashes,
                    proxyHeads,
                    budgets,
                    lseBefore,
                    density);
        }
    }

    // ---- calls -----------------------------------------------------------------------------------------------------

    /**
     * The blocks that are chosen, all of them full, for each batch item and head; to be looked at, used with other
     * options, or kept across steps (SparseD).
     *
     * @param q as of {@link Attention#run}
     * @param k likewise
     * @param options layout, causal, window, scale, soft cap, sequences and threads; a mask, a selection and outputs
     *     are ignored
     */
    public BlockMask select(Tensor q, Tensor k, Attention.Options options) {
        return SelectionCall.select(this, q, k, options);
    }

    /** The scores of all blocks, f32 [batch, query heads, query blocks, key blocks], in new memory. */
    public Tensor scores(Tensor q, Tensor k, Attention.Options options) {
        return SelectionCall.scores(this, q, k, options);
    }

    /**
     * The best blocks by scores of any origin.
     *
     * @param scores f32 [batch, query heads, query blocks, key blocks], contiguous, >= 0; what is not allowed is
     *     ignored
     */
    public BlockMask choose(Tensor scores, Tensor q, Tensor k, Attention.Options options) {
        return SelectionCall.choose(this, scores, q, k, options);
    }

    /**
     * How much of its blocks each head needs to keep {@code amount} of the attention of its last queries, f32 [batch,
     * query heads], in new memory (ProxyAttn).
     */
    public Tensor budgets(Tensor q, Tensor k, Attention.Options options) {
        return SelectionCall.budgets(this, q, k, options);
    }
}
