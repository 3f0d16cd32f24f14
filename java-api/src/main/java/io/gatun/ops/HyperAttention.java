package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Attention of long inputs in near-linear time (HyperAttention, Han et al. 2024): queries and keys are sorted by hashes
 * ({@link RowOrder#lsh}), so that those with large products share a block along the diagonal, which is attended to; of
 * the other keys a sample stands for all. With q [batch, query heads, L, size] that is O(L (block + samples) size).
 *
 * <p>Causal attention is halved: each half by itself, until it is no longer than {@code exact}, and the second half's
 * queries over the first half's keys as above.
 *
 * @param block keys in a block along the diagonal
 * @param samples keys that stand for those of other blocks; as many as there are keys: exact
 * @param exact causal: halves up to this length are attended to exactly
 * @param projections planes of the hash, 1..16; 7 in the paper
 * @param seed of planes and samples
 * @param threads 0 for all, 1 for only the calling one (but for the blocks along the diagonal, which are listed in the
 *     common pool)
 */
public record HyperAttention(int block, int samples, int exact, int projections, long seed, int threads) {
    /** Blocks of 256, 256 samples, exact up to 4096, 7 planes, all threads. */
    public static final HyperAttention DEFAULT = new HyperAttention(256, 256, 4096, 7, 1, 0);

    /** Refuses what no call can take. */
    public HyperAttention {
        Check.range("block", block, 1, Integer.MAX_VALUE);
        Check.range("samples", samples, 1, Integer.MAX_VALUE);
        Check.range("exact", exact, 1, Integer.MAX_VALUE);
        Check.range("projections", projections, 1, 16);
        Check.threads(threads);
    }

    /**
     * Computes out. Allocates memory for sorted copies of its arguments.
     *
     * @param q f32, bf16 or f16 [batch, query heads, query length, head size]
     * @param k of the type of q, [batch, kv heads, key length, head size]
     * @param v of the type of q, [batch, kv heads, key length, value size]
     * @param out of the type of q, [batch, query heads, query length, value size]; overlaps nothing else
     * @param causal queries see no later keys; as many keys as queries
     * @return the natural log-sum-exp, f32 [batch, query heads, query length], an estimate as out is
     * @throws IllegalArgumentException if an argument does not fit
     */
    public Tensor run(Tensor q, Tensor k, Tensor v, Tensor out, boolean causal) {
        return run(q, k, v, out, causal, true);
    }

    /**
     * Which share of the attention is of the keys that each query is multiplied with, those of its block and the
     * samples, averaged over rows as by {@link Attention#recall}. As much work as dense attention.
     */
    public double recall(Tensor q, Tensor k, boolean causal) {
        Check.present("q", q);
        Tensor kept = run(q, k, k, Tensor.allocate(q.dtype(), q.shape().toArray()), causal, false);
        Tensor all = sums(q);
        Attention.run(
                q,
                k,
                null,
                null,
                Attention.Options.DEFAULT
                        .withThreads(threads)
                        .withCausal(causal)
                        .withLse(all));
        return Attention.recall(kept, all);
    }

    /** {@code weighted}: samples stand for all keys of other blocks; otherwise for themselves. */
    private Tensor run(Tensor q, Tensor k, Tensor v, Tensor out, boolean causal, boolean weighted) {
        Check.present("v", v);
        Check.present("out", out);
        Attention.Options plain = Attention.Options.DEFAULT.withThreads(threads);
        AttentionCall.params(q, k, v, out, plain); // for its checks
        if (out.dtype() != q.dtype()) {
            throw Check.invalid("out", "dtype " + out.dtype(), q.dtype() + ", as q");
        }
        if (causal && q.shape().size(2) != k.shape().size(2)) {
            throw Check.invalid("k", "shape " + k.shape(), "the length of q " + q.shape() + ", as it is causal");
        }
        Check.range("key length", k.shape().size(2), 0, Integer.MAX_VALUE);
        Check.range("query length", q.shape().size(2), 0, Integer.MAX_VALUE);
        return causal ? causal(q, k, v, out, plain, weighted) : sorted(q, k, v, out, plain, weighted);
    }

    private static Tensor sums(Tensor q) {
        return Tensor.allocate(
                DType.F32, q.shape().size(0), q.shape().size(1), q.shape().size(2));
    }

    private Tensor causal(Tensor q, Tensor k, Tensor v, Tensor out, Attention.Options plain, boolean weighted) {
        long length = q.shape().size(2);
        if (length <= Math.max(exact, 1)) {
            Tensor lse = sums(q);
            Attention.run(q, k, v, out, plain.withCausal().withLse(lse));
            return lse;
        }
        long half = length / 2;
        Tensor lateOut = out.slice(2, half, length);
        Tensor late = q.slice(2, half, length);
        Tensor early = causal(
                q.slice(2, 0, half), k.slice(2, 0, half), v.slice(2, 0, half), out.slice(2, 0, half), plain, weighted);
        Tensor own = causal(late, k.slice(2, half, length), v.slice(2, half, length), lateOut, plain, weighted);
        Tensor before = Tensor.allocate(out.dtype(), lateOut.shape().toArray());
        Tensor beforeSums = sorted(late, k.slice(2, 0, half), v.slice(2, 0, half), before, plain, weighted);
        Attention.merge(lateOut, own, before, beforeSums, lateOut, own, threads);
        Tensor lse = sums(q);
        copy(early, lse, 0);
        copy(own, lse, half);
        return lse;
    }

    /** The sums of some rows of each head into those of all. */
    private static void copy(Tensor part, Tensor all, long begin) {
        long rows = part.shape().size(2);
        long heads = part.shape().size(0) * part.shape().size(1);
        for (long n = 0; n < heads; n++) {
            MemorySegment.copy(
                    part.segment(),
                    n * rows * Float.BYTES,
                    all.segment(),
                    (n * all.shape().size(2) + begin) * Float.BYTES,
                    rows * Float.BYTES);
        }
    }

    private static Tensor gathered(Tensor x, Tensor order, int threads) {
        Tensor y = Tensor.allocate(
                x.dtype(),
                x.shape().size(0),
                x.shape().size(1),
                order.shape().size(2),
                x.shape().size(3));
        RowOrder.gather(x, order, y, threads);
        return y;
    }

    /** Not causal: sorted blocks along the diagonal, and the samples. */
    private Tensor sorted(Tensor q, Tensor k, Tensor v, Tensor out, Attention.Options plain, boolean weighted) {
        int queries = (int) q.shape().size(2);
        int keys = (int) k.shape().size(2);
        Tensor queryOrder = RowOrder.lsh(q, projections, seed, threads);
        Tensor keyOrder = RowOrder.lsh(k, projections, seed, threads);
        Tensor sortedQ = gathered(q, queryOrder, threads);
        Tensor sortedK = gathered(k, keyOrder, threads);
        Tensor sortedV = gathered(v, keyOrder, threads);
        int groups = Math.max(Math.ceilDiv(keys, block), 1);
        int queryGroup = Math.max(Math.ceilDiv(queries, groups), 1);
        BlockMask diagonal = BlockMask.blockDiagonal(new BlockGrid(queries, keys, 64, 64), queryGroup, block);
        Tensor result = Tensor.allocate(out.dtype(), out.shape().toArray());
        Tensor lse = sums(q);
        Attention.run(
                sortedQ, sortedK, sortedV, result, plain.withMask(diagonal).withLse(lse));
        if (groups > 1) {
            addSamples(sortedQ, sortedK, sortedV, queryGroup, result, lse, plain, weighted);
        }
        RowOrder.scatter(result, queryOrder, out, threads);
        Tensor column = lse.reshape(lse.shape().size(0), lse.shape().size(1), queries, 1);
        Tensor inOrder = sums(q);
        RowOrder.scatter(column, queryOrder, inOrder.reshape(column.shape().toArray()), threads);
        return inOrder;
    }

    /** Merges what the samples of other blocks than a query's own stand for. */
    private void addSamples(
            Tensor q,
            Tensor k,
            Tensor v,
            int queryGroup,
            Tensor result,
            Tensor lse,
            Attention.Options plain,
            boolean weighted) {
        int queries = (int) q.shape().size(2);
        int keys = (int) k.shape().size(2);
        int[] places = places(keys);
        int count = places.length;
        long heads = k.shape().size(0) * k.shape().size(1);
        int[] everyHead = new int[Math.toIntExact(heads * count)];
        for (int n = 0; n < everyHead.length; n++) {
            everyHead[n] = places[n % count];
        }
        Tensor order = Tensor.of(everyHead, k.shape().size(0), k.shape().size(1), count);
        BlockMask others = others(new BlockGrid(queries, count, 64, 64), queryGroup, places);
        Tensor sampled = Tensor.allocate(result.dtype(), result.shape().toArray());
        Tensor sampledLse = sums(q);
        Attention.run(
                q,
                gathered(k, order, threads),
                gathered(v, order, threads),
                sampled,
                plain.withMask(others).withLse(sampledLse));
        int[] inGroup = new int[Math.ceilDiv(keys, block)];
        for (int place : places) {
            inGroup[place / block]++;
        }
        for (long n = 0; n < sampledLse.shape().elements(); n++) {
            int group = (int) (n % queries) / queryGroup;
            // Queries beyond the last group of keys have none of their own.
            int own = group < inGroup.length ? Math.min(block, keys - group * block) : 0;
            int seen = count - (group < inGroup.length ? inGroup[group] : 0);
            float sum = sampledLse.segment().getAtIndex(JAVA_FLOAT, n);
            float weight = weighted ? (float) Math.log((double) (keys - own) / seen) : 0;
            sampledLse.segment().setAtIndex(JAVA_FLOAT, n, seen == 0 ? Float.NEGATIVE_INFINITY : sum + weight);
        }
        Attention.merge(result, lse, sampled, sampledLse, result, lse, threads);
    }

    /** Each query sees the samples of other blocks than its own: all but one stretch, as places ascend. */
    private BlockMask others(BlockGrid grid, int queryGroup, int[] places) {
        TokenBits bits = new TokenBits(grid);
        return MaskBuilder.build(grid, 1, 1, true, (b, h, queryBlock, row) -> {
            bits.clear(queryBlock);
            for (int i = 0; i < bits.queries(); i++) {
                long group = ((long) queryBlock * grid.queryBlock() + i) / queryGroup;
                bits.setRange(i, 0, firstFrom(places, group * block));
                bits.setRange(i, firstFrom(places, (group + 1) * block), places.length);
            }
            bits.addTo(row);
        });
    }

    /** Of the places from this one on, the first one's index. */
    private static int firstFrom(int[] places, long place) {
        int found = Arrays.binarySearch(places, (int) Math.min(place, Integer.MAX_VALUE));
        return found < 0 ? -found - 1 : found;
    }

    /** Ascending places among the sorted keys, drawn evenly without repetition. */
    private int[] places(int keys) {
        if (samples >= keys) {
            int[] all = new int[keys];
            Arrays.setAll(all, place -> place);
            return all;
        }
        SplittableRandom random = new SplittableRandom(seed);
        int[] places = new int[samples];
        int chosen = 0;
        for (int place = 0; chosen < samples; place++) {
            if (random.nextInt(keys - place) < samples - chosen) {
                places[chosen++] = place;
            }
        }
        return places;
    }
}
