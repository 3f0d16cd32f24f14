package io.gatun.files;

/** The types of GGUF metadata, with the numbers and names of the format. */
public enum GgufValueType {
    /** 8 bits, unsigned. */
    UINT8(1),
    /** 8 bits, two's complement. */
    INT8(1),
    /** 16 bits, unsigned. */
    UINT16(2),
    /** 16 bits, two's complement. */
    INT16(2),
    /** 32 bits, unsigned. */
    UINT32(4),
    /** 32 bits, two's complement. */
    INT32(4),
    /** IEEE 754 binary32. */
    FLOAT32(4),
    /** One byte, 0 or 1. */
    BOOL(1),
    /** UTF-8, its length in bytes in front. */
    STRING(0),
    /** Values of one type, arrays too. */
    ARRAY(0),
    /** 64 bits, unsigned. */
    UINT64(8),
    /** 64 bits, two's complement. */
    INT64(8),
    /** IEEE 754 binary64. */
    FLOAT64(8);

    private static final GgufValueType[] ALL = values();

    private final int bytes;

    GgufValueType(int bytes) {
        this.bytes = bytes;
    }

    /** The number that stands for the type in files. */
    public int id() {
        return ordinal();
    }

    /** The bytes of a value, or 0 if values differ in size. */
    int bytes() {
        return bytes;
    }

    /** The fewest bytes that a value takes. */
    int leastBytes() {
        return switch (this) {
            case STRING -> 8;
            case ARRAY -> 12;
            default -> bytes;
        };
    }

    /** The type of a number, or null. */
    static GgufValueType of(long id) {
        return id >= 0 && id < ALL.length ? ALL[(int) id] : null;
    }
}
