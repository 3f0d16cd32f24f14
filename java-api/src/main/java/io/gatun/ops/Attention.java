package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_attention;
import static io.gatun.bindings.c.gatun_h.gatun_attention_explain;
import static io.gatun.bindings.c.gatun_h.gatun_attention_selected;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;

/**
 * Attention, dense or over the blocks of a {@link BlockMask}: for each batch item b, query head h and query i
 *
 * <pre>
 * logit[j] = bias(cap(scale * q[b, h, i] . k[b, g, j])),  g = h / (query heads / kv heads)
 * out[b, h, i] = sum over seen j of exp(logit[j]) v[b, g, j] / (sum over seen j of exp(logit[j]) + exp(sink[h]))
 * lse[b, h, i] = ln(that denominator)
 * </pre>
 *
 * <p>cap(x) = softCap * tanh(x / softCap), or x without; bias adds slope[h] * (j - p), where p = i + key length - query
 * length is the position of the query: the last query is aligned with the last key. A row that sees no key gives zeros,
 * and lse = sink[h], or -infinity without sinks.
 *
 * <p>Tensors are [batch, heads, length, size] ({@link Layout#HND}) or [batch, length, heads, size] ({@link
 * Layout#NHD}), with any strides but of the last axis, whose elements are adjacent: views of larger tensors are fine.
 * Fewer heads of keys and values than of queries are grouped-query or multi-query attention. Results do not depend on
 * threads, bit for bit.
 *
 * <p>On a GPU products of bf16 and f16 are exact with f32 sums; the exponentials are rounded to the type of v, with
 * INT8 to bf16, as v is then, with INT8_FP8 to f8e4m3. Other architectures may give other last bits, the same call gives
 * the same bits each time.
 */
public final class Attention {
    /** The order of the axes. */
    public enum Layout {
        /** [batch, heads, length, size]; ragged: [heads, total length, size]. */
        HND,
        /** [batch, length, heads, size]; ragged: [total length, heads, size]. */
        NHD
    }

    /** How q meets k, and the exponentials v. */
    public enum Mode {
        /** F32 and F16 in f32; BF16 in bf16 with f32 sums. */
        EXACT,
        /**
         * k less its mean over the keys (what that adds to the logits is added back) and q are quantized to int8: k
         * with a scale for every 64 keys, q with one for each row (SageAttention, Zhang et al. 2024).
         */
        INT8,
        /**
         * As INT8, with exponentials and v in f8e4m3: v less the mean of each channel over the keys (which is added
         * back) with a scale for each channel (SageAttention2, Zhang et al. 2024). An exponential is off by up to 1/16
         * of it, or 2^-18 of the largest. On GPUs of compute capability 9.0 only, for head sizes and value sizes up to
         * 128.
         */
        INT8_FP8
    }

    /**
     * Keys near a query that it sees.
     *
     * @param left before its own position, or -1: all
     * @param right after its own position, or -1: all
     * @param sinkKeys how many of the first keys {@code left} does not hide
     */
    public record Window(long left, long right, long sinkKeys) {
        /** Everything. */
        public static final Window NONE = new Window(-1, -1, 0);

        /** Refuses other negative numbers. */
        public Window {
            Check.range("window.left", left, -1, Long.MAX_VALUE);
            Check.range("window.right", right, -1, Long.MAX_VALUE);
            Check.range("window.sinkKeys", sinkKeys, 0, Long.MAX_VALUE);
        }
    }

    /**
     * What a call does. Immutable: each {@code with} returns another one, so build it once and use it for many calls,
     * from any number of threads.
     *
     * @param layout of q, k, v and out
     * @param causal whether a query sees no key after its own position
     * @param window which keys near its position it sees
     * @param scale of the products; NaN: 1 / sqrt(head size)
     * @param softCap limit of the logits, > 0; 0: none
     * @param slopes f32 [query heads], ALiBi; or null
     * @param sinks f32 [query heads], a logit without value in each denominator; or null
     * @param correction as {@code lse}, an input: factors of the rows of out, see
     *     {@link Attention#correction(Tensor, Tensor)}; or null
     * @param lse f32 [batch, query heads, query length] in both layouts, ragged [query heads, total length], rows
     *     adjacent: where the natural logarithm of the denominators is written; or null
     * @param mask which blocks of keys are seen; or null: all. With sequences its grid has the lengths of the longest
     *     item, and no list goes beyond the keys of its item: a mask made of tokens says so itself
     * @param mode how q meets k, and the exponentials v
     * @param threads 0 for all, 1 for only the calling one
     * @param sequences where items of different lengths lie; or null: all have the length of the tensors
     * @param selection chooses the blocks of keys from q and k before the call; or null
     */
    public record Options(
            Layout layout,
            boolean causal,
            Window window,
            float scale,
            float softCap,
            Tensor slopes,
            Tensor sinks,
            Tensor correction,
            Tensor lse,
            BlockMask mask,
            Mode mode,
            int threads,
            Sequences sequences,
            Selection selection) {
        /** Each query sees each key; HND, scale 1 / sqrt(head size), exact, all threads. */
        public static final Options DEFAULT = new Options(
                Layout.HND, false, Window.NONE, Float.NaN, 0, null, null, null, null, null, Mode.EXACT, 0, null, null);

        /** Refuses what no call can take. */
        public Options {
            Check.present("layout", layout);
            Check.present("window", window);
            Check.present("mode", mode);
            if (Float.isInfinite(scale)) {
                throw Check.invalid("scale", scale, "finite numbers");
            }
            if (!(softCap >= 0 && softCap <= Float.MAX_VALUE)) {
                throw Check.invalid("softCap", softCap, "finite numbers > 0, or 0 for none");
            }
            Check.threads(threads);
            if (mask != null && selection != null) {
                throw Check.invalid("selection", selection, "null, as there is a mask");
            }
        }

        /** With the axes in this order. */
        public Options withLayout(Layout order) {
            Draft draft = new Draft(this);
            draft.layout = order;
            return draft.build();
        }

        /** Without keys after the query. */
        public Options withCausal() {
            return withCausal(true);
        }

        /** With or without keys after the query. */
        public Options withCausal(boolean hidden) {
            Draft draft = new Draft(this);
            draft.causal = hidden;
            return draft.build();
        }

        /** Seeing so many keys before and after the query's own; -1: all. Sinks stay. */
        public Options withWindow(long left, long right) {
            return withWindow(new Window(left, right, window.sinkKeys));
        }

        /** Seeing this window. */
        public Options withWindow(Window near) {
            Draft draft = new Draft(this);
            draft.window = near;
            return draft.build();
        }

        /** With so many first keys that the window does not hide. */
        public Options withSinkKeys(long keys) {
            return withWindow(new Window(window.left, window.right, keys));
        }

        /** With this scale of the products. */
        public Options withScale(float factor) {
            if (Float.isNaN(factor)) {
                throw Check.invalid("scale", factor, "finite numbers");
            }
            Draft draft = new Draft(this);
            draft.scale = factor;
            return draft.build();
        }

        /** With logits limited to -cap..cap by a tanh; 0: without. */
        public Options withSoftCap(float cap) {
            Draft draft = new Draft(this);
            draft.softCap = cap;
            return draft.build();
        }

        /** With ALiBi's f32 [query heads], see {@link Attention#alibiSlopes}; or null. */
        public Options withSlopes(Tensor perHead) {
            Draft draft = new Draft(this);
            draft.slopes = perHead;
            return draft.build();
        }

        /** With f32 [query heads] that the denominators have beside the keys; or null. */
        public Options withSinks(Tensor perHead) {
            Draft draft = new Draft(this);
            draft.sinks = perHead;
            return draft.build();
        }

        /** With each row of out times a number, f32 as {@code lse}; or null. */
        public Options withCorrection(Tensor given) {
            Draft draft = new Draft(this);
            draft.correction = given;
            return draft.build();
        }

        /** Writing the natural log-sum-exp to f32 [batch, query heads, query length]; or null. */
        public Options withLse(Tensor written) {
            Draft draft = new Draft(this);
            draft.lse = written;
            return draft.build();
        }

        /** Seeing the blocks of a mask; null: all. */
        public Options withMask(BlockMask seen) {
            Draft draft = new Draft(this);
            draft.mask = seen;
            return draft.build();
        }

        /** With this mode. */
        public Options withMode(Mode used) {
            Draft draft = new Draft(this);
            draft.mode = used;
            return draft.build();
        }

        /** With this number of threads: 0 for all, 1 for only the calling one. Results do not depend on it. */
        public Options withThreads(int count) {
            Draft draft = new Draft(this);
            draft.threads = count;
            return draft.build();
        }

        /** With items of different lengths one after the other; null: without. */
        public Options withSequences(Sequences items) {
            Draft draft = new Draft(this);
            draft.sequences = items;
            return draft.build();
        }

        /** Seeing the blocks that a selection chooses in the same call; null: without. */
        public Options withSelection(Selection chooser) {
            Draft draft = new Draft(this);
            draft.selection = chooser;
            return draft.build();
        }

        /** What is changed of a copy. */
        private static final class Draft {
            private Layout layout;
            private boolean causal;
            private Window window;
            private float scale;
            private float softCap;
            private Tensor slopes;
            private Tensor sinks;
            private Tensor correction;
            private Tensor lse;
            private BlockMask mask;
            private Mode mode;
            private int threads;
            private Sequences sequences;
            private Selection selection;

            Draft(Options from) {
                layout = from.layout;
                causal = from.causal;
                window = from.window;
                scale = from.scale;
                softCap = from.softCap;
                slopes = from.slopes;
                sinks = from.sinks;
                correction = from.correction;
                lse = from.lse;
                mask = from.mask;
                mode = from.mode;
                threads = from.threads;
                sequences = from.sequences;
                selection = from.selection;
            }

            Options build() {
                return new Options(
                        layout,
                        causal,
                        window,
                        scale,
                        softCap,
                        slopes,
                        sinks,
                        correction,
                        lse,
                        mask,
                        mode,
                        threads,
                        sequences,
                        selection);
            }
        }
    }

    private static final long EXPLAIN_BYTES = 4096;

    private Attention() {}

    /** As {@link #run(Tensor, Tensor, Tensor, Tensor, Options)} with {@link Options#DEFAULT}. */
    public static void run(Tensor q, Tensor k, Tensor v, Tensor out) {
        run(q, k, v, out, Options.DEFAULT);
    }

    /**
     * Computes out and what the options ask for. O(seen pairs of queries and keys * size). Allocates nothing on the
     * heap once warmed up; each thread keeps native memory for one head's packed k and v. A selection takes native
     * memory for its map of blocks during the call.
     *
     * <p>On a GPU it returns before the work is done, which uses what the arguments hold then: close no arena of
     * theirs, and change no element, before {@link Device#synchronize}, but by work of the same stream. A call makes a
     * few small objects, and scratch memory of the device if it needs more than calls before. All tensors are there,
     * and so are the mask and the sequences ({@link BlockMask#to}, {@link Sequences#to}).
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, head size], a multiple of 8 in 8..256
     * @param k of the type of q, [batch, kv heads, key length, head size]; kv heads divide query heads
     * @param v of the type of q, [batch, kv heads, key length, value size], a multiple of 8 in 8..256; null, together
     *     with out: only lse is computed
     * @param out f32 or of the type of q, [batch, query heads, query length, value size]; overlaps nothing else.
     *     Ragged, rows of no item are left alone
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws UnsupportedOperationException if no kernel of the device does this
     * @throws IllegalStateException if the arena of an argument, or the stream is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     * @throws GatunException if earlier work of the GPU failed, or it has not enough memory for scratch data
     */
    public static void run(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        MemorySegment params = AttentionCall.params(q, k, v, out, options);
        if (q.device() != Device.CPU) {
            CudaAttention.run(params, q, k, v, out, options);
            return;
        }
        Selection selection = options.selection;
        Sequences sequences = options.sequences;
        BlockMask.Parts mask = AttentionCall.mask(options);
        MemorySegment queries = sequences == null ? MemorySegment.NULL : sequences.queries();
        MemorySegment keys = sequences == null ? MemorySegment.NULL : sequences.keys();
        try {
            if (selection != null) {
                Native.check(gatun_attention_selected(
                        params,
                        SelectionCall.prepare(selection, params, q, k, options),
                        Native.segment(selection.budgets()),
                        q.segment(),
                        k.segment(),
                        Native.segment(v),
                        queries,
                        keys,
                        Native.segment(options.slopes),
                        Native.segment(options.sinks),
                        Native.segment(options.correction),
                        Native.segment(selection.lseBefore()),
                        Native.segment(out),
                        Native.segment(options.lse),
                        Native.segment(selection.density())));
                return;
            }
            Native.check(gatun_attention(
                    params,
                    q.segment(),
                    k.segment(),
                    Native.segment(v),
                    queries,
                    keys,
                    Native.segment(options.slopes),
                    Native.segment(options.sinks),
                    Native.segment(options.correction),
                    mask.fullOffsets(),
                    mask.fullBlocks(),
                    mask.partialOffsets(),
                    mask.partialBlocks(),
                    mask.partialBits() == null ? MemorySegment.NULL : mask.partialBits(),
                    Native.segment(out),
                    Native.segment(options.lse)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** Which kernel {@link #run} uses for these arguments, which it passed over and why, and how it splits the work. */
    public static String explain(Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        MemorySegment params = AttentionCall.params(q, k, v, out, options);
        String kernel = q.device() == Device.CPU
                ? Native.text(EXPLAIN_BYTES, text -> gatun_attention_explain(params, text, EXPLAIN_BYTES))
                : CudaAttention.explain(params, q, options);
        return options.selection == null
                ? kernel
                : kernel + "\n" + SelectionCall.explain(options.selection, params, q, k, options);
    }

    /**
     * Attention over the union of two disjoint sets of keys from what it is over each: with wa = exp(aLse - lse), wb
     * likewise, lse = ln(exp(aLse) + exp(bLse)) and out = wa a + wb b. O(elements). On a GPU as {@link #run}.
     *
     * @param a f32, bf16 or f16 [batch, heads, length, value size] or [heads, length, value size], elements of the last
     *     axis adjacent; transposed heads and lengths are fine if b and out have the same shape
     * @param aLse f32 of the shape of a without the last axis, contiguous; -infinity: no keys
     * @param b of the type and shape of a
     * @param bLse as aLse
     * @param out of the type and shape of a; may be a, and overlaps nothing otherwise
     * @param lse as aLse, may be aLse; or null
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public static void merge(Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse) {
        merge(a, aLse, b, bLse, out, lse, 0);
    }

    /** The same with a number of threads: 0 for all, 1 for only the calling one. */
    public static void merge(Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse, int threads) {
        AttentionMerge.run(a, aLse, b, bLse, out, lse, threads);
    }

    /**
     * The share of dense attention that a sparse one keeps, averaged over rows: mean of exp(kept - all), of the two
     * log-sum-exps. Rows that see nothing do not count; 1 if none does. Sinks as logits would count as attention that
     * is kept: leave them out of both calls. O(elements), one after the other.
     *
     * @param kept f32, contiguous, the lse of the sparse call
     * @param all f32 of the same shape, contiguous, the lse of the dense call
     */
    public static double recall(Tensor kept, Tensor all) {
        return AttentionMerge.recall(kept, all);
    }

    /**
     * The same for each head.
     *
     * @param kept f32 [batch, heads, length] or [heads, length], contiguous, the lse of the sparse call
     * @param all f32 of the same shape, contiguous, the lse of the dense call
     */
    public static double[] recallPerHead(Tensor kept, Tensor all) {
        return AttentionMerge.recallPerHead(kept, all);
    }

    /**
     * What a sparse attention of later steps is multiplied by, row by row, so that the keys it leaves out keep their
     * share of the softmax (Re-ttention, Chen et al. 2025): exp(kept - all), of the two log-sum-exps of a step with
     * both; 1 where a row saw nothing. In new memory, for {@link Options#withCorrection}; it may be changed, as the
     * paper does, by 0.04 a step. What the left-out keys added to the result, dense minus corrected sparse, may be kept
     * and added by the caller. O(elements).
     *
     * @param kept f32, contiguous, the lse of the sparse call
     * @param all f32 of the same shape, the lse of the dense call
     */
    public static Tensor correction(Tensor kept, Tensor all) {
        return AttentionMerge.correction(kept, all);
    }

    /**
     * The slopes of ALiBi (Press et al. 2021), f32 [heads]: 2^(-8 / n), its square and so on for n heads; where n is no
     * power of two, those of the next lower one and then every other one of the next higher one.
     */
    public static Tensor alibiSlopes(int heads) {
        Check.range("heads", heads, 0, 1 << 20);
        int lower = Integer.highestOneBit(Math.max(heads, 1));
        Tensor slopes = Tensor.allocate(DType.F32, heads);
        for (int h = 0; h < heads; h++) {
            double exponent = h < lower ? -8.0 * (h + 1) / lower : -4.0 * (2 * (h - lower) + 1) / lower;
            slopes.setFloat((float) Math.pow(2, exponent), h);
        }
        return slopes;
    }
}
