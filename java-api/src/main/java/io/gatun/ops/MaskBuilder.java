package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/** Makes a {@link BlockMask} from its rows, each filled by itself, so that many may be filled at once. */
final class MaskBuilder {
    private static final int[] NO_BLOCKS = {};
    private static final byte[] NO_BITS = {};

    private MaskBuilder() {}

    /** Zeros that live as long as something refers to them; one byte at least, so that there is an address. */
    static MemorySegment allocate(long bytes) {
        return Check.allocate(Arena.ofAuto(), Math.max(bytes, 1), 64).asSlice(0, bytes);
    }

    /** batch * heads * query blocks; refuses what overflows. */
    static long rowsOf(BlockGrid grid, long batch, long heads) {
        Check.present("grid", grid);
        Check.range("batch", batch, 0, Long.MAX_VALUE);
        Check.range("heads", heads, 0, Long.MAX_VALUE);
        try {
            long rows = Math.multiplyExact(Math.multiplyExact(batch, heads), (long) grid.queryBlocks());
            Math.multiplyExact(rows, (long) Math.max(grid.keyBlocks(), 16));
            return rows;
        } catch (ArithmeticException overflow) {
            throw Check.invalid("batch * heads", batch + " * " + heads, "at most 2^63 - 1 blocks for " + grid);
        }
    }

    /** What fills a row; may keep scratch memory, as one thread uses it at a time. */
    interface Filler {
        void fill(long batch, long head, int queryBlock, Row row);
    }

    /** The blocks of one row, in ascending order. */
    static final class Row {
        private final int bytesOfBlock;
        private int[] full = new int[16];
        private int[] partial = new int[16];
        private byte[] bits = NO_BITS;
        private int fulls;
        private int partials;

        private Row(int bytesOfBlock) {
            this.bytesOfBlock = bytesOfBlock;
        }

        private void clear() {
            fulls = 0;
            partials = 0;
        }

        void addFull(int block) {
            if (fulls == full.length) {
                full = Arrays.copyOf(full, 2 * fulls);
            }
            full[fulls++] = block;
        }

        /** Where its bits are in {@link #bits}, all 0; of a mask without bits that says nothing. */
        int addPartial(int block) {
            if (partials == partial.length) {
                partial = Arrays.copyOf(partial, 2 * partials);
            }
            long end = (partials + 1L) * bytesOfBlock;
            Check.range("bytes of partial blocks in a row", end, 0, Integer.MAX_VALUE - 8);
            if (end > bits.length) {
                bits = Arrays.copyOf(bits, (int) Math.min(Math.max(2L * bits.length, end), Integer.MAX_VALUE - 8));
            }
            Arrays.fill(bits, (int) end - bytesOfBlock, (int) end, (byte) 0);
            partial[partials++] = block;
            return (int) end - bytesOfBlock;
        }

        byte[] bits() {
            return bits;
        }

        private Kept kept() {
            return new Kept(
                    fulls == 0 ? NO_BLOCKS : Arrays.copyOf(full, fulls),
                    partials == 0 ? NO_BLOCKS : Arrays.copyOf(partial, partials),
                    partials == 0 ? NO_BITS : Arrays.copyOf(bits, partials * bytesOfBlock));
        }
    }

    private record Kept(int[] full, int[] partial, byte[] bits) {}

    /** Fills the rows in the calling thread, which may be the only one that reaches their source. */
    static BlockMask build(BlockGrid grid, long batch, long heads, boolean withBits, Filler filler) {
        Kept[] kept = new Kept[rows(grid, batch, heads)];
        fill(grid, heads, withBits, filler, kept, 0, kept.length);
        return assemble(grid, batch, heads, withBits, kept);
    }

    /** Fills the rows in many threads, with a filler for each stretch of rows. */
    static BlockMask buildParallel(BlockGrid grid, long batch, long heads, boolean withBits, Supplier<Filler> fillers) {
        Kept[] kept = new Kept[rows(grid, batch, heads)];
        int stretches = Math.min(kept.length, 8 * Runtime.getRuntime().availableProcessors());
        IntStream.range(0, stretches)
                .parallel()
                .forEach(i -> fill(
                        grid, heads, withBits, fillers.get(), kept, (int) ((long) kept.length * i / stretches), (int)
                                ((long) kept.length * (i + 1) / stretches)));
        return assemble(grid, batch, heads, withBits, kept);
    }

    private static int rows(BlockGrid grid, long batch, long heads) {
        long rows = rowsOf(grid, batch, heads);
        Check.range("rows (batch * heads * query blocks)", rows, 0, Integer.MAX_VALUE - 8);
        return (int) rows;
    }

    private static void fill(
            BlockGrid grid, long heads, boolean withBits, Filler filler, Kept[] kept, int begin, int end) {
        Row row = new Row(withBits ? grid.bytesOfBlock() : 0);
        int queryBlocks = grid.queryBlocks();
        for (int r = begin; r < end; r++) {
            long head = r / queryBlocks;
            row.clear();
            filler.fill(head / heads, head % heads, r % queryBlocks, row);
            kept[r] = row.kept();
        }
    }

    private static BlockMask assemble(BlockGrid grid, long batch, long heads, boolean withBits, Kept[] kept) {
        long fulls = 0;
        long partials = 0;
        MemorySegment fullOffsets = allocate(JAVA_LONG.byteSize() * (kept.length + 1L));
        MemorySegment partialOffsets = allocate(JAVA_LONG.byteSize() * (kept.length + 1L));
        for (int r = 0; r < kept.length; r++) {
            fullOffsets.setAtIndex(JAVA_LONG, r + 1L, fulls += kept[r].full.length);
            partialOffsets.setAtIndex(JAVA_LONG, r + 1L, partials += kept[r].partial.length);
        }
        MemorySegment full = allocate(JAVA_INT.byteSize() * fulls);
        MemorySegment partial = allocate(JAVA_INT.byteSize() * partials);
        MemorySegment bits = withBits ? allocate(grid.bytesOfBlock() * partials) : null;
        fulls = 0;
        partials = 0;
        for (Kept row : kept) {
            MemorySegment.copy(row.full, 0, full, JAVA_INT, JAVA_INT.byteSize() * fulls, row.full.length);
            MemorySegment.copy(row.partial, 0, partial, JAVA_INT, JAVA_INT.byteSize() * partials, row.partial.length);
            if (withBits) {
                MemorySegment.copy(row.bits, 0, bits, JAVA_BYTE, grid.bytesOfBlock() * partials, row.bits.length);
            }
            fulls += row.full.length;
            partials += row.partial.length;
        }
        return new BlockMask(grid, batch, heads, new BlockMask.Parts(fullOffsets, full, partialOffsets, partial, bits));
    }
}
