package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.BlockMask.Parts;
import io.gatun.ops.BlockMask.TokenPredicate;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Every way to make a mask against a matrix of tokens by its definition, for random inputs. */
class BlockMaskTest {
    private static final int ROUNDS = 60;

    /** Each query sees what the definition says, and each block is full, partial or absent as its tokens say. */
    static void assertSees(TokenPredicate expected, BlockMask mask, String context) {
        BlockGrid grid = mask.grid();
        for (int b = 0; b < mask.batch(); b++) {
            for (int h = 0; h < mask.heads(); h++) {
                for (int qb = 0; qb < grid.queryBlocks(); qb++) {
                    for (int kb = 0; kb < grid.keyBlocks(); kb++) {
                        assertBlock(expected, mask, b, h, qb, kb, context);
                    }
                }
            }
        }
    }

    private static void assertBlock(
            TokenPredicate expected, BlockMask mask, int b, int h, int qb, int kb, String context) {
        BlockGrid grid = mask.grid();
        int seen = 0;
        int all = 0;
        for (long i = (long) qb * grid.queryBlock();
                i < Math.min((qb + 1L) * grid.queryBlock(), grid.queryLength());
                i++) {
            for (long j = (long) kb * grid.keyBlock();
                    j < Math.min((kb + 1L) * grid.keyBlock(), grid.keyLength());
                    j++) {
                boolean right = expected.sees(b, h, i, j);
                if (mask.sees(b, h, i, j) != right) {
                    assertEquals(
                            right, mask.sees(b, h, i, j), context + " [" + b + ", " + h + ", " + i + ", " + j + "]");
                }
                seen += right ? 1 : 0;
                all++;
            }
        }
        String block = context + " block [" + b + ", " + h + ", " + qb + ", " + kb + "]";
        assertEquals(seen == all, mask.isFull(b, h, qb, kb), block);
        assertEquals(seen > 0 && seen < all, mask.isPartial(b, h, qb, kb), block);
        assertEquals((double) seen / all, mask.share(b, h, qb, kb), block);
    }

    private static void rounds(Consumer<Random> round) {
        for (int seed = 0; seed < ROUNDS; seed++) {
            round.accept(new Random(seed));
        }
    }

    private static BlockGrid grid(Random random) {
        return new BlockGrid(
                random.between(0, 150), random.between(0, 200), 16 * random.between(1, 8), 16 * random.between(1, 8));
    }

    private static boolean[] booleans(Random random, int count, double share) {
        boolean[] values = new boolean[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.chance(share);
        }
        return values;
    }

    private static Tensor u8(boolean[] values, long... shape) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) (values[i] ? 1 : 0);
        }
        return Tensor.of(DType.U8, bytes, shape);
    }

    @Test
    void tokens() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            int batch = random.between(1, 2);
            int heads = random.between(1, 3);
            long stripe = random.between(1, 70);
            TokenPredicate rule = (b, h, i, j) -> (i / stripe + j / stripe + b + h) % 3 == 0 || j < h * 40L;
            assertSees(rule, BlockMask.of(grid, batch, heads, rule), random.seed + " " + grid);
        });
    }

    @Test
    void blocks() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            int[] sizes = {random.between(1, 2), random.between(1, 3), grid.queryBlocks(), grid.keyBlocks()};
            boolean[] kept = booleans(random, sizes[0] * sizes[1] * sizes[2] * sizes[3], 0.3);
            TokenPredicate rule = (b, h, i, j) -> kept[
                    (int) (((b * sizes[1] + h) * sizes[2] + i / grid.queryBlock()) * sizes[3] + j / grid.keyBlock())];
            BlockMask mask = BlockMask.ofBlocks(grid, u8(kept, sizes[0], sizes[1], sizes[2], sizes[3]));
            assertSees(rule, mask, random.seed + " " + grid);
            assertEquals(mask, BlockMask.ofBlocks(grid, mask.toMap()));
            if (sizes[0] == 1) {
                assertEquals(mask, BlockMask.ofBlocks(grid, u8(kept, sizes[1], sizes[2], sizes[3])));
            }
        });
    }

    /** Blocks of any size, with and without elements, as bytes and as bits. */
    @Test
    void bsr() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            int rows = random.of(1, 7, 16, 64, grid.queryBlock());
            int columns = random.of(1, 9, 16, 64, grid.keyBlock());
            int blockRows = (int) Math.ceilDiv(grid.queryLength(), rows);
            int blockColumns = (int) Math.ceilDiv(grid.keyLength(), columns);
            boolean[] kept = booleans(random, blockRows * blockColumns, 0.3);
            int[] place = new int[kept.length];
            int[] indptr = new int[blockRows + 1];
            int[] indices = new int[kept.length];
            int count = 0;
            for (int n = 0; n < kept.length; n++) {
                place[n] = count;
                if (kept[n]) {
                    indices[count++] = n % blockColumns;
                    indptr[n / blockColumns + 1] = count;
                }
            }
            for (int r = 0; r < blockRows; r++) {
                indptr[r + 1] = Math.max(indptr[r + 1], indptr[r]);
            }
            boolean[] elements = booleans(random, count * rows * columns, 0.7);
            byte[] bits = new byte[Math.ceilDiv(elements.length, 8)];
            for (int n = 0; n < elements.length; n++) {
                bits[n / 8] |= (byte) (elements[n] ? 1 << n % 8 : 0);
            }
            Tensor begins = Tensor.of(indptr, indptr.length);
            Tensor lists = Tensor.of(Arrays.copyOf(indices, count), count);
            TokenPredicate whole = (b, h, i, j) -> kept[(int) (i / rows * blockColumns + j / columns)];
            TokenPredicate rule = (b, h, i, j) -> whole.sees(b, h, i, j)
                    && elements[
                            (int) ((place[(int) (i / rows * blockColumns + j / columns)] * rows + i % rows) * columns
                                    + j % columns)];
            String context = random.seed + " " + grid + " of " + rows + " x " + columns;
            assertSees(whole, BlockMask.ofBsr(grid, rows, columns, begins, lists), context);
            BlockMask mask = BlockMask.ofBsr(grid, rows, columns, begins, lists, u8(elements, count, rows, columns));
            assertSees(rule, mask, context + " elements");
            Tensor packed = Tensor.of(DType.U8, bits, bits.length);
            assertEquals(mask, BlockMask.ofBsr(grid, rows, columns, begins, lists, packed), context + " bits");
        });
    }

    /** A length in parts, some of them empty. */
    private static int[] parts(Random random, int count, long length) {
        int[] cuts = new int[count + 1];
        for (int i = 1; i < count; i++) {
            cuts[i] = random.between(0, (int) length);
        }
        cuts[count] = (int) length;
        Arrays.sort(cuts);
        int[] sizes = new int[count];
        for (int i = 0; i < count; i++) {
            sizes[i] = cuts[i + 1] - cuts[i];
        }
        return sizes;
    }

    private static int part(int[] sizes, int from, long place) {
        int n = from;
        for (long end = sizes[n]; place >= end; end += sizes[n]) {
            n++;
        }
        return n - from;
    }

    @Test
    void variableBlocks() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            int heads = random.between(1, 3);
            int mb = random.between(1, 9);
            int nb = random.between(1, 9);
            boolean[] kept = booleans(random, heads * mb * nb, 0.4);
            int[] rowSizes = new int[heads * mb];
            int[] columnSizes = new int[heads * nb];
            for (int h = 0; h < heads; h++) {
                System.arraycopy(parts(random, mb, grid.queryLength()), 0, rowSizes, h * mb, mb);
                System.arraycopy(parts(random, nb, grid.keyLength()), 0, columnSizes, h * nb, nb);
            }
            TokenPredicate rule = (b, h, i, j) ->
                    kept[(int) (h * mb + part(rowSizes, (int) h * mb, i)) * nb + part(columnSizes, (int) h * nb, j)];
            BlockMask mask = BlockMask.ofVariableBlocks(
                    grid, u8(kept, heads, mb, nb), Tensor.of(rowSizes, heads, mb), Tensor.of(columnSizes, heads, nb));
            assertSees(rule, mask, random.seed + " " + grid);
        });
    }

    @Test
    void deltaCodedAndFlex() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            int heads = random.between(1, 3);
            int rows = 2 * heads * grid.queryBlocks();
            int width = grid.keyBlocks();
            int[] kinds = new int[rows * width];
            int[] lut = new int[rows * width];
            int[] valid = new int[rows];
            int[][] counts = new int[2][rows];
            int[][] lists = new int[2][rows * width];
            for (int r = 0; r < rows; r++) {
                int before = 0;
                for (int n = 0; n < width; n++) {
                    lut[r * width + n] = -5; // what is not valid is not read
                    lists[0][r * width + n] = lists[1][r * width + n] = 77;
                }
                for (int kb = 0; kb < width; kb++) {
                    int kind = random.between(0, 2);
                    kinds[r * width + kb] = kind;
                    if (kind > 0) {
                        lut[r * width + valid[r]++] = kb - before;
                        before = kb;
                        lists[kind - 1][r * width + counts[kind - 1][r]++] = kb;
                    }
                }
            }
            long[] shape = {2, heads, grid.queryBlocks(), width};
            long[] rowShape = {2, heads, grid.queryBlocks()};
            String context = random.seed + " " + grid;
            TokenPredicate listed = (b, h, i, j) -> kind(kinds, grid, heads, b, h, i, j) > 0;
            BlockMask delta = BlockMask.ofDeltaCoded(grid, Tensor.of(lut, shape), Tensor.of(valid, rowShape));
            assertSees(listed, delta, context);

            TokenPredicate even = (b, h, i, j) -> (i + j + h) % 2 == 0;
            Tensor[] four = {
                Tensor.of(counts[0], rowShape),
                Tensor.of(lists[0], shape),
                Tensor.of(counts[1], rowShape),
                Tensor.of(lists[1], shape)
            };
            TokenPredicate rule = (b, h, i, j) -> switch (kind(kinds, grid, heads, b, h, i, j)) {
                case 0 -> false;
                case 1 -> even.sees(b, h, i, j);
                default -> true;
            };
            assertSees(rule, BlockMask.ofFlex(grid, four[0], four[1], four[2], four[3], even), context);
            BlockMask plain = BlockMask.ofFlex(grid, four[0], four[1], four[2], four[3], null);
            assertEquals(Arrays.stream(counts[0]).sum(), plain.partialCount(), context);
            assertEquals(Arrays.stream(counts[1]).sum(), plain.fullCount(), context);
            assertEquals(plain, BlockMask.ofBlocks(grid, plain.toMap()), context);
            BlockMask alone = BlockMask.ofFlex(grid, four[0], four[1], null, null, null);
            assertEquals(0, alone.fullCount());
        });
    }

    private static int kind(int[] kinds, BlockGrid grid, int heads, long b, long h, long i, long j) {
        long row = (b * heads + h) * grid.queryBlocks() + i / grid.queryBlock();
        return kinds[(int) (row * grid.keyBlocks() + j / grid.keyBlock())];
    }

    @Test
    void verticalSlash() {
        rounds(random -> {
            BlockGrid grid = new BlockGrid(
                    random.between(1, 150),
                    random.between(1, 200),
                    16 * random.between(1, 8),
                    16 * random.between(1, 8));
            int heads = random.between(1, 2);
            int[][] verticals = new int[2 * heads][];
            int[][] slashes = new int[2 * heads][];
            for (int n = 0; n < verticals.length; n++) {
                verticals[n] = ints(random, random.between(0, 4), 0, (int) grid.keyLength() - 1);
                slashes[n] =
                        ints(random, random.between(0, 4), 1 - (int) grid.queryLength(), (int) grid.keyLength() - 1);
            }
            TokenPredicate rule = (b, h, i, j) -> {
                int n = (int) (b * heads + h);
                long position = i + grid.keyLength() - grid.queryLength();
                return Arrays.stream(verticals[n]).anyMatch(v -> v == j)
                        || Arrays.stream(slashes[n]).anyMatch(s -> s == position - j);
            };
            String context = random.seed + " " + grid;
            BlockMask exact = BlockMask.ofVerticalSlash(grid, heads, verticals, slashes);
            assertSees(rule, exact, context);
            BlockMask cover = BlockMask.coverVerticalSlash(grid, heads, verticals, slashes);
            assertEquals(exact.fullCount() + exact.partialCount(), cover.fullCount(), context);
            assertEquals(0, cover.partialCount(), context);
            byte[] kept = bytes(exact.toMap());
            byte[] covered = bytes(cover.toMap());
            for (int n = 0; n < kept.length; n++) {
                assertEquals(kept[n] != 0, covered[n] == 1, context + " block " + n);
            }
        });
    }

    private static int[] ints(Random random, int count, int low, int high) {
        int[] values = new int[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.between(low, high);
        }
        return values;
    }

    static byte[] bytes(Tensor map) {
        return map.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    @Test
    void slidingWindow() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            long left = random.of(-1L, 0L, 5L, 64L, Long.MAX_VALUE);
            long right = random.of(-1L, 0L, 5L, 64L, Long.MAX_VALUE);
            long sinks = random.of(0L, 3L, 64L, Long.MAX_VALUE);
            TokenPredicate rule = (b, h, i, j) -> {
                long ahead = j - (i + grid.keyLength() - grid.queryLength());
                boolean tooOld = left >= 0 && ahead < -left && j >= sinks;
                return !tooOld && !(right >= 0 && ahead > right);
            };
            assertSees(
                    rule,
                    BlockMask.slidingWindow(grid, left, right, sinks),
                    random.seed + " " + grid + " " + left + " " + right + " " + sinks);
        });
    }

    @Test
    void blockDiagonal() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            long queries = random.of(1L, 10L, 16L, 64L, Long.MAX_VALUE);
            long keys = random.of(1L, 10L, 16L, 64L, Long.MAX_VALUE);
            assertSees(
                    (b, h, i, j) -> i / queries == j / keys,
                    BlockMask.blockDiagonal(grid, queries, keys),
                    random.seed + " " + grid + " " + queries + " " + keys);
        });
    }

    @Test
    void random() {
        rounds(random -> {
            BlockGrid grid = grid(random);
            boolean causal = random.chance(0.5);
            double density = random.of(0.0, 0.1, 0.5, 1.0);
            BlockMask mask = BlockMask.random(grid, 2, 3, density, causal, random.seed);
            assertEquals(mask, BlockMask.random(grid, 2, 3, density, causal, random.seed));
            assertEquals(0, mask.partialCount());
            for (int h = 0; h < 3; h++) {
                for (int r = 0; r < grid.queryBlocks(); r++) {
                    int[] blocks = mask.fullBlocks(1, h, r);
                    int allowed = causal ? grid.causalBlocks(r) : grid.keyBlocks();
                    assertTrue(allowed == 0 || blocks.length > 0, mask::toString);
                    assertTrue(blocks.length <= allowed, mask::toString);
                    for (int n = 0; n < blocks.length; n++) {
                        assertTrue(blocks[n] > (n == 0 ? -1 : blocks[n - 1]) && blocks[n] < allowed, mask::toString);
                    }
                    if (causal && allowed > 0) {
                        assertEquals(allowed - 1, blocks[blocks.length - 1], mask::toString);
                    }
                    assertTrue(density < 1 || blocks.length == allowed, mask::toString);
                }
            }
        });
        BlockGrid grid = new BlockGrid(4096, 4096, 64, 64);
        for (double density : new double[] {0.05, 0.1, 0.25, 0.5}) {
            assertEquals(
                    density, BlockMask.random(grid, 1, 2, density, false, 1).density(), 1e-3);
            // Rows of few blocks keep their diagonal, which is more than their share; later rows keep fewer.
            assertEquals(density, BlockMask.random(grid, 1, 2, density, true, 1).causalDensity(), 1e-3);
        }
        BlockMask one = BlockMask.random(grid, 2, 2, 0.1, false, 1);
        assertNotEquals(one, BlockMask.random(grid, 2, 2, 0.1, false, 2));
        assertFalse(Arrays.equals(one.fullBlocks(0, 0, 5), one.fullBlocks(0, 1, 5)));
        assertFalse(Arrays.equals(one.fullBlocks(0, 0, 5), one.fullBlocks(1, 0, 5)));
    }

    @Test
    void headsOfSeveralMasks() {
        BlockGrid grid = new BlockGrid(100, 90, 32, 48);
        BlockMask window = BlockMask.slidingWindow(grid, 10, 0, 3);
        BlockMask some = BlockMask.random(grid, 1, 2, 0.5, false, 4);
        Tensor map = Tensor.of(DType.U8, new byte[] {2, 0, 1, 1, 0, 0, 2, 2}, 4, 2);
        BlockMask withoutBits = BlockMask.ofBlocks(grid, map);
        BlockMask all = BlockMask.ofHeads(List.of(some, window, withoutBits));
        assertEquals(4, all.heads());
        for (int i = 0; i < 100; i++) {
            for (int j = 0; j < 90; j++) {
                assertEquals(some.sees(0, 1, i, j), all.sees(0, 1, i, j));
                assertEquals(window.sees(0, 0, i, j), all.sees(0, 2, i, j));
                assertEquals(withoutBits.sees(0, 0, i, j), all.sees(0, 3, i, j));
            }
        }
        BlockMask twice = some.repeatHeads(3);
        assertEquals(6, twice.heads());
        for (int h = 0; h < 6; h++) {
            assertArrayEquals(some.fullBlocks(0, h / 3, 2), twice.fullBlocks(0, h, 2));
        }
        assertEquals(some, some.repeatHeads(1));
        assertEquals(some, BlockMask.ofHeads(List.of(some)));
    }

    /** Kept as bytes and read again; a copy, so that later changes of the bytes mean nothing. */
    @Test
    void storing() {
        BlockMask mask = BlockMask.slidingWindow(new BlockGrid(300, 200, 64, 32), 70, 3, 5)
                .repeatHeads(2);
        Parts parts = mask.parts();
        MemorySegment blocks = Arena.ofAuto().allocate(parts.fullBlocks().byteSize(), 8);
        blocks.copyFrom(parts.fullBlocks());
        Parts kept = new Parts(
                parts.fullOffsets(), blocks, parts.partialOffsets(), parts.partialBlocks(), parts.partialBits());
        BlockMask read = BlockMask.of(mask.grid(), mask.batch(), mask.heads(), kept);
        blocks.fill((byte) 9);
        assertEquals(mask, read);
        assertEquals(mask.hashCode(), read.hashCode());
        assertTrue(parts.partialBits().isReadOnly());
        assertTrue(parts.fullBlocks().isReadOnly());
        // Heap arrays do as well.
        Parts arrays = new Parts(
                MemorySegment.ofArray(new long[] {0, 1}),
                MemorySegment.ofArray(new int[] {1}),
                MemorySegment.ofArray(new long[2]),
                MemorySegment.ofArray(new int[0]),
                null);
        BlockMask small = BlockMask.of(new BlockGrid(16, 32, 16, 16), 1, 1, arrays);
        assertEquals(
                "block mask [1, 1, 16, 32] in blocks of 16 x 16: 50.0 % kept, 0 % of them partial", small.toString());
        assertTrue(small.isFull(0, 0, 0, 1) && !small.sees(0, 0, 3, 3) && small.sees(0, 0, 3, 16));
        assertEquals(2 * 16 + 4, small.byteSize());
    }

    @Test
    void densities() {
        BlockGrid grid = new BlockGrid(64, 64, 16, 16);
        BlockMask all = BlockMask.of(grid, 1, 2, (b, h, i, j) -> true);
        assertEquals(1, all.density());
        assertEquals(1, all.causalDensity());
        BlockMask first = BlockMask.of(grid, 1, 2, (b, h, i, j) -> h == 0 && j < 16 || h == 1 && j >= 48);
        assertEquals(0.25, first.density());
        assertEquals(5.0 / 20, first.causalDensity()); // 4 of head 0, 1 of head 1
        assertEquals(
                1,
                BlockMask.of(new BlockGrid(0, 64, 16, 16), 1, 1, (b, h, i, j) -> true)
                        .density());
        assertEquals("[64, 64] in blocks of 16 x 16", grid.toString());
        // 10 queries are the last of 40 keys, so that the first block is seen; of 50 queries the first 10 precede all
        // keys.
        assertEquals(3, new BlockGrid(10, 40, 16, 16).causalBlocks(0));
        assertEquals(0, new BlockGrid(50, 10, 16, 16).causalBlocks(0));
        assertEquals(1, new BlockGrid(50, 10, 16, 16).causalBlocks(3));
    }
}
