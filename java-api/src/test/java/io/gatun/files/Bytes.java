package io.gatun.files;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HexFormat;

/** Bytes put down one by one, as the definitions of the formats say: little-endian, strings with 64-bit lengths. */
final class Bytes {
    static final Path NAME = Path.of("some.file");

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Bytes u8(int... values) {
        for (int value : values) {
            out.write(value);
        }
        return this;
    }

    Bytes u16(int value) {
        return u8(value, value >> 8);
    }

    Bytes u32(long value) {
        return u16((int) value).u16((int) (value >> 16));
    }

    Bytes u64(long value) {
        return u32(value).u32(value >> 32);
    }

    Bytes text(String text) {
        out.writeBytes(text.getBytes(StandardCharsets.UTF_8));
        return this;
    }

    Bytes string(String text) {
        return u64(text.getBytes(StandardCharsets.UTF_8).length).text(text);
    }

    Bytes hex(String digits) {
        out.writeBytes(HexFormat.of().parseHex(digits.replaceAll("\\s", "")));
        return this;
    }

    Bytes zeros(int count) {
        out.writeBytes(new byte[count]);
        return this;
    }

    /** Zeros up to a multiple of {@code alignment}. */
    Bytes pad(int alignment) {
        return zeros(Math.floorMod(-out.size(), alignment));
    }

    byte[] array() {
        return out.toByteArray();
    }

    /** Native memory of exactly these bytes: reading beyond them is an exception. */
    MemorySegment segment() {
        return segment(array());
    }

    static MemorySegment segment(byte[] bytes) {
        MemorySegment segment =
                Arena.ofAuto().allocate(Math.max(bytes.length, 1), 64).asSlice(0, bytes.length);
        MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
        return segment.asReadOnly();
    }

    Gguf gguf() throws IOException {
        return new GgufReader(NAME, segment()).read();
    }

    Safetensors safetensors() throws IOException {
        return new SafetensorsReader(NAME, segment()).read();
    }
}
