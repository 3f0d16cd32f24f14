package io.gatun.files;

import io.gatun.internal.Check;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A file that is written in one pass. It has another name beside the wanted one until it is complete and on the disk, so
 * that readers see the old file or the new one, and mappings of the old one stay what they are.
 */
final class NewFile implements AutoCloseable {
    private static final int BUFFER = 1 << 16;
    private static final long PIECE = 1 << 20;

    private final Path target;
    private final Path temporary;
    private final FileChannel channel;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER).order(ByteOrder.LITTLE_ENDIAN);
    private long position;
    private boolean complete;

    NewFile(Path file) throws IOException {
        Check.present("file", file);
        boolean exists = Files.exists(file);
        if (exists && !Files.isRegularFile(file)) {
            throw Check.invalid("file", file + ", which is no regular file", "a regular file, or a new name");
        }
        // Of a link, what it leads to is replaced.
        target = exists ? file.toRealPath() : file.toAbsolutePath();
        Path folder = target.getParent();
        if (folder == null || !Files.isDirectory(folder)) {
            throw new NoSuchFileException(String.valueOf(folder), null, "no such folder");
        }
        temporary = folder.resolve(
                ".gatun-" + Long.toHexString(ThreadLocalRandom.current().nextLong()) + ".tmp");
        channel = FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
    }

    long position() {
        return position;
    }

    void u32(long value) throws IOException {
        room(4).putInt((int) value);
    }

    void u64(long value) throws IOException {
        room(8).putLong(value);
    }

    void bytes(byte[] bytes) throws IOException {
        segment(MemorySegment.ofArray(bytes));
    }

    /** Bytes up to the next multiple of an alignment, which is a power of two. */
    void pad(long alignment) throws IOException {
        for (long end = Gguf.align(position, alignment); position < end; ) {
            room(1).put((byte) 0);
        }
    }

    /** Small things go through the buffer, large ones straight from where they lie. */
    void segment(MemorySegment bytes) throws IOException {
        if (bytes.byteSize() <= BUFFER) {
            room((int) bytes.byteSize()).put(bytes.asByteBuffer());
            return;
        }
        flush();
        for (long at = 0; at < bytes.byteSize(); at += PIECE) {
            put(bytes.asSlice(at, Math.min(PIECE, bytes.byteSize() - at)).asByteBuffer());
        }
        position += bytes.byteSize();
    }

    private ByteBuffer room(int bytes) throws IOException {
        if (buffer.remaining() < bytes) {
            flush();
        }
        position += bytes;
        return buffer;
    }

    private void flush() throws IOException {
        put(buffer.flip());
        buffer.clear();
    }

    private void put(ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    /** Gives the file its name. */
    void complete() throws IOException {
        flush();
        channel.force(true);
        channel.close();
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        complete = true;
    }

    /** Removes what was written, unless it is complete. */
    @Override
    public void close() throws IOException {
        if (!complete) {
            channel.close();
            Files.deleteIfExists(temporary);
        }
    }
}
