package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_block_mask_from_map;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.BlockMask.Parts;
import io.gatun.ops.BlockMask.TokenPredicate;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;

/** Masks as other systems keep them; see the methods of {@link BlockMask}. */
final class MaskFormats {
    private static final Set<DType> U8 = EnumSet.of(DType.U8);
    private static final Set<DType> I32 = EnumSet.of(DType.I32);

    private MaskFormats() {}

    static BlockMask ofBlocks(BlockGrid grid, Tensor map) {
        Check.present("grid", grid);
        Check.present("map", map);
        Check.dtype("map", map, U8);
        int rank = map.shape().rank();
        if (rank < 2
                || rank > 4
                || map.shape().size(rank - 2) != grid.queryBlocks()
                || map.shape().size(rank - 1) != grid.keyBlocks()) {
            throw Check.invalid(
                    "map",
                    "shape " + map.shape(),
                    "[batch, heads, " + grid.queryBlocks() + ", " + grid.keyBlocks() + "] for " + grid);
        }
        Check.contiguous("map", map);
        Check.reachable("map", map);
        long batch = rank < 4 ? 1 : map.shape().size(0);
        long heads = rank < 3 ? 1 : map.shape().size(rank - 3);
        return map.device() == Device.CPU
                ? ofMap(grid, batch, heads, map.segment())
                : CudaBlockMask.ofMap(grid, batch, heads, map, true);
    }

    /** Of a byte for each block, which has been checked for its size. */
    static BlockMask ofMap(BlockGrid grid, long batch, long heads, MemorySegment map) {
        long rows = MaskBuilder.rowsOf(grid, batch, heads);
        NativeLibrary.load();
        MemorySegment fullOffsets = MaskBuilder.allocate(JAVA_LONG.byteSize() * (rows + 1));
        MemorySegment partialOffsets = MaskBuilder.allocate(JAVA_LONG.byteSize() * (rows + 1));
        MemorySegment none = MemorySegment.NULL;
        Native.call(() ->
                gatun_block_mask_from_map(rows, grid.keyBlocks(), map, fullOffsets, none, 0, partialOffsets, none, 0));
        long fulls = fullOffsets.getAtIndex(JAVA_LONG, rows);
        long partials = partialOffsets.getAtIndex(JAVA_LONG, rows);
        MemorySegment full = MaskBuilder.allocate(JAVA_INT.byteSize() * fulls);
        MemorySegment partial = MaskBuilder.allocate(JAVA_INT.byteSize() * partials);
        Native.call(() -> gatun_block_mask_from_map(
                rows, grid.keyBlocks(), map, fullOffsets, full, fulls, partialOffsets, partial, partials));
        return new BlockMask(grid, batch, heads, new Parts(fullOffsets, full, partialOffsets, partial, null));
    }

    // ---- FlashInfer ------------------------------------------------------------------------------------------------

    static BlockMask ofBsr(BlockGrid grid, int rows, int columns, Tensor indptr, Tensor indices, Tensor elements) {
        Check.present("grid", grid);
        Check.range("rows", rows, 1, Integer.MAX_VALUE);
        Check.range("columns", columns, 1, Integer.MAX_VALUE);
        long blockRows = Math.ceilDiv(grid.queryLength(), (long) rows);
        long blockColumns = Math.ceilDiv(grid.keyLength(), (long) columns);
        int[] begins = ints("indptr", indptr, blockRows + 1);
        int[] blocks = ints("indices", indices, -1);
        checkLists(begins, blocks, blockColumns);
        byte[] seen = elements == null ? null : elements(elements, blocks.length, rows, columns);
        boolean packed = elements != null && elements.shape().rank() == 1;
        TokenBits bits = new TokenBits(grid);
        return MaskBuilder.build(grid, 1, 1, true, (item, head, queryBlock, row) -> {
            bits.clear(queryBlock);
            for (int i = 0; i < bits.queries(); i++) {
                long query = (long) queryBlock * grid.queryBlock() + i;
                int blockRow = (int) (query / rows);
                for (int n = begins[blockRow]; n < begins[blockRow + 1]; n++) {
                    long key = (long) blocks[n] * columns;
                    if (seen == null) {
                        bits.setRange(i, key, key + columns);
                        continue;
                    }
                    long first = ((long) n * rows + query % rows) * columns;
                    for (int j = 0; j < columns && key + j < grid.keyLength(); j++) {
                        int at = (int) (packed ? first + j >>> 3 : first + j);
                        if (packed ? (seen[at] >>> (first + j) % 8 & 1) != 0 : seen[at] != 0) {
                            bits.set(i, key + j);
                        }
                    }
                }
            }
            bits.addTo(row);
        });
    }

    private static void checkLists(int[] begins, int[] blocks, long blockColumns) {
        for (int r = 0; r < begins.length; r++) {
            int low = r == 0 ? 0 : begins[r - 1];
            int high = r == 0 ? 0 : blocks.length;
            if (begins[r] < low || begins[r] > high) {
                throw Check.invalid("indptr[" + r + "]", begins[r], low + ".." + high);
            }
        }
        if (begins[begins.length - 1] != blocks.length) {
            throw Check.invalid(
                    "indices", blocks.length + " blocks", begins[begins.length - 1] + ", the last of indptr");
        }
        for (int r = 0; r + 1 < begins.length; r++) {
            for (int n = begins[r]; n < begins[r + 1]; n++) {
                int least = n == begins[r] ? 0 : blocks[n - 1] + 1;
                if (blocks[n] < least || blocks[n] >= blockColumns) {
                    throw Check.invalid("indices[" + n + "]", blocks[n], least + ".." + (blockColumns - 1));
                }
            }
        }
    }

    private static byte[] elements(Tensor elements, int count, int rows, int columns) {
        Check.dtype("elements", elements, U8);
        long all = Math.multiplyHigh((long) count * rows, columns) == 0 ? (long) count * rows * columns : -1;
        boolean packed = elements.shape().rank() == 1;
        Check.range("elements of all blocks", all, 0, packed ? 8L * (Integer.MAX_VALUE - 8) : Integer.MAX_VALUE - 8);
        byte[] bytes = packed
                ? bytes("elements", elements, Math.ceilDiv(all, 8))
                : booleans("elements", elements, count, rows, columns);
        return bytes;
    }

    static BlockMask ofVariableBlocks(BlockGrid grid, Tensor map, Tensor rowSizes, Tensor columnSizes) {
        Check.present("grid", grid);
        Check.present("map", map);
        if (map.shape().rank() != 3) {
            throw Check.invalid("map", "shape " + map.shape(), "[heads, rows, columns]");
        }
        int heads = Math.toIntExact(Math.min(map.shape().size(0), Integer.MAX_VALUE));
        long blockRows = map.shape().size(1);
        int blockColumns = (int) Math.min(map.shape().size(2), Integer.MAX_VALUE);
        byte[] seen = booleans("map", map, heads, blockRows, blockColumns);
        long[][] rowBegins =
                begins("rowSizes", ints("rowSizes", rowSizes, heads, blockRows), heads, grid.queryLength());
        long[][] columnBegins =
                begins("columnSizes", ints("columnSizes", columnSizes, heads, blockColumns), heads, grid.keyLength());
        return MaskBuilder.buildParallel(grid, 1, heads, true, () -> {
            TokenBits bits = new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                long[] rows = rowBegins[(int) head];
                long[] columns = columnBegins[(int) head];
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock();
                int blockRow = 0;
                for (int i = 0; i < bits.queries(); i++) {
                    int before = blockRow;
                    while (rows[blockRow + 1] <= first + i) {
                        blockRow++;
                    }
                    if (i > 0 && blockRow == before) {
                        bits.repeat(i);
                        continue;
                    }
                    int at = (int) ((head * blockRows + blockRow) * blockColumns);
                    for (int c = 0; c < blockColumns; c++) {
                        if (seen[at + c] != 0) {
                            bits.setRange(i, columns[c], columns[c + 1]);
                        }
                    }
                }
                bits.addTo(row);
            };
        });
    }

    /** Of each head where its blocks begin, and where the last one ends: at {@code length}. */
    private static long[][] begins(String name, int[] sizes, int heads, long length) {
        int count = heads == 0 ? 0 : sizes.length / heads;
        long[][] begins = new long[heads][count + 1];
        for (int h = 0; h < heads; h++) {
            for (int i = 0; i < count; i++) {
                int size = sizes[h * count + i];
                Check.range(name + "[" + h + ", " + i + "]", size, 0, Integer.MAX_VALUE);
                begins[h][i + 1] = begins[h][i] + size;
            }
            Check.range("sum of " + name + "[" + h + "]", begins[h][count], length, length);
        }
        return begins;
    }

    // ---- lists -----------------------------------------------------------------------------------------------------

    static BlockMask ofDeltaCoded(BlockGrid grid, Tensor lut, Tensor valid) {
        Check.present("grid", grid);
        Check.present("lut", lut);
        long[] shape = lists("lut", lut, grid);
        if (shape[3] != grid.keyBlocks()) {
            throw Check.invalid("lut", "shape " + lut.shape(), grid.keyBlocks() + " on the last axis for " + grid);
        }
        int[] deltas = ints("lut", lut, shape);
        int[] counts = counts("valid", valid, shape);
        int width = grid.keyBlocks();
        return MaskBuilder.build(grid, shape[0], shape[1], false, (item, head, queryBlock, row) -> {
            int r = (int) ((item * shape[1] + head) * grid.queryBlocks() + queryBlock);
            long block = 0;
            for (int n = 0; n < counts[r]; n++) {
                int delta = deltas[r * width + n];
                block += delta;
                if (delta < (n == 0 ? 0 : 1) || block >= width) {
                    throw Check.invalid(
                            "lut" + Arrays.toString(new long[] {item, head, queryBlock, n}),
                            delta,
                            (n == 0 ? 0 : 1) + ".." + (width - 1 - (block - delta)));
                }
                row.addFull((int) block);
            }
        });
    }

    static BlockMask ofFlex(
            BlockGrid grid,
            Tensor counts,
            Tensor indices,
            Tensor fullCounts,
            Tensor fullIndices,
            TokenPredicate tokens) {
        Check.present("grid", grid);
        Check.present("indices", indices);
        long[] shape = lists("indices", indices, grid);
        Lists partial = new Lists("indices", ints("indices", indices, shape), counts("counts", counts, shape), shape);
        Lists full = null;
        if (fullCounts != null) {
            Check.present("fullIndices", fullIndices);
            long[] fullShape = lists("fullIndices", fullIndices, grid);
            if (fullShape[0] != shape[0] || fullShape[1] != shape[1]) {
                throw Check.invalid(
                        "fullIndices", "shape " + fullIndices.shape(), "batch and heads of " + indices.shape());
            }
            full = new Lists(
                    "fullIndices",
                    ints("fullIndices", fullIndices, fullShape),
                    counts("fullCounts", fullCounts, fullShape),
                    fullShape);
        } else if (fullIndices != null) {
            throw Check.invalid("fullIndices", fullIndices.describe(), "null, as fullCounts is");
        }
        partial.check(grid);
        if (full != null) {
            full.check(grid);
            full.checkDisjoint(partial, grid);
        }
        Lists whole = full;
        return MaskBuilder.buildParallel(grid, shape[0], shape[1], tokens != null, () -> {
            TokenBits bits = tokens == null ? null : new TokenBits(grid);
            return (item, head, queryBlock, row) -> {
                int r = (int) ((item * shape[1] + head) * grid.queryBlocks() + queryBlock);
                if (bits == null) {
                    for (int n = 0; n < partial.counts[r]; n++) {
                        row.addPartial(partial.block(r, n));
                    }
                    for (int n = 0; whole != null && n < whole.counts[r]; n++) {
                        row.addFull(whole.block(r, n));
                    }
                    return;
                }
                bits.clear(queryBlock);
                long first = (long) queryBlock * grid.queryBlock();
                for (int i = 0; i < bits.queries(); i++) {
                    for (int n = 0; n < partial.counts[r]; n++) {
                        int block = partial.block(r, n);
                        long begin = (long) block * grid.keyBlock();
                        MaskPatterns.evaluate(tokens, item, head, first + i, begin, grid.keys(block), bits, i);
                    }
                    for (int n = 0; whole != null && n < whole.counts[r]; n++) {
                        long begin = (long) whole.block(r, n) * grid.keyBlock();
                        bits.setRange(i, begin, begin + grid.keyBlock());
                    }
                }
                bits.addTo(row);
            };
        });
    }

    /** Lists of blocks, a row of a matrix each, with how many of the row count. */
    private record Lists(String name, int[] indices, int[] counts, long[] shape) {
        int block(int row, int n) {
            return indices[row * (int) shape[3] + n];
        }

        void check(BlockGrid grid) {
            for (int r = 0; r < counts.length; r++) {
                for (int n = 0; n < counts[r]; n++) {
                    int least = n == 0 ? 0 : block(r, n - 1) + 1;
                    if (block(r, n) < least || block(r, n) >= grid.keyBlocks()) {
                        throw Check.invalid(place(r, n), block(r, n), least + ".." + (grid.keyBlocks() - 1));
                    }
                }
            }
        }

        void checkDisjoint(Lists other, BlockGrid grid) {
            boolean[] taken = new boolean[grid.keyBlocks()];
            for (int r = 0; r < counts.length; r++) {
                for (int n = 0; n < other.counts[r]; n++) {
                    taken[other.block(r, n)] = true;
                }
                for (int n = 0; n < counts[r]; n++) {
                    if (taken[block(r, n)]) {
                        throw Check.invalid(place(r, n), block(r, n), "blocks that " + other.name + " does not list");
                    }
                }
                Arrays.fill(taken, false);
            }
        }

        private String place(int row, int n) {
            long head = row / shape[2];
            return name + Arrays.toString(new long[] {head / shape[1], head % shape[1], row % shape[2], n});
        }
    }

    /** [batch, heads, query blocks, n]. */
    private static long[] lists(String name, Tensor tensor, BlockGrid grid) {
        if (tensor.shape().rank() != 4 || tensor.shape().size(2) != grid.queryBlocks()) {
            throw Check.invalid(
                    name, "shape " + tensor.shape(), "[batch, heads, " + grid.queryBlocks() + ", any] for " + grid);
        }
        return tensor.shape().toArray();
    }

    private static int[] counts(String name, Tensor tensor, long[] shape) {
        int[] counts = ints(name, tensor, shape[0], shape[1], shape[2]);
        for (int r = 0; r < counts.length; r++) {
            if (counts[r] < 0 || counts[r] > shape[3]) {
                throw Check.invalid(name + ", element " + r, counts[r], "0.." + shape[3]);
            }
        }
        return counts;
    }

    // ---- tensors ---------------------------------------------------------------------------------------------------

    private static int[] ints(String name, Tensor tensor, long... shape) {
        return read(name, tensor, I32, shape).toArray(JAVA_INT);
    }

    private static byte[] bytes(String name, Tensor tensor, long... shape) {
        return read(name, tensor, U8, shape).toArray(JAVA_BYTE);
    }

    private static byte[] booleans(String name, Tensor tensor, long... shape) {
        byte[] bytes = bytes(name, tensor, shape);
        for (int i = 0; i < bytes.length; i++) {
            if ((bytes[i] & 0xfe) != 0) {
                throw Check.invalid(name + ", element " + i, bytes[i] & 0xff, "0..1");
            }
        }
        return bytes;
    }

    /** The memory of a tensor of this type and shape, in which a negative size is any. */
    private static MemorySegment read(String name, Tensor tensor, Set<DType> types, long... shape) {
        Check.present(name, tensor);
        Check.dtype(name, tensor, types);
        boolean fits = tensor.shape().rank() == shape.length;
        for (int axis = 0; fits && axis < shape.length; axis++) {
            fits = shape[axis] < 0 || tensor.shape().size(axis) == shape[axis];
        }
        if (!fits) {
            throw Check.invalid(
                    name, "shape " + tensor.shape(), Arrays.toString(shape).replace("-1", "any"));
        }
        Check.contiguous(name, tensor);
        Check.reachable(name, tensor.segment());
        Check.range("elements of " + name, tensor.shape().elements(), 0, Integer.MAX_VALUE - 8);
        return tensor.segment();
    }

    static Tensor toMap(BlockMask mask) {
        BlockGrid grid = mask.grid();
        Tensor map = Tensor.allocate(DType.U8, mask.batch(), mask.heads(), grid.queryBlocks(), grid.keyBlocks());
        long at = 0;
        for (long b = 0; b < mask.batch(); b++) {
            for (long h = 0; h < mask.heads(); h++) {
                for (int i = 0; i < grid.queryBlocks(); i++, at += grid.keyBlocks()) {
                    mark(map, at, mask.fullBlocks(b, h, i), 1);
                    mark(map, at, mask.partialBlocks(b, h, i), 2);
                }
            }
        }
        return map;
    }

    private static void mark(Tensor map, long row, int[] blocks, int kind) {
        for (int block : blocks) {
            map.segment().set(JAVA_BYTE, row + block, (byte) kind);
        }
    }
}
