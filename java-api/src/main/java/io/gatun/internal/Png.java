package io.gatun.internal;

import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32;
import java.util.zip.DeflaterOutputStream;

/** Writes pictures of 8-bit red, green and blue as PNG (W3C, second edition); servers often lack java.desktop. */
public final class Png {
    private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    private static final byte[] TRUECOLOUR_8_BITS = {8, 2, 0, 0, 0};
    private static final int CHUNK = 1 << 16;

    private Png() {}

    /** Fills one row of a picture. */
    @FunctionalInterface
    public interface Painter {
        /** With 0xRRGGBB for each column. */
        void paint(int y, int[] row);
    }

    /** Writes a file, of which no more than a row is in memory at once. */
    public static void write(Path file, int width, int height, Painter painter) throws IOException {
        Check.present("file", file);
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file)))) {
            out.write(SIGNATURE);
            ByteArrayOutputStream header = new ByteArrayOutputStream();
            DataOutputStream fields = new DataOutputStream(header);
            fields.writeInt(width);
            fields.writeInt(height);
            fields.write(TRUECOLOUR_8_BITS);
            chunk(out, "IHDR", header.toByteArray());
            try (OutputStream pixels = new DeflaterOutputStream(new Chunks(out))) {
                paint(pixels, width, height, painter);
            }
            chunk(out, "IEND", new byte[0]);
        }
    }

    private static void paint(OutputStream pixels, int width, int height, Painter painter) throws IOException {
        int[] row = new int[width];
        byte[] bytes = new byte[1 + 3 * width]; // the first one names the filter: none
        for (int y = 0; y < height; y++) {
            painter.paint(y, row);
            for (int x = 0; x < width; x++) {
                bytes[1 + 3 * x] = (byte) (row[x] >>> 16);
                bytes[2 + 3 * x] = (byte) (row[x] >>> 8);
                bytes[3 + 3 * x] = (byte) row[x];
            }
            pixels.write(bytes);
        }
    }

    private static void chunk(DataOutputStream out, String type, byte[] data) throws IOException {
        byte[] name = type.getBytes(StandardCharsets.US_ASCII);
        CRC32 crc = new CRC32();
        crc.update(name);
        crc.update(data);
        out.writeInt(data.length);
        out.write(name);
        out.write(data);
        out.writeInt((int) crc.getValue());
    }

    /** Cuts what is written into chunks of compressed pixels; leaves the file open when it is closed. */
    private static final class Chunks extends OutputStream {
        private final DataOutputStream out;
        private final ByteArrayOutputStream held = new ByteArrayOutputStream();

        Chunks(DataOutputStream out) {
            this.out = out;
        }

        @Override
        public void write(int value) throws IOException {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            held.write(bytes, offset, length);
            if (held.size() >= CHUNK) {
                end();
            }
        }

        @Override
        public void close() throws IOException {
            end();
        }

        private void end() throws IOException {
            if (held.size() > 0) {
                chunk(out, "IDAT", held.toByteArray());
                held.reset();
            }
        }
    }
}
