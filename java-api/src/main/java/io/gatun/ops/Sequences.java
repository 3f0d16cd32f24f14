package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.Device;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/**
 * Where items of different lengths lie in tensors that hold all their rows one after the other: item b has the queries
 * {@code offsets[b] .. offsets[b + 1]}, and keys likewise by offsets of their own. Immutable; built once for many
 * calls, from any thread. Calls on a GPU take {@link #to a copy there}.
 */
public final class Sequences {
    private final MemorySegment queries;
    private final MemorySegment keys;
    private final Device device;
    /** What calls get: the same, or copies on another device, of which only the addresses are used. */
    private final MemorySegment queryArgument;

    private final MemorySegment keyArgument;
    private final long longestQuery;
    private final long longestKey;

    private Sequences(MemorySegment queries, MemorySegment keys, Device device) {
        this.queries = queries;
        this.keys = keys;
        this.device = device;
        boolean cpu = device == Device.CPU;
        queryArgument = cpu ? queries : MaskMemory.on(device, queries);
        keyArgument = cpu ? keys : MaskMemory.on(device, keys);
        longestQuery = longest("queryOffsets", queries);
        longestKey = longest("keyOffsets", keys);
    }

    /**
     * Of cumulative offsets, as FlashInfer's and FlashAttention's (qo_indptr, cu_seqlens).
     *
     * @param queryOffsets items + 1, ascending from 0 or more
     * @param keyOffsets as many, ascending from 0 or more
     * @throws IllegalArgumentException with the place, if they do not ascend
     */
    public static Sequences of(long[] queryOffsets, long[] keyOffsets) {
        Check.present("queryOffsets", queryOffsets);
        Check.present("keyOffsets", keyOffsets);
        if (queryOffsets.length == 0) {
            throw Check.invalid("queryOffsets", "0 offsets", "1 or more, one more than items");
        }
        if (keyOffsets.length != queryOffsets.length) {
            throw Check.invalid(
                    "keyOffsets", keyOffsets.length + " offsets", queryOffsets.length + ", as queryOffsets");
        }
        return new Sequences(copy(queryOffsets), copy(keyOffsets), Device.CPU);
    }

    /** The same of ints. */
    public static Sequences of(int[] queryOffsets, int[] keyOffsets) {
        Check.present("queryOffsets", queryOffsets);
        Check.present("keyOffsets", keyOffsets);
        return of(longs(queryOffsets), longs(keyOffsets));
    }

    private static long[] longs(int[] offsets) {
        long[] wide = new long[offsets.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = offsets[i];
        }
        return wide;
    }

    private static MemorySegment copy(long[] offsets) {
        MemorySegment copy = MaskBuilder.allocate(JAVA_LONG.byteSize() * offsets.length);
        MemorySegment.copy(offsets, 0, copy, JAVA_LONG, 0, offsets.length);
        return copy;
    }

    private static long longest(String name, MemorySegment offsets) {
        long before = 0;
        long longest = 0;
        for (long b = 0; b < offsets.byteSize() / JAVA_LONG.byteSize(); b++) {
            long offset = offsets.getAtIndex(JAVA_LONG, b);
            if (offset < before) {
                throw Check.invalid(name + "[" + b + "]", offset, "at least " + before);
            }
            longest = b == 0 ? 0 : Math.max(longest, offset - before);
            before = offset;
        }
        return longest;
    }

    /** How many items there are. */
    public long items() {
        return queries.byteSize() / JAVA_LONG.byteSize() - 1;
    }

    /** The most queries of an item. */
    public long longestQuery() {
        return longestQuery;
    }

    /** The most keys of an item. */
    public long longestKey() {
        return longestKey;
    }

    /** Where the queries of the last item end. */
    public long queryEnd() {
        return queries.getAtIndex(JAVA_LONG, items());
    }

    /** Where the keys of the last item end. */
    public long keyEnd() {
        return keys.getAtIndex(JAVA_LONG, items());
    }

    /** Whose calls take them. */
    public Device device() {
        return device;
    }

    /** These if calls of the device take them, otherwise the same with a copy there. */
    public Sequences to(Device target) {
        Check.present("target", target);
        return target == device ? this : new Sequences(queries, keys, target);
    }

    MemorySegment queries() {
        return queryArgument;
    }

    MemorySegment keys() {
        return keyArgument;
    }

    /** {@code 3 sequences of 70 queries and 90 keys}. */
    @Override
    public String toString() {
        return items() + " sequences of " + queryEnd() + " queries and " + keyEnd() + " keys";
    }
}
