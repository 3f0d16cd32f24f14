package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_decode;
import static io.gatun.bindings.c.gatun_h.gatun_decode_choose;
import static io.gatun.bindings.c.gatun_h.gatun_decode_explain;
import static io.gatun.bindings.c.gatun_h.gatun_decode_scores;

import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Window;
import java.lang.foreign.MemorySegment;

/**
 * Attention of a few queries to cached keys and values, as in the generation of text: for each batch item b, query
 * head h and query i, with g = h / (query heads / heads of the pools)
 *
 * <pre>
 * logit[j] = bias(cap(scale * q[b, h, i] . k[j])),  j = 0 .. length - 1
 * out[b, h, i] = sum over seen j of exp(logit[j]) v[j] / (sum over seen j of exp(logit[j]) + exp(sink[h]))
 * lse[b, h, i] = ln(that denominator)
 * </pre>
 *
 * <p>Key j of an item is row j % pageSize of page table[b, g, j / pageSize] in both pools. cap(x) = softCap * tanh(x
 * / softCap), or x without; bias adds slope[h] * (j - p), where p = i + length - query length is the position of the
 * query: the last query is aligned with the last key. A row that sees no key gives zeros, and lse = sink[h], or
 * -infinity without sinks.
 *
 * <p>A table with fewer pages attends to those alone (positions count among them); one for each head lets heads keep
 * different tokens. All heads of queries that share a head of the pools read it once. Keys are cut at multiples of
 * 1024 and merged in ascending order (FlashDecoding, Dao et al. 2023), whatever the number of threads: results depend
 * neither on threads nor on which pages hold the keys, bit for bit.
 *
 * <p>With keys of codes products are sums of integers, exact: what is rounded is q, as {@link Options#mode} says; a row
 * of it below 2^-100 counts as 0, one that is not finite as NaN. With values of codes the exponentials, times the
 * tokens' scales where values have those, are rounded to multiples of 1 / 16256 of the largest of 64 keys, in either
 * mode. Products with keys or values of bf16 are in bf16 with f32 sums where q is bf16, too, and the processor has bf16
 * dots: the exponentials are rounded to bf16 for such values, and subnormals count as 0. All others are in f32.
 *
 * <p>On a GPU q meets keys of codes in the same integers; products of floats are exact with f32 sums; exponentials,
 * times the scales of tokens, are rounded to bf16 with values of bf16 and to f16 with others, or not at all: {@link
 * #explain} says which kernel runs. Other architectures may give other last bits, the same call gives the same bits
 * each time.
 *
 * <p>A row that sees a key with NaN in it, or whose q has one, becomes NaN, as does one that sees a logit of +infinity;
 * NaN and infinity in values (or scales) may reach all rows that share them. A logit of -infinity has no weight. q . k
 * counts as infinite where it leaves the range of f32 before the scale. NaN and infinity in slopes and sinks count as
 * in the formulas.
 */
public final class Decode {
    /**
     * What a call does. Immutable: each {@code with} returns another one, so build it once and use it for many calls,
     * from any number of threads.
     *
     * @param causal whether a query sees no key after its own position
     * @param window which keys before its position it sees; {@code right} is -1
     * @param scale of the products; NaN: 1 / sqrt(size of keys)
     * @param softCap limit of the logits, > 0; 0: none
     * @param slopes f32 [query heads], ALiBi; or null
     * @param sinks f32 [query heads], a logit without value in each denominator; or null
     * @param lse f32 [batch, query heads, query length], rows adjacent: where the natural logarithm of the denominators
     *     is written; or null
     * @param logits f32 [batch, query heads, query length, longest length or more], keys adjacent: where the logits of
     *     an item's keys are written, -infinity of those not seen; or null
     * @param mode how q meets keys of codes: EXACT rounds it, times the channels' scales where keys have those, to
     *     multiples of its row's amax / 16256, INT8 of amax / 127; INT8_FP8 is of {@link Attention} alone
     * @param threads 0 for all, 1 for only the calling one
     */
    public record Options(
            boolean causal,
            Window window,
            float scale,
            float softCap,
            Tensor slopes,
            Tensor sinks,
            Tensor lse,
            Tensor logits,
            Mode mode,
            int threads) {
        /** Each query sees each key; scale 1 / sqrt(size of keys), exact, all threads. */
        public static final Options DEFAULT =
                new Options(false, Window.NONE, Float.NaN, 0, null, null, null, null, Mode.EXACT, 0);

        /** Refuses what no call can take. */
        public Options {
            Check.present("window", window);
            Check.present("mode", mode);
            if (mode == Mode.INT8_FP8) {
                throw Check.invalid("mode", mode, "EXACT, INT8");
            }
            if (window.right() != -1) {
                throw Check.invalid("window.right", window.right(), "-1; causal hides later keys");
            }
            if (Float.isInfinite(scale)) {
                throw Check.invalid("scale", scale, "finite numbers");
            }
            if (!(softCap >= 0 && softCap <= Float.MAX_VALUE)) {
                throw Check.invalid("softCap", softCap, "finite numbers > 0, or 0 for none");
            }
            Check.threads(threads);
        }

        /** Without keys after the query. */
        public Options withCausal() {
            return withCausal(true);
        }

        /** With or without keys after the query. */
        public Options withCausal(boolean hidden) {
            return new Options(hidden, window, scale, softCap, slopes, sinks, lse, logits, mode, threads);
        }

        /** Seeing so many keys before the query's own, -1: all; and so many of the first keys anyway. */
        public Options withWindow(long left, long sinkKeys) {
            return withWindow(new Window(left, -1, sinkKeys));
        }

        /** Seeing this window. */
        public Options withWindow(Window near) {
            return new Options(causal, near, scale, softCap, slopes, sinks, lse, logits, mode, threads);
        }

        /** With this scale of the products. */
        public Options withScale(float factor) {
            if (Float.isNaN(factor)) {
                throw Check.invalid("scale", factor, "finite numbers");
            }
            return new Options(causal, window, factor, softCap, slopes, sinks, lse, logits, mode, threads);
        }

        /** With logits limited to -cap..cap by a tanh; 0: without. */
        public Options withSoftCap(float cap) {
            return new Options(causal, window, scale, cap, slopes, sinks, lse, logits, mode, threads);
        }

        /** With ALiBi's f32 [query heads], see {@link Attention#alibiSlopes}; or null. */
        public Options withSlopes(Tensor perHead) {
            return new Options(causal, window, scale, softCap, perHead, sinks, lse, logits, mode, threads);
        }

        /** With f32 [query heads] that the denominators have beside the keys; or null. */
        public Options withSinks(Tensor perHead) {
            return new Options(causal, window, scale, softCap, slopes, perHead, lse, logits, mode, threads);
        }

        /** Writing the natural log-sum-exp to f32 [batch, query heads, query length]; or null. */
        public Options withLse(Tensor written) {
            return new Options(causal, window, scale, softCap, slopes, sinks, written, logits, mode, threads);
        }

        /** Writing the logits to f32 [batch, query heads, query length, longest length or more]; or null. */
        public Options withLogits(Tensor written) {
            return new Options(causal, window, scale, softCap, slopes, sinks, lse, written, mode, threads);
        }

        /** With this mode. */
        public Options withMode(Mode used) {
            return new Options(causal, window, scale, softCap, slopes, sinks, lse, logits, used, threads);
        }

        /** With this number of threads: 0 for all, 1 for only the calling one. Results do not depend on it. */
        public Options withThreads(int count) {
            return new Options(causal, window, scale, softCap, slopes, sinks, lse, logits, mode, count);
        }
    }

    private static final long EXPLAIN_BYTES = 2048;

    private Decode() {}

    /** As {@link #run(Tensor, KvPool, KvPool, Tensor, long[], Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out) {
        run(q, k, v, table, lengths, out, Options.DEFAULT);
    }

    /**
     * Computes out and what the options ask for. O(batch * query heads * query length * length * (size of keys + size
     * of values)). Allocates nothing on the heap once warmed up.
     *
     * <p>Native memory belongs to threads, which keep it for later calls: it grows to the most that any call needed.
     * The calling thread has (size of values + 2) floats for each row of q and each 1024 keys of the longest item, the
     * last ones fewer. Each thread that works has roughly 3 KiB for each row of q that takes turns: rows of heads that
     * share a head of the pools, or of several such where those are near one another, up to 128 rows then.
     *
     * <p>On a GPU it returns before the work is done, which uses what the arguments hold then, but for the lengths:
     * close no arena of theirs, and change no element, before {@link Device#synchronize}, but by work of the same
     * stream. A call makes a few small objects, and scratch memory of the device if it needs more than calls before.
     * All tensors and pools are there. What a table holds is not checked: keys in pages that are none are not seen.
     * Logits have room for all keys of the pages of a row of the table.
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, size of keys], query length up to 256, usually 1;
     *     any strides, elements of the last axis adjacent
     * @param k keys; their heads divide the query heads
     * @param v values, in as many heads and pages of the same size as k
     * @param table i32 [batch, 1 or heads, n], contiguous: the pages of each item, or of each of its heads; or null: a
     *     contiguous cache, whose item b has page b
     * @param lengths how many keys an item has, or each of its heads: [batch], or [batch * heads] with a table for each
     *     head; without a table either
     * @param out f32 or of the type of q, [batch, query heads, query length, size of values], any strides that keep
     *     rows apart; overlaps nothing else
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if a pool, the arena of an argument or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if earlier work of the GPU failed, or it has not enough memory for scratch data
     */
    public static void run(Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out, Options options) {
        Check.present("v", v);
        Check.present("out", out);
        call(q, k, v, table, lengths, out, options);
    }

    /**
     * As {@link #run(Tensor, KvPool, KvPool, Tensor, long[], Tensor, Options) run} without values: lse and logits of
     * the options, of which there is one at least.
     */
    public static void logits(Tensor q, KvPool k, Tensor table, long[] lengths, Options options) {
        call(q, k, null, table, lengths, null, options);
    }

    private static void call(Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out, Options options) {
        MemorySegment params = DecodeCall.params(q, k, v, table, lengths, out, options);
        if (q.device() != Device.CPU) {
            CudaDecode.run(params, q, k, v, table, lengths, out, options);
            return;
        }
        try {
            Native.check(gatun_decode(
                    params,
                    k.layout(),
                    v == null ? MemorySegment.NULL : v.layout(),
                    q.segment(),
                    k.rows().segment(),
                    Native.segment(k.scales()),
                    Native.segment(k.zeroPoints()),
                    v == null ? MemorySegment.NULL : v.rows().segment(),
                    v == null ? MemorySegment.NULL : Native.segment(v.scales()),
                    v == null ? MemorySegment.NULL : Native.segment(v.zeroPoints()),
                    Native.segment(table),
                    DecodeCall.lengths(lengths),
                    Native.segment(options.slopes),
                    Native.segment(options.sinks),
                    Native.segment(out),
                    Native.segment(options.lse),
                    Native.segment(options.logits)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * Which kernels {@link #run} uses for these arguments and why, and how it splits the work; without v and out
     * those of {@link #logits}.
     */
    public static String explain(
            Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Tensor out, Options options) {
        MemorySegment params = DecodeCall.params(q, k, v, table, lengths, out, options);
        if (q.device() != Device.CPU) {
            return CudaDecode.explain(params, q, k, v);
        }
        MemorySegment values = v == null ? MemorySegment.NULL : v.layout();
        return Native.text(
                EXPLAIN_BYTES, text -> gatun_decode_explain(params, k.layout(), values, text, EXPLAIN_BYTES));
    }

    // ---- which keys matter -----------------------------------------------------------------------------------------

    /** As {@link #scores(Tensor, Tensor, long[], Tensor, boolean, int)} with all threads. */
    public static void scores(Tensor logits, Tensor lse, long[] lengths, Tensor scores, boolean accumulate) {
        scores(logits, lse, lengths, scores, accumulate, 0);
    }

    /**
     * The attention that keys get (accumulated over steps: H2O, Zhang et al. 2023):
     *
     * <pre>
     * scores[b, g, j] (+)= sum over the query heads h of g and queries i of exp(logits[b, h, i, j] - lse[b, h, i])
     * </pre>
     *
     * <p>summed in ascending order. Rows with lse = -infinity count 0. O(logits). Allocates nothing once warmed up.
     *
     * @param logits f32 [batch, query heads, query length, longest length or more], keys adjacent
     * @param lse f32 [batch, query heads, query length], rows adjacent; may be that of more keys than the logits are of
     * @param lengths how many keys an item has: [batch], or of each of its heads: [batch * heads]
     * @param scores f32 [batch, heads, longest length or more], keys adjacent; heads divide the query heads. What is
     *     beyond an item's keys is left alone
     * @param accumulate whether to add to what scores hold, or to overwrite it
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void scores(
            Tensor logits, Tensor lse, long[] lengths, Tensor scores, boolean accumulate, int threads) {
        MemorySegment params = DecodeScores.params(logits, lse, lengths, scores, accumulate, threads);
        if (logits.device() != Device.CPU) {
            CudaDecode.scores(params, logits, lse, lengths, scores);
            return;
        }
        try {
            Native.check(gatun_decode_scores(
                    params, logits.segment(), lse.segment(), DecodeCall.lengths(lengths), scores.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * Pages to attend to: of each item and head the first {@code keepFirst} and the last {@code keepLast}, then those
     * with the largest scores (the lower index where equal, NaN before all), up to {@code budget} altogether, in
     * ascending order. Where the kept ends are beyond the budget, the last pages go first. O(pages log pages) for
     * each head. On a GPU it waits for the work, for the lengths.
     *
     * @param scores f32 [batch, heads, the most pages of an item or more; on a GPU n], pages adjacent
     * @param table i32 [batch, 1 or heads, n], contiguous, of all pages
     * @param lengths as of {@link #run}: as many as the table has rows
     * @param pageSize tokens of a page
     * @param budget pages to keep, >= 0; of an item with fewer all are
     * @param keepFirst pages at the start that are kept whatever they score
     * @param keepLast at the end, at least 1: the last page may not be full, so it has to stay the last
     * @param chosen where the table of the chosen pages is written, i32 [batch, heads, min(budget, n) or more],
     *     contiguous
     * @return its lengths, [batch * heads]
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static long[] choose(
            Tensor scores,
            Tensor table,
            long[] lengths,
            int pageSize,
            int budget,
            int keepFirst,
            int keepLast,
            Tensor chosen) {
        Check.present("chosen", chosen);
        DecodeScores.checkChosenRank(chosen);
        long[] chosenLengths =
                new long[Math.toIntExact(chosen.shape().size(0) * chosen.shape().size(1))];
        choose(scores, table, lengths, pageSize, budget, keepFirst, keepLast, chosen, chosenLengths, 0);
        return chosenLengths;
    }

    /** The same with lengths written to an array, [batch * heads], and a number of threads; allocates nothing. */
    public static void choose(
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
        MemorySegment params = DecodeScores.params(
                scores, table, lengths, pageSize, budget, keepFirst, keepLast, chosen, chosenLengths, threads);
        if (scores.device() != Device.CPU) {
            CudaDecode.choose(params, scores, table, lengths, pageSize, chosen, chosenLengths);
            return;
        }
        MemorySegment written = DecodeScores.room(chosenLengths);
        try {
            Native.check(gatun_decode_choose(
                    params, scores.segment(), table.segment(), DecodeCall.lengths(lengths), chosen.segment(), written));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
        DecodeScores.copy(written, chosenLengths);
    }
}
