package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/**
 * Keys and values of one layer for many sequences of tokens, in pages that are shared: what {@link Decode} reads, with
 * the work of an engine's cache manager done.
 *
 * <pre>
 * try (KvCache cache = KvCache.builder(8, 128).pages(4096).format(KvFormat.int8(), KvFormat.int8()).build()) {
 *     KvCache.Sequence prompt = cache.newSequence();
 *     prompt.append(k, v); // [heads, tokens, size]
 *     KvCache.Sequence answer = prompt.fork(); // the same pages, until one of both writes
 *     // at each step
 *     answer.append(newK, newV);
 *     answer.attend(q, out, Decode.Options.DEFAULT); // q [1, query heads, 1, size]
 * }
 * </pre>
 *
 * <p>With {@link Builder#ages} older tokens are in other formats: a page moves on, read back and written again, when as
 * many newer tokens as its age have come (SAQ). Scales per channel need whole groups of tokens (KIVI, Liu et al. 2024),
 * so there the newest tokens stay in bf16 until their page is full. Attention to several formats is that to each one,
 * merged by log-sum-exps from the newest to the oldest. What is kept does not depend on whether tokens came one by one
 * or many at once.
 *
 * <p>On a GPU tokens that become codes are waited for, to know whether there is one that has none; all else is as of
 * {@link Decode} and {@link KvPool}, so calls of a cache go to one stream, or their caller orders the streams.
 *
 * <p>Any threads may call; calls of the same cache wait for each other. A call that needs more pages than are free
 * fails with a {@link io.gatun.GatunException} that has both numbers, and changes nothing.
 */
public final class KvCache implements AutoCloseable {
    /**
     * How older tokens are kept.
     *
     * @param tokens how many newer ones each of them has, at least
     * @param k format of keys
     * @param v format of values
     */
    public record Age(long tokens, KvFormat k, KvFormat v) {
        /** Refuses negative ages. */
        public Age {
            Check.range("age.tokens", tokens, 0, Long.MAX_VALUE);
            Check.present("age.k", k);
            Check.present("age.v", v);
        }
    }

    /**
     * What a cache takes, exactly: pages of values, or of codes with their scales and zero points.
     *
     * @param reservedBytes all pages
     * @param usedBytes those that belong to sequences, each counted once
     * @param sharedPages how many belong to several
     * @param tokens of all sequences, each counted in every sequence that has it
     * @param bytesPerToken usedBytes / tokens: less than what the format takes where pages are shared, more where they
     *     are not full; 0 without tokens
     */
    public record Memory(long reservedBytes, long usedBytes, long sharedPages, long tokens, double bytesPerToken) {}

    private final KvTier[] tiers;
    private final KvAttend attend;
    private final Set<Sequence> open = Collections.newSetFromMap(new IdentityHashMap<>());
    /** Whoever holds it may use all of the cache and its sequences. */
    private final Object lock = new Object();

    private boolean closed;

    private KvCache(KvTier[] tiers) {
        this.tiers = tiers;
        attend = new KvAttend(tiers);
    }

    /** Starts a description: heads of keys and values, and the size of each, a multiple of 8 in 8..256. */
    public static Builder builder(int heads, int size) {
        return new Builder(heads, size);
    }

    /** What a cache is made of. Pages have to be given, the rest has defaults. */
    public static final class Builder {
        private final int heads;
        private final int size;
        private int valueSize;
        private int pageSize = 16;
        private int pages;
        private Device device = Device.CPU;
        private long sequences = Integer.MAX_VALUE;
        private KvFormat k = KvFormat.BF16;
        private KvFormat v = KvFormat.BF16;
        private List<Age> ages = List.of();

        private Builder(int heads, int size) {
            Check.range("heads", heads, 1, Integer.MAX_VALUE / 2);
            this.heads = heads;
            this.size = size;
            valueSize = size;
        }

        /** Another size of values than of keys. */
        public Builder valueSize(int channels) {
            valueSize = channels;
            return this;
        }

        /** Tokens of a page, 16 if not given; with scales per channel a multiple of their groups. */
        public Builder pageSize(int tokens) {
            pageSize = tokens;
            return this;
        }

        /** Where the pages are, the CPU if not given. A GPU takes one format, without scales per channel. */
        public Builder device(Device where) {
            Check.present("device", where);
            device = where;
            return this;
        }

        /** How many pages there are, of each format where there are several. */
        public Builder pages(int count) {
            Check.range("pages", count, 1, Integer.MAX_VALUE);
            pages = count;
            return this;
        }

        /**
         * How many sequences there will be at the same time: formats of newer tokens get no more pages than those can
         * fill. Not needed with a single format.
         */
        public Builder sequences(int most) {
            Check.range("sequences", most, 1, Integer.MAX_VALUE);
            sequences = most;
            return this;
        }

        /** How keys and values are kept, with ages the newest ones; BF16 if not given. */
        public Builder format(KvFormat keys, KvFormat values) {
            Check.present("keys", keys);
            Check.present("values", values);
            k = keys;
            v = values;
            return this;
        }

        /** How older tokens are kept: ages ascend. */
        public Builder ages(List<Age> older) {
            Check.present("ages", older);
            List<Age> given = List.copyOf(older);
            for (int i = 1; i < given.size(); i++) {
                if (given.get(i).tokens <= given.get(i - 1).tokens) {
                    throw Check.invalid(
                            "ages[" + i + "].tokens",
                            given.get(i).tokens,
                            "more than the " + given.get(i - 1).tokens + " before it");
                }
            }
            ages = given;
            return this;
        }

        /**
         * Takes the memory for all pages.
         *
         * @throws IllegalArgumentException if something does not fit
         * @throws UnsupportedOperationException if the device does not take the formats
         * @throws OutOfMemoryError if there is not so much memory
         */
        public KvCache build() {
            if (pages == 0) {
                throw Check.invalid("pages", "none", "1 or more (see Builder.pages)");
            }
            return new KvCache(KvTier.all(device, formats(), sequences, heads, pages, pageSize, size, valueSize));
        }

        /** Each with the age from which on tokens are kept so. */
        private List<Age> formats() {
            List<Age> formats = new ArrayList<>();
            formats.add(new Age(0, k, v));
            if (KvTier.group(k) > 1 || KvTier.group(v) > 1) {
                formats.add(0, new Age(0, KvFormat.BF16, KvFormat.BF16));
            }
            formats.addAll(ages);
            return formats;
        }
    }

    // ---- sequences -------------------------------------------------------------------------------------------------

    /** A sequence without tokens; it takes pages as tokens come, until it is closed. */
    public Sequence newSequence() {
        synchronized (lock) {
            checkOpen();
            return new Sequence(new KvTokens(tiers));
        }
    }

    /** Tokens in order, oldest first. Positions, of windows, slopes and scores, count among those that are kept. */
    public final class Sequence implements AutoCloseable {
        private final KvTokens tokens;

        private Sequence(KvTokens tokens) {
            this.tokens = tokens;
            open.add(this);
        }

        /** How many tokens it has. */
        public long length() {
            synchronized (lock) {
                checkOpen("sequence");
                return tokens.length();
            }
        }

        /**
         * Tokens at the end: a prompt, or those of a step. O(elements).
         *
         * @param k f32, bf16 or f16 [heads, tokens, size], any strides, elements of the last axis adjacent
         * @param v likewise, of the size of values
         * @throws IllegalArgumentException if an argument does not fit, or a value has no code: NaN, infinity or, as
         *     its scale leaves the range of f16, a very large one; with several formats, codes among them, any beyond
         *     32768. The sequence is as it was then
         * @throws io.gatun.GatunException if there are not pages enough; the sequence is as it was then
         * @throws IllegalStateException if the cache, the sequence or the arena of an argument is closed
         */
        public void append(Tensor k, Tensor v) {
            synchronized (lock) {
                checkOpen("sequence");
                KvRows.check("k", k, tiers, true);
                KvRows.check("v", v, tiers, false);
                if (v.shape().size(1) != k.shape().size(1)) {
                    throw Check.invalid(
                            "v", v.shape().size(1) + " tokens", k.shape().size(1) + ", as k");
                }
                tokens.append(k, v);
            }
        }

        /**
         * Attention to all tokens, {@link KvCache#attend} of this sequence alone.
         *
         * @param q [1, query heads, query length, size]; the last query is at the last token, so with causal options a
         *     step appends its tokens first
         * @param out [1, query heads, query length, value size]
         */
        public void attend(Tensor q, Tensor out, Decode.Options options) {
            KvCache.this.attend(List.of(this), q, out, options);
        }

        /**
         * The same, with the attention that each token gets: {@link Decode#scores}.
         *
         * @param scores f32 [1, heads or fewer, length or more], keys adjacent
         * @param accumulate whether to add to what scores hold, or to overwrite it
         */
        public void attend(Tensor q, Tensor out, Decode.Options options, Tensor scores, boolean accumulate) {
            Check.present("options", options);
            synchronized (lock) {
                checkOpen("sequence");
                Check.present("q", q);
                Check.present("scores", scores);
                checkQueries(q, 1);
                long[] lengths = {tokens.length()};
                Decode.Options all = KvRows.withSums(options, q, lengths[0], tiers[0].pageSize());
                DecodeScores.params(all.logits(), all.lse(), lengths, scores, accumulate, all.threads());
                Check.disjoint("scores", scores, "out", out);
                KvCache.this.attend(List.of(this), q, out, all);
                Decode.scores(all.logits(), all.lse(), lengths, scores, accumulate, all.threads());
            }
        }

        /**
         * Its pages, for calls of {@link Decode} and {@link KvPool} with {@link KvCache#keys} and {@link
         * KvCache#values}: a copy, i32 [1, 1, pages], which holds until the sequence changes.
         *
         * @throws UnsupportedOperationException if the cache has several formats
         */
        public Tensor table() {
            synchronized (lock) {
                checkOpen("sequence");
                KvSegment segment = tokens.segment(single());
                Tensor table = Tensor.allocate(DType.I32, 1, 1, segment.count());
                segment.copyPages(table.segment(), 0);
                return table.to(tiers[0].k.device());
            }
        }

        /** Which kernels {@link #attend} uses for these arguments and why, for each format. */
        public String explain(Tensor q, Tensor out, Decode.Options options) {
            synchronized (lock) {
                checkOpen("sequence");
                return attend.explain(tokens, q, out, options);
            }
        }

        /** A sequence of the same tokens in the same pages, which are copied as one of both changes them. */
        public Sequence fork() {
            synchronized (lock) {
                checkOpen("sequence");
                return new Sequence(tokens.fork());
            }
        }

        /** No tokens from {@code length} on: what was speculated goes. Those that stay are as they were. */
        public void truncate(long length) {
            synchronized (lock) {
                checkOpen("sequence");
                Check.range("length", length, 0, tokens.length());
                tokens.truncate(length);
            }
        }

        /**
         * Only these tokens stay, moved together in place; pages that get empty are free again. Rows move with their
         * scales, but groups of tokens with scales per channel of which not all stay are read back and written again.
         *
         * @param keep indexes of tokens, ascending: one list, or one for each head, all of the same length; of several
         *     formats each keeps as many tokens in every head
         * @throws IllegalArgumentException if an argument does not fit; nothing is changed then
         * @throws io.gatun.GatunException if pages that are shared with other sequences have to be copied and there are
         *     not enough; nothing is changed then
         */
        public void evict(long[]... keep) {
            synchronized (lock) {
                checkOpen("sequence");
                KvRows.check(keep, tiers[0].k.heads(), tokens.length());
                tokens.keep(keep);
            }
        }

        /** Frees its pages but those that others share. Another time it does nothing. */
        @Override
        public void close() {
            synchronized (lock) {
                if (open.remove(this)) {
                    tokens.truncate(0);
                }
            }
        }

        KvTokens tokens() {
            return tokens;
        }

        private KvCache cache() {
            return KvCache.this;
        }

        private void checkOpen(String argument) {
            KvCache.this.checkOpen();
            Check.open(argument, "Sequence", open.contains(this));
        }

        /** {@code 117 tokens}. */
        @Override
        public String toString() {
            synchronized (lock) {
                return open.contains(this) ? tokens.length() + " tokens" : "closed";
            }
        }
    }

    /**
     * Attention of each item of q to the tokens of its sequence, by a single call of {@link Decode} for each format;
     * with several formats and a window, slopes or logits for each format and sequence.
     *
     * @param sequences of this cache, one for each item
     * @param q as of {@link Decode#run}: [sequences, query heads, query length, size]; the last query is at the last
     *     token
     * @param out f32 or of the type of q, [sequences, query heads, query length, value size]
     * @param options the rest
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the cache, a sequence or the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public void attend(List<Sequence> sequences, Tensor q, Tensor out, Decode.Options options) {
        Check.present("sequences", sequences);
        Check.present("q", q);
        Check.present("out", out);
        Check.present("options", options);
        synchronized (lock) {
            checkOpen();
            List<KvTokens> items = new ArrayList<>();
            for (int i = 0; i < sequences.size(); i++) {
                String name = "sequences[" + i + "]";
                Sequence sequence = sequences.get(i);
                Check.present(name, sequence);
                if (sequence.cache() != this) {
                    throw Check.invalid(name, "one of another cache", "sequences of this cache");
                }
                sequence.checkOpen(name);
                items.add(sequence.tokens);
            }
            checkQueries(q, items.size());
            attend.run(items, q, out, options);
        }
    }

    private void checkQueries(Tensor q, int batch) {
        if (q.shape().rank() != 4 || q.shape().size(0) != batch) {
            throw Check.invalid(
                    "q",
                    "shape " + q.shape(),
                    "[" + batch + ", query heads, query length, " + tiers[0].k.size() + "], an item for each sequence");
        }
    }

    /**
     * The keys of all sequences, see {@link Sequence#table}. Whoever writes rows of it changes all sequences that share
     * them. The pool is the cache's, which alone closes it.
     *
     * @throws UnsupportedOperationException if the cache has several formats
     */
    public KvPool keys() {
        return tiers[single()].k;
    }

    /** The values, as {@link #keys}. */
    public KvPool values() {
        return tiers[single()].v;
    }

    /** The number of the only tier. */
    private int single() {
        if (tiers.length > 1) {
            throw Check.unsupported("cache", tiers.length + " formats", "1, so that a sequence is in one pool");
        }
        return 0;
    }

    // ---- what there is ---------------------------------------------------------------------------------------------

    /** What the cache takes now. */
    public Memory memory() {
        synchronized (lock) {
            checkOpen();
            long reserved = 0;
            long used = 0;
            long shared = 0;
            for (KvTier tier : tiers) {
                reserved += tier.k.bytes() + tier.v.bytes();
                used += tier.pageBytes() * tier.pages.used();
                shared += tier.pages.shared();
            }
            long tokens = 0;
            for (Sequence sequence : open) {
                tokens += sequence.tokens.length();
            }
            return new Memory(reserved, used, shared, tokens, tokens == 0 ? 0 : (double) used / tokens);
        }
    }

    KvTier[] tiers() {
        return tiers;
    }

    private void checkOpen() {
        Check.open("cache", "KvCache", !closed);
    }

    /**
     * Frees the pages, and so closes all sequences. Another time it frees what was in use before, if anything was.
     *
     * @throws IllegalStateException if another thread's call uses {@link #keys} or {@link #values}. Those that no call
     *     uses are free then, and the cache takes no calls but another one of this, which frees the rest
     */
    @Override
    public void close() {
        synchronized (lock) {
            closed = true;
            open.clear();
            KvTier.free(Arrays.asList(tiers));
        }
    }

    /** {@code 8 heads x 128 in pages of 16 tokens: 4096 of keys i8 per token, values bf16}. */
    @Override
    public String toString() {
        KvPool k = tiers[0].k;
        KvPool v = tiers[0].v;
        StringBuilder text = new StringBuilder(k.heads() + " heads x " + k.size())
                .append(v.size() == k.size() ? "" : "/" + v.size())
                .append(" in pages of " + k.pageSize() + " tokens");
        for (KvTier tier : tiers) {
            text.append(tier == tiers[0] ? ": " : "; ")
                    .append(tier.pages.pages())
                    .append(" of ")
                    .append(tier);
        }
        return text.toString();
    }
}
