package io.gatun.ops;

import io.gatun.internal.Check;
import io.gatun.ops.BlockMask.TokenPredicate;
import java.util.Arrays;
import java.util.BitSet;
import java.util.SplittableRandom;

/** Masks that a rule makes; see the methods of {@link BlockMask}. */
final class MaskPatterns {
    private MaskPatterns() {}

    static BlockMask of(BlockGrid grid, long batch, long heads, TokenPredicate tokens) {
        Check.present("tokens", tokens);
        return MaskBuilder.buildParallel(grid, batch, heads, true, () -> {
            TokenBits bits = new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock();
                for (int i = 0; i < bits.queries(); i++) {
                    evaluate(tokens, item, head, first + i, 0, grid.keyLength(), bits, i);
                }
                bits.addTo(row);
            };
        });
    }

    /** What one query sees of some keys; {@code i} is its row of the bits. */
    static void evaluate(
            TokenPredicate tokens, long item, long head, long query, long key, long keys, TokenBits bits, int i) {
        for (long k = key; k < key + keys; k++) {
            if (tokens.sees(item, head, query, k)) {
                bits.set(i, k);
            }
        }
    }

    static BlockMask slidingWindow(BlockGrid grid, long left, long right, long sinkKeys) {
        Check.present("grid", grid);
        Check.range("left", left, -1, Long.MAX_VALUE);
        Check.range("right", right, -1, Long.MAX_VALUE);
        Check.range("sinkKeys", sinkKeys, 0, Long.MAX_VALUE);
        // Farther than any key is.
        long most = grid.queryLength() + grid.keyLength();
        long before = left == -1 ? most : Math.min(left, most);
        long after = right == -1 ? most : Math.min(right, most);
        return MaskBuilder.buildParallel(grid, 1, 1, true, () -> {
            TokenBits bits = new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock() + grid.keyLength() - grid.queryLength();
                for (int i = 0; i < bits.queries(); i++) {
                    long position = first + i;
                    bits.setRange(i, position - before, position + after + 1);
                    bits.setRange(i, 0, Math.min(sinkKeys, position + after + 1));
                }
                bits.addTo(row);
            };
        });
    }

    static BlockMask blockDiagonal(BlockGrid grid, long queries, long keys) {
        Check.present("grid", grid);
        Check.range("queries", queries, 1, Long.MAX_VALUE);
        Check.range("keys", keys, 1, Long.MAX_VALUE);
        return MaskBuilder.buildParallel(grid, 1, 1, true, () -> {
            TokenBits bits = new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock();
                for (int i = 0; i < bits.queries(); i++) {
                    long group = (first + i) / queries;
                    // A group that begins beyond the last key, without overflow.
                    if (group <= grid.keyLength() / keys) {
                        long begin = group * keys;
                        bits.setRange(i, begin, begin + Math.min(keys, grid.keyLength() - begin));
                    }
                }
                bits.addTo(row);
            };
        });
    }

    // ---- vertical lines and slashes --------------------------------------------------------------------------------

    /**
     * The lines of a head as bits: keys, and diagonals from the last one, x = keyLength - 1 - distance, on. Row i of
     * the mask then is the diagonals from x = queryLength - 1 - i on, and the keys.
     */
    private record Lines(long[] keys, long[] diagonals) {
        static Lines of(BlockGrid grid, int n, int[] verticals, int[] slashes) {
            long keys = grid.keyLength();
            long diagonals = grid.queryLength() + keys;
            Check.range("queryLength + keyLength", diagonals, 0, Integer.MAX_VALUE);
            BitSet lines = new BitSet();
            for (int i = 0; i < verticals.length; i++) {
                Check.range("verticals[" + n + "][" + i + "]", verticals[i], 0, keys - 1);
                lines.set(verticals[i]);
            }
            BitSet slanted = new BitSet();
            for (int i = 0; i < slashes.length; i++) {
                Check.range("slashes[" + n + "][" + i + "]", slashes[i], 1 - grid.queryLength(), keys - 1);
                slanted.set((int) (keys - 1 - slashes[i]));
            }
            return new Lines(
                    Arrays.copyOf(lines.toLongArray(), (int) (keys / 64 + 1)),
                    // So that 64 bits may be read from any diagonal on.
                    Arrays.copyOf(slanted.toLongArray(), (int) (diagonals / 64 + 3)));
        }

        /** The 64 diagonals from one on. */
        long diagonals(long first) {
            int at = (int) (first >>> 6);
            int shift = (int) first & 63;
            return shift == 0 ? diagonals[at] : diagonals[at] >>> shift | diagonals[at + 1] << 64 - shift;
        }
    }

    private static Lines[] lines(BlockGrid grid, int heads, int[][] verticals, int[][] slashes) {
        Check.present("grid", grid);
        Check.present("verticals", verticals);
        Check.present("slashes", slashes);
        Check.range("heads", heads, 1, Integer.MAX_VALUE);
        if (verticals.length % heads != 0) {
            throw Check.invalid("verticals", verticals.length + " lists", "a multiple of " + heads + ", the heads");
        }
        if (slashes.length != verticals.length) {
            throw Check.invalid("slashes", slashes.length + " lists", verticals.length + ", as verticals");
        }
        Lines[] lines = new Lines[verticals.length];
        for (int n = 0; n < lines.length; n++) {
            Check.present("verticals[" + n + "]", verticals[n]);
            Check.present("slashes[" + n + "]", slashes[n]);
            lines[n] = Lines.of(grid, n, verticals[n], slashes[n]);
        }
        return lines;
    }

    static BlockMask ofVerticalSlash(BlockGrid grid, int heads, int[][] verticals, int[][] slashes) {
        Lines[] lines = lines(grid, heads, verticals, slashes);
        return MaskBuilder.buildParallel(grid, lines.length / heads, heads, true, () -> {
            TokenBits bits = new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                Lines own = lines[(int) (item * heads + head)];
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock();
                int words = (int) Math.ceilDiv(grid.keyLength(), 64);
                for (int i = 0; i < bits.queries(); i++) {
                    long diagonal = grid.queryLength() - 1 - first - i;
                    for (int word = 0; word < words; word++) {
                        bits.orWord(i, word, own.keys[word] | own.diagonals(diagonal + 64L * word));
                    }
                }
                bits.addTo(row);
            };
        });
    }

    static BlockMask coverVerticalSlash(BlockGrid grid, int heads, int[][] verticals, int[][] slashes) {
        Lines[] lines = lines(grid, heads, verticals, slashes);
        return MaskBuilder.buildParallel(grid, lines.length / heads, heads, false, () -> {
            return (item, head, queryBlock, row) -> {
                Lines own = lines[(int) (item * heads + head)];
                long first = (long) queryBlock * grid.queryBlock();
                long last = first + grid.queries(queryBlock) - 1;
                for (int block = 0; block < grid.keyBlocks(); block++) {
                    long begin = (long) block * grid.keyBlock();
                    long end = begin + grid.keys(block);
                    long diagonal = grid.queryLength() - 1;
                    if (any(own.keys, begin, end)
                            || any(own.diagonals, diagonal - last + begin, diagonal - first + end)) {
                        row.addFull(block);
                    }
                }
            };
        });
    }

    /** Whether one of the bits {@code begin..end} is 1; they are few. */
    private static boolean any(long[] bits, long begin, long end) {
        int first = (int) (begin >>> 6);
        int last = (int) (end - 1 >>> 6);
        long seen = bits[first] & -1L << begin;
        for (int word = first; word < last; word++) {
            if (seen != 0) {
                return true;
            }
            seen = bits[word + 1];
        }
        return (seen & -1L >>> -end) != 0;
    }

    // ---- random ----------------------------------------------------------------------------------------------------

    static BlockMask random(BlockGrid grid, long batch, long heads, double density, boolean causal, long seed) {
        Check.present("grid", grid);
        if (!(density >= 0 && density <= 1)) {
            throw Check.invalid("density", density, "0..1");
        }
        int[] kept = kept(grid, density, causal);
        return MaskBuilder.buildParallel(grid, batch, heads, false, () -> {
            int[] blocks = new int[grid.keyBlocks()];
            return (item, head, queryBlock, row) -> {
                int allowed = allowed(grid, queryBlock, causal);
                int own = causal ? own(grid, queryBlock, allowed) : 0;
                SplittableRandom random = new SplittableRandom(mix(mix(mix(seed, item), head), queryBlock));
                Arrays.setAll(blocks, block -> block);
                int drawn = kept[queryBlock] - own;
                for (int n = 0; n < drawn; n++) {
                    int other = random.nextInt(n, allowed - own);
                    int block = blocks[other];
                    blocks[other] = blocks[n];
                    blocks[n] = block;
                }
                Arrays.sort(blocks, 0, drawn);
                for (int n = 0; n < drawn; n++) {
                    row.addFull(blocks[n]);
                }
                for (int block = allowed - own; block < allowed; block++) {
                    row.addFull(block);
                }
            };
        });
    }

    private static long mix(long seed, long value) {
        return new SplittableRandom(seed * 0x9e3779b97f4a7c15L + value).nextLong();
    }

    private static int allowed(BlockGrid grid, int queryBlock, boolean causal) {
        return causal ? grid.causalBlocks(queryBlock) : grid.keyBlocks();
    }

    /** How many of the allowed blocks, the last ones, hold positions of the queries themselves. */
    private static int own(BlockGrid grid, int queryBlock, int allowed) {
        long first = (long) queryBlock * grid.queryBlock() + grid.keyLength() - grid.queryLength();
        return allowed == 0 ? 0 : allowed - (int) (Math.max(first, 0) / grid.keyBlock());
    }

    /** How many blocks each row keeps: what earlier rows had too many or too few of is made up for. */
    private static int[] kept(BlockGrid grid, double density, boolean causal) {
        int[] kept = new int[grid.queryBlocks()];
        double owed = 0;
        for (int r = 0; r < kept.length; r++) {
            int allowed = allowed(grid, r, causal);
            owed += density * allowed;
            int least = Math.min(allowed, causal ? own(grid, r, allowed) : 1);
            kept[r] = Math.clamp(Math.round(owed), least, allowed);
            owed -= kept[r];
        }
        return kept;
    }
}
