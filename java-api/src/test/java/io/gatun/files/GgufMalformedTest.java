package io.gatun.files;

import static io.gatun.files.GgufSamples.ARRAY;
import static io.gatun.files.GgufSamples.BOOL;
import static io.gatun.files.GgufSamples.STRING;
import static io.gatun.files.GgufSamples.UINT32;
import static io.gatun.files.GgufSamples.UINT8;
import static io.gatun.files.GgufSamples.everything;
import static io.gatun.files.GgufSamples.head;
import static io.gatun.files.GgufSamples.tensor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Files that break one rule: the message names file, field, value and what is allowed. */
class GgufMalformedTest {
    private static final int I8 = 24;
    private static final int F32 = 0;
    private static final int Q4_K = 12;

    private static DynamicTest refused(String name, Bytes bytes, String field, String given, String allowed) {
        return DynamicTest.dynamicTest(name, () -> {
            String message =
                    assertThrows(MalformedFileException.class, bytes::gguf).getMessage();
            assertEquals(Bytes.NAME + ": " + field + ": given " + given + "; allowed: " + allowed, message);
        });
    }

    private static Bytes key(int type) {
        return GgufSamples.key(head(3, 0, 1), "k", type);
    }

    private static Bytes tensors(int type, long offset, long... sizes) {
        return tensor(head(3, 1, 0), "t", type, offset, sizes);
    }

    @TestFactory
    Stream<DynamicTest> header() {
        return Stream.of(
                refused(
                        "magic",
                        new Bytes().text("GGML").zeros(20),
                        "header, magic at byte 0",
                        "0x4c4d4747",
                        "0x46554747 (GGUF)"),
                refused("version 0", head(0, 0, 0), "header, version at byte 4", "0", "2 or 3"),
                refused("version 1", head(1, 0, 0), "header, version at byte 4", "1", "2 or 3"),
                refused("version 4", head(4, 0, 0), "header, version at byte 4", "4", "2 or 3"),
                refused(
                        "other byte order",
                        head(3 << 24, 0, 0),
                        "header, version at byte 4",
                        "50331648",
                        "2 or 3, little-endian"),
                refused(
                        "too many tensors",
                        head(3, 3, 0).zeros(47),
                        "header, number of tensors at byte 8",
                        "3",
                        "0..2, as 55 bytes follow"),
                refused(
                        "negative tensors",
                        head(3, -1, 0),
                        "header, number of tensors at byte 8",
                        "18446744073709551615",
                        "0..0, as 8 bytes follow"),
                refused(
                        "too many keys",
                        head(3, 0, 1),
                        "header, number of keys at byte 16",
                        "1",
                        "0..0, as 0 bytes follow"),
                refused(
                        "absurdly many keys",
                        head(3, 0, Long.MAX_VALUE).zeros(100),
                        "header, number of keys at byte 16",
                        "9223372036854775807",
                        "0..7, as 100 bytes follow"));
    }

    @TestFactory
    Stream<DynamicTest> metadata() {
        return Stream.of(
                refused(
                        "empty key",
                        GgufSamples.key(head(3, 0, 1), "", UINT8).u8(1).zeros(1),
                        "key 0, name at byte 24",
                        "''",
                        "names of a character or more, each once"),
                refused(
                        "double key",
                        GgufSamples.key(
                                        GgufSamples.key(head(3, 0, 2), "k", UINT8)
                                                .u8(1),
                                        "k",
                                        UINT8)
                                .u8(1),
                        "key 1, name at byte 38",
                        "'k'",
                        "names of a character or more, each once"),
                refused(
                        "key beyond the end",
                        head(3, 0, 1).u64(7).zeros(6),
                        "key 0, name at byte 24",
                        "7",
                        "0..6, as 6 bytes follow"),
                refused(
                        "long key",
                        head(3, 0, 1).u64(65536).zeros(70000),
                        "key 0, name at byte 24",
                        "65536",
                        "0..65535, as 70000 bytes follow"),
                refused(
                        "absurd key",
                        head(3, 0, 1).u64(-1).zeros(10),
                        "key 0, name at byte 24",
                        "18446744073709551615",
                        "0..10, as 10 bytes follow"),
                refused(
                        "key not UTF-8",
                        head(3, 0, 1).u64(2).u8(0xc3, 0x28).u32(UINT8).u8(1),
                        "key 0, name at byte 32",
                        "bytes that are not UTF-8",
                        "UTF-8"),
                refused(
                        "surrogates in UTF-8",
                        head(3, 0, 1).u64(3).u8(0xed, 0xa0, 0x80).u32(UINT8).u8(1),
                        "key 0, name at byte 32",
                        "bytes that are not UTF-8",
                        "UTF-8"),
                refused("unknown type", key(13).u8(1), "key 'k', type at byte 33", "13", "0..12"),
                refused("negative type", key(-1).u8(1), "key 'k', type at byte 33", "4294967295", "0..12"),
                refused("boolean 2", key(BOOL).u8(2), "key 'k', boolean at byte 37", "2", "0 or 1"),
                refused(
                        "boolean 2 in an array",
                        key(ARRAY).u32(BOOL).u64(3).u8(1, 0, 2),
                        "key 'k', boolean at byte 51",
                        "2",
                        "0 or 1"),
                refused(
                        "value cut off",
                        key(UINT32).u8(1, 2, 3),
                        "key 'k', value at byte 37",
                        "4 bytes",
                        "0..3 up to the end of the file"),
                refused(
                        "string beyond the end",
                        key(STRING).u64(4).text("abc"),
                        "key 'k', string length at byte 37",
                        "4",
                        "0..3, as 3 bytes follow"),
                refused("array type", key(ARRAY).u32(99).u64(0), "key 'k', element type at byte 37", "99", "0..12"),
                refused(
                        "array beyond the end",
                        key(ARRAY).u32(UINT32).u64(3).zeros(11),
                        "key 'k', array size at byte 41",
                        "3",
                        "0..2, as 11 bytes follow"),
                refused(
                        "absurd array",
                        key(ARRAY).u32(STRING).u64(1L << 60).zeros(16),
                        "key 'k', array size at byte 41",
                        "1152921504606846976",
                        "0..2, as 16 bytes follow"),
                refused(
                        "array that overflows",
                        key(ARRAY).u32(12).u64(1L << 61).zeros(16),
                        "key 'k', array size at byte 41",
                        "2305843009213693952",
                        "0..2, as 16 bytes follow"),
                refused(
                        "string in an array",
                        key(ARRAY).u32(STRING).u64(1).u64(1),
                        "key 'k', string length at byte 49",
                        "1",
                        "0..0, as 0 bytes follow"),
                refused("arrays in arrays", nested(9), "key 'k', array at byte 133", "arrays 9 deep", "up to 8"),
                refused(
                        "alignment 0",
                        aligned(0),
                        "key 'general.alignment'",
                        "UINT32 0",
                        "a power of two from 8 on, of type UINT32"),
                refused(
                        "alignment 4",
                        aligned(4),
                        "key 'general.alignment'",
                        "UINT32 4",
                        "a power of two from 8 on, of type UINT32"),
                refused(
                        "alignment 24",
                        aligned(24),
                        "key 'general.alignment'",
                        "UINT32 24",
                        "a power of two from 8 on, of type UINT32"),
                refused(
                        "alignment of another type",
                        GgufSamples.key(head(3, 0, 1), "general.alignment", 5).u32(32),
                        "key 'general.alignment'",
                        "INT32 32",
                        "a power of two from 8 on, of type UINT32"));
    }

    private static Bytes aligned(long alignment) {
        return GgufSamples.key(head(3, 0, 1), "general.alignment", UINT32).u32(alignment);
    }

    private static Bytes nested(int depth) {
        Bytes b = key(ARRAY);
        for (int i = 1; i < depth; i++) {
            b.u32(ARRAY).u64(1);
        }
        return b.u32(UINT8).u64(0);
    }

    @Test
    void arraysAsDeepAsAllowed() throws IOException {
        assertEquals(1, nested(8).gguf().value("k").size());
    }

    @TestFactory
    Stream<DynamicTest> tensors() {
        return Stream.of(
                refused(
                        "double name",
                        tensor(tensor(head(3, 2, 0), "t", I8, 0, 1), "t", I8, 0, 1)
                                .zeros(64),
                        "tensor 1, name at byte 57",
                        "'t'",
                        "each name once"),
                refused(
                        "5 axes",
                        tensors(I8, 0, 1, 1, 1, 1, 1).zeros(64),
                        "tensor 't', number of axes at byte 33",
                        "5",
                        "0..4"),
                refused(
                        "absurd axes",
                        head(3, 1, 0).string("t").u32(-1).zeros(64),
                        "tensor 't', number of axes at byte 33",
                        "4294967295",
                        "0..4"),
                refused(
                        "negative size",
                        tensors(I8, 0, -1).zeros(64),
                        "tensor 't', size of an axis at byte 37",
                        "18446744073709551615",
                        "0..9223372036854775807"),
                refused(
                        "too many elements",
                        tensors(I8, 0, 1L << 32, 1L << 31).zeros(64),
                        "tensor 't', shape at byte 33",
                        "[2147483648, 4294967296]",
                        "at most 2^63 - 1 elements"),
                refused(
                        "too many bytes",
                        tensors(F32, 0, 1L << 31, 1L << 30).zeros(64),
                        "tensor 't', shape at byte 33",
                        "[1073741824, 2147483648] of F32",
                        "at most 9223372036854775807 bytes"),
                refused(
                        "far too many bytes",
                        tensors(28, 0, Long.MAX_VALUE).zeros(64),
                        "tensor 't', shape at byte 33",
                        "[9223372036854775807] of F64",
                        "at most 9223372036854775807 bytes"),
                refused(
                        "part of a block",
                        tensors(Q4_K, 0, 128, 2).zeros(999),
                        "tensor 't', shape at byte 33",
                        "[2, 128] of Q4_K",
                        "a last axis that is a multiple of 256"),
                refused(
                        "scalar of blocks",
                        tensors(Q4_K, 0).zeros(999),
                        "tensor 't', shape at byte 33",
                        "[] of Q4_K",
                        "a last axis that is a multiple of 256"),
                refused(
                        "removed type",
                        tensors(4, 0, 1).zeros(64),
                        "tensor 't', type at byte 45",
                        "4",
                        "the number of a type of GgmlType"),
                refused(
                        "repacked type",
                        tensors(31, 0, 1).zeros(64),
                        "tensor 't', type at byte 45",
                        "31",
                        "the number of a type of GgmlType"),
                refused(
                        "type beyond",
                        tensors(43, 0, 1).zeros(64),
                        "tensor 't', type at byte 45",
                        "43",
                        "the number of a type of GgmlType"),
                refused(
                        "negative type",
                        tensors(-1, 0, 1).zeros(64),
                        "tensor 't', type at byte 45",
                        "4294967295",
                        "the number of a type of GgmlType"),
                refused(
                        "list cut off",
                        head(3, 1, 0).string("name").u32(1).u64(1),
                        "tensor 'name', type at byte 48",
                        "4 bytes",
                        "0..0 up to the end of the file"),
                refused("no data", tensors(I8, 0, 1), "data, start at byte 64", "a file of 57 bytes", "at least 64"),
                refused(
                        "data cut off",
                        tensors(I8, 0, 9).pad(32).zeros(8),
                        "tensor 't', offset at byte 49",
                        "0",
                        "data of 9 bytes, of which the file has 8"),
                refused(
                        "offset beyond the end",
                        tensors(I8, 32, 9).pad(32).zeros(40),
                        "tensor 't', offset at byte 49",
                        "32",
                        "0..31 for 9 bytes"),
                refused(
                        "offset of nothing beyond the end",
                        tensors(I8, 64, 0).pad(32).zeros(40),
                        "tensor 't', offset at byte 49",
                        "64",
                        "0..40 for 0 bytes"),
                refused(
                        "unaligned offset",
                        tensors(I8, 8, 1).pad(32).zeros(64),
                        "tensor 't', offset at byte 49",
                        "8",
                        "multiples of 32"),
                refused(
                        "absurd offset",
                        tensors(I8, -1, 1).pad(32).zeros(64),
                        "tensor 't', offset at byte 49",
                        "18446744073709551615",
                        "0..9223372036854775807"),
                refused(
                        "offset that overflows",
                        tensors(I8, Long.MAX_VALUE - 31, 99).pad(32).zeros(128),
                        "tensor 't', offset at byte 49",
                        "9223372036854775776",
                        "0..29 for 99 bytes"),
                refused(
                        "overlap",
                        tensor(tensor(head(3, 2, 0), "a", I8, 0, 33), "b", I8, 32, 1)
                                .pad(32)
                                .zeros(64),
                        "tensor 'b', offset at byte 82",
                        "32",
                        "33 or more, after tensor 'a'"),
                refused(
                        "overlap out of order",
                        tensor(tensor(head(3, 2, 0), "a", I8, 32, 1), "b", I8, 0, 33)
                                .pad(32)
                                .zeros(64),
                        "tensor 'a', offset at byte 49",
                        "32",
                        "33 or more, after tensor 'b'"));
    }

    /** Names reach messages from files: they are cut, and control characters escaped. */
    @Test
    void messagesAreOneShortLine() {
        Bytes b = GgufSamples.key(head(3, 0, 1), "\n\u001b[2J\u202e" + "x".repeat(60000), 13)
                .u8(1);
        String message = assertThrows(MalformedFileException.class, b::gguf).getMessage();
        assertTrue(message.contains("key '\\u000a\\u001b[2J\\u202exxx"), message);
        assertTrue(message.length() < 200, message);
    }

    @Test
    void everyTruncationIsRefused() {
        byte[] all = everything(3).array();
        // Behind the last data there is only padding.
        int needed = all.length - 11;
        for (int length = 0; length < needed; length++) {
            Bytes cut = new Bytes();
            for (byte b : Arrays.copyOf(all, length)) {
                cut.u8(b);
            }
            String message = assertThrows(MalformedFileException.class, cut::gguf, length + " bytes")
                    .getMessage();
            assertTrue(message.matches("(?s)some.file: .*: given .*; allowed: .*"), message);
        }
    }

    /** Nested arrays cost no more than their bytes: sizes are checked level by level. */
    @Test
    void manyEmptyArrays() throws IOException {
        Bytes b = key(ARRAY).u32(ARRAY).u64(10_000);
        for (int i = 0; i < 10_000; i++) {
            b.u32(STRING).u64(0);
        }
        assertEquals(10_000, b.gguf().value("k").elements().size());
    }
}
