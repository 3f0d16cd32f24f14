package io.gatun.files;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.AbstractList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * A value of GGUF metadata: a number, a boolean, a string, or an array of values of one type. It is kept as the bytes in
 * the file, so reading and writing a file changes nothing. Of a file that was opened, it lives as long as the arena.
 */
public final class GgufValue {
    /** How deep arrays of arrays may be. */
    static final int MAX_DEPTH = 8;

    /** Type and number of the elements of an array. */
    static final int ARRAY_HEAD = 12;

    private static final int LONGEST_ARRAY = Integer.MAX_VALUE - 8;

    private final GgufValueType type;
    private final MemorySegment encoded;

    /** {@code encoded} holds the bytes of exactly one value that keeps the rules of the format. */
    GgufValue(GgufValueType type, MemorySegment encoded) {
        this.type = type;
        this.encoded = encoded;
    }

    // ---- making values ---------------------------------------------------------------------------------------------

    /** 0 to 255. */
    public static GgufValue uint8(int value) {
        return whole(GgufValueType.UINT8, value, 0, 0xff);
    }

    /** -128 to 127. */
    public static GgufValue int8(int value) {
        return whole(GgufValueType.INT8, value, Byte.MIN_VALUE, Byte.MAX_VALUE);
    }

    /** 0 to 65535. */
    public static GgufValue uint16(int value) {
        return whole(GgufValueType.UINT16, value, 0, 0xffff);
    }

    /** -32768 to 32767. */
    public static GgufValue int16(int value) {
        return whole(GgufValueType.INT16, value, Short.MIN_VALUE, Short.MAX_VALUE);
    }

    /** 0 to 2^32 - 1. */
    public static GgufValue uint32(long value) {
        return whole(GgufValueType.UINT32, value, 0, 0xffffffffL);
    }

    /** Any {@code int}. */
    public static GgufValue int32(int value) {
        return whole(GgufValueType.INT32, value, Integer.MIN_VALUE, Integer.MAX_VALUE);
    }

    /** 0 to 2^63 - 1; the other half of the type's range is read, not written. */
    public static GgufValue uint64(long value) {
        return whole(GgufValueType.UINT64, value, 0, Long.MAX_VALUE);
    }

    /** Any {@code long}. */
    public static GgufValue int64(long value) {
        return whole(GgufValueType.INT64, value, Long.MIN_VALUE, Long.MAX_VALUE);
    }

    /** Any {@code float}. */
    public static GgufValue float32(float value) {
        return bits(GgufValueType.FLOAT32, Float.floatToRawIntBits(value));
    }

    /** Any {@code double}. */
    public static GgufValue float64(double value) {
        return bits(GgufValueType.FLOAT64, Double.doubleToRawLongBits(value));
    }

    /** True or false. */
    public static GgufValue bool(boolean value) {
        return bits(GgufValueType.BOOL, value ? 1 : 0);
    }

    /** Any text without unpaired surrogates. */
    public static GgufValue string(String value) {
        byte[] utf8 = Text.encode("value", value);
        ByteBuffer buffer = buffer(8L + utf8.length).putLong(utf8.length).put(utf8);
        return new GgufValue(GgufValueType.STRING, MemorySegment.ofArray(buffer.array()));
    }

    /** Texts, for vocabularies. */
    public static GgufValue strings(List<String> values) {
        Check.present("values", values);
        return array(
                GgufValueType.STRING, values.stream().map(GgufValue::string).toList());
    }

    /** Values of {@link GgufValueType#INT32}. */
    public static GgufValue array(int... values) {
        Check.present("values", values);
        ByteBuffer buffer = arrayBuffer(GgufValueType.INT32, values.length, 4L * values.length);
        for (int value : values) {
            buffer.putInt(value);
        }
        return new GgufValue(GgufValueType.ARRAY, MemorySegment.ofArray(buffer.array()));
    }

    /** Values of {@link GgufValueType#FLOAT32}. */
    public static GgufValue array(float... values) {
        Check.present("values", values);
        ByteBuffer buffer = arrayBuffer(GgufValueType.FLOAT32, values.length, 4L * values.length);
        for (float value : values) {
            buffer.putInt(Float.floatToRawIntBits(value));
        }
        return new GgufValue(GgufValueType.ARRAY, MemorySegment.ofArray(buffer.array()));
    }

    /** Values that are all of one type, also arrays. */
    public static GgufValue array(GgufValueType elementType, List<GgufValue> values) {
        Check.present("elementType", elementType);
        Check.present("values", values);
        long bytes = 0;
        for (int i = 0; i < values.size(); i++) {
            GgufValue value = values.get(i);
            Check.present("values[" + i + "]", value);
            if (value.type != elementType) {
                throw Check.invalid("values[" + i + "]", value.type, elementType);
            }
            if (value.depth() >= MAX_DEPTH) {
                throw Check.invalid(
                        "values[" + i + "]", "arrays " + value.depth() + " deep", "up to " + (MAX_DEPTH - 1));
            }
            bytes += value.encoded.byteSize();
        }
        ByteBuffer buffer = arrayBuffer(elementType, values.size(), bytes);
        for (GgufValue value : values) {
            buffer.put(value.encoded.asByteBuffer());
        }
        return new GgufValue(GgufValueType.ARRAY, MemorySegment.ofArray(buffer.array()));
    }

    private int depth() {
        int deepest = 0;
        if (type == GgufValueType.ARRAY && elementType() == GgufValueType.ARRAY) {
            for (GgufValue value : elements()) {
                deepest = Math.max(deepest, value.depth());
            }
        }
        return type == GgufValueType.ARRAY ? deepest + 1 : 0;
    }

    private static GgufValue whole(GgufValueType type, long value, long min, long max) {
        Check.range("value", value, min, max);
        return bits(type, value);
    }

    private static GgufValue bits(GgufValueType type, long bits) {
        byte[] bytes = new byte[type.bytes()];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (bits >>> 8 * i);
        }
        return new GgufValue(type, MemorySegment.ofArray(bytes));
    }

    private static ByteBuffer arrayBuffer(GgufValueType elementType, int count, long bytes) {
        return buffer(ARRAY_HEAD + bytes).putInt(elementType.id()).putLong(count);
    }

    private static ByteBuffer buffer(long bytes) {
        if (bytes > LONGEST_ARRAY) {
            throw Check.invalid("value", bytes + " bytes", "at most " + LONGEST_ARRAY);
        }
        return ByteBuffer.allocate((int) bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    // ---- using values ----------------------------------------------------------------------------------------------

    /** The type. */
    public GgufValueType type() {
        return type;
    }

    /** The bytes in the file; read-only. */
    public MemorySegment encoded() {
        return encoded.asReadOnly();
    }

    /**
     * A whole number of any type: files differ in the type of one key.
     *
     * @throws IllegalArgumentException if the value is something else, or a UINT64 beyond 2^63 - 1
     */
    public long asLong() {
        long value = switch (type) {
            case UINT8 -> encoded.get(ValueLayout.JAVA_BYTE, 0) & 0xff;
            case INT8 -> encoded.get(ValueLayout.JAVA_BYTE, 0);
            case UINT16 -> encoded.get(Cursor.SHORT, 0) & 0xffff;
            case INT16 -> encoded.get(Cursor.SHORT, 0);
            case UINT32 -> encoded.get(Cursor.INT, 0) & 0xffffffffL;
            case INT32 -> encoded.get(Cursor.INT, 0);
            case UINT64, INT64 -> encoded.get(Cursor.LONG, 0);
            default -> throw Check.invalid("value", this, "a whole number");
        };
        if (type == GgufValueType.UINT64 && value < 0) {
            throw Check.invalid("value", this, "0.." + Long.MAX_VALUE);
        }
        return value;
    }

    /**
     * A FLOAT32 or FLOAT64.
     *
     * @throws IllegalArgumentException if the value is something else
     */
    public double asDouble() {
        return switch (type) {
            case FLOAT32 -> Float.intBitsToFloat(encoded.get(Cursor.INT, 0));
            case FLOAT64 -> Double.longBitsToDouble(encoded.get(Cursor.LONG, 0));
            default -> throw Check.invalid("value", this, "a floating-point number");
        };
    }

    /**
     * A boolean.
     *
     * @throws IllegalArgumentException if the value is something else
     */
    public boolean asBoolean() {
        require(GgufValueType.BOOL);
        return encoded.get(ValueLayout.JAVA_BYTE, 0) != 0;
    }

    /**
     * A string.
     *
     * @throws IllegalArgumentException if the value is something else, or its bytes (after the eight of the length in
     *     {@link #encoded}) are not UTF-8: opening a file leaves that unchecked, as vocabularies hold parts of characters
     */
    public String asString() {
        require(GgufValueType.STRING);
        long bytes = encoded.byteSize() - 8;
        if (bytes > LONGEST_ARRAY) {
            throw Check.invalid("value", bytes + " bytes", "at most " + LONGEST_ARRAY);
        }
        try {
            return Text.decode(encoded.asSlice(8));
        } catch (CharacterCodingException e) {
            throw Check.invalid("value", bytes + " bytes that are not UTF-8", "UTF-8, or encoded()");
        }
    }

    /**
     * The type of an array's elements.
     *
     * @throws IllegalArgumentException if the value is no array
     */
    public GgufValueType elementType() {
        require(GgufValueType.ARRAY);
        return GgufValueType.of(encoded.get(Cursor.INT, 0));
    }

    /**
     * The number of an array's elements.
     *
     * @throws IllegalArgumentException if the value is no array
     */
    public long size() {
        require(GgufValueType.ARRAY);
        return encoded.get(Cursor.LONG, 4);
    }

    /**
     * An array as a list that cannot be changed. Elements of a fixed size are views made when they are asked for; the
     * places of strings and arrays are found once, here, in O(size).
     *
     * @throws IllegalArgumentException if the value is no array, or one of more than 2^31 - 9 elements
     */
    public List<GgufValue> elements() {
        int size = sizeAsInt();
        GgufValueType each = elementType();
        if (each.bytes() == 0) {
            GgufValue[] found = new GgufValue[size];
            long at = ARRAY_HEAD;
            for (int i = 0; i < size; i++) {
                long bytes = bytesAt(each, encoded, at);
                found[i] = new GgufValue(each, encoded.asSlice(at, bytes));
                at += bytes;
            }
            return Collections.unmodifiableList(Arrays.asList(found));
        }
        return new AbstractList<>() {
            @Override
            public GgufValue get(int index) {
                long at = ARRAY_HEAD + (long) Objects.checkIndex(index, size) * each.bytes();
                return new GgufValue(each, encoded.asSlice(at, each.bytes()));
            }

            @Override
            public int size() {
                return size;
            }
        };
    }

    /**
     * A copy of an array of strings.
     *
     * @throws IllegalArgumentException as {@link #elements} and {@link #asString} do
     */
    public List<String> asStrings() {
        return elements().stream().map(GgufValue::asString).toList();
    }

    /**
     * A copy of an array of whole numbers.
     *
     * @throws IllegalArgumentException as {@link #elements} and {@link #asLong} do
     */
    public long[] asLongs() {
        return elements().stream().mapToLong(GgufValue::asLong).toArray();
    }

    /**
     * A copy of an array of FLOAT32.
     *
     * @throws IllegalArgumentException if the value is something else
     */
    public float[] asFloats() {
        if (type != GgufValueType.ARRAY || elementType() != GgufValueType.FLOAT32) {
            throw Check.invalid("value", this, "an array of FLOAT32");
        }
        return encoded.asSlice(ARRAY_HEAD, 4L * sizeAsInt()).toArray(Cursor.FLOAT);
    }

    private int sizeAsInt() {
        long size = size();
        if (size > LONGEST_ARRAY) {
            throw Check.invalid("value", "an array of " + size, "at most " + LONGEST_ARRAY + " elements, or encoded()");
        }
        return (int) size;
    }

    private void require(GgufValueType wanted) {
        if (type != wanted) {
            throw Check.invalid("value", this, "a value of type " + wanted);
        }
    }

    /** The bytes of the value that starts at {@code at}. */
    private static long bytesAt(GgufValueType type, MemorySegment bytes, long at) {
        if (type == GgufValueType.STRING) {
            return 8 + bytes.get(Cursor.LONG, at);
        }
        if (type != GgufValueType.ARRAY) {
            return type.bytes();
        }
        GgufValueType each = GgufValueType.of(bytes.get(Cursor.INT, at));
        long count = bytes.get(Cursor.LONG, at + 4);
        if (each.bytes() > 0) {
            return ARRAY_HEAD + count * each.bytes();
        }
        long end = at + ARRAY_HEAD;
        for (long i = 0; i < count; i++) {
            end += bytesAt(each, bytes, end);
        }
        return end - at;
    }

    /** Whether type and bytes are equal. */
    @Override
    public boolean equals(Object other) {
        return other instanceof GgufValue value && type == value.type && encoded.mismatch(value.encoded) < 0;
    }

    @Override
    public int hashCode() {
        int hash = type.hashCode();
        long looked = Math.min(encoded.byteSize(), 64);
        for (long i = 0; i < looked; i++) {
            hash = 31 * hash + encoded.get(ValueLayout.JAVA_BYTE, i);
        }
        return hash;
    }

    /** For a person: {@code UINT32 7}, {@code STRING 'llama'}, {@code ARRAY of 32000 STRING}. */
    @Override
    public String toString() {
        return type + " "
                + switch (type) {
                    case BOOL -> String.valueOf(asBoolean());
                    case STRING -> encoded.byteSize() > 1 << 16 ? encoded.byteSize() - 8 + " bytes" : lenient();
                    case ARRAY -> "of " + size() + " " + elementType();
                    case FLOAT32, FLOAT64 -> String.valueOf(asDouble());
                    case UINT64 -> Long.toUnsignedString(encoded.get(Cursor.LONG, 0));
                    default -> String.valueOf(asLong());
                };
    }

    private String lenient() {
        byte[] utf8 = encoded.asSlice(8).toArray(ValueLayout.JAVA_BYTE);
        return Text.quote(new String(utf8, StandardCharsets.UTF_8));
    }
}
