package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvFormat.Scaling;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A cache and what is right for each of its sequences, through random calls. */
final class RandomKvCache implements AutoCloseable {
    private static final int HEADS = 2;
    private static final int MOST_SEQUENCES = 5;
    private static final Pattern NO_PAGES = Pattern.compile("pages of .*: given a need of (\\d+); allowed: (\\d+), .*");

    private record Pair(KvCache.Sequence given, NaiveKvCache right) {}

    private final Random random;
    private final KvCache cache;
    private final List<Age> formats;
    private final int pageSize;
    private final int pages;
    private final int size;
    private final int valueSize;
    private final List<Pair> pairs = new ArrayList<>();
    private String did = "";
    /** Pages for what was appended last, of a single format. */
    private int needed;

    final Map<String, Integer> calls = new HashMap<>();

    /** @param given formats as the cache is told them; the newest tokens' first */
    RandomKvCache(Random random, List<Age> given, int pageSize, int pages) {
        this.random = random;
        this.pageSize = pageSize;
        this.pages = pages;
        size = random.of(8, 16, 24);
        valueSize = random.of(8, 16);
        formats = new ArrayList<>(given);
        if (given.get(0).k().scaling() == Scaling.PER_CHANNEL
                || given.get(0).v().scaling() == Scaling.PER_CHANNEL) {
            formats.add(0, new Age(0, KvFormat.BF16, KvFormat.BF16));
        }
        cache = KvCache.builder(HEADS, size)
                .valueSize(valueSize)
                .pageSize(pageSize)
                .pages(pages)
                .format(given.get(0).k(), given.get(0).v())
                .ages(given.subList(1, given.size()))
                .build();
    }

    /** One random call, and then all that can be seen of the cache. */
    void step() {
        if (pairs.isEmpty()) {
            start();
        }
        Pair pair = pairs.get(random.between(0, pairs.size() - 1));
        int what = random.between(0, 99);
        if (what < 40) {
            append(pair);
        } else if (what < 65) {
            attend();
        } else if (what < 73) {
            truncate(pair);
        } else if (what < 85) {
            evict(pair);
        } else if (what < 93) {
            if (pairs.size() < MOST_SEQUENCES) {
                note("fork");
                pairs.add(new Pair(pair.given.fork(), pair.right.fork()));
            } else {
                close(pair);
            }
        } else if (what < 97) {
            close(pair);
        } else if (pairs.size() < MOST_SEQUENCES) {
            start();
        }
        verify();
    }

    private void note(String what) {
        calls.merge(what.split(" ")[0], 1, Integer::sum);
        did = "seed " + random.seed + ", " + cache + ": " + what;
    }

    private void start() {
        note("start");
        pairs.add(new Pair(cache.newSequence(), new NaiveKvCache(formats, HEADS, pageSize)));
    }

    private void close(Pair pair) {
        note("close");
        pair.given.close();
        pairs.remove(pair);
    }

    // ---- calls that change a sequence ------------------------------------------------------------------------------

    /** Rows in any of the three types, with gaps. */
    private Tensor rows(int tokens, int channels) {
        int gap = random.between(0, 2);
        DType dtype = random.of(DType.F32, DType.BF16, DType.F16);
        float[] values = random.normal(HEADS * (tokens + gap) * channels, random.of(0.01, 1.0, 5.0));
        return Tensor.of(dtype, values, HEADS, tokens + gap, channels).slice(1, gap, tokens + gap);
    }

    private void append(Pair pair) {
        int tokens =
                random.of(0, 1, 1, 1, 2, pageSize - 1, pageSize, pageSize + 1, random.between(0, 2 * pageSize + 9));
        note("append " + tokens + " to " + pair.right.length());
        Tensor k = rows(tokens, size);
        Tensor v = rows(tokens, valueSize);
        KvSegment newest = pair.given.tokens().segment(0);
        int length = (int) newest.length();
        boolean copy = tokens > 0 && length % pageSize > 0 && newest.isShared(length / pageSize);
        needed = Math.ceilDiv(length + tokens, pageSize) - Math.ceilDiv(length, pageSize) + (copy ? 1 : 0);
        if (!refused("append", () -> pair.given.append(k, v))) {
            for (int t = 0; t < tokens; t++) {
                pair.right.append(token(k, t), token(v, t));
            }
        }
    }

    private static float[][] token(Tensor rows, int t) {
        float[][] token = new float[HEADS][(int) rows.shape().size(2)];
        for (int h = 0; h < HEADS; h++) {
            for (int c = 0; c < token[h].length; c++) {
                token[h][c] = rows.getFloat(h, t, c);
            }
        }
        return token;
    }

    private void truncate(Pair pair) {
        int length = pair.right.length();
        int left = random.of(0, length, Math.max(length - 1, 0), random.between(0, length));
        note("truncate " + length + " to " + left);
        pair.given.truncate(left);
        pair.right.truncate(left);
    }

    private void evict(Pair pair) {
        boolean each = random.chance(0.5);
        double share = random.of(0.0, 0.3, 0.8, 0.95, 1.0);
        int[] counts = new int[formats.size()];
        for (int i = 0; i < counts.length; i++) {
            for (int t = 0; t < pair.right.length(i); t++) {
                counts[i] += random.chance(share) ? 1 : 0;
            }
        }
        int from = random.chance(0.3) ? random.between(0, pair.right.length()) : 0;
        long[][] keep = new long[each ? HEADS : 1][];
        for (int h = 0; h < keep.length; h++) {
            List<Long> list = new ArrayList<>();
            for (int i = counts.length - 1; i >= 0; i--) {
                choose(pair.right.offset(i), pair.right.length(i), counts[i], from, list);
            }
            keep[h] = list.stream().mapToLong(Long::longValue).toArray();
        }
        note("evict " + pair.right.length() + " to " + Arrays.deepToString(keep));
        if (!refused("evict", () -> pair.given.evict(keep))) {
            pair.right.keep(keep);
        }
    }

    /** So many tokens of a format, ascending, among them all before {@code from} as long as there are enough. */
    private void choose(int offset, int length, int count, int from, List<Long> list) {
        int left = count;
        for (int t = 0; t < length && left > 0; t++) {
            boolean must = length - t == left || offset + t < from;
            if (must || random.chance((double) left / (length - t))) {
                list.add((long) offset + t);
                left--;
            }
        }
    }

    /** Whether there were not enough pages, with numbers that say so. */
    private boolean refused(String what, Runnable call) {
        try {
            call.run();
            return false;
        } catch (GatunException e) {
            Matcher numbers = NO_PAGES.matcher(e.getMessage());
            assertTrue(numbers.matches(), e.getMessage());
            int free = Integer.parseInt(numbers.group(2));
            assertTrue(Integer.parseInt(numbers.group(1)) > free, did + ": " + e.getMessage());
            if (what.equals("append") && formats.size() == 1) {
                assertEquals(needed, Integer.parseInt(numbers.group(1)), did);
            }
            boolean known = false;
            for (KvTier tier : cache.tiers()) {
                known |= free == tier.pages.left() && e.getMessage().contains("pages of " + tier + ":");
            }
            assertTrue(known, did + ": " + e.getMessage());
            note("no-pages-to-" + what);
            return true;
        }
    }

    // ---- attention -------------------------------------------------------------------------------------------------

    private void attend() {
        List<Pair> batch = new ArrayList<>();
        for (int i = random.of(1, 1, 2, 3); i > 0; i--) {
            batch.add(pairs.get(random.between(0, pairs.size() - 1)));
        }
        note("attend " + batch.size());
        List<NaiveKvCache> right = batch.stream().map(Pair::right).toList();
        RandomKvAttend call = new RandomKvAttend(random, formats, right, HEADS, size, valueSize, did);
        if (batch.size() == 1 && random.chance(0.5)) {
            note("scores");
            call.verifyScores(batch.get(0).given);
        } else {
            cache.attend(batch.stream().map(Pair::given).toList(), call.q, call.out, call.options);
        }
        call.verify();
    }

    // ---- what there is ---------------------------------------------------------------------------------------------

    private void verify() {
        long used = 0;
        long shared = 0;
        long tokens = 0;
        long reserved = 0;
        for (int i = 0; i < formats.size(); i++) {
            KvTier tier = cache.tiers()[i];
            Map<Integer, Integer> owners = new HashMap<>();
            for (Pair pair : pairs) {
                KvSegment segment = pair.given.tokens().segment(i);
                assertEquals(pair.right.length(i), segment.length(), did);
                assertEquals(Math.ceilDiv(segment.length(), (long) pageSize), segment.count(), did);
                for (int p = 0; p < segment.count(); p++) {
                    owners.merge(segment.page(p), 1, Integer::sum);
                }
                verifyRows(pair.right, segment, i);
            }
            assertEquals(owners.size(), tier.pages.used(), did);
            owners.forEach((page, count) -> assertEquals(count > 1, tier.pages.isShared(page), did));
            long pageBytes = HEADS
                    * (formats.get(i).k().bytes(pageSize, size)
                            + formats.get(i).v().bytes(pageSize, valueSize));
            used += owners.size() * pageBytes;
            reserved += pages * pageBytes;
            shared += owners.values().stream().filter(count -> count > 1).count();
        }
        for (Pair pair : pairs) {
            assertEquals(pair.right.length(), pair.given.length(), did);
            tokens += pair.right.length();
        }
        double each = tokens == 0 ? 0 : (double) used / tokens;
        assertEquals(new KvCache.Memory(reserved, used, shared, tokens, each), cache.memory(), did);
    }

    /** Bit for bit, but for the sign of 0. */
    private void verifyRows(NaiveKvCache right, KvSegment segment, int format) {
        int length = (int) segment.length();
        long[] slots = new long[length];
        for (int t = 0; t < length; t++) {
            slots[t] = (long) segment.page(t / pageSize) * pageSize + t % pageSize;
        }
        for (boolean keys : new boolean[] {true, false}) {
            KvPool pool = keys ? segment.tier().k : segment.tier().v;
            Tensor rows = Tensor.allocate(DType.F32, HEADS, length, pool.size());
            pool.read(slots, rows, 1);
            float[] values = rows.toFloatArray();
            int n = 0;
            for (int h = 0; h < HEADS; h++) {
                List<NaiveKvCache.Row> expected = right.rows(format, keys, h);
                for (int t = 0; t < length; t++) {
                    for (float value : expected.get(t).values()) {
                        float got = values[n++];
                        if (got != value) {
                            assertEquals(value, got, (keys ? "key " : "value ") + t + " of head " + h + ": " + did);
                        }
                    }
                }
            }
        }
    }

    /** All pages are free in the end, and what was closed stays so. */
    @Override
    public void close() {
        for (Pair pair : pairs) {
            pair.given.close();
            pair.given.close();
        }
        assertEquals(0, cache.memory().usedBytes());
        assertEquals(0, cache.memory().tokens());
        cache.close();
        cache.close();
        assertThrows(IllegalStateException.class, cache::memory);
    }
}
