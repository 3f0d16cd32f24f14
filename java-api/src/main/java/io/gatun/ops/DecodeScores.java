package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_decode_choose_params;
import io.gatun.bindings.c.gatun_decode_scores_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;

/** The arguments of {@link Decode#scores} and {@link Decode#choose}: checked, then written into structs. */
final class DecodeScores {
    private static final ThreadLocal<MemorySegment> SCORES = Native.params(gatun_decode_scores_params::layout);
    private static final ThreadLocal<MemorySegment> CHOOSE = Native.params(gatun_decode_choose_params::layout);
    private static final ThreadLocal<NativeLongs> WRITTEN = ThreadLocal.withInitial(NativeLongs::new);

    private DecodeScores() {}

    static MemorySegment params(
            Tensor logits, Tensor lse, long[] lengths, Tensor scores, boolean accumulate, int threads) {
        Check.present("logits", logits);
        Check.present("lse", lse);
        Check.present("lengths", lengths);
        checkTensor("logits", logits, 4, "[batch, query heads, query length, keys]");
        long batch = logits.shape().size(0);
        long queryHeads = logits.shape().size(1);
        Check.dtype("lse", lse, AttentionCall.F32);
        DecodeCall.checkRows("lse", lse, batch, queryHeads, logits.shape().size(2));
        DecodeCall.checkLast("lse", lse);
        Check.reachable("lse", lse);
        checkScores(scores, batch);
        long heads = scores.shape().size(1);
        if (heads == 0 ? queryHeads != 0 : queryHeads % heads != 0) {
            throw Check.invalid(
                    "scores", heads + " heads", "a number that divides the " + queryHeads + " heads of logits");
        }
        long lengthHeads = DecodeCall.lengthHeads(lengths, batch, heads);
        long longest = DecodeCall.longest(lengths);
        checkRoom("logits", logits, longest, "the longest length");
        checkRoom("scores", scores, longest, "the longest length");
        Check.threads(threads);
        checkOutput("scores", scores);
        Check.disjoint("scores", scores, "logits", logits);
        Check.disjoint("scores", scores, "lse", lse);
        Check.device("lse", lse, "logits", logits.device());
        Check.device("scores", scores, "logits", logits.device());

        MemorySegment params = SCORES.get();
        gatun_decode_scores_params.threads(params, threads);
        gatun_decode_scores_params.accumulate(params, accumulate ? 1 : 0);
        gatun_decode_scores_params.batch(params, batch);
        gatun_decode_scores_params.query_heads(params, queryHeads);
        gatun_decode_scores_params.heads(params, heads);
        gatun_decode_scores_params.query_length(params, logits.shape().size(2));
        gatun_decode_scores_params.table_heads(params, lengthHeads);
        gatun_decode_scores_params.lse_batch_stride(params, DecodeCall.stride(lse, 0));
        gatun_decode_scores_params.lse_head_stride(params, DecodeCall.stride(lse, 1));
        gatun_decode_scores_params.logits_batch_stride(params, DecodeCall.stride(logits, 0));
        gatun_decode_scores_params.logits_head_stride(params, DecodeCall.stride(logits, 1));
        gatun_decode_scores_params.logits_row_stride(params, rowStride(logits, 2));
        gatun_decode_scores_params.scores_batch_stride(params, DecodeCall.stride(scores, 0));
        gatun_decode_scores_params.scores_head_stride(params, rowStride(scores, 1));
        return params;
    }

    static MemorySegment params(
            Tensor scores,
            Tensor table,
            long[] lengths,
            int pageSize,
            int budget,
            int keepFirst,
            int keepLast,
            Tensor chosen,
            long[] chosenLengths,
            int threads) {
        Check.present("table", table);
        Check.present("lengths", lengths);
        Check.present("chosen", chosen);
        Check.present("chosenLengths", chosenLengths);
        Check.present("scores", scores);
        checkTensor("scores", scores, 3, "[batch, heads, pages]");
        long batch = scores.shape().size(0);
        long heads = scores.shape().size(1);
        DecodeCall.checkTable(table, batch, heads);
        DecodeCall.checkLengths(lengths, table);
        Check.range("pageSize", pageSize, 1, Integer.MAX_VALUE);
        Check.range("budget", budget, 0, Integer.MAX_VALUE);
        Check.range("keepFirst", keepFirst, 0, Integer.MAX_VALUE);
        Check.range("keepLast", keepLast, 1, Integer.MAX_VALUE);
        Check.threads(threads);
        checkRoom("scores", scores, Math.ceilDiv(DecodeCall.longest(lengths), (long) pageSize), "the most pages");
        checkChosenRank(chosen);
        long most = Math.min(budget, table.shape().size(2));
        if (chosen.shape().size(0) != batch
                || chosen.shape().size(1) != heads
                || chosen.shape().size(2) < most) {
            throw Check.invalid(
                    "chosen", "shape " + chosen.shape(), "[" + batch + ", " + heads + ", " + most + " or more]");
        }
        Check.contiguous("chosen", chosen);
        checkOutput("chosen", chosen);
        Check.disjoint("chosen", chosen, "table", table);
        Check.disjoint("chosen", chosen, "scores", scores);
        Check.device("table", table, "scores", scores.device());
        Check.device("chosen", chosen, "scores", scores.device());
        if (chosenLengths.length != batch * heads) {
            throw Check.invalid("chosenLengths", chosenLengths.length + " lengths", batch * heads);
        }

        MemorySegment params = CHOOSE.get();
        gatun_decode_choose_params.threads(params, threads);
        gatun_decode_choose_params.batch(params, batch);
        gatun_decode_choose_params.heads(params, heads);
        gatun_decode_choose_params.table_heads(params, table.shape().size(1));
        gatun_decode_choose_params.table_stride(params, table.shape().size(2));
        gatun_decode_choose_params.page_size(params, pageSize);
        gatun_decode_choose_params.budget(params, budget);
        gatun_decode_choose_params.keep_first(params, keepFirst);
        gatun_decode_choose_params.keep_last(params, keepLast);
        gatun_decode_choose_params.scores_batch_stride(params, DecodeCall.stride(scores, 0));
        gatun_decode_choose_params.scores_head_stride(params, DecodeCall.stride(scores, 1));
        gatun_decode_choose_params.chosen_stride(params, chosen.shape().size(2));
        return params;
    }

    /** Of a single row, whose stride is free, its length: a GPU takes it for the room of a row. */
    private static long rowStride(Tensor tensor, int axis) {
        return tensor.shape().size(axis) > 1
                ? tensor.stride(axis)
                : tensor.shape().size(axis + 1);
    }

    /** Where C writes the lengths of chosen pages. */
    static MemorySegment room(long[] chosenLengths) {
        return WRITTEN.get().atLeast(chosenLengths.length);
    }

    static void copy(MemorySegment written, long[] chosenLengths) {
        MemorySegment.copy(written, JAVA_LONG, 0, chosenLengths, 0, chosenLengths.length);
    }

    static void checkChosenRank(Tensor chosen) {
        Check.dtype("chosen", chosen, DecodeCall.I32);
        if (chosen.shape().rank() != 3) {
            throw Check.invalid("chosen", "shape " + chosen.shape(), "[batch, heads, pages]");
        }
    }

    private static void checkScores(Tensor scores, long batch) {
        Check.present("scores", scores);
        checkTensor("scores", scores, 3, "[batch, heads, keys]");
        if (scores.shape().size(0) != batch) {
            throw Check.invalid("scores", "shape " + scores.shape(), "a batch of " + batch + ", as logits");
        }
    }

    private static void checkTensor(String name, Tensor tensor, int rank, String axes) {
        Check.dtype(name, tensor, AttentionCall.F32);
        if (tensor.shape().rank() != rank) {
            throw Check.invalid(name, "shape " + tensor.shape(), axes);
        }
        DecodeCall.checkLast(name, tensor);
        Check.reachable(name, tensor);
    }

    private static void checkRoom(String name, Tensor tensor, long most, String what) {
        int last = tensor.shape().rank() - 1;
        if (tensor.shape().size(last) < most) {
            throw Check.invalid(name, "shape " + tensor.shape(), most + ", " + what + ", or more on the last axis");
        }
    }

    private static void checkOutput(String name, Tensor output) {
        Check.reachable(name, output);
        Check.writable(name, output);
        AttentionCall.checkApart(name, output);
    }
}
