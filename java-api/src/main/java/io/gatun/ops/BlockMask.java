package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;

/**
 * Which blocks of keys each block of queries sees, for each batch item and head, or the same for all of them:
 *
 * <pre>{@code
 * var grid = new BlockGrid(8192, 8192, 64, 64);
 * BlockMask mask = BlockMask.of(grid, 1, 1, (batch, head, query, key) -> document[query] == document[key]);
 * Attention.run(q, k, v, out, Attention.Options.DEFAULT.withCausal().withMask(mask));
 * }</pre>
 *
 * <p>A block is full (seen whole), partial (a bit for each query and key, or none: then it is seen as a full one), or
 * absent. What {@link Attention.Options causal masks and windows} hide is hidden in blocks of either kind, so that a
 * mask need not say it again.
 *
 * <p>Immutable, in native memory that is freed when nothing refers to it any more; of any thread. With R = batch *
 * heads * query blocks rows, the query block fastest, it is stored as compressed sparse rows twice ({@link Parts}).
 * Methods that look at all of it are O(its length). Calls on a GPU take {@link #to a copy there} or what it made.
 */
public final class BlockMask {
    /**
     * What a mask is stored as, so that it can be kept anywhere: offsets of i64 and blocks of i32, in the byte order of
     * the machine.
     *
     * @param fullOffsets R + 1, from 0 on: row r lists its full blocks from fullOffsets[r] to fullOffsets[r + 1]
     * @param fullBlocks in each row strictly ascending
     * @param partialOffsets R + 1, from 0 on, likewise
     * @param partialBlocks in each row strictly ascending; none is also full
     * @param partialBits for each partial block queryBlock rows of keyBlock / 8 bytes: bit j % 8 of byte j / 8 of row i
     *     is 1 where query i of the block sees key j; beyond the lengths anything. Or null
     */
    public record Parts(
            MemorySegment fullOffsets,
            MemorySegment fullBlocks,
            MemorySegment partialOffsets,
            MemorySegment partialBlocks,
            MemorySegment partialBits) {
        /** Refuses missing parts. */
        public Parts {
            Check.present("fullOffsets", fullOffsets);
            Check.present("fullBlocks", fullBlocks);
            Check.present("partialOffsets", partialOffsets);
            Check.present("partialBlocks", partialBlocks);
        }
    }

    /** Whether a query sees a key; of a batch item and head, which are 0 in a mask for all. */
    @FunctionalInterface
    public interface TokenPredicate {
        /** Called by many threads at once. */
        boolean sees(long batch, long head, long query, long key);
    }

    private final BlockGrid grid;
    private final long batch;
    private final long heads;
    private final MaskMemory memory;

    /** Of parts that nobody else writes to. */
    BlockMask(BlockGrid grid, long batch, long heads, Parts parts) {
        this(grid, batch, heads, MaskMemory.of(parts));
    }

    BlockMask(BlockGrid grid, long batch, long heads, MaskMemory memory) {
        this.grid = grid;
        this.batch = batch;
        this.heads = heads;
        this.memory = memory;
    }

    // ---- made of blocks --------------------------------------------------------------------------------------------

    /**
     * A copy of what {@link #parts} gave. O(its length).
     *
     * @param batch items, or 1: the same for all
     * @param heads of queries, or 1: the same for all
     * @param parts segments of exactly the bytes that the last offsets say
     * @throws IllegalArgumentException if sizes do not fit, or, with row and place, if offsets or a list do not ascend,
     * a block is not below the grid's, or is both full and partial
     */
    public static BlockMask of(BlockGrid grid, long batch, long heads, Parts parts) {
        return MaskParts.copy(grid, batch, heads, parts);
    }

    /**
     * Of a byte for each block, as {@link #toMap} gives it and FlashInfer's and other booleans are: 0 absent, 1 full, 2
     * partial without bits. Of a map on a GPU it is made there, without a wait, and other bytes are absent blocks.
     *
     * @param map u8 [batch, heads, query blocks, key blocks], or without the first axis or the first two, which are 1
     *     then; contiguous
     * @throws IllegalArgumentException also, with its place, of any other byte
     */
    public static BlockMask ofBlocks(BlockGrid grid, Tensor map) {
        return MaskFormats.ofBlocks(grid, map);
    }

    /** As {@link #ofBsr(BlockGrid, int, int, Tensor, Tensor, Tensor)}, with all elements of the blocks. */
    public static BlockMask ofBsr(BlockGrid grid, int rows, int columns, Tensor indptr, Tensor indices) {
        return ofBsr(grid, rows, columns, indptr, indices, null);
    }

    /**
     * Of block compressed sparse rows, as FlashInfer's BlockSparseAttentionWrapper takes them; one pattern for all
     * batch items and heads. O(query length * key length / 64 + elements).
     *
     * @param rows queries in a block of the format, R; any
     * @param columns keys in a block of the format, C; any. Where blocks of the format are not those of the grid,
     *     partial blocks come out
     * @param indptr i32 [ceil(queryLength / R) + 1], ascending from 0
     * @param indices i32 [nnz], blocks of keys, in each row strictly ascending, below ceil(keyLength / C)
     * @param elements which elements of the blocks are seen: u8 [nnz, R, C] of 0 and 1, or u8 [ceil(nnz * R * C / 8)]
     *     of their bits, the lowest first; null for all
     * @throws IllegalArgumentException if an argument does not fit, of a list with its place
     */
    public static BlockMask ofBsr(
            BlockGrid grid, int rows, int columns, Tensor indptr, Tensor indices, Tensor elements) {
        return MaskFormats.ofBsr(grid, rows, columns, indptr, indices, elements);
    }

    /**
     * Of blocks of variable sizes, as FlashInfer's VariableBlockSparseAttentionWrapper takes them (block_mask_map,
     * block_row_sz, block_col_sz): they become blocks of the grid, partial ones where edges differ. O(heads * query
     * length * key length / 64).
     *
     * @param map u8 [heads, MB, NB] of 0 and 1
     * @param rowSizes i32 [heads, MB], >= 0, of each head queryLength together
     * @param columnSizes i32 [heads, NB], >= 0, of each head keyLength together
     */
    public static BlockMask ofVariableBlocks(BlockGrid grid, Tensor map, Tensor rowSizes, Tensor columnSizes) {
        return MaskFormats.ofVariableBlocks(grid, map, rowSizes, columnSizes);
    }

    /**
     * Of SpargeAttn's look-up table: of each row the first block and then the distances to the next ones.
     *
     * @param lut i32 [batch, heads, query blocks, key blocks]; beyond the valid ones anything
     * @param valid i32 [batch, heads, query blocks], how many blocks a row has
     * @throws IllegalArgumentException with the place, if a distance is not positive or leads beyond the keys
     */
    public static BlockMask ofDeltaCoded(BlockGrid grid, Tensor lut, Tensor valid) {
        return MaskFormats.ofDeltaCoded(grid, lut, valid);
    }

    /**
     * Of the four tensors of FlexAttention's BlockMask.
     *
     * @param counts i32 [batch, heads, query blocks], kv_num_blocks: how many partial blocks a row has
     * @param indices i32 [batch, heads, query blocks, n], kv_indices: which, strictly ascending; beyond them anything
     * @param fullCounts full_kv_num_blocks, likewise; or null without full blocks
     * @param fullIndices full_kv_indices, likewise
     * @param tokens the mask_mod, evaluated in the partial blocks; null: partial blocks have no bits
     */
    public static BlockMask ofFlex(
            BlockGrid grid,
            Tensor counts,
            Tensor indices,
            Tensor fullCounts,
            Tensor fullIndices,
            TokenPredicate tokens) {
        return MaskFormats.ofFlex(grid, counts, indices, fullCounts, fullIndices, tokens);
    }

    /** A mask of many heads, or of many query heads for each of keys: each head of this one {@code times} in a row. */
    public BlockMask repeatHeads(int times) {
        Check.range("times", times, 1, Integer.MAX_VALUE);
        return MaskParts.join(this, times);
    }

    /**
     * The heads of several masks one after the other: patterns that differ by head.
     *
     * @param masks of one grid and batch
     */
    public static BlockMask ofHeads(List<BlockMask> masks) {
        return MaskParts.join(masks);
    }

    // ---- made of tokens --------------------------------------------------------------------------------------------

    /**
     * Of what each query sees, as FlexAttention's mask_mod. O(batch * heads * queryLength * keyLength) calls, in many
     * threads.
     *
     * @param batch items, or 1: the same for all
     * @param heads of queries, or 1: the same for all
     */
    public static BlockMask of(BlockGrid grid, long batch, long heads, TokenPredicate tokens) {
        return MaskPatterns.of(grid, batch, heads, tokens);
    }

    /**
     * Vertical lines and slashes (MInference, Jiang et al. 2024): query i with position p sees key j if j is one of its
     * head's verticals or p - j one of its slashes. Exact; keys after the query are hidden by a causal call. O(batch *
     * heads * queryLength * keyLength / 64).
     *
     * @param heads of queries, or 1: the same for all
     * @param verticals of each batch item and head, the head fastest, its keys, in any order
     * @param slashes likewise its distances, 1 - queryLength .. keyLength - 1, in any order
     */
    public static BlockMask ofVerticalSlash(BlockGrid grid, int heads, int[][] verticals, int[][] slashes) {
        return MaskPatterns.ofVerticalSlash(grid, heads, verticals, slashes);
    }

    /** The whole blocks that {@link #ofVerticalSlash} has something of: faster, and sees more. O(lines + blocks). */
    public static BlockMask coverVerticalSlash(BlockGrid grid, int heads, int[][] verticals, int[][] slashes) {
        return MaskPatterns.coverVerticalSlash(grid, heads, verticals, slashes);
    }

    /**
     * A window that slides with the query, and sinks: the A-shape of StreamingLLM and MInference with {@code right} =
     * 0. The same for all heads; {@link Attention.Options#withWindow} does it without a mask.
     *
     * @param left keys before the query's own that it sees; -1: all
     * @param right keys after its own that it sees; -1: all
     * @param sinkKeys the first keys, which {@code left} does not hide
     */
    public static BlockMask slidingWindow(BlockGrid grid, long left, long right, long sinkKeys) {
        return MaskPatterns.slidingWindow(grid, left, right, sinkKeys);
    }

    /**
     * Groups of queries that see the keys of their own group: query i sees key j if i / queries == j / keys. The same
     * for all heads.
     *
     * @param queries in a group
     * @param keys in a group
     */
    public static BlockMask blockDiagonal(BlockGrid grid, long queries, long keys) {
        return MaskPatterns.blockDiagonal(grid, queries, keys);
    }

    /**
     * Random blocks, so many in all rows of a head that their share of the allowed ones is the density, at least one in
     * each row. The same seed gives the same mask.
     *
     * @param density 0..1
     * @param causal allowed are the blocks that a causal mask leaves something of, and those with the queries' own
     *     positions are kept
     */
    public static BlockMask random(BlockGrid grid, long batch, long heads, double density, boolean causal, long seed) {
        return MaskPatterns.random(grid, batch, heads, density, causal, seed);
    }

    // ---- what is in it ---------------------------------------------------------------------------------------------

    /** Lengths and block sizes. */
    public BlockGrid grid() {
        return grid;
    }

    /** Batch items; 1 also for all. */
    public long batch() {
        return batch;
    }

    /** Heads; 1 also for all. */
    public long heads() {
        return heads;
    }

    /** How it is stored, read-only. */
    public Parts parts() {
        MemorySegment bits = host().partialBits;
        return new Parts(
                host().fullOffsets.asReadOnly(),
                host().fullBlocks.asReadOnly(),
                host().partialOffsets.asReadOnly(),
                host().partialBlocks.asReadOnly(),
                bits == null ? null : bits.asReadOnly());
    }

    private Parts host() {
        return memory.host();
    }

    private BlockLists full() {
        return new BlockLists(host().fullOffsets, host().fullBlocks);
    }

    private BlockLists partial() {
        return new BlockLists(host().partialOffsets, host().partialBlocks);
    }

    /** How it is stored, as arguments of a call on its device. */
    MaskMemory memory() {
        return memory;
    }

    /** Whose calls take it. */
    public Device device() {
        return memory.device();
    }

    /** This mask if calls of the device take it, otherwise one whose parts are copied there and stay here, too. */
    public BlockMask to(Device target) {
        Check.present("target", target);
        return target == device() ? this : new BlockMask(grid, batch, heads, memory.to(target));
    }

    /** The full blocks of all rows. */
    public long fullCount() {
        return MaskMemory.blocks(host().fullBlocks);
    }

    /** The partial blocks of all rows. */
    public long partialCount() {
        return MaskMemory.blocks(host().partialBlocks);
    }

    /** The bytes of all parts together. */
    public long byteSize() {
        return host().fullOffsets.byteSize()
                + host().fullBlocks.byteSize()
                + host().partialOffsets.byteSize()
                + host().partialBlocks.byteSize()
                + (host().partialBits == null ? 0 : host().partialBits.byteSize());
    }

    /** The full blocks of a row, ascending. */
    public int[] fullBlocks(long item, long head, int queryBlock) {
        return full().blocks(row(item, head, queryBlock));
    }

    /** The partial blocks of a row, ascending. */
    public int[] partialBlocks(long item, long head, int queryBlock) {
        return partial().blocks(row(item, head, queryBlock));
    }

    /** Whether a block is seen whole. */
    public boolean isFull(long item, long head, int queryBlock, int keyBlock) {
        return full().find(row(item, head, queryBlock), key(keyBlock)) >= 0;
    }

    /** Whether a block is seen in part. */
    public boolean isPartial(long item, long head, int queryBlock, int keyBlock) {
        return partial().find(row(item, head, queryBlock), key(keyBlock)) >= 0;
    }

    /** Whether a query sees a key, as far as the mask says. O(log blocks). */
    public boolean sees(long item, long head, long query, long key) {
        if (query < 0 || query >= grid.queryLength() || key < 0 || key >= grid.keyLength()) {
            throw outside("[" + query + ", " + key + "]");
        }
        long row = row(item, head, (int) (query / grid.queryBlock()));
        int block = (int) (key / grid.keyBlock());
        if (full().find(row, block) >= 0) {
            return true;
        }
        long place = partial().find(row, block);
        return place >= 0 && bit(place, (int) (query % grid.queryBlock()), (int) (key % grid.keyBlock()));
    }

    /** Of a partial block, which is seen whole without bits. */
    private boolean bit(long place, int i, int j) {
        long at = (place * grid.queryBlock() + i) * (grid.keyBlock() / 8) + j / 8;
        return host().partialBits == null || (host().partialBits.get(JAVA_BYTE, at) >>> j % 8 & 1) != 0;
    }

    /** The share of a block's queries and keys that see one another, 0..1. */
    double share(long item, long head, int queryBlock, int keyBlock) {
        long row = row(item, head, queryBlock);
        if (full().find(row, keyBlock) >= 0) {
            return 1;
        }
        long place = partial().find(row, keyBlock);
        if (place < 0) {
            return 0;
        }
        int ones = 0;
        for (int i = 0; i < grid.queries(queryBlock); i++) {
            for (int j = 0; j < grid.keys(keyBlock); j++) {
                ones += bit(place, i, j) ? 1 : 0;
            }
        }
        return (double) ones / (grid.queries(queryBlock) * grid.keys(keyBlock));
    }

    private long row(long item, long head, int queryBlock) {
        if (item < 0
                || item >= batch
                || head < 0
                || head >= heads
                || queryBlock < 0
                || queryBlock >= grid.queryBlocks()) {
            throw outside("[" + item + ", " + head + "], block " + queryBlock + " of queries");
        }
        return (item * heads + head) * grid.queryBlocks() + queryBlock;
    }

    private int key(int block) {
        if (block < 0 || block >= grid.keyBlocks()) {
            throw outside("block " + block + " of keys");
        }
        return block;
    }

    private IndexOutOfBoundsException outside(String given) {
        return new IndexOutOfBoundsException("index: given " + given + "; allowed: inside of " + this);
    }

    /** The share of all blocks that is kept, 0..1, partial ones as full ones; 1 of no blocks. */
    public double density() {
        return share(fullCount() + partialCount(), batch * heads * grid.queryBlocks() * grid.keyBlocks());
    }

    /** The same among the blocks that a causal mask leaves something of; of the others none counts. */
    public double causalDensity() {
        long kept = 0;
        long allowed = 0;
        long rows = batch * heads * grid.queryBlocks();
        for (long row = 0; row < rows; row++) {
            int end = grid.causalBlocks((int) (row % grid.queryBlocks()));
            allowed += end;
            kept += full().before(row, end);
            kept += partial().before(row, end);
        }
        return share(kept, allowed);
    }

    private static double share(long part, long whole) {
        return whole == 0 ? 1 : (double) part / whole;
    }
    /** u8 [batch, heads, query blocks, key blocks]: 0 absent, 1 full, 2 partial; in new memory. */
    public Tensor toMap() {
        return MaskFormats.toMap(this);
    }

    // ---- pictures --------------------------------------------------------------------------------------------------

    /**
     * Draws the blocks of one head, queries downwards and keys to the right: full ones dark, partial ones the lighter
     * the less is seen of them, absent ones white; what a causal mask hides whole is grey where it is absent, and red
     * where it is not.
     */
    public void toPng(Path file, long item, long head) throws IOException {
        row(item, head, 0);
        MaskPicture.draw(this, file, item, head, 1);
    }

    /** The same of all heads of the first batch item, in rows as long as there are rows. */
    public void toPng(Path file) throws IOException {
        row(0, 0, 0);
        MaskPicture.draw(this, file, 0, 0, heads);
    }

    // ---- description -----------------------------------------------------------------------------------------------

    /** Whether grid, batch, heads, lists and bits are the same. */
    @Override
    public boolean equals(Object other) {
        return other instanceof BlockMask mask
                && grid.equals(mask.grid)
                && batch == mask.batch
                && heads == mask.heads
                && same(host().fullOffsets, mask.host().fullOffsets)
                && same(host().fullBlocks, mask.host().fullBlocks)
                && same(host().partialOffsets, mask.host().partialOffsets)
                && same(host().partialBlocks, mask.host().partialBlocks)
                && same(host().partialBits, mask.host().partialBits);
    }

    private static boolean same(MemorySegment a, MemorySegment b) {
        return a == null || b == null ? a == b : a.mismatch(b) == -1;
    }

    /** Of grid, batch, heads and the numbers of blocks. */
    @Override
    public int hashCode() {
        return ((grid.hashCode() * 31 + Long.hashCode(batch)) * 31 + Long.hashCode(heads)) * 31
                + Long.hashCode(fullCount() * 31 + partialCount());
    }

    /** {@code block mask [1, 32, 8192, 8192] in blocks of 64 x 64: 10.0 % kept, 3 % of them partial}. */
    @Override
    public String toString() {
        double partial = share(partialCount(), Math.max(fullCount() + partialCount(), 1));
        return "block mask [%d, %d, %d, %d] in blocks of %d x %d: %.1f %% kept, %.0f %% of them partial"
                .formatted(
                        batch,
                        heads,
                        grid.queryLength(),
                        grid.keyLength(),
                        grid.queryBlock(),
                        grid.keyBlock(),
                        100 * density(),
                        100 * partial);
    }
}
