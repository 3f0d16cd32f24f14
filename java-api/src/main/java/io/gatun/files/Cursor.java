package io.gatun.files;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;

/** Reads fields of a file one after another. Each is checked against the end of the file before it is read. */
final class Cursor extends Place {
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final MemorySegment bytes;

    Cursor(Path file, MemorySegment bytes) {
        super(file);
        this.bytes = bytes;
    }

    long remaining() {
        return bytes.byteSize() - position;
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

    /** A 64-bit number from 0 to 2^63 - 1. */
    long u64(String field) throws MalformedFileException {
        return u64(field, Long.MAX_VALUE, false);
    }

    /** A 64-bit number of things of which each takes {@code leastBytes} or more of the rest of the file. */
    long count(String field, long leastBytes) throws MalformedFileException {
        return count(field, leastBytes, Long.MAX_VALUE);
    }

    /** The same, at most {@code most}. */
    long count(String field, long leastBytes, long most) throws MalformedFileException {
        return u64(field, Math.min(Math.max(remaining() - 8, 0) / leastBytes, most), true);
    }

    private long u64(String field, long most, boolean limitedByRest) throws MalformedFileException {
        long start = skip(field, 8);
        long value = bytes.get(LONG, start);
        if (value < 0 || value > most) {
            String reason = limitedByRest ? ", as " + remaining() + " bytes follow" : "";
            throw malformed(start, field, Long.toUnsignedString(value), "0.." + most + reason);
        }
        return value;
    }

    /** A string with its length in front. */
    String string(String field, long longest) throws MalformedFileException {
        long length = count(field, 1, longest);
        long start = skip(field, length);
        try {
            return Text.decode(bytes.asSlice(start, length));
        } catch (CharacterCodingException e) {
            throw malformed(start, field, "bytes that are not UTF-8", "UTF-8");
        }
    }
}
