package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * Chooses the pages of a KV cache that may matter to a query by the boxes that hold their keys (MPCache, Zeng et al.
 * 2025, in plain numbers): of a cluster of keys next to each other, the largest and smallest number of each channel.
 * Two levels: clusters of several pages, of which some are left, and then the pages in those. The paper has 32 and 16
 * keys. Its first step, evicting once after the prompt, is {@link KvBudget#keepPerHead}; its sharing between layers
 * is {@link KvChoice}.
 *
 * <p>The scores of a cluster are the softmax over clusters of its similarity / sqrt(size), summed over the queries that
 * share a head. Not for two threads at a time.
 */
public final class KvClusters {
    /** How a query meets a box. */
    public enum Similarity {
        /**
         * The most that q . k can be within the box, sum over channels of max(q largest, q smallest). Sizes up to 128.
         */
        BOUND,
        /** The paper's linear stand-in: q . (0.6 largest + 0.4 smallest). */
        LINEAR
    }

    private static final float ALPHA = 0.6f;

    private final KvPool keys;
    private final int span;
    private final ClusterRows coarse;
    private final ClusterRows fine;

    /**
     * Of the keys of a layer, all of whose pages have no box yet.
     *
     * @param keys may have any format; their pages are the small clusters
     * @param span pages of a large cluster, 1 or more
     * @param similarity how queries meet boxes
     */
    public KvClusters(KvPool keys, int span, Similarity similarity) {
        Check.present("keys", keys);
        Check.present("similarity", similarity);
        Check.range("span", span, 1, Integer.MAX_VALUE / keys.pageSize());
        if (similarity == Similarity.BOUND && keys.size() > 128) {
            throw Check.invalid("similarity", "BOUND of size " + keys.size(), "sizes up to 128, or LINEAR");
        }
        ClusterRows.Row row = similarity == Similarity.BOUND ? ClusterRows.Row.BOX : ClusterRows.Row.BLEND;
        this.keys = keys;
        this.span = span;
        coarse = new ClusterRows(keys, row, ALPHA, span);
        fine = new ClusterRows(keys, row, ALPHA, 1);
    }

    /** As {@link KvSelection#update}. */
    public void update(Tensor table, long[] from, long[] lengths) {
        coarse.update(table, from, lengths);
        fine.update(table, from, lengths);
    }

    /**
     * The similarities of queries with pages, over sqrt(size): f32 [batch, query heads, query length, pages].
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, size]
     * @param table i32 [batch, 1 or heads, n], contiguous, of pages whose boxes are up to date
     * @param lengths of each row of the table
     */
    public Tensor similarities(Tensor q, Tensor table, long[] lengths) {
        fine.checkQueries(q);
        Check.present("lengths", lengths);
        return fine.logits(q, table, fine.clusters(lengths), null);
    }

    /**
     * Chooses pages, each head by itself: those with the largest scores among the pages of the large clusters with the
     * largest scores.
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, size]
     * @param table i32 [batch, 1 or heads, n], contiguous, of pages whose boxes are up to date
     * @param lengths of each row of the table
     * @param clusters how many large clusters are left, 1 or more, besides what keeps the first and last pages
     * @param budget how many pages are chosen
     */
    public KvChoice select(Tensor q, Tensor table, long[] lengths, int clusters, KvSelection.Budget budget) {
        fine.checkQueries(q);
        Check.present("table", table);
        Check.present("lengths", lengths);
        Check.present("budget", budget);
        Check.range("clusters", clusters, 1, Integer.MAX_VALUE - 64);
        DecodeCall.checkTable(table, q.shape().size(0), keys.heads());
        DecodeCall.checkLengths(lengths, table);

        Tensor firstPages = firstPages(table);
        long[] counts = coarse.clusters(lengths);
        Tensor scores = coarse.scores(q, firstPages, counts, keys.heads());
        int keepFirst = Math.ceilDiv(budget.keepFirst(), span);
        // The last cluster may have one page only.
        int keepLast = 1 + Math.ceilDiv(budget.keepLast() - 1, span);
        int most = (int) Math.min(
                (long) clusters + keepFirst + keepLast, firstPages.shape().size(2));
        Tensor chosen = Tensor.allocate(DType.I32, q.shape().size(0), keys.heads(), most);
        long[] chosenCounts = new long[Math.toIntExact(q.shape().size(0) * keys.heads())];
        Decode.choose(scores, firstPages, counts, 1, most, keepFirst, keepLast, chosen, chosenCounts, 0);

        Tensor pages = Tensor.allocate(DType.I32, q.shape().size(0), keys.heads(), (long) most * span);
        long[] left = expand(table, lengths, chosen, chosenCounts, pages);
        Tensor pageScores = fine.scores(q, pages, fine.clusters(left), keys.heads());
        return KvChoice.of(pageScores, pages, left, budget, keys.pageSize(), lengths);
    }

    /** The first page of each large cluster, which names it. */
    private Tensor firstPages(Tensor table) {
        long clusters = Math.ceilDiv(table.shape().size(2), (long) span);
        int rows = Math.toIntExact(table.shape().size(0) * table.shape().size(1));
        int[] firsts = new int[Math.toIntExact(rows * clusters)];
        Arrays.setAll(firsts, n -> KvChoice.entry(table, (int) (n / clusters), n % clusters * span));
        return Tensor.of(firsts, table.shape().size(0), table.shape().size(1), clusters);
    }

    /** The pages of chosen clusters, in order; returns how many keys they hold. */
    private long[] expand(Tensor table, long[] lengths, Tensor chosen, long[] chosenCounts, Tensor pages) {
        long[] left = new long[chosenCounts.length];
        int perItem = chosenCounts.length / lengths.length;
        long pageKeys = keys.pageSize();
        for (int row = 0; row < left.length; row++) {
            int source = row / perItem;
            long cluster = 0;
            long written = 0;
            for (long n = 0; n < chosenCounts[row]; n++, cluster++) {
                // Both ascend, and no page is twice in a row of the table.
                while (KvChoice.entry(table, source, cluster * span) != KvChoice.entry(chosen, row, n)) {
                    cluster++;
                }
                long begin = cluster * span;
                long end = Math.min(begin + span, Math.ceilDiv(lengths[source], pageKeys));
                for (long page = begin; page < end; page++) {
                    KvChoice.set(pages, row, written++, KvChoice.entry(table, source, page));
                }
                left[row] += Math.min(end * pageKeys, lengths[source]) - begin * pageKeys;
            }
        }
        return left;
    }
}
