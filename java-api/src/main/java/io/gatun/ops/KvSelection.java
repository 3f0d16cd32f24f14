package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;

/**
 * Chooses the pages of a KV cache that matter most to a query: by the mean of each page's keys (block top-k, Kinetics,
 * Sadhukhan et al. 2025), which this object keeps beside a pool, or by the attention that each page got in a layer that
 * attended to all ({@link #attended}; DELTA, Entezari Zarch et al. 2025). What is chosen, a {@link KvChoice}, serves
 * this layer, the next ones and the next steps.
 *
 * <p>The scores of a page are the softmax over pages of q . mean / sqrt(size), summed over the queries that share a
 * head. Not for two threads at a time.
 */
public final class KvSelection {
    private final KvPool keys;
    private final ClusterRows means;

    /**
     * How much is chosen.
     *
     * @param pages of each head, 1 or more; of an item with fewer all are chosen
     * @param keepFirst pages at the start that are chosen whatever they score
     * @param keepLast at the end, 1 or more, as the last page may not be full
     */
    public record Budget(int pages, int keepFirst, int keepLast) {
        /** Refuses what no choice can be made with. */
        public Budget {
            Check.range("pages", pages, 1, Integer.MAX_VALUE - 64);
            Check.range("keepFirst", keepFirst, 0, Integer.MAX_VALUE);
            Check.range("keepLast", keepLast, 1, Integer.MAX_VALUE);
        }
    }

    /**
     * Of the keys of a layer, all of whose pages have no mean yet.
     *
     * @param keys may have any format
     */
    public KvSelection(KvPool keys) {
        this.keys = keys;
        means = new ClusterRows(keys, ClusterRows.Row.MEAN, 0, 1);
    }

    /**
     * Makes the means of pages that got new keys. O(keys of those pages).
     *
     * @param table i32 [batch, 1 or heads, n], contiguous
     * @param from of each row of the table the first new key; 0 of a prompt
     * @param lengths of each row of the table, the new keys included
     */
    public void update(Tensor table, long[] from, long[] lengths) {
        means.update(table, from, lengths);
    }

    /** {@link #select(Tensor, Tensor, long[], Budget, boolean)}, each head by itself. */
    public KvChoice select(Tensor q, Tensor table, long[] lengths, Budget budget) {
        return select(q, table, lengths, budget, false);
    }

    /**
     * Chooses pages.
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, size]
     * @param table i32 [batch, 1 or heads, n], contiguous, of pages whose means are up to date
     * @param lengths of each row of the table
     * @param budget how many
     * @param together the same pages for all heads; the table has one row for them, too
     */
    public KvChoice select(Tensor q, Tensor table, long[] lengths, Budget budget, boolean together) {
        Check.present("lengths", lengths);
        Check.present("budget", budget);
        Tensor scores = means.scores(q, table, means.clusters(lengths), together ? 1 : keys.heads());
        return KvChoice.of(scores, table, lengths, budget, keys.pageSize(), lengths);
    }

    /**
     * Chooses pages by the attention that they got: for the layers after one that attended to all keys, and wrote
     * {@code logits} and {@code lse}.
     *
     * @param logits f32 [batch, query heads, query length, longest length or more]
     * @param lse f32 [batch, query heads, query length]
     * @param table i32 [batch, 1 or heads, n], contiguous, of that layer
     * @param lengths of each row of the table
     * @param pageSize keys of a page
     * @param budget how many pages
     * @param heads how many choices an item gets: those of the keys, or 1, the same for all (DELTA)
     */
    public static KvChoice attended(
            Tensor logits, Tensor lse, Tensor table, long[] lengths, int pageSize, Budget budget, int heads) {
        Check.present("logits", logits);
        Check.present("lengths", lengths);
        Check.present("budget", budget);
        Check.range("pageSize", pageSize, 1, Integer.MAX_VALUE);
        Check.range("heads", heads, 1, Integer.MAX_VALUE);
        if (logits.shape().rank() != 4) {
            throw Check.invalid("logits", "shape " + logits.shape(), "[batch, query heads, query length, keys]");
        }
        long batch = logits.shape().size(0);
        long longest = DecodeCall.longest(lengths);
        Tensor scores = Tensor.allocate(DType.F32, batch, heads, longest);
        Decode.scores(logits, lse, lengths, scores, false);
        float[] ofKeys = scores.toFloatArray(); // 0 beyond an item's keys
        int pages = Math.toIntExact(Math.ceilDiv(longest, (long) pageSize));
        float[] ofPages = new float[Math.toIntExact(batch * heads * pages)];
        for (int n = 0; n < ofKeys.length; n++) {
            ofPages[(int) (n / longest) * pages + (int) (n % longest) / pageSize] += ofKeys[n];
        }
        return KvChoice.of(Tensor.of(ofPages, batch, heads, pages), table, lengths, budget, pageSize, lengths);
    }
}
