package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * A row for each cluster of keys, a pool of page size 1 that queries are multiplied with. A cluster is {@code span}
 * successive pages of an item; its row has the number of the first of them.
 */
final class ClusterRows {
    /** What stands for the keys of a cluster. */
    enum Row {
        /** Their mean. */
        MEAN,
        /** The largest, then the smallest number of each channel: q+ . largest + q- . smallest >= any q . k. */
        BOX,
        /** alpha largest + (1 - alpha) smallest. */
        BLEND
    }

    private final KvPool keys;
    private final Row kind;
    private final float alpha;
    private final int span;
    private final Tensor rows;
    private final KvPool pool;

    ClusterRows(KvPool keys, Row kind, float alpha, int span) {
        Check.present("keys", keys);
        this.keys = keys;
        this.kind = kind;
        this.alpha = alpha;
        this.span = span;
        int size = kind == Row.BOX ? 2 * keys.size() : keys.size();
        rows = Tensor.allocate(DType.F32, keys.pages(), keys.heads(), 1, size);
        pool = KvPool.of(rows, Attention.Layout.HND);
    }

    /** Makes the rows of clusters with keys {@code from[i] .. lengths[i] - 1} of row i of the table anew. */
    void update(Tensor table, long[] from, long[] lengths) {
        Check.present("table", table);
        Check.present("from", from);
        Check.present("lengths", lengths);
        DecodeCall.checkTable(table, table.shape().rank() == 3 ? table.shape().size(0) : -1, keys.heads());
        DecodeCall.checkLengths(lengths, table);
        if (from.length != lengths.length) {
            throw Check.invalid("from", from.length + " numbers", lengths.length + ", as lengths");
        }
        for (int i = 0; i < lengths.length; i++) {
            Check.range("lengths[" + i + "]", lengths[i], 0, table.shape().size(2) * keys.pageSize());
            Check.range("from[" + i + "]", from[i], 0, lengths[i]);
        }
        boolean shared = table.shape().size(1) == 1;
        long clusterKeys = (long) span * keys.pageSize();
        for (int i = 0; i < lengths.length; i++) {
            for (long begin = from[i] / clusterKeys * clusterKeys; begin < lengths[i]; begin += clusterKeys) {
                int count = (int) Math.min(clusterKeys, lengths[i] - begin);
                long[] slots = new long[count];
                for (int t = 0; t < count; t++) {
                    long page = KvChoice.entry(table, i, (begin + t) / keys.pageSize());
                    slots[t] = page * keys.pageSize() + (begin + t) % keys.pageSize();
                }
                Tensor values = Tensor.allocate(DType.F32, keys.heads(), count, keys.size());
                keys.read(slots, values);
                int firstHead = shared ? 0 : i % keys.heads();
                int endHead = shared ? keys.heads() : firstHead + 1;
                float[] numbers = values.toFloatArray();
                for (int head = firstHead; head < endHead; head++) {
                    write(numbers, head, count, slots[0] / keys.pageSize());
                }
            }
        }
    }

    private void write(float[] numbers, int head, int count, long page) {
        int size = keys.size();
        float[] largest = new float[size];
        float[] smallest = new float[size];
        double[] sums = new double[size];
        Arrays.fill(largest, Float.NEGATIVE_INFINITY);
        Arrays.fill(smallest, Float.POSITIVE_INFINITY);
        for (int n = head * count * size; n < (head + 1) * count * size; n++) {
            largest[n % size] = Math.max(largest[n % size], numbers[n]);
            smallest[n % size] = Math.min(smallest[n % size], numbers[n]);
            sums[n % size] += numbers[n];
        }
        long place = page * rows.stride(0) + head * rows.stride(1);
        for (int i = 0; i < size; i++) {
            float first = switch (kind) {
                case MEAN -> (float) (sums[i] / count);
                case BOX -> largest[i];
                case BLEND -> alpha * largest[i] + (1 - alpha) * smallest[i];
            };
            rows.segment().setAtIndex(JAVA_FLOAT, place + i, first);
            if (kind == Row.BOX) {
                rows.segment().setAtIndex(JAVA_FLOAT, place + size + i, smallest[i]);
            }
        }
    }

    /** How many clusters so many keys make. */
    long[] clusters(long[] lengths) {
        return Arrays.stream(lengths)
                .map(length -> Math.ceilDiv(length, (long) span * keys.pageSize()))
                .toArray();
    }

    /**
     * The products of queries with clusters, over the square root of the size: f32 [batch, query heads, query length,
     * clusters].
     *
     * @param table of the first pages of clusters
     * @param clusters how many a row of the table has
     * @param lse where their log-sum-exps are written, or null
     */
    Tensor logits(Tensor q, Tensor table, long[] clusters, Tensor lse) {
        Tensor logits = Tensor.allocate(
                DType.F32, q.shape().size(0), q.shape().size(1), q.shape().size(2), DecodeCall.longest(clusters));
        Decode.Options options = Decode.Options.DEFAULT
                .withScale((float) (1 / Math.sqrt(keys.size())))
                .withLse(lse)
                .withLogits(logits);
        Decode.logits(kind == Row.BOX ? signed(q) : q, pool, table, clusters, options);
        return logits;
    }

    /** What {@link Decode#choose} takes: of each head of the keys, or of all together, f32 [batch, heads, clusters]. */
    Tensor scores(Tensor q, Tensor table, long[] clusters, int heads) {
        checkQueries(q);
        Check.present("table", table);
        Tensor lse = Tensor.allocate(
                DType.F32, q.shape().size(0), q.shape().size(1), q.shape().size(2));
        Tensor logits = logits(q, table, clusters, lse);
        Tensor scores = Tensor.allocate(
                DType.F32, q.shape().size(0), heads, logits.shape().size(3));
        Decode.scores(logits, lse, clusters, scores, false);
        return scores;
    }

    void checkQueries(Tensor q) {
        Check.present("q", q);
        if (q.shape().rank() != 4 || q.shape().size(3) != keys.size()) {
            throw Check.invalid(
                    "q",
                    "shape " + q.shape(),
                    "[batch, query heads, query length, " + keys.size() + "], the size of k");
        }
    }

    /** Queries with what is above 0, and then what is below 0. */
    private Tensor signed(Tensor q) {
        int size = keys.size();
        float[] values = q.toFloatArray();
        float[] signed = new float[2 * values.length];
        for (int n = 0; n < values.length; n++) {
            int place = n / size * 2 * size + n % size;
            signed[place] = Math.max(values[n], 0);
            signed[place + size] = Math.min(values[n], 0);
        }
        return Tensor.of(
                q.dtype(),
                signed,
                q.shape().size(0),
                q.shape().size(1),
                q.shape().size(2),
                2L * size);
    }
}
