package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * The successive tokens of a sequence that are in one tier: token t is row t % page size of the page at t / page size
 * of the list. Pages may be shared with other sequences: a page that is to be written gets replaced by a copy first.
 *
 * <p>With scales per channel the last group of tokens may not be full. What is written beyond the last token are
 * copies of it, so they do not change the scales.
 */
final class KvSegment {
    private final KvTier tier;
    private final int pageSize;
    private int[] pages;
    private int count;
    private long length;

    KvSegment(KvTier tier) {
        this(tier, new int[0], 0, 0);
    }

    private KvSegment(KvTier tier, int[] pages, int count, long length) {
        this.tier = tier;
        this.pageSize = tier.pageSize();
        this.pages = pages;
        this.count = count;
        this.length = length;
    }

    KvTier tier() {
        return tier;
    }

    long length() {
        return length;
    }

    /** Whether no group of tokens with scales per channel is open. */
    boolean isOfWholeGroups() {
        return length % KvTier.group(tier.k.format()) == 0 && length % KvTier.group(tier.v.format()) == 0;
    }

    /** How many pages it has. */
    int count() {
        return count;
    }

    /** The number of a page of its list. */
    int page(int index) {
        return pages[index];
    }

    boolean isShared(int index) {
        return tier.pages.isShared(pages[index]);
    }

    /** Its list into a row of a table. */
    void copyPages(MemorySegment table, long at) {
        MemorySegment.copy(pages, 0, table, JAVA_INT, at * JAVA_INT.byteSize(), count);
    }

    /** The same tokens once more, in the same pages. */
    KvSegment fork() {
        for (int i = 0; i < count; i++) {
            tier.pages.share(pages[i]);
        }
        return new KvSegment(tier, pages.clone(), count, length);
    }

    // ---- changes ---------------------------------------------------------------------------------------------------

    /** How many pages must be had so that those from an index on may be written and there are tokens of this number. */
    long needed(int firstWritten, long newLength) {
        long newCount = Math.ceilDiv(newLength, (long) pageSize);
        long needed = Math.max(newCount - count, 0);
        for (int i = firstWritten; i < Math.min(newCount, count); i++) {
            if (isShared(i)) {
                needed++;
            }
        }
        return needed;
    }

    /**
     * Gives it another length. Pages from an index on are its own then; {@code write} gets the new list before the old
     * one goes. If that fails everything is as before, but for what it has written.
     */
    private void change(int firstWritten, long newLength, Consumer<int[]> write) {
        tier.require(needed(firstWritten, newLength));
        int newCount = (int) Math.ceilDiv(newLength, (long) pageSize);
        int[] next = Arrays.copyOf(pages, Math.max(newCount, count));
        for (int i = firstWritten; i < newCount; i++) {
            if (i >= count || isShared(i)) {
                next[i] = tier.pages.take();
            }
        }
        try {
            write.accept(next);
        } catch (Throwable e) {
            for (int i = firstWritten; i < newCount; i++) {
                if (i >= count || next[i] != pages[i]) {
                    tier.pages.release(next[i]);
                }
            }
            throw e;
        }
        for (int i = Math.min(firstWritten, newCount); i < count; i++) {
            if (i >= newCount || next[i] != pages[i]) {
                tier.pages.release(pages[i]);
            }
        }
        pages = next;
        count = newCount;
        length = newLength;
    }

    /** Tokens at the end: [heads, tokens, size] of both; in f32 with adjacent rows where scales are per channel. */
    void append(Tensor k, Tensor v) {
        long tokens = k.shape().size(1);
        if (tokens == 0) {
            return;
        }
        int first = (int) (length / pageSize);
        change(first, length + tokens, next -> {
            append(tier.k, k, first, next);
            append(tier.v, v, first, next);
        });
    }

    private void append(KvPool pool, Tensor x, int first, int[] next) {
        int group = KvTier.group(pool.format());
        long tokens = x.shape().size(1);
        if (first < count && next[first] != pages[first]) {
            long begin = (long) first * pageSize;
            long end = roundUp(length, group);
            pool.move(slots(pages, begin, end), slots(next, begin, end));
        }
        long begin = length - length % group;
        long end = roundUp(length + tokens, group);
        if (begin == length && end == length + tokens) {
            pool.write(x, slots(next, begin, end));
            return;
        }
        Tensor rows = Tensor.allocate(DType.F32, pool.heads(), end - begin, pool.size());
        pool.read(slots(next, begin, length), rows.slice(1, 0, length - begin));
        for (int h = 0; h < pool.heads(); h++) {
            copyRows(x, h, 0, rows, h, length - begin, tokens);
        }
        fill(rows, length - begin + tokens);
        pool.write(rows, slots(next, begin, end));
    }

    /** No tokens from {@code newLength} on. */
    void truncate(long newLength) {
        change((int) Math.ceilDiv(newLength, (long) pageSize), newLength, next -> {});
    }

    /** The first page goes; it is full. */
    void dropFirst() {
        tier.pages.release(pages[0]);
        System.arraycopy(pages, 1, pages, 0, --count);
        length -= pageSize;
    }

    /** The first tokens, as many as k and v have. */
    void readFirst(Tensor k, Tensor v) {
        long[] slots = slots(pages, 0, k.shape().size(1));
        tier.k.read(slots, k);
        tier.v.read(slots, v);
    }

    // ---- eviction --------------------------------------------------------------------------------------------------

    /** How many pages {@link #keep} takes. */
    long neededToKeep(long[][] keep) {
        int first = firstMoved(keep);
        return first == keep[0].length ? 0 : needed(first / pageSize, keep[0].length);
    }

    /** Only these tokens stay, in ascending order: one list, or one for each head, of the same length. */
    void keep(long[][] keep) {
        int kept = keep[0].length;
        int first = firstMoved(keep);
        if (first == kept) {
            truncate(kept);
            return;
        }
        int begin = first / pageSize * pageSize;
        change(begin / pageSize, kept, next -> {
            for (int h = 0; h < keep.length; h++) {
                compact(keep.length == 1 ? tier.k : tier.head(tier.k, h), keep[h], begin, next);
                compact(keep.length == 1 ? tier.v : tier.head(tier.v, h), keep[h], begin, next);
            }
        });
    }

    /** The first token whose row gets another one's, or the number of those that stay. */
    private static int firstMoved(long[][] keep) {
        int first = keep[0].length;
        for (long[] list : keep) {
            int same = 0;
            while (same < first && list[same] == same) {
                same++;
            }
            first = same;
        }
        return first;
    }

    /** From the page of token {@code begin} on. */
    private void compact(KvPool pool, long[] keep, int begin, int[] next) {
        int group = KvTier.group(pool.format());
        int broken = firstBroken(keep, begin, group);
        move(pool, keep, begin, broken, group, next);
        // A group is read before it is written, and what is read later is in later groups.
        Tensor rows = Tensor.allocate(DType.F32, pool.heads(), group, pool.size());
        for (int t = broken; t < keep.length; t += group) {
            int tokens = Math.min(group, keep.length - t);
            long[] from = new long[tokens];
            for (int i = 0; i < tokens; i++) {
                from[i] = slot(pages, keep[t + i]);
            }
            pool.read(from, rows.slice(1, 0, tokens));
            fill(rows, tokens);
            pool.write(rows, slots(next, t, (long) t + group));
        }
    }

    /** The first group of tokens that was not a group before, or the end. */
    private static int firstBroken(long[] keep, int begin, int group) {
        for (int t = begin; t < keep.length; t += group) {
            int last = Math.min(group, keep.length - t) - 1;
            if (keep[t] % group != 0 || keep[t + last] != keep[t] + last) {
                return t;
            }
        }
        return keep.length;
    }

    /** Whole groups, with the copies that fill the last one. */
    private void move(KvPool pool, long[] keep, int begin, int end, int group, int[] next) {
        int tokens = (int) roundUp(end, group) - begin;
        long[] from = new long[tokens];
        for (int i = 0; i < tokens; i++) {
            int beyond = Math.max(begin + i - (end - 1), 0);
            from[i] = slot(pages, keep[begin + i - beyond] + beyond);
        }
        pool.move(from, slots(next, begin, (long) begin + tokens));
    }

    // ---- rows ------------------------------------------------------------------------------------------------------

    private long slot(int[] list, long token) {
        return (long) list[(int) (token / pageSize)] * pageSize + token % pageSize;
    }

    private long[] slots(int[] list, long begin, long end) {
        long[] slots = new long[Math.toIntExact(end - begin)];
        for (int i = 0; i < slots.length; i++) {
            slots[i] = slot(list, begin + i);
        }
        return slots;
    }

    private static long roundUp(long value, int unit) {
        return Math.ceilDiv(value, (long) unit) * unit;
    }

    /** Copies of the last of so many rows into those after it. */
    private static void fill(Tensor rows, long tokens) {
        for (int h = 0; h < rows.shape().size(0); h++) {
            for (long t = tokens; t < rows.shape().size(1); t++) {
                copyRows(rows, h, tokens - 1, rows, h, t, 1);
            }
        }
    }

    /** Successive rows of a head, f32. */
    private static void copyRows(Tensor from, int fromHead, long at, Tensor to, int toHead, long toAt, long tokens) {
        long row = from.shape().size(2) * Float.BYTES;
        MemorySegment.copy(
                from.segment(),
                fromHead * from.stride(0) * Float.BYTES + at * row,
                to.segment(),
                toHead * to.stride(0) * Float.BYTES + toAt * row,
                tokens * row);
    }
}
