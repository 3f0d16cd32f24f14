package io.gatun.files;

/** GGUF files by hand. */
final class GgufSamples {
    /** Numbers of the types of values, from the definition. */
    static final int UINT8 = 0;

    static final int INT8 = 1;
    static final int UINT16 = 2;
    static final int INT16 = 3;
    static final int UINT32 = 4;
    static final int INT32 = 5;
    static final int FLOAT32 = 6;
    static final int BOOL = 7;
    static final int STRING = 8;
    static final int ARRAY = 9;
    static final int UINT64 = 10;
    static final int INT64 = 11;
    static final int FLOAT64 = 12;

    private GgufSamples() {}

    /** Magic, version, counts. */
    static Bytes head(int version, long tensors, long keys) {
        return new Bytes().text("GGUF").u32(version).u64(tensors).u64(keys);
    }

    static Bytes key(Bytes bytes, String name, int type) {
        return bytes.string(name).u32(type);
    }

    /** A tensor in the list; sizes the fastest axis first, as in files. */
    static Bytes tensor(Bytes bytes, String name, int type, long offset, long... sizes) {
        bytes.string(name).u32(sizes.length);
        for (long size : sizes) {
            bytes.u64(size);
        }
        return bytes.u32(type).u64(offset);
    }

    /** Every type of value, arrays of all kinds, tensors of elements and of blocks. */
    static Bytes everything(int version) {
        Bytes b = head(version, 5, 21);
        key(b, "a.uint8", UINT8).u8(200);
        key(b, "a.int8", INT8).u8(0x80);
        key(b, "a.uint16", UINT16).u16(60000);
        key(b, "a.int16", INT16).u16(-30000);
        key(b, "a.uint32", UINT32).u32(4000000000L);
        key(b, "a.int32", INT32).u32(-2000000000);
        key(b, "a.float32", FLOAT32).hex("0000c0bf");
        key(b, "a.true", BOOL).u8(1);
        key(b, "a.false", BOOL).u8(0);
        key(b, "a.string", STRING).u64(6).hex("47c3bc6e0a7a"); // "Gün", line feed, "z"
        key(b, "a.uint64", UINT64).hex("ffffffffffffffff");
        key(b, "a.int64", INT64).hex("0000000000000080");
        key(b, "a.float64", FLOAT64).hex("182d4454fb210940"); // pi
        key(b, "b.int32", ARRAY).u32(INT32).u64(3).u32(1).u32(-2).u32(3);
        key(b, "b.float32", ARRAY).u32(FLOAT32).u64(2).hex("0000003f").hex("000080ff"); // 0.5, -infinity
        key(b, "b.bool", ARRAY).u32(BOOL).u64(3).u8(1, 0, 1);
        key(b, "b.string", ARRAY)
                .u32(STRING)
                .u64(3)
                .string("<s>")
                .string("")
                .u64(2)
                .hex("c328"); // not UTF-8
        key(b, "b.empty", ARRAY).u32(STRING).u64(0);
        key(b, "b.nested", ARRAY).u32(ARRAY).u64(3);
        b.u32(UINT8).u64(2).u8(7, 8);
        b.u32(STRING).u64(1).string("deep");
        b.u32(ARRAY).u64(1).u32(INT16).u64(1).u16(-5);
        key(b, "general.alignment", UINT32).u32(16);
        key(b, "c.last", UINT32).u32(42);
        tensor(b, "scalar", 28, 0); // F64
        tensor(b, "matrix", 0, 16, 3, 2); // F32: 2 rows of 3
        tensor(b, "blocks", 8, 48, 64, 2, 1); // Q8_0: 2 rows of 2 blocks of 34 bytes
        tensor(b, "nothing", 1, 192, 0, 5); // F16
        tensor(b, "bytes", 24, 192, 5); // I8
        b.pad(16);
        b.hex("000000000000f03f").pad(16); // 1.0
        for (float value : new float[] {1, 2, 3, 4, 5, -6}) {
            b.u32(Float.floatToRawIntBits(value));
        }
        b.pad(16);
        for (int i = 0; i < 136; i++) {
            b.u8(i);
        }
        b.pad(16);
        return b.u8(1, 2, 3, 4, 255).pad(16);
    }
}
