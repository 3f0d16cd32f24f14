package io.gatun.ops;

import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * The tokens of a sequence: a segment for each tier of the cache, the newest tokens in the first. A page moves on to
 * the next tier when all its tokens have as many newer ones as the age of its tier. That does not depend on how tokens
 * came, one by one or many at once: all pass through each tier.
 */
final class KvTokens {
    /** Of a prompt, as long as so many are free: calls are few then. */
    private static final int PAGES_AT_ONCE = 32;

    private final KvTier[] tiers;
    private final KvSegment[] segments;

    KvTokens(KvTier[] tiers) {
        this(tiers, Arrays.stream(tiers).map(KvSegment::new).toArray(KvSegment[]::new));
    }

    private KvTokens(KvTier[] tiers, KvSegment[] segments) {
        this.tiers = tiers;
        this.segments = segments;
    }

    KvSegment segment(int tier) {
        return segments[tier];
    }

    long length() {
        return newest(segments.length);
    }

    /** How many tokens are in the first so many tiers. */
    private long newest(int tiers) {
        long tokens = 0;
        for (int i = 0; i < tiers; i++) {
            tokens += segments[i].length();
        }
        return tokens;
    }

    /** The first token of a tier's segment. */
    long offset(int tier) {
        return length() - newest(tier + 1);
    }

    KvTokens fork() {
        return new KvTokens(tiers, Arrays.stream(segments).map(KvSegment::fork).toArray(KvSegment[]::new));
    }

    // ---- append ----------------------------------------------------------------------------------------------------

    /** Tokens at the end; refused, with nothing changed, if there are not pages for all. */
    void append(Tensor k, Tensor v) {
        long tokens = k.shape().size(1);
        if (tiers.length == 1) {
            segments[0].append(k, v);
            return;
        }
        long chunk = chunk(tokens);
        long before = length();
        try {
            for (long done = 0, end; done < tokens; done = end) {
                end = Math.min(done + chunk, tokens);
                segments[0].append(k.slice(1, done, end), v.slice(1, done, end));
                for (int i = 0; i + 1 < tiers.length; i++) {
                    moveOn(i, moving(i, newest(i + 1), segments[i].length()));
                }
            }
        } catch (Throwable e) {
            truncate(before);
            throw e;
        }
    }

    /** How many pages of a tier move on. */
    private int moving(int tier, long newest, long length) {
        return (int) Math.max(0, Math.min(length, newest - tiers[tier].age) / tiers[tier].pageSize());
    }

    private void moveOn(int i, int pages) {
        // A group that is not full takes tokens of one page after the other, as if they came one by one.
        int each = segments[i + 1].isOfWholeGroups() ? pages : 1;
        for (int page = 0; page < pages; page += each) {
            Tensor k = tiers[i].rows(true, each);
            Tensor v = tiers[i].rows(false, each);
            segments[i].readFirst(k, v);
            segments[i + 1].append(k, v);
            for (int n = 0; n < each; n++) {
                segments[i].dropFirst();
            }
        }
    }

    /** How many tokens {@link #append} does at a time: pages for that are free; or refuses them all. */
    private long chunk(long tokens) {
        long room = 0;
        for (KvTier tier : tiers) {
            room += (long) tier.pages.pages() * tier.pageSize();
        }
        if (tokens > room) {
            throw new GatunException("tokens: given " + tokens + "; allowed: " + room + ", those of all pages");
        }
        long large = (long) PAGES_AT_ONCE * tiers[0].pageSize();
        KvGrowth[] growth = growth(tokens, large);
        boolean fits = true;
        for (int i = 0; i < tiers.length; i++) {
            fits &= growth[i].most() <= tiers[i].pages.left();
        }
        if (fits) {
            return large;
        }
        growth = growth(tokens, tiers[0].pageSize());
        for (int i = 0; i < tiers.length; i++) {
            tiers[i].require(growth[i].most());
        }
        return tiers[0].pageSize();
    }

    /** What {@link #append} does, with nothing but lengths. */
    private KvGrowth[] growth(long tokens, long chunk) {
        KvGrowth[] growth = Arrays.stream(segments).map(KvGrowth::new).toArray(KvGrowth[]::new);
        for (long done = 0, end; done < tokens; done = end) {
            end = Math.min(done + chunk, tokens);
            growth[0].append(end - done);
            long newest = 0;
            for (int i = 0; i + 1 < tiers.length; i++) {
                newest += growth[i].length();
                int pages = moving(i, newest, growth[i].length());
                growth[i + 1].append((long) pages * tiers[i].pageSize());
                for (int n = 0; n < pages; n++) {
                    growth[i].dropFirst();
                }
                newest -= (long) pages * tiers[i].pageSize();
            }
        }
        return growth;
    }

    // ---- removal ---------------------------------------------------------------------------------------------------

    /** No tokens from {@code length} on. */
    void truncate(long length) {
        long left = length;
        for (int i = tiers.length - 1; i >= 0; i--) {
            long kept = Math.min(left, segments[i].length());
            segments[i].truncate(kept);
            left -= kept;
        }
    }

    /** Only these tokens stay: ascending indexes, one list, or one for each head, of the same length. */
    void keep(long[][] keep) {
        long[][][] parts = new long[tiers.length][][];
        for (int i = 0; i < tiers.length; i++) {
            parts[i] = part(keep, i);
            tiers[i].require(segments[i].neededToKeep(parts[i]));
        }
        for (int i = 0; i < tiers.length; i++) {
            segments[i].keep(parts[i]);
        }
    }

    /** The lists of the tokens of a tier, counted from its first one. */
    private long[][] part(long[][] keep, int tier) {
        long offset = offset(tier);
        long end = offset + segments[tier].length();
        long[][] parts = new long[keep.length][];
        for (int h = 0; h < keep.length; h++) {
            parts[h] = Arrays.stream(keep[h])
                    .filter(token -> token >= offset && token < end)
                    .map(token -> token - offset)
                    .toArray();
            if (parts[h].length != parts[0].length) {
                throw Check.invalid(
                        "keep[" + h + "]",
                        parts[h].length + " of the tokens " + offset + ".." + (end - 1) + ", kept as " + tiers[tier],
                        parts[0].length + " of them, as keep[0] has");
            }
        }
        return parts;
    }
}
