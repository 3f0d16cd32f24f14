package io.gatun.ops;

import io.gatun.internal.Check;

/**
 * How queries and keys are cut into blocks; the last block of either may be smaller. The last query is aligned with the
 * last key: query i has the position i + keyLength - queryLength among the keys.
 *
 * @param queryLength queries of a batch item and head, of ragged items those of the longest
 * @param keyLength keys, likewise
 * @param queryBlock queries in a block, a multiple of 16 in 16..128
 * @param keyBlock keys in a block, likewise
 */
public record BlockGrid(long queryLength, long keyLength, int queryBlock, int keyBlock) {
    /** Refuses other blocks, negative lengths and more than 2^31 - 1 blocks. */
    public BlockGrid {
        checkBlock("queryBlock", queryBlock);
        checkBlock("keyBlock", keyBlock);
        blocks("queryLength", queryLength, queryBlock);
        blocks("keyLength", keyLength, keyBlock);
    }

    /** ceil(length / block), for calls that make no object. */
    static int blocks(String name, long length, int block) {
        Check.range(name, length, 0, (long) Integer.MAX_VALUE * block);
        return (int) Math.ceilDiv(length, block);
    }

    private static void checkBlock(String name, int size) {
        if (size < 16 || size > 128 || size % 16 != 0) {
            throw Check.invalid(name, size, "multiples of 16 in 16..128");
        }
    }

    /** ceil(queryLength / queryBlock). */
    public int queryBlocks() {
        return blocks("queryLength", queryLength, queryBlock);
    }

    /** ceil(keyLength / keyBlock). */
    public int keyBlocks() {
        return blocks("keyLength", keyLength, keyBlock);
    }

    /** How many blocks of keys, from the first on, a causal mask leaves a block of queries something of. */
    public int causalBlocks(int block) {
        long last = Math.min((block + 1L) * queryBlock, queryLength) - 1 + keyLength - queryLength;
        return (int) Math.min(keyBlocks(), last < 0 ? 0 : last / keyBlock + 1);
    }

    /** The queries in a block. */
    int queries(int block) {
        return (int) Math.min(queryBlock, queryLength - (long) block * queryBlock);
    }

    /** The keys in a block. */
    int keys(int block) {
        return (int) Math.min(keyBlock, keyLength - (long) block * keyBlock);
    }

    /** The bytes of a partial block. */
    int bytesOfBlock() {
        return queryBlock * keyBlock / 8;
    }

    /** {@code [8192, 8192] in blocks of 64 x 64}. */
    @Override
    public String toString() {
        return "[" + queryLength + ", " + keyLength + "] in blocks of " + queryBlock + " x " + keyBlock;
    }
}
