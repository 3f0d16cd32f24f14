package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.KvSelection.Budget;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/** Items of random keys and values in pools whose pages are shuffled, for tests of what chooses pages. */
final class CachedKeys implements AutoCloseable {
    final int heads;
    final int size;
    final int pageSize;
    final KvPool k;
    final KvPool v;
    final Tensor table;
    final long[] lengths;

    private final List<float[]> keys = new ArrayList<>();
    private final List<float[]> values = new ArrayList<>();

    /** With room for so many pages of each item. */
    CachedKeys(Random random, int heads, int size, int pageSize, int pages, long... lengths) {
        this.heads = heads;
        this.size = size;
        this.pageSize = pageSize;
        this.lengths = lengths.clone();
        List<Integer> all = new ArrayList<>();
        for (int page = 0; page < lengths.length * pages + 3; page++) {
            all.add(page);
        }
        Collections.shuffle(all, new java.util.Random(random.seed));
        k = KvPool.allocate(KvFormat.F32, heads, all.size(), pageSize, size);
        v = KvPool.allocate(KvFormat.F32, heads, all.size(), pageSize, size);
        int[] entries = new int[lengths.length * pages];
        for (int n = 0; n < entries.length; n++) {
            entries[n] = all.get(n);
        }
        table = Tensor.of(entries, lengths.length, 1, pages);
        for (long length : lengths) {
            keys.add(random.normal(heads * pages * pageSize * size, 1));
            values.add(random.normal(heads * pages * pageSize * size, 1));
        }
    }

    /** Where key j of an item is in the pools. */
    long slot(int item, long j) {
        return (long) table.getInt(item, 0, j / pageSize) * pageSize + j % pageSize;
    }

    /** Whether it is written or not. */
    float key(int item, int head, long j, int channel) {
        return keys.get(item)[(int) place(head, j) + channel];
    }

    void setKey(int item, int head, long j, int channel, float value) {
        keys.get(item)[(int) place(head, j) + channel] = value;
    }

    private long place(int head, long j) {
        return (head * table.shape().size(2) * pageSize + j) * size;
    }

    /** Writes keys begin .. end - 1 of an item to the pools. */
    void write(int item, long begin, long end) {
        long[] slots = LongStream.range(begin, end).map(j -> slot(item, j)).toArray();
        long room = table.shape().size(2) * pageSize;
        Tensor all = Tensor.of(keys.get(item), heads, room, size);
        k.write(all.slice(1, begin, end), slots);
        v.write(Tensor.of(values.get(item), heads, room, size).slice(1, begin, end), slots);
    }

    /** All keys that the lengths say. */
    void write() {
        for (int item = 0; item < lengths.length; item++) {
            write(item, 0, lengths[item]);
        }
    }

    /** Which pages of an item a row of a choice has, by their place in the item. */
    long[] places(KvChoice choice, int row) {
        int perItem = choice.lengths().length / lengths.length;
        long count = Math.ceilDiv(choice.lengths()[row], (long) pageSize);
        long heads = choice.table().shape().size(1);
        return LongStream.range(0, count)
                .map(n -> place(row / perItem, choice.table().getInt(row / heads, row % heads, n)))
                .toArray();
    }

    private long place(int item, int page) {
        long place = 0;
        while (table.getInt(item, 0, place) != page) {
            place++;
        }
        return place;
    }

    /** The pages of an item and head with the largest votes, the ends aside: what a choice is by its definition. */
    static long[] best(double[] votes, Budget budget) {
        Integer[] order = IntStream.range(0, votes.length).boxed().toArray(Integer[]::new);
        Arrays.sort(order, (a, b) -> {
            boolean endA = a < budget.keepFirst() || a >= votes.length - budget.keepLast();
            boolean endB = b < budget.keepFirst() || b >= votes.length - budget.keepLast();
            return endA != endB ? (endA ? -1 : 1) : endA ? 0 : Double.compare(votes[b], votes[a]);
        });
        return Arrays.stream(order)
                .limit(budget.pages())
                .mapToLong(page -> page)
                .sorted()
                .toArray();
    }

    /**
     * Attention of one query to the keys of some pages, key by key: out and then the log-sum-exp.
     *
     * @param places of each KV head
     */
    float[][] attention(int item, Tensor q, long[][] places) {
        int queryHeads = (int) q.shape().size(1);
        float[][] rows = new float[queryHeads][];
        for (int h = 0; h < queryHeads; h++) {
            int g = h / (queryHeads / heads);
            double[] out = new double[size + 1];
            for (long place : places[g]) {
                for (long j = place * pageSize; j < Math.min((place + 1) * pageSize, lengths[item]); j++) {
                    double dot = 0;
                    for (int x = 0; x < size; x++) {
                        dot += q.getFloat(item, h, 0, x) * key(item, g, j, x);
                    }
                    double weight = Math.exp(dot / Math.sqrt(size));
                    out[size] += weight;
                    for (int x = 0; x < size; x++) {
                        out[x] += weight * values.get(item)[(int) place(g, j) + x];
                    }
                }
            }
            rows[h] = new float[size + 1];
            for (int x = 0; x < size; x++) {
                rows[h][x] = (float) (out[x] / out[size]);
            }
            rows[h][size] = (float) Math.log(out[size]);
        }
        return rows;
    }

    Tensor queries(Random random, int queryHeads) {
        return Tensor.of(random.normal(lengths.length * queryHeads * size, 1), lengths.length, queryHeads, 1, size);
    }

    Tensor out(int queryHeads) {
        return Tensor.allocate(DType.F32, lengths.length, queryHeads, 1, size);
    }

    @Override
    public void close() {
        k.close();
        v.close();
    }
}
