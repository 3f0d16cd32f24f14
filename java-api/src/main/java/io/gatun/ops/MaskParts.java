package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_block_mask_check;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.BlockMask.Parts;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Masks from the parts of others. */
final class MaskParts {
    private MaskParts() {}

    /** The last offset of each kind says how many blocks there are; the copy is checked, which nobody changes. */
    static BlockMask copy(BlockGrid grid, long batch, long heads, Parts given) {
        Check.present("parts", given);
        long rows = MaskBuilder.rowsOf(grid, batch, heads);
        MemorySegment fullOffsets = offsets("parts.fullOffsets", given.fullOffsets(), rows);
        MemorySegment partialOffsets = offsets("parts.partialOffsets", given.partialOffsets(), rows);
        long fulls = fullOffsets.getAtIndex(JAVA_LONG, rows);
        long partials = partialOffsets.getAtIndex(JAVA_LONG, rows);
        MemorySegment bits = given.partialBits() == null
                ? null
                : exactly("parts.partialBits", given.partialBits(), partials, grid.bytesOfBlock());
        Parts parts = new Parts(
                fullOffsets,
                exactly("parts.fullBlocks", given.fullBlocks(), fulls, JAVA_INT.byteSize()),
                partialOffsets,
                exactly("parts.partialBlocks", given.partialBlocks(), partials, JAVA_INT.byteSize()),
                bits);
        check(grid, rows, parts);
        return new BlockMask(grid, batch, heads, parts);
    }

    private static MemorySegment offsets(String name, MemorySegment given, long rows) {
        MemorySegment offsets = exactly(name, given, rows + 1, JAVA_LONG.byteSize());
        long last = offsets.get(JAVA_LONG_UNALIGNED, JAVA_LONG.byteSize() * rows);
        // So many blocks have no more than 2^63 bytes of bits.
        Check.range(name + "[" + rows + "]", last, 0, Long.MAX_VALUE / 2048);
        return offsets;
    }

    /** A copy of memory that must have this size. */
    private static MemorySegment exactly(String name, MemorySegment given, long count, long bytes) {
        Check.reachable(name, given);
        if (given.byteSize() != count * bytes) {
            throw Check.invalid(name, given.byteSize() + " bytes", count * bytes + ": " + count + " of " + bytes);
        }
        return MaskBuilder.allocate(given.byteSize()).copyFrom(given);
    }

    /** Each head {@code times}. */
    static BlockMask join(BlockMask mask, int times) {
        Check.range("times * heads", times, 1, Long.MAX_VALUE / Math.max(mask.heads(), 1));
        return MaskBuilder.build(
                mask.grid(),
                mask.batch(),
                mask.heads() * times,
                mask.parts().partialBits() != null,
                (batch, head, block, row) -> add(mask, batch, head / times, block, row));
    }

    static BlockMask join(List<BlockMask> masks) {
        Check.present("masks", masks);
        List<BlockMask> parts = List.copyOf(masks);
        if (parts.isEmpty()) {
            throw Check.invalid("masks", "none", "one or more");
        }
        BlockMask first = parts.getFirst();
        boolean withBits = false;
        for (int i = 0; i < parts.size(); i++) {
            BlockMask mask = parts.get(i);
            if (!mask.grid().equals(first.grid()) || mask.batch() != first.batch()) {
                throw Check.invalid("masks[" + i + "]", mask, "batch " + first.batch() + ", " + first.grid());
            }
            withBits |= mask.parts().partialBits() != null;
        }
        int[] begin = new int[parts.size() + 1];
        for (int i = 0; i < parts.size(); i++) {
            begin[i + 1] = (int) Math.min(begin[i] + parts.get(i).heads(), Integer.MAX_VALUE);
        }
        // Partial blocks of a mask without bits are seen whole.
        int[] owner = IntStream.range(0, parts.size())
                .flatMap(i -> IntStream.range(begin[i], begin[i + 1]).map(head -> i))
                .toArray();
        return MaskBuilder.build(
                first.grid(),
                first.batch(),
                begin[parts.size()],
                withBits,
                (batch, head, block, row) ->
                        add(parts.get(owner[(int) head]), batch, head - begin[owner[(int) head]], block, row));
    }

    /** Head h of mask h, of masks of one grid and batch without bits. */
    static BlockMask ofEach(BlockMask[] masks) {
        return MaskBuilder.build(
                masks[0].grid(),
                masks[0].batch(),
                masks.length,
                false,
                (batch, head, block, row) -> add(masks[(int) head], batch, head, block, row));
    }

    private static void add(BlockMask mask, long batch, long head, int block, MaskBuilder.Row row) {
        for (int full : mask.fullBlocks(batch, head, block)) {
            row.addFull(full);
        }
        Parts parts = mask.parts();
        long first = parts.partialOffsets()
                .getAtIndex(
                        JAVA_LONG, (batch * mask.heads() + head) * mask.grid().queryBlocks() + block);
        int bytes = mask.grid().bytesOfBlock();
        for (int partial : mask.partialBlocks(batch, head, block)) {
            int at = row.addPartial(partial);
            if (parts.partialBits() != null) {
                MemorySegment.copy(parts.partialBits(), JAVA_BYTE, first++ * bytes, row.bits(), at, bytes);
            } else if (row.bits().length > 0) {
                Arrays.fill(row.bits(), at, at + bytes, (byte) -1);
            }
        }
    }

    /** Asks the native library what {@link Attention} asks of masks. */
    private static void check(BlockGrid grid, long rows, Parts parts) {
        NativeLibrary.load();
        Native.call(() -> gatun_block_mask_check(
                rows,
                grid.keyBlocks(),
                parts.fullOffsets(),
                parts.fullBlocks(),
                parts.fullBlocks().byteSize() / JAVA_INT.byteSize(),
                parts.partialOffsets(),
                parts.partialBlocks(),
                parts.partialBlocks().byteSize() / JAVA_INT.byteSize()));
    }
}
