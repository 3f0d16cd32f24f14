package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.BlockMask.Parts;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Masks are new memory, so that nothing is written by what is refused. */
class BlockMaskBadInputTest {
    /** Two blocks of queries, three of keys. */
    private final BlockGrid grid = new BlockGrid(32, 48, 16, 16);

    private static Tensor ints(int[] values, long... shape) {
        return Tensor.of(values, shape);
    }

    private static Tensor zeros(DType dtype, long... shape) {
        return Tensor.allocate(dtype, shape);
    }

    private static Refusals refusals() {
        return new Refusals(() -> true);
    }

    private static Parts parts(long[] fullOffsets, int[] full, long[] partialOffsets, int[] partial) {
        return new Parts(
                MemorySegment.ofArray(fullOffsets),
                MemorySegment.ofArray(full),
                MemorySegment.ofArray(partialOffsets),
                MemorySegment.ofArray(partial),
                null);
    }

    private void of(long[] fullOffsets, int[] full, long[] partialOffsets, int[] partial) {
        BlockMask.of(grid, 1, 1, parts(fullOffsets, full, partialOffsets, partial));
    }

    @TestFactory
    Stream<DynamicTest> grids() {
        return refusals()
                .add("query block", "queryBlock", "24", "multiples of 16 in 16..128", () -> new BlockGrid(1, 1, 24, 16))
                .add("key block", "keyBlock", "144", "multiples of 16 in 16..128", () -> new BlockGrid(1, 1, 16, 144))
                .add("queries", "queryLength", "-1", "0..", () -> new BlockGrid(-1, 1, 16, 16))
                .add(
                        "keys",
                        "keyLength",
                        "9223372036854775807",
                        "0..34359738352",
                        () -> new BlockGrid(1, Long.MAX_VALUE, 16, 16))
                .add("batch", "batch", "-1", "0..", () -> BlockMask.of(grid, -1, 1, (b, h, i, j) -> true))
                .add(
                        "rows",
                        "batch * heads",
                        "4611686018427387904 * 4",
                        "2^63 - 1",
                        () -> BlockMask.of(grid, 1L << 62, 4, (b, h, i, j) -> true))
                .add(
                        "memory of rows",
                        "rows",
                        "2199023255552",
                        "0..2147483639",
                        () -> BlockMask.random(grid, 1L << 20, 1L << 20, 0.1, false, 1))
                .missing("grid", () -> BlockMask.random(null, 1, 1, 0.1, false, 1))
                .missing("tokens", () -> BlockMask.of(grid, 1, 1, (BlockMask.TokenPredicate) null))
                .add("density", "density", "NaN", "0..1", () -> BlockMask.random(grid, 1, 1, Double.NaN, false, 1))
                .add("window", "left", "-2", "-1..", () -> BlockMask.slidingWindow(grid, -2, 0, 0))
                .add("sinks", "sinkKeys", "-1", "0..", () -> BlockMask.slidingWindow(grid, 1, 0, -1))
                .add("group", "keys", "0", "1..", () -> BlockMask.blockDiagonal(grid, 1, 0))
                .add(
                        "times",
                        "times",
                        "0",
                        "1..",
                        () -> BlockMask.slidingWindow(grid, 1, 0, 0).repeatHeads(0))
                .add("no masks", "masks", "none", "one or more", () -> BlockMask.ofHeads(List.of()))
                .add(
                        "other grid",
                        "masks[1]",
                        "[1, 1, 32, 49]",
                        "[32, 48] in blocks of 16 x 16",
                        () -> BlockMask.ofHeads(List.of(
                                BlockMask.slidingWindow(grid, 1, 0, 0),
                                BlockMask.slidingWindow(new BlockGrid(32, 49, 16, 16), 1, 0, 0))))
                .add(
                        IndexOutOfBoundsException.class,
                        "outside",
                        "index",
                        "[32, 0]",
                        "inside of block mask",
                        () -> BlockMask.slidingWindow(grid, 1, 0, 0).sees(0, 0, 32, 0))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> parts() {
        long[] none = new long[3];
        return refusals()
                .missing("parts", () -> BlockMask.of(grid, 1, 1, (Parts) null))
                .missing("fullOffsets", () -> new Parts(null, null, null, null, null))
                .add(
                        "offsets",
                        "parts.fullOffsets",
                        "16 bytes",
                        "24",
                        () -> of(new long[2], new int[0], none, new int[0]))
                .add(
                        "last offset",
                        "parts.fullOffsets[2]",
                        "-1",
                        "0..",
                        () -> of(new long[] {0, 0, -1}, new int[0], none, new int[0]))
                .add(
                        "blocks",
                        "parts.fullBlocks",
                        "4 bytes",
                        "8: 2 of 4",
                        () -> of(new long[] {0, 1, 2}, new int[1], none, new int[0]))
                .add(
                        "huge offset",
                        "parts.partialBlocks",
                        "0 bytes",
                        "1000000000000 of 4",
                        () -> of(none, new int[0], new long[] {0, 0, 1_000_000_000_000L}, new int[0]))
                .add(
                        "first offset",
                        "full_offsets[0]",
                        "1",
                        "0",
                        () -> of(new long[] {1, 1, 1}, new int[1], none, new int[0]))
                .add(
                        "offsets descend",
                        "full_offsets",
                        "2",
                        "",
                        () -> of(new long[] {0, 2, 1}, new int[1], none, new int[0]))
                .add(
                        "beyond the keys",
                        "full_blocks",
                        "3",
                        "2",
                        () -> of(new long[] {0, 1, 1}, new int[] {3}, none, new int[0]))
                .add(
                        "negative",
                        "partial_blocks",
                        "-1",
                        "0..",
                        () -> of(none, new int[0], new long[] {0, 1, 1}, new int[] {-1}))
                .add(
                        "twice",
                        "full_blocks",
                        "1",
                        "",
                        () -> of(new long[] {0, 2, 2}, new int[] {1, 1}, none, new int[0]))
                .add(
                        "descending",
                        "full_blocks",
                        "0",
                        "",
                        () -> of(new long[] {0, 2, 2}, new int[] {1, 0}, none, new int[0]))
                .add(
                        "both",
                        "partial_blocks",
                        "1",
                        "",
                        () -> of(new long[] {0, 1, 1}, new int[] {1}, new long[] {0, 1, 1}, new int[] {1}))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> blocks() {
        Tensor three = Tensor.of(DType.U8, new byte[] {0, 1, 2, 3, 0, 0}, 2, 3);
        return refusals()
                .missing("map", () -> BlockMask.ofBlocks(grid, null))
                .add("dtype", "map", "i8", "[u8]", () -> BlockMask.ofBlocks(grid, zeros(DType.I8, 2, 3)))
                .add(
                        "shape",
                        "map",
                        "[3, 2]",
                        "[batch, heads, 2, 3]",
                        () -> BlockMask.ofBlocks(grid, zeros(DType.U8, 3, 2)))
                .add("rank", "map", "[6]", "[batch, heads, 2, 3]", () -> BlockMask.ofBlocks(grid, zeros(DType.U8, 6)))
                .add(
                        "gaps",
                        "map",
                        "strides",
                        "contiguous",
                        () -> BlockMask.ofBlocks(grid, zeros(DType.U8, 2, 4).slice(1, 0, 3)))
                .add("byte", "map", "3", "2", () -> BlockMask.ofBlocks(grid, three))
                .unreachable("map", DType.U8, new long[] {2, 3}, bad -> BlockMask.ofBlocks(grid, bad))
                .tests();
    }

    private void bsr(int[] indptr, int... indices) {
        BlockMask.ofBsr(grid, 16, 16, ints(indptr, indptr.length), ints(indices, indices.length));
    }

    @TestFactory
    Stream<DynamicTest> bsr() {
        Tensor begins = ints(new int[] {0, 1, 2}, 3);
        Tensor blocks = ints(new int[] {0, 1}, 2);
        Tensor two = zeros(DType.U8, 2, 16, 16);
        two.setFloat(2, 1, 0, 5);
        return refusals()
                .missing("indptr", () -> BlockMask.ofBsr(grid, 16, 16, null, blocks))
                .missing("indices", () -> BlockMask.ofBsr(grid, 16, 16, begins, null))
                .add("rows", "rows", "0", "1..", () -> BlockMask.ofBsr(grid, 0, 16, begins, blocks))
                .add("columns", "columns", "-1", "1..", () -> BlockMask.ofBsr(grid, 16, -1, begins, blocks))
                .add("indptr shape", "indptr", "[3]", "[5]", () -> BlockMask.ofBsr(grid, 8, 16, begins, blocks))
                .add(
                        "indptr dtype",
                        "indptr",
                        "f32",
                        "[i32]",
                        () -> BlockMask.ofBsr(grid, 16, 16, begins.to(DType.F32), blocks))
                .add("first", "indptr[0]", "1", "0..0", () -> bsr(new int[] {1, 1, 2}, 0, 1))
                .add("descends", "indptr[2]", "1", "2..3", () -> bsr(new int[] {0, 2, 1}, 0, 1, 2))
                .add(
                        "overflows",
                        "indptr[1]",
                        "2147483647",
                        "0..2",
                        () -> bsr(new int[] {0, Integer.MAX_VALUE, 2}, 0, 1))
                .add(
                        "too many",
                        "indices",
                        "3 blocks",
                        "2, the last of indptr",
                        () -> bsr(new int[] {0, 1, 2}, 0, 1, 2))
                .add("beyond", "indices[1]", "3", "0..2", () -> bsr(new int[] {0, 1, 2}, 0, 3))
                .add("negative", "indices[0]", "-1", "0..2", () -> bsr(new int[] {0, 1, 2}, -1, 0))
                .add("twice", "indices[1]", "1", "2..2", () -> bsr(new int[] {0, 2, 2}, 1, 1))
                .add(
                        "elements",
                        "elements",
                        "[2, 16, 15]",
                        "[2, 16, 16]",
                        () -> BlockMask.ofBsr(grid, 16, 16, begins, blocks, zeros(DType.U8, 2, 16, 15)))
                .add(
                        "bits",
                        "elements",
                        "[63]",
                        "[64]",
                        () -> BlockMask.ofBsr(grid, 16, 16, begins, blocks, zeros(DType.U8, 63)))
                .add(
                        "no boolean",
                        "elements, element 261",
                        "2",
                        "0..1",
                        () -> BlockMask.ofBsr(grid, 16, 16, begins, blocks, two))
                .unreachable("indptr", DType.I32, new long[] {3}, bad -> BlockMask.ofBsr(grid, 16, 16, bad, blocks))
                .unreachable("indices", DType.I32, new long[] {2}, bad -> BlockMask.ofBsr(grid, 16, 16, begins, bad))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> variableBlocks() {
        Tensor map = zeros(DType.U8, 1, 2, 2);
        Tensor rows = ints(new int[] {10, 22}, 1, 2);
        Tensor columns = ints(new int[] {40, 8}, 1, 2);
        return refusals()
                .missing("map", () -> BlockMask.ofVariableBlocks(grid, null, rows, columns))
                .add(
                        "map rank",
                        "map",
                        "[2, 2]",
                        "[heads, rows, columns]",
                        () -> BlockMask.ofVariableBlocks(grid, map.reshape(2, 2), rows, columns))
                .add(
                        "rows shape",
                        "rowSizes",
                        "[2, 1]",
                        "[1, 2]",
                        () -> BlockMask.ofVariableBlocks(grid, map, rows.reshape(2, 1), columns))
                .add(
                        "sum",
                        "sum of rowSizes[0]",
                        "33",
                        "32..32",
                        () -> BlockMask.ofVariableBlocks(grid, map, ints(new int[] {11, 22}, 1, 2), columns))
                .add(
                        "negative",
                        "columnSizes[0, 1]",
                        "-2",
                        "0..",
                        () -> BlockMask.ofVariableBlocks(grid, map, rows, ints(new int[] {50, -2}, 1, 2)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> lists() {
        Tensor lut = ints(new int[] {0, 1, 9, 2, 1, 9}, 1, 1, 2, 3);
        Tensor valid = ints(new int[] {2, 2}, 1, 1, 2);
        Tensor counts = ints(new int[] {1, 2}, 1, 1, 2);
        Tensor indices = ints(new int[] {0, 9, 9, 1, 2, 9}, 1, 1, 2, 3);
        Tensor full = ints(new int[] {1, 2, 9, 2, 0, 9}, 1, 1, 2, 3);
        return refusals()
                .add("beyond", "lut[0, 0, 1, 1]", "1", "1..0", () -> BlockMask.ofDeltaCoded(grid, lut, valid))
                .add(
                        "no distance",
                        "lut[0, 0, 1, 1]",
                        "0",
                        "1..1",
                        () -> BlockMask.ofDeltaCoded(grid, ints(new int[] {0, 1, 9, 1, 0, 9}, 1, 1, 2, 3), valid))
                .add(
                        "negative",
                        "lut[0, 0, 0, 0]",
                        "-1",
                        "0..2",
                        () -> BlockMask.ofDeltaCoded(grid, ints(new int[] {-1, 1, 9, 1, 0, 9}, 1, 1, 2, 3), valid))
                .add(
                        "lut shape",
                        "lut",
                        "[1, 1, 2, 2]",
                        "3 on the last axis",
                        () -> BlockMask.ofDeltaCoded(grid, zeros(DType.I32, 1, 1, 2, 2), valid))
                .add(
                        "valid",
                        "valid, element 1",
                        "4",
                        "0..3",
                        () -> BlockMask.ofDeltaCoded(grid, lut, ints(new int[] {0, 4}, 1, 1, 2)))
                .add(
                        "valid shape",
                        "valid",
                        "[2]",
                        "[1, 1, 2]",
                        () -> BlockMask.ofDeltaCoded(grid, lut, valid.reshape(2)))
                .add(
                        "flex twice",
                        "fullIndices[0, 0, 1, 1]",
                        "0",
                        "3..2",
                        () -> BlockMask.ofFlex(grid, counts, indices, counts, full, null))
                .add(
                        "flex both",
                        "fullIndices[0, 0, 1, 0]",
                        "2",
                        "does not list",
                        () -> BlockMask.ofFlex(grid, counts, indices, ints(new int[] {1, 1}, 1, 1, 2), full, null))
                .add(
                        "flex beyond",
                        "indices[0, 0, 1, 2]",
                        "9",
                        "3..2",
                        () -> BlockMask.ofFlex(grid, ints(new int[] {0, 3}, 1, 1, 2), indices, null, null, null))
                .add(
                        "flex rank",
                        "indices",
                        "[6]",
                        "[batch, heads, 2, any]",
                        () -> BlockMask.ofFlex(grid, counts, indices.reshape(6), null, null, null))
                .add(
                        "flex full without counts",
                        "fullIndices",
                        "i32",
                        "null",
                        () -> BlockMask.ofFlex(grid, counts, indices, null, full, null))
                .missing("fullIndices", () -> BlockMask.ofFlex(grid, counts, indices, counts, null, null))
                .add(
                        "flex heads",
                        "fullIndices",
                        "[1, 2, 2, 3]",
                        "batch and heads of [1, 1, 2, 3]",
                        () -> BlockMask.ofFlex(grid, counts, indices, counts, zeros(DType.I32, 1, 2, 2, 3), null))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> lines() {
        int[][] none = {{}};
        return refusals()
                .missing("verticals", () -> BlockMask.ofVerticalSlash(grid, 1, null, none))
                .missing("slashes[0]", () -> BlockMask.ofVerticalSlash(grid, 1, none, new int[1][]))
                .add("heads", "heads", "0", "1..", () -> BlockMask.ofVerticalSlash(grid, 0, none, none))
                .add(
                        "lists",
                        "verticals",
                        "1 lists",
                        "a multiple of 2",
                        () -> BlockMask.ofVerticalSlash(grid, 2, none, none))
                .add(
                        "slashes",
                        "slashes",
                        "2 lists",
                        "1, as verticals",
                        () -> BlockMask.ofVerticalSlash(grid, 1, none, new int[2][0]))
                .add(
                        "vertical",
                        "verticals[0][1]",
                        "48",
                        "0..47",
                        () -> BlockMask.coverVerticalSlash(grid, 1, new int[][] {{0, 48}}, none))
                .add(
                        "slash",
                        "slashes[0][0]",
                        "-32",
                        "-31..47",
                        () -> BlockMask.ofVerticalSlash(grid, 1, none, new int[][] {{-32}}))
                .tests();
    }
}
