package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_attention_budgets;
import static io.gatun.bindings.c.gatun_h.gatun_attention_choose;
import static io.gatun.bindings.c.gatun_h.gatun_attention_scores;
import static io.gatun.bindings.c.gatun_h.gatun_attention_select;
import static io.gatun.bindings.c.gatun_h.gatun_attention_select_explain;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_attention_params;
import io.gatun.bindings.c.gatun_selection_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Selection.Kind;
import java.lang.foreign.MemorySegment;

/** The arguments of a selection: checked, and then written into this thread's structs. */
final class SelectionCall {
    private static final long EXPLAIN_BYTES = 4096;
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_selection_params::layout);

    private SelectionCall() {}

    /** This thread's struct, of checked arguments; adds what a selection needs to that of the call. */
    static MemorySegment prepare(Selection selection, MemorySegment params, Tensor q, Tensor k, Options options) {
        int queryBlocks =
                BlockGrid.blocks("queryLength", AttentionCall.longestQuery(q, options), selection.queryBlock());
        int keyBlocks = BlockGrid.blocks("keyLength", AttentionCall.longestKey(k, options), selection.keyBlock());
        gatun_attention_params.query_block(params, selection.queryBlock());
        gatun_attention_params.key_block(params, selection.keyBlock());
        gatun_attention_params.query_blocks(params, queryBlocks);
        MemorySegment own = PARAMS.get();
        gatun_selection_params.kind(own, selection.kind().ordinal());
        gatun_selection_params.keep(own, selection.keep().ordinal());
        gatun_selection_params.amount(own, selection.amount());
        gatun_selection_params.similarity(own, selection.similarity());
        gatun_selection_params.keep_first(own, selection.keepFirst() ? 1 : 0);
        gatun_selection_params.keep_diagonal(own, selection.keepDiagonal() ? 1 : 0);
        gatun_selection_params.stride(own, selection.stride());
        gatun_selection_params.key_blocks(own, keyBlocks);
        gatun_selection_params.last_queries(own, selection.lastQueries());
        gatun_selection_params.verticals(own, selection.verticals());
        gatun_selection_params.slashes(own, selection.slashes());
        gatun_selection_params.forced_verticals(own, selection.forcedVerticals());
        gatun_selection_params.forced_slashes(own, selection.forcedSlashes());
        gatun_selection_params.proxy_heads(own, selection.proxyHeads());
        return own;
    }

    private static BlockGrid grid(Selection selection, Tensor q, Tensor k, Options options) {
        return new BlockGrid(
                AttentionCall.longestQuery(q, options),
                AttentionCall.longestKey(k, options),
                selection.queryBlock(),
                selection.keyBlock());
    }

    static void check(Selection selection, Tensor q, Tensor k, Options options, Tensor out) {
        Check.device("selection.budgets", selection.budgets(), "q", q.device());
        Check.device("selection.density", selection.density(), "q", q.device());
        Check.device("selection.lseBefore", selection.lseBefore(), "q", q.device());
        long heads = AttentionCall.heads(q, options);
        if (selection.kind() == Kind.PROXY && heads % selection.proxyHeads() != 0) {
            throw Check.invalid("proxyHeads", selection.proxyHeads(), "divisors of the " + heads + " heads of q");
        }
        long batch = AttentionCall.batch(q, options);
        checkHeads("selection.budgets", selection.budgets(), batch, heads);
        checkHeads("selection.density", selection.density(), batch, heads);
        Tensor before = selection.lseBefore();
        if (before != null) {
            AttentionCall.checkSums("selection.lseBefore", before, q, options);
            if (options.lse() != null) {
                AttentionCall.checkSameStrides("selection.lseBefore", before, options.lse(), "lse");
            }
            if (options.correction() != null) {
                AttentionCall.checkSameStrides("selection.lseBefore", before, options.correction(), "correction");
            }
        }
        if (out != null) {
            Check.disjoint("out", out, "selection.lseBefore", before);
            Check.disjoint("out", out, "selection.budgets", selection.budgets());
        }
        Tensor density = selection.density();
        if (density != null) {
            Check.writable("selection.density", density);
            Check.disjoint("selection.density", density, "q", q);
            Check.disjoint("selection.density", density, "k", k);
            Check.disjoint("selection.density", density, "out", out);
            Check.disjoint("selection.density", density, "lse", options.lse());
            Check.disjoint("selection.density", density, "selection.budgets", selection.budgets());
            Check.disjoint("selection.density", density, "selection.lseBefore", before);
        }
    }

    private static void checkHeads(String name, Tensor perHead, long batch, long heads) {
        if (perHead != null) {
            Check.dtype(name, perHead, AttentionCall.F32);
            Check.matrix(name, perHead, batch, heads);
            Check.contiguous(name, perHead);
            Check.reachable(name, perHead);
        }
    }

    /** Both structs of a call without values, of which this is the one of attention. */
    private static MemorySegment params(Selection selection, Tensor q, Tensor k, Options options) {
        MemorySegment params = AttentionCall.params(q, k, options);
        check(selection, q, k, options, null);
        prepare(selection, params, q, k, options);
        if (selection.lseBefore() != null) {
            AttentionCall.writeSums(params, selection.lseBefore(), options);
        }
        return params;
    }

    static MemorySegment queries(Options options) {
        return options.sequences() == null
                ? MemorySegment.NULL
                : options.sequences().queries();
    }

    static MemorySegment keys(Options options) {
        return options.sequences() == null
                ? MemorySegment.NULL
                : options.sequences().keys();
    }

    static BlockMask select(Selection selection, Tensor q, Tensor k, Options given) {
        Options options = alone(given);
        MemorySegment params = params(selection, q, k, options);
        BlockGrid grid = grid(selection, q, k, options);
        Tensor map = map(grid, q, options);
        if (q.device() != Device.CPU) {
            CudaSelection.select(params, PARAMS.get(), selection, q, k, options, map);
            return mask(grid, map);
        }
        Native.call(() -> gatun_attention_select(
                params,
                PARAMS.get(),
                Native.segment(selection.budgets()),
                q.segment(),
                k.segment(),
                queries(options),
                keys(options),
                Native.segment(selection.lseBefore()),
                map.segment()));
        return BlockMask.ofBlocks(grid, map);
    }

    /** Of a map on a GPU; all blocks that are chosen are full. */
    private static BlockMask mask(BlockGrid grid, Tensor map) {
        return CudaBlockMask.ofMap(grid, map.shape().size(0), map.shape().size(1), map, false);
    }

    private static Tensor map(BlockGrid grid, Tensor q, Options options) {
        return q.device()
                .allocate(
                        DType.U8,
                        AttentionCall.batch(q, options),
                        AttentionCall.heads(q, options),
                        grid.queryBlocks(),
                        grid.keyBlocks());
    }

    /** Without what a selection ignores. */
    private static Options alone(Options options) {
        Check.present("options", options);
        return options.withLse(null).withCorrection(null).withMask(null).withSelection(null);
    }

    static Tensor scores(Selection selection, Tensor q, Tensor k, Options given) {
        if (selection.kind() == Kind.VERTICAL_SLASH) {
            throw Check.invalid("kind", selection.kind(), "kinds with scores: all but it");
        }
        Options options = alone(given);
        MemorySegment params = params(selection, q, k, options);
        BlockGrid grid = grid(selection, q, k, options);
        Tensor scores = q.device()
                .allocate(
                        DType.F32,
                        AttentionCall.batch(q, options),
                        AttentionCall.heads(q, options),
                        grid.queryBlocks(),
                        grid.keyBlocks());
        if (q.device() != Device.CPU) {
            CudaSelection.scores(params, PARAMS.get(), selection, q, k, options, scores);
            return scores;
        }
        Native.call(() -> gatun_attention_scores(
                params,
                PARAMS.get(),
                q.segment(),
                k.segment(),
                queries(options),
                keys(options),
                Native.segment(selection.lseBefore()),
                scores.segment()));
        return scores;
    }

    static BlockMask choose(Selection selection, Tensor scores, Tensor q, Tensor k, Options given) {
        Options options = alone(given);
        MemorySegment params = params(selection, q, k, options);
        BlockGrid grid = grid(selection, q, k, options);
        Tensor map = map(grid, q, options);
        Check.present("scores", scores);
        Check.dtype("scores", scores, AttentionCall.F32);
        if (!scores.shape().equals(map.shape())) {
            throw Check.invalid("scores", "shape " + scores.shape(), map.shape());
        }
        Check.contiguous("scores", scores);
        Check.reachable("scores", scores);
        Check.device("scores", scores, "q", q.device());
        if (q.device() != Device.CPU) {
            CudaSelection.choose(params, PARAMS.get(), selection, options, scores, map);
            return mask(grid, map);
        }
        Native.call(() -> gatun_attention_choose(
                params,
                PARAMS.get(),
                queries(options),
                keys(options),
                scores.segment(),
                Native.segment(selection.budgets()),
                map.segment()));
        return BlockMask.ofBlocks(grid, map);
    }

    static Tensor budgets(Selection selection, Tensor q, Tensor k, Options given) {
        Options options = alone(given);
        MemorySegment params = params(selection, q, k, options);
        Tensor budgets =
                q.device().allocate(DType.F32, AttentionCall.batch(q, options), AttentionCall.heads(q, options));
        if (q.device() != Device.CPU) {
            CudaSelection.budgets(params, PARAMS.get(), q, k, options, budgets);
            return budgets;
        }
        Native.call(() -> gatun_attention_budgets(
                params, PARAMS.get(), q.segment(), k.segment(), queries(options), keys(options), budgets.segment()));
        return budgets;
    }

    static String explain(Selection selection, MemorySegment params, Tensor q, Tensor k, Options options) {
        MemorySegment own = prepare(selection, params, q, k, options);
        if (q.device() != Device.CPU) {
            return CudaSelection.explain(params, own, q, options);
        }
        return Native.text(EXPLAIN_BYTES, text -> gatun_attention_select_explain(params, own, text, EXPLAIN_BYTES));
    }
}
