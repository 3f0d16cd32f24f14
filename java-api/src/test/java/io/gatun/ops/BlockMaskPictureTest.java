package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Pictures as the JDK's own reader sees them. */
class BlockMaskPictureTest {
    private static final int GAP = 2;

    @TempDir
    Path folder;

    private static int pixel(BufferedImage image, int x, int y) {
        return image.getRGB(x, y) & 0xffffff;
    }

    /** Both corners of a block's square. */
    private static void assertBlock(int colour, BufferedImage image, int left, int top, int cell) {
        assertEquals(Integer.toHexString(colour), Integer.toHexString(pixel(image, left, top)));
        assertEquals(Integer.toHexString(colour), Integer.toHexString(pixel(image, left + cell - 1, top + cell - 1)));
    }

    /** Full below the diagonal; on it only what is not after the query; above it one block. */
    @Test
    void oneHead() throws IOException {
        BlockGrid grid = new BlockGrid(64, 64, 16, 16);
        BlockMask mask = BlockMask.of(
                grid,
                1,
                1,
                (b, h, i, j) -> i / 16 > j / 16 && j >= 16 || i / 16 == j / 16 && j <= i || i < 16 && j >= 48);
        Path file = folder.resolve("mask.png");
        mask.toPng(file, 0, 0);
        BufferedImage image = ImageIO.read(file.toFile());
        int cell = 16;
        assertEquals(4 * cell + 2 * GAP, image.getWidth());
        assertEquals(4 * cell + 2 * GAP, image.getHeight());
        for (int qb = 0; qb < 4; qb++) {
            for (int kb = 0; kb < 4; kb++) {
                int left = GAP + kb * cell;
                int top = GAP + qb * cell;
                if (qb == kb) {
                    // 136 of 256: between the colours of few and of all.
                    int colour = pixel(image, left, top);
                    assertBlock(colour, image, left, top, cell);
                    int red = colour >>> 16;
                    assertEquals(0xf5 + (0x10 - 0xf5) * 136 / 256, red, 1);
                } else {
                    int kept = kb > qb ? MaskPicture.HIDDEN_KEPT : MaskPicture.FULL;
                    int absent = kb > qb ? MaskPicture.HIDDEN : MaskPicture.ABSENT;
                    boolean isKept = kb > qb ? qb == 0 && kb == 3 : kb > 0;
                    assertBlock(isKept ? kept : absent, image, left, top, cell);
                }
            }
        }
        for (int i = 0; i < image.getWidth(); i++) {
            assertEquals(MaskPicture.FRAME, pixel(image, i, 0));
            assertEquals(MaskPicture.FRAME, pixel(image, i, image.getHeight() - 1));
            assertEquals(MaskPicture.FRAME, pixel(image, 0, i));
            assertEquals(MaskPicture.FRAME, pixel(image, image.getWidth() - 1, i));
        }
    }

    /** Five heads are three and two; head h keeps key block h. */
    @Test
    void allHeads() throws IOException {
        BlockGrid grid = new BlockGrid(40 * 16, 50 * 16, 16, 16);
        BlockMask mask = BlockMask.of(grid, 2, 5, (b, h, i, j) -> b == 0 && j / 16 == h);
        Path file = folder.resolve("masks.png");
        mask.toPng(file);
        BufferedImage image = ImageIO.read(file.toFile());
        int cell = 10;
        assertEquals(3 * (50 * cell + GAP) + GAP, image.getWidth());
        assertEquals(2 * (40 * cell + GAP) + GAP, image.getHeight());
        for (int h = 0; h < 5; h++) {
            int left = GAP + h % 3 * (50 * cell + GAP);
            int top = GAP + h / 3 * (40 * cell + GAP);
            for (int kb = 0; kb < 8; kb++) {
                assertBlock(
                        kb == h ? MaskPicture.FULL : MaskPicture.ABSENT, image, left + kb * cell, top + 7 * cell, cell);
            }
        }
        int empty = GAP + 2 * (50 * cell + GAP);
        assertEquals(MaskPicture.FRAME, pixel(image, empty + 5, image.getHeight() - 50));
    }

    @Test
    void badInput() {
        BlockMask mask = BlockMask.slidingWindow(new BlockGrid(64, 64, 16, 16), 3, 0, 0);
        Path file = folder.resolve("none.png");
        String message = assertThrows(IndexOutOfBoundsException.class, () -> mask.toPng(file, 0, 1))
                .getMessage();
        assertTrue(message.contains("[0, 1]") && message.contains("block mask [1, 1, 64, 64]"), message);
        assertThrows(NullPointerException.class, () -> mask.toPng(null));
        assertThrows(IOException.class, () -> mask.toPng(folder.resolve("no/such/folder.png")));
        BlockMask large = BlockMask.slidingWindow(new BlockGrid(16, 1L << 21, 16, 16), 3, 0, 0);
        message = assertThrows(IllegalArgumentException.class, () -> large.toPng(file))
                .getMessage();
        assertTrue(message.startsWith("width of the picture: given 131076; allowed: 1..65536"), message);
    }
}
