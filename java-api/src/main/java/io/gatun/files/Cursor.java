package io.gatun.files;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;

/** Reads fields of a file one after another. Each is checked against the end of the file before it is read. */
final class Cursor {
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Path file;
    private final MemorySegment bytes;
    private long position;
    private String owner = "header";

    Cursor(Path file, MemorySegment bytes) {
        this.file = file;
        this.bytes = bytes;
    }

    long position() {
        return position;
    }

    long remaining() {
        return bytes.byteSize() - position;
    }

    /** Names whose fields follow, for messages. */
    void of(String newOwner) {
        owner = newOwner;
    }

    /** The exception for the field that starts at {@code at}. */
    MalformedFileException malformed(long at, String field, Object given, Object allowed) {
        return new MalformedFileException(file, owner + ", " + field + " at byte " + at, given, allowed);
    }

    /** Moves over {@code length} bytes and returns where they start. */
    long skip(String field, long length) throws MalformedFileException {
        long start = position;
        if (length > remaining()) {
            throw malformed(start, field, length + " bytes", "0.." + remaining() + " up to the end of the file");
        }
        position += length;
        return start;
    }

    int u8(String field) throws MalformedFileException {
        return bytes.get(ValueLayout.JAVA_BYTE, skip(field, 1)) & 0xff;
    }

    long u32(String field) throws MalformedFileException {
        return bytes.get(INT, skip(field, 4)) & 0xffffffffL;
    }

    /** A 64-bit number that is at most {@code max}, itself not negative. */
    long u64(String field, long max, String why) throws MalformedFileException {
        long start = skip(field, 8);
        long value = bytes.get(LONG, start);
        if (value < 0 || value > max) {
            throw malformed(start, field, Long.toUnsignedString(value), "0.." + max + why);
        }
        return value;
    }

    /** A 64-bit number of things of which each takes {@code leastBytes} or more of the rest of the file. */
    long count(String field, long leastBytes) throws MalformedFileException {
        long rest = Math.max(remaining() - 8, 0);
        return u64(field, rest / leastBytes, ", as " + rest + " bytes follow");
    }

    /** A string with its length in front. */
    String string(String field, long longest) throws MalformedFileException {
        long rest = Math.max(remaining() - 8, 0);
        long length = u64(field + " length", Math.min(rest, longest), ", as " + rest + " bytes follow");
        long start = skip(field, length);
        try {
            return Text.decode(bytes.asSlice(start, length));
        } catch (CharacterCodingException e) {
            throw malformed(start, field, "bytes that are not UTF-8", "UTF-8");
        }
    }
}
