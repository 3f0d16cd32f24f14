package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * Pages of a KV cache that were chosen for a query, to attend to instead of all: in the layer that they were chosen in,
 * in the layers after it whose pages have the same numbers (DELTA, MPCache), and in the next steps ({@link #grow}).
 * {@link KvSelection} and {@link KvClusters} make them. Not for two threads at a time.
 */
public final class KvChoice {
    /** Pages that {@link #grow} may add before it needs another table. */
    private static final int SPARE = 8;

    private final int pageSize;
    private final long[] lengths;
    /** Keys of the rows of the whole table, at the choice or the last growth. */
    private final long[] whole;

    private Tensor table;

    private KvChoice(int pageSize, Tensor table, long[] whole) {
        this.pageSize = pageSize;
        this.table = table;
        this.whole = whole.clone();
        lengths = new long[Math.toIntExact(table.shape().size(0) * table.shape().size(1))];
    }

    /** By {@link Decode#choose}; {@code whole} are the lengths of the table that {@link #grow} will be given. */
    static KvChoice of(Tensor scores, Tensor table, long[] lengths, KvSelection.Budget budget, int size, long[] whole) {
        long room = Math.min(budget.pages(), table.shape().size(2)) + SPARE;
        Tensor chosen = Tensor.allocate(
                DType.I32, scores.shape().size(0), scores.shape().size(1), room);
        KvChoice choice = new KvChoice(size, chosen, whole);
        Decode.choose(
                scores,
                table,
                lengths,
                size,
                budget.pages(),
                budget.keepFirst(),
                budget.keepLast(),
                chosen,
                choice.lengths,
                0);
        return choice;
    }

    /** i32 [batch, 1 or heads, pages or more], for {@link Decode}. */
    public Tensor table() {
        return table;
    }

    /** How many keys the chosen pages of each row of the table hold: [batch * (1 or heads)]. */
    public long[] lengths() {
        return lengths.clone();
    }

    /**
     * Attention to the chosen pages, see {@link Decode#run}. Positions count among their keys. The last pages are
     * always chosen, so several queries may be causal if the last {@code keepLast} pages hold them all.
     */
    public void run(Tensor q, KvPool k, KvPool v, Tensor out, Decode.Options options) {
        Decode.run(q, k, v, table, lengths, out, options);
    }

    /**
     * Follows items that have become longer: their new keys join the choice.
     *
     * @param pages the whole table, as it was given to the selection, with new pages behind those that it had
     * @param now its lengths, none less than before
     */
    public void grow(Tensor pages, long[] now) {
        Check.present("pages", pages);
        Check.present("now", now);
        DecodeCall.checkTable(pages, table.shape().size(0), table.shape().size(1));
        if (now.length != whole.length) {
            throw Check.invalid("now", now.length + " lengths", whole.length + ", as at the choice");
        }
        DecodeCall.checkLengths(now, pages);
        for (int row = 0; row < now.length; row++) {
            Check.range("now[" + row + "]", now[row], whole[row], pages.shape().size(2) * pageSize);
        }
        int perItem = (int) (lengths.length / table.shape().size(0));
        for (int row = 0; row < lengths.length; row++) {
            int source = lengths.length == now.length ? row : row / perItem;
            long before = pages(whole[source]);
            long added = pages(now[source]) - before;
            long kept = pages(lengths[row]);
            reserve(kept + added);
            for (long i = 0; i < added; i++) {
                set(table, row, kept + i, entry(pages, source, before + i));
            }
            lengths[row] += now[source] - whole[source];
        }
        System.arraycopy(now, 0, whole, 0, now.length);
    }

    private long pages(long length) {
        return Math.ceilDiv(length, (long) pageSize);
    }

    /** Of row {@code row} of a table as if it had one axis less. */
    static int entry(Tensor table, int row, long index) {
        long heads = table.shape().size(1);
        return table.getInt(row / heads, row % heads, index);
    }

    static void set(Tensor table, int row, long index, int page) {
        table.segment().setAtIndex(JAVA_INT, row * table.shape().size(2) + index, page);
    }

    private void reserve(long pages) {
        long had = table.shape().size(2);
        if (pages > had) {
            Tensor larger = Tensor.allocate(
                    DType.I32, table.shape().size(0), table.shape().size(1), 2 * pages);
            for (int row = 0; row < lengths.length; row++) {
                for (long i = 0; i < had; i++) {
                    set(larger, row, i, entry(table, row, i));
                }
            }
            table = larger;
        }
    }

    /** {@code 2 x 8 lists of pages, keys [...]}. */
    @Override
    public String toString() {
        return table.shape().size(0) + " x " + table.shape().size(1) + " lists of pages, keys "
                + Arrays.toString(lengths);
    }
}
