package io.gatun.bench;

import java.util.Arrays;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Attention of one query, of 32 heads of 128, to the keys of a cache.
 *
 * @param cache how keys and values are stored
 * @param percent of the pages that are attended to, chosen inside the time; 100: all
 * @param keys in the cache
 * @param heads of keys and values, a divisor of those of the query
 * @param threads that may work
 */
public record DecodeCase(Cache cache, int percent, int keys, int heads, int threads) {
    /** How keys and values are stored; of codes, groups of channels of a token have a scale. */
    public enum Cache {
        BF16("bf16", 16, 0, false),
        F16("f16", 16, 0, false),
        INT8("int8", 8, HEAD_SIZE, false),
        INT4("int4", 4, HEAD_SIZE, true),
        INT4_GROUPS("int4 g32", 4, 32, true),
        INT2("int2", 2, HEAD_SIZE, true);

        private final String title;
        final int bits;
        /** Channels that share a scale; 0: values. */
        final int group;
        /** Whether a group has a zero point, too. */
        final boolean zeroPoint;

        Cache(String title, int bits, int group, boolean zeroPoint) {
            this.title = title;
            this.bits = bits;
            this.group = group;
            this.zeroPoint = zeroPoint;
        }

        /** Of keys or values of one token and head, scales and zero points in f16 among them. */
        long bytes() {
            int parameters = group == 0 ? 0 : HEAD_SIZE / group * (zeroPoint ? 2 : 1);
            return HEAD_SIZE * bits / Byte.SIZE + (long) parameters * Short.BYTES;
        }

        @Override
        public String toString() {
            return title;
        }
    }

    /** Of the query. */
    public static final int QUERY_HEADS = 32;

    public static final int HEAD_SIZE = 128;

    /** Keys of a page. */
    public static final int PAGE = 64;

    private static final int ALL = 100;
    private static final Pattern NAME = Pattern.compile(
            "(bf16|f16|int8|int4|int4 g32|int2) (?:top=(\\d+)% )?kv=(\\d+) heads=" + QUERY_HEADS + "/(\\d+) t=(\\d+)");

    /**
     * The name in tables, records and the report, which {@code --peer} programs get, too:
     *
     * <pre>
     * name     cache [top=percent%] kv=keys heads=query/kv t=threads
     * cache    bf16 | f16 | int8 | int4 | int4 g32 | int2
     * example  int4 g32 kv=8192 heads=32/8 t=2
     * </pre>
     *
     * int8, int4 and int2 have a scale for each token of a head, {@code g32} one for each 32 channels; int4 and int2
     * have zero points, too; they meet q rounded to 8 bits ({@code Mode.INT8}). {@code top}: of the pages, those with
     * the largest scores, chosen inside the time. Records of the same op with another name: {@code <name> <what>}, a
     * relation of that case's time to another time ({@link DecodeBench}).
     */
    public String name() {
        return cache + (percent == ALL ? "" : " top=" + percent + "%") + " kv=" + keys + " heads=" + QUERY_HEADS + "/"
                + heads + " t=" + threads;
    }

    /** The case of a name; empty if the name is another one's. */
    public static Optional<DecodeCase> named(String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            return Optional.empty();
        }
        return Optional.of(new DecodeCase(
                Arrays.stream(Cache.values())
                        .filter(cache -> cache.title.equals(parts.group(1)))
                        .findFirst()
                        .orElseThrow(),
                parts.group(2) == null ? ALL : Integer.parseInt(parts.group(2)),
                Integer.parseInt(parts.group(3)),
                Integer.parseInt(parts.group(4)),
                Integer.parseInt(parts.group(5))));
    }

    static DecodeCase all(Cache cache, int keys, int heads, int threads) {
        return new DecodeCase(cache, ALL, keys, heads, threads);
    }

    boolean isSelected() {
        return percent != ALL;
    }

    /** The same of all pages. */
    DecodeCase asFull() {
        return all(cache, keys, heads, threads);
    }

    /** The same numbers in another cache. */
    DecodeCase in(Cache other) {
        return new DecodeCase(other, percent, keys, heads, threads);
    }

    /** Heads of the query that share keys. */
    public int sharing() {
        return QUERY_HEADS / heads;
    }

    int pages() {
        return Math.ceilDiv(keys, PAGE);
    }

    /** Pages that a selection keeps. */
    int budget() {
        return Math.round(pages() * percent / 100f);
    }

    /** Of all keys and values. */
    public long bytes() {
        return bytes(cache.bytes());
    }

    /** Of all keys and values with so many bytes for one of a token and head. */
    public long bytes(long each) {
        return 2L * heads * keys * each;
    }

    /** 2 for each product of q k^T and of the exponentials and v. */
    public double operations() {
        return 4.0 * QUERY_HEADS * HEAD_SIZE * keys;
    }
}
