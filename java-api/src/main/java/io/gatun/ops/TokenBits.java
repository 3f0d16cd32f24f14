package io.gatun.ops;

import io.gatun.internal.Check;
import java.util.Arrays;

/**
 * Which keys each query of one block sees, a bit each, from which the blocks of a {@link BlockMask} follow: none is
 * absent, all is full, anything else partial.
 */
final class TokenBits {
    private final BlockGrid grid;
    private final int words;
    private final long[] bits;
    private int queries;

    TokenBits(BlockGrid grid) {
        this.grid = grid;
        // One word more, so that 64 bits from any place on may be read.
        long all = Math.ceilDiv((long) grid.keyBlocks() * grid.keyBlock(), 64) + 1;
        Check.range("words of a block's queries", all * grid.queryBlock(), 0, Integer.MAX_VALUE - 8);
        words = (int) all;
        bits = new long[words * grid.queryBlock()];
    }

    /** Nothing is seen by the queries of a block. */
    void clear(int queryBlock) {
        queries = grid.queries(queryBlock);
        Arrays.fill(bits, 0);
    }

    /** The queries in the block. */
    int queries() {
        return queries;
    }

    void set(int query, long key) {
        bits[query * words + (int) (key >>> 6)] |= 1L << key;
    }

    /** Those of {@code begin..end} that are keys. */
    void setRange(int query, long begin, long end) {
        long from = Math.max(begin, 0);
        long to = Math.min(end, grid.keyLength());
        if (from >= to) {
            return;
        }
        int first = query * words + (int) (from >>> 6);
        int last = query * words + (int) (to - 1 >>> 6);
        long low = -1L << from;
        long high = -1L >>> -to;
        if (first == last) {
            bits[first] |= low & high;
            return;
        }
        bits[first] |= low;
        Arrays.fill(bits, first + 1, last, -1L);
        bits[last] |= high;
    }

    /** The same as the query before. */
    void repeat(int query) {
        System.arraycopy(bits, (query - 1) * words, bits, query * words, words);
    }

    /** 64 keys from 64 {@code word} on, as bits; those beyond the last key may be anything. */
    void orWord(int query, int word, long seen) {
        bits[query * words + word] |= seen;
    }

    void addTo(MaskBuilder.Row row) {
        for (int block = 0; block < grid.keyBlocks(); block++) {
            long any = 0;
            boolean all = true;
            long begin = (long) block * grid.keyBlock();
            for (int piece = 0; piece < grid.keyBlock(); piece += 64) {
                long keys = keys(begin, piece);
                long common = -1;
                for (int q = 0; q < queries; q++) {
                    long seen = piece(q, begin + piece);
                    any |= seen & keys;
                    common &= seen;
                }
                all &= (common & keys) == keys;
            }
            if (any != 0 && all) {
                row.addFull(block);
            } else if (any != 0) {
                write(begin, row.addPartial(block), row.bits());
            }
        }
    }

    /** Which of 64 bits from a key of a block on are keys of that block. */
    private long keys(long begin, int piece) {
        long left = Math.min(grid.keyLength() - begin, grid.keyBlock()) - piece;
        return left >= 64 ? -1 : left <= 0 ? 0 : (1L << left) - 1;
    }

    private long piece(int query, long key) {
        int at = query * words + (int) (key >>> 6);
        int shift = (int) key & 63;
        return shift == 0 ? bits[at] : bits[at] >>> shift | bits[at + 1] << 64 - shift;
    }

    private void write(long begin, int offset, byte[] into) {
        int rowBytes = grid.keyBlock() / 8;
        for (int piece = 0; piece < grid.keyBlock(); piece += 64) {
            long keys = keys(begin, piece);
            int bytes = Math.min(8, rowBytes - piece / 8);
            for (int q = 0; q < queries; q++) {
                long seen = piece(q, begin + piece) & keys;
                int at = offset + q * rowBytes + piece / 8;
                for (int i = 0; i < bytes; i++) {
                    into[at + i] = (byte) (seen >>> 8 * i);
                }
            }
        }
    }
}
