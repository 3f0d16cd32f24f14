package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static io.gatun.bench.DecodeCase.QUERY_HEADS;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * The input of cases of one kind of cache, the same for everybody: about normal numbers that the cache holds exactly,
 * as do others of at least as many bits. They are codes times a power of two, and each group of a scale has the largest
 * and the smallest code. The same sizes give the same numbers.
 */
public final class DecodeData implements AutoCloseable {
    /** Of the caches that rotate, so that no call finds keys in a cache of the processor. */
    static final long ROTATING_BYTES = 512L << 20;

    private static final int Q = 1;
    private static final int K = 2;
    private static final int V = 3;

    /** The standard deviation of codes of 8 bits; larger ones than {@link #LARGEST} become that. */
    private static final float DEVIATION = 32;

    private static final int LARGEST = 127;

    /** Keys and values in f32 [heads, keys, head size]. */
    private record Values(Tensor k, Tensor v) {}

    private final Arena arena = Arena.ofShared();
    private final DecodeCase.Cache cache;
    private final int keys;
    private final int heads;
    private final long rotatingBytes;
    private final Tensor q;
    private final List<Values> copies = new ArrayList<>();

    /**
     * Makes the input of all cases with such a cache.
     *
     * @param rotatingBytes of the copies of caches that calls go through, at least
     */
    public DecodeData(DecodeCase problem, long rotatingBytes) {
        this.rotatingBytes = rotatingBytes;
        cache = problem.cache();
        keys = problem.keys();
        heads = problem.heads();
        q = Tensor.wrap(
                arena.allocate((long) QUERY_HEADS * HEAD_SIZE * Float.BYTES, HugePages.ALIGNMENT),
                DType.F32,
                QUERY_HEADS,
                HEAD_SIZE);
        fill(q, Q, QUERY_HEADS, DecodeCase.Cache.BF16);
        copies.add(new Values(allocate(), allocate()));
        fill(k(0), K, heads, cache);
        fill(v(0), V, heads, cache);
        for (int copy = 1; copy < copies(problem.bytes(HEAD_SIZE * Float.BYTES)); copy++) {
            Values next = new Values(allocate(), allocate());
            next.k.segment().copyFrom(k(0).segment());
            next.v.segment().copyFrom(v(0).segment());
            copies.add(next);
        }
    }

    private Tensor allocate() {
        return Tensor.wrap(
                HugePages.allocate(arena, (long) heads * keys * HEAD_SIZE * Float.BYTES),
                DType.F32,
                heads,
                keys,
                HEAD_SIZE);
    }

    private static void fill(Tensor values, int seed, int heads, DecodeCase.Cache cache) {
        int rows = Math.toIntExact(values.segment().byteSize() / Float.BYTES / HEAD_SIZE / heads);
        float unit = unit(cache);
        IntStream.range(0, heads).parallel().forEach(head -> {
            SplittableRandom random = new SplittableRandom((long) seed * QUERY_HEADS + head);
            int[] codes = new int[HEAD_SIZE];
            for (int row = 0; row < rows; row++) {
                row(random, cache, codes);
                for (int i = 0; i < HEAD_SIZE; i++) {
                    values.segment()
                            .setAtIndex(
                                    ValueLayout.JAVA_FLOAT,
                                    ((long) head * rows + row) * HEAD_SIZE + i,
                                    unit * codes[i]);
                }
            }
        });
    }

    /** Fills a row with codes. */
    private static void row(SplittableRandom random, DecodeCase.Cache cache, int[] codes) {
        int shift = Math.max(0, Byte.SIZE - cache.bits); // of codes of 8 bits
        int most = LARGEST >> shift;
        int least = cache.zeroPoint ? -most - 1 : -most;
        for (int i = 0; i < HEAD_SIZE; i++) {
            long bits = random.nextLong();
            // Odd numbers, so that none is between two others.
            int code = (int) (8 * (Long.bitCount(bits) - Long.SIZE / 2) + 2 * (bits >>> 61) - 7);
            codes[i] = Math.clamp(code + (1 << shift >> 1) >> shift, least, most);
        }
        for (int first = 0; cache.group != 0 && first < HEAD_SIZE; first += cache.group) {
            int place = first + random.nextInt(cache.group);
            codes[place] = most;
            codes[first + (place + 1) % cache.group] = least;
        }
    }

    private static float unit(DecodeCase.Cache cache) {
        return (1 << Math.max(0, Byte.SIZE - cache.bits)) / DEVIATION;
    }

    /** How many caches of so many bytes rotate. */
    public int copies(long bytes) {
        return Math.toIntExact(Math.max(1, Math.ceilDiv(rotatingBytes, bytes)));
    }

    /** What a code of 1 stands for. */
    public float unit() {
        return unit(cache);
    }

    /** Whether this is the input of a case. */
    boolean isFor(DecodeCase problem) {
        return problem.cache() == cache && problem.keys() == keys && problem.heads() == heads;
    }

    /** The query, f32 [query heads, head size]. */
    public Tensor q() {
        return q;
    }

    /** Keys, f32 [heads, keys, head size]. */
    public Tensor k(int copy) {
        return copies.get(copy).k;
    }

    /** Values, f32 [heads, keys, head size]. */
    public Tensor v(int copy) {
        return copies.get(copy).v;
    }

    /** An element of keys or values. */
    float at(Tensor values, int head, int key, int i) {
        return values.segment().getAtIndex(ValueLayout.JAVA_FLOAT, ((long) head * keys + key) * HEAD_SIZE + i);
    }

    @Override
    public void close() {
        arena.close();
    }
}
