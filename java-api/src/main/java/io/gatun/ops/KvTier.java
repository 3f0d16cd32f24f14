package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvFormat.Scaling;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Where the tokens of one age are: pools of keys and of values that have the same pages. */
final class KvTier {
    final KvPool k;
    final KvPool v;
    final KvPages pages;
    /** How many newer tokens send a page on to the next tier; of the last one none do. */
    final long age;

    /** Views of the pools, made when first asked for. */
    private final KvPool[] heads;

    private Tensor kRows;
    private Tensor vRows;

    private KvTier(Device device, Age from, long age, int heads, int pages, int pageSize, int size, int valueSize) {
        k = KvPool.allocate(device, from.k(), heads, pages, pageSize, size, true);
        try {
            v = KvPool.allocate(device, from.v(), heads, pages, pageSize, valueSize, true);
        } catch (Throwable e) {
            k.free();
            throw e;
        }
        this.pages = new KvPages(pages);
        this.age = age;
        this.heads = new KvPool[2 * heads];
    }

    /**
     * The tiers of a cache, the newest tokens' first.
     *
     * @param formats each with the age from which on tokens are kept so
     * @param sequences how many there may be at the same time
     */
    static KvTier[] all(
            Device device,
            List<Age> formats,
            long sequences,
            int heads,
            int pages,
            int pageSize,
            int size,
            int valueSize) {
        if (device != Device.CPU && formats.size() > 1) {
            throw Check.unsupported(
                    "formats", formats.size() + " on " + device, "1 without scales per channel; or a cache on cpu");
        }
        KvTier[] tiers = new KvTier[formats.size()];
        try {
            for (int i = 0; i < tiers.length; i++) {
                long age = i + 1 < tiers.length ? formats.get(i + 1).tokens() : Long.MAX_VALUE;
                // At rest the tokens of a sequence are fewer than its age and a page. While it grows it has a page
                // more, and another one if the last is a copy.
                long most = age < Integer.MAX_VALUE ? (Math.ceilDiv(age, (long) pageSize) + 3) * sequences : pages;
                tiers[i] = new KvTier(
                        device, formats.get(i), age, heads, (int) Math.min(most, pages), pageSize, size, valueSize);
            }
            return tiers;
        } catch (Throwable e) {
            free(Arrays.stream(tiers).filter(Objects::nonNull).toList());
            throw e;
        }
    }

    /**
     * Frees all pools that are not freed yet but those in use.
     *
     * @throws IllegalStateException if another thread's call uses some: that of the first, with those of the others
     */
    static void free(List<KvTier> tiers) {
        IllegalStateException failure = null;
        for (KvTier tier : tiers) {
            for (KvPool pool : List.of(tier.k, tier.v)) {
                try {
                    pool.free();
                } catch (IllegalStateException e) {
                    if (failure == null) {
                        failure = e;
                    } else {
                        failure.addSuppressed(e);
                    }
                }
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    int pageSize() {
        return k.pageSize();
    }

    /** One head of a pool of this tier. */
    KvPool head(KvPool pool, int head) {
        int at = (pool == k ? 0 : k.heads()) + head;
        if (heads[at] == null) {
            heads[at] = pool.head(head);
        }
        return heads[at];
    }

    /** How many successive tokens are written together. */
    static int group(KvFormat format) {
        return format.scaling() == Scaling.PER_CHANNEL ? format.group() : 1;
    }

    /** Room for the keys or the values of so many pages, in f32; the same each time. */
    Tensor rows(boolean keys, int pages) {
        long tokens = (long) pages * pageSize();
        if (kRows == null || kRows.shape().size(1) < tokens) {
            kRows = Tensor.allocate(DType.F32, k.heads(), tokens, k.size());
            vRows = Tensor.allocate(DType.F32, v.heads(), tokens, v.size());
        }
        return (keys ? kRows : vRows).slice(1, 0, tokens);
    }

    /** What a page takes, keys and values. */
    long pageBytes() {
        return (k.format().bytes(pageSize(), k.size()) + v.format().bytes(pageSize(), v.size())) * k.heads();
    }

    /** Refuses to take more pages than are free. */
    void require(long needed) {
        if (needed > pages.left()) {
            throw new GatunException("pages of " + this + ": given a need of " + needed + "; allowed: " + pages.left()
                    + ", those free of " + pages.pages()
                    + " (close or truncate sequences, evict tokens, or build the cache with more pages)");
        }
    }

    /** {@code keys i8 per token, values bf16}. */
    @Override
    public String toString() {
        return "keys " + k.format() + ", values " + v.format();
    }
}
