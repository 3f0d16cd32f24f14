package io.gatun.ops;

import io.gatun.internal.Check;
import io.gatun.internal.Png;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;

/** The heat map of {@link BlockMask#toPng(Path)}: a square of pixels for each block, heads side by side. */
final class MaskPicture {
    static final int ABSENT = 0xffffff;
    static final int HIDDEN = 0xd0d0d0;
    static final int FULL = 0x10305c;
    static final int HIDDEN_KEPT = 0xc04040;
    static final int FRAME = 0x000000;
    /** Of a partial block of which next to nothing is seen; towards that of full ones with its share. */
    static final int LEAST = 0xf5c96b;

    /** What a picture of one head is about as large as. */
    private static final int EXTENT = 512;

    private static final int LARGEST = 1 << 16;
    private static final int GAP = 2;

    private MaskPicture() {}

    /** Pixels on a side of a block. */
    static int cell(BlockGrid grid) {
        return Math.clamp(EXTENT / Math.max(Math.max(grid.queryBlocks(), grid.keyBlocks()), 1), 1, 16);
    }

    static void draw(BlockMask mask, Path file, long item, long firstHead, long heads) throws IOException {
        BlockGrid grid = mask.grid();
        int cell = cell(grid);
        long across = (long) Math.ceil(Math.sqrt(heads));
        long down = Math.ceilDiv(heads, across);
        long headWidth = (long) grid.keyBlocks() * cell + GAP;
        long headHeight = (long) grid.queryBlocks() * cell + GAP;
        Check.range("width of the picture", across * headWidth + GAP, 1, LARGEST);
        Check.range("height of the picture", down * headHeight + GAP, 1, LARGEST);
        int[] colours = new int[grid.keyBlocks()];
        Png.write(file, (int) (across * headWidth + GAP), (int) (down * headHeight + GAP), (y, row) -> {
            int inHead = (int) Math.floorMod(y - GAP, headHeight);
            if (inHead > 0 && inHead % cell != 0 && inHead < headHeight - GAP) {
                return; // as the row before
            }
            Arrays.fill(row, FRAME);
            if (y < GAP || inHead >= headHeight - GAP) {
                return;
            }
            long firstOfRow = (y - GAP) / headHeight * across;
            for (long n = 0; n < across && firstOfRow + n < heads; n++) {
                colour(mask, item, firstHead + firstOfRow + n, inHead / cell, colours);
                int left = (int) (n * headWidth + GAP);
                for (int x = 0; x < colours.length * cell; x++) {
                    row[left + x] = colours[x / cell];
                }
            }
        });
    }

    private static void colour(BlockMask mask, long item, long head, int queryBlock, int[] colours) {
        int causal = mask.grid().causalBlocks(queryBlock);
        Arrays.fill(colours, 0, causal, ABSENT);
        Arrays.fill(colours, causal, colours.length, HIDDEN);
        for (int block : mask.fullBlocks(item, head, queryBlock)) {
            colours[block] = block < causal ? FULL : HIDDEN_KEPT;
        }
        for (int block : mask.partialBlocks(item, head, queryBlock)) {
            double share = mask.share(item, head, queryBlock, block);
            colours[block] = block < causal ? between(LEAST, FULL, share) : HIDDEN_KEPT;
        }
    }

    private static int between(int from, int to, double share) {
        int mixed = 0;
        for (int shift = 0; shift <= 16; shift += 8) {
            int a = from >>> shift & 0xff;
            int b = to >>> shift & 0xff;
            mixed |= (int) Math.round(a + (b - a) * share) << shift;
        }
        return mixed;
    }
}
