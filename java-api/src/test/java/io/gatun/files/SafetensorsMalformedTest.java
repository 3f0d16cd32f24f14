package io.gatun.files;

import static io.gatun.files.SafetensorsTest.entry;
import static io.gatun.files.SafetensorsTest.file;
import static io.gatun.files.SafetensorsTest.sample;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Files that break one rule: the message names file, field, value and what is allowed. */
class SafetensorsMalformedTest {
    private static DynamicTest refused(String name, Bytes bytes, String field, String given, String allowed) {
        return DynamicTest.dynamicTest(name, () -> {
            String message = assertThrows(MalformedFileException.class, bytes::safetensors)
                    .getMessage();
            assertEquals(Bytes.NAME + ": " + field + ": given " + given + "; allowed: " + allowed, message);
        });
    }

    private static DynamicTest refused(String name, String header, String field, String given, String allowed) {
        return refused(name, file(header).zeros(8), field, given, allowed);
    }

    private static String tensor(String fields) {
        return "{\"t\":{" + fields + "}}";
    }

    @TestFactory
    Stream<DynamicTest> lengths() {
        return Stream.of(
                refused(
                        "nothing",
                        new Bytes(),
                        "header, length at byte 0",
                        "8 bytes",
                        "0..0 up to the end of the file"),
                refused(
                        "no length",
                        new Bytes().zeros(7),
                        "header, length at byte 0",
                        "8 bytes",
                        "0..7 up to the end of the file"),
                refused("no header", new Bytes().u64(0), "header, length at byte 0", "0", "2 or more"),
                refused("half a header", new Bytes().u64(1).text("{}"), "header, length at byte 0", "1", "2 or more"),
                refused(
                        "beyond the end",
                        new Bytes().u64(3).text("{}"),
                        "header, length at byte 0",
                        "3",
                        "0..2, as 2 bytes follow"),
                refused(
                        "negative",
                        new Bytes().u64(-1).text("{}"),
                        "header, length at byte 0",
                        "18446744073709551615",
                        "0..2, as 2 bytes follow"),
                refused("no brace", file(" {}"), "header, beginning at byte 8", "' '", "'{'"),
                refused(
                        "more than the header",
                        file("{}").zeros(3),
                        "data, size at byte 10",
                        "3 bytes",
                        "0, where the last tensor ends"));
    }

    @TestFactory
    Stream<DynamicTest> json() {
        return Stream.of(
                refused("no end", "{", "header, length at byte 0", "1", "2 or more"),
                refused("no closing brace", "{ ", "header, name at byte 10", "the end of the header", "'\"'"),
                refused("rest", "{} x", "header, end at byte 11", "'x'", "nothing but spaces"),
                refused(
                        "zero bytes after it",
                        file("{}\u0000"),
                        "header, end at byte 10",
                        "'\\u0000'",
                        "nothing but spaces"),
                refused("no colon", "{\"t\" 1}", "tensor 't', name at byte 13", "'1'", "':'"),
                refused("no name", "{1:2}", "header, name at byte 9", "'1'", "'\"'"),
                refused(
                        "comma at the end",
                        "{" + entry("t", "U8", "[8]", 0, 8) + ",}",
                        "header, name at byte 61",
                        "'}'",
                        "'\"'"),
                refused("comma in front", "{,}", "header, name at byte 9", "','", "'\"'"),
                refused(
                        "no comma",
                        "{" + entry("t", "U8", "[8]", 0, 8) + "\"u\":{}}",
                        "tensor 't', name at byte 60",
                        "'\"'",
                        "',' or '}'"),
                refused("tensor is an array", "{\"t\":[]}", "tensor 't', beginning at byte 13", "'['", "'{'"),
                refused(
                        "open name",
                        "{\"t}",
                        "header, name at byte 10",
                        "no closing quote",
                        "a string inside the header"),
                refused(
                        "open escape",
                        "{\"t\\",
                        "header, name at byte 10",
                        "no closing quote",
                        "a string inside the header"),
                refused(
                        "escaped quote",
                        "{\"t\\\"",
                        "header, name at byte 10",
                        "no closing quote",
                        "a string inside the header"),
                refused(
                        "escape",
                        "{\"t\\x\":1}",
                        "header, name at byte 10",
                        "escape '\\x'",
                        "\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"),
                refused(
                        "short escape",
                        "{\"t\\u12\":1}",
                        "header, name at byte 10",
                        "escape '\\u'",
                        "\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"),
                refused(
                        "signed escape",
                        "{\"t\\u-123\":1}",
                        "header, name at byte 10",
                        "escape '\\u'",
                        "\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"),
                refused(
                        "high surrogate",
                        "{\"\\ud800\":1}",
                        "header, name at byte 10",
                        "half a surrogate pair",
                        "both halves"),
                refused(
                        "low surrogate",
                        "{\"\\ude00\\ud83d\":1}",
                        "header, name at byte 10",
                        "half a surrogate pair",
                        "both halves"),
                refused(
                        "control character",
                        "{\"a\nb\":1}",
                        "header, name at byte 11",
                        "'\\u000a'",
                        "characters from 0x20 on"),
                refused(
                        "not UTF-8",
                        new Bytes().u64(7).text("{\"").u8(0xff).text("\":1}"),
                        "header, name at byte 10",
                        "bytes that are not UTF-8",
                        "UTF-8"),
                refused(
                        "overlong UTF-8",
                        new Bytes().u64(8).text("{\"").u8(0xc0, 0xaf).text("\":1}"),
                        "header, name at byte 10",
                        "bytes that are not UTF-8",
                        "UTF-8"),
                refused(
                        "metadata is a string",
                        "{\"__metadata__\":\"\"}",
                        "__metadata__, beginning at byte 24",
                        "'\"'",
                        "'{'"),
                refused("metadata null", "{\"__metadata__\":null}", "__metadata__, beginning at byte 24", "'n'", "'{'"),
                refused(
                        "metadata of numbers",
                        "{\"__metadata__\":{\"a\":1}}",
                        "__metadata__, text at byte 29",
                        "'1'",
                        "'\"'"),
                refused(
                        "metadata of objects",
                        "{\"__metadata__\":{\"a\":{}}}",
                        "__metadata__, text at byte 29",
                        "'{'",
                        "'\"'"),
                refused(
                        "double metadata",
                        "{\"__metadata__\":{\"a\":\"\",\"\\u0061\":\"\"}}",
                        "__metadata__, name at byte 32",
                        "'a'",
                        "each name once"),
                refused(
                        "metadata twice",
                        "{\"__metadata__\":{},\"__metadata__\":{}}",
                        "tensor '__metadata__', name at byte 27",
                        "'__metadata__'",
                        "each name once"));
    }

    @TestFactory
    Stream<DynamicTest> tensors() {
        String once = "dtype, shape and data_offsets, each once";
        return Stream.of(
                refused(
                        "double name",
                        "{" + entry("t", "U8", "[8]", 0, 8) + "," + entry("\\u0074", "U8", "[8]", 0, 8) + "}",
                        "tensor 't', name at byte 61",
                        "'t'",
                        "each name once"),
                refused(
                        "no type",
                        tensor("\"shape\":[8],\"data_offsets\":[0,8]"),
                        "tensor 't', fields at byte 13",
                        "no dtype",
                        once),
                refused(
                        "no shape",
                        tensor("\"dtype\":\"U8\",\"data_offsets\":[0,8]"),
                        "tensor 't', fields at byte 13",
                        "no shape",
                        once),
                refused(
                        "no offsets",
                        tensor("\"dtype\":\"U8\",\"shape\":[8]"),
                        "tensor 't', fields at byte 13",
                        "no data_offsets [begin, end]",
                        once),
                refused(
                        "one offset",
                        tensor("\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8]"),
                        "tensor 't', fields at byte 13",
                        "no data_offsets [begin, end]",
                        once),
                refused(
                        "three offsets",
                        tensor("\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8,9]"),
                        "tensor 't', data_offsets at byte 59",
                        "more than 2 numbers",
                        "at most 2"),
                refused(
                        "double field",
                        tensor("\"dtype\":\"U8\",\"dtype\":\"U8\""),
                        "tensor 't', field at byte 27",
                        "'dtype'",
                        once),
                refused(
                        "another field",
                        tensor("\"offsets\":[0,8]"),
                        "tensor 't', field at byte 14",
                        "'offsets'",
                        once),
                refused(
                        "type",
                        tensor("\"dtype\":\"f32\""),
                        "tensor 't', dtype at byte 22",
                        "'f32'",
                        Arrays.toString(SafetensorsType.values())),
                refused("type null", tensor("\"dtype\":null"), "tensor 't', dtype at byte 22", "'n'", "'\"'"),
                refused("shape is a number", tensor("\"shape\":8"), "tensor 't', shape at byte 22", "'8'", "'['"),
                refused(
                        "negative size",
                        tensor("\"shape\":[-1]"),
                        "tensor 't', shape at byte 23",
                        "'-'",
                        "a whole number from 0 on"),
                refused(
                        "letter",
                        tensor("\"shape\":[\u00e9]"),
                        "tensor 't', shape at byte 23",
                        "byte 195",
                        "a whole number from 0 on"),
                refused(
                        "fraction",
                        tensor("\"shape\":[1.0]"),
                        "tensor 't', shape at byte 23",
                        "'1.'",
                        "digits of 0..9223372036854775807"),
                refused(
                        "exponent",
                        tensor("\"shape\":[1e3]"),
                        "tensor 't', shape at byte 23",
                        "'1e'",
                        "digits of 0..9223372036854775807"),
                refused(
                        "leading zero",
                        tensor("\"shape\":[01]"),
                        "tensor 't', shape at byte 23",
                        "'01'",
                        "digits of 0..9223372036854775807"),
                refused(
                        "2^63",
                        tensor("\"shape\":[9223372036854775808]"),
                        "tensor 't', shape at byte 23",
                        "'9223372036854775808'",
                        "digits of 0..9223372036854775807"),
                refused(
                        "2^64",
                        tensor("\"shape\":[18446744073709551616]"),
                        "tensor 't', shape at byte 23",
                        "'18446744073709551616'",
                        "digits of 0..9223372036854775807"),
                refused(
                        "comma in a shape",
                        tensor("\"shape\":[1,]"),
                        "tensor 't', shape at byte 25",
                        "']'",
                        "a whole number from 0 on"),
                refused(
                        "open shape",
                        "{\"t\":{\"shape\":[1",
                        "tensor 't', shape at byte 24",
                        "the end of the header",
                        "',' or ']'"),
                refused(
                        "65 axes",
                        tensor("\"shape\":[1" + ",1".repeat(64) + "]"),
                        "tensor 't', shape at byte 151",
                        "more than 64 numbers",
                        "at most 64"),
                refused(
                        "too many elements",
                        tensor("\"shape\":[4294967296,2147483648]"),
                        "tensor 't', shape at byte 22",
                        "[4294967296, 2147483648]",
                        "at most 2^63 - 1 elements"),
                refused(
                        "too many bytes",
                        "{" + entry("t", "F32", "[4611686018427387904]", 0, 8) + "}",
                        "tensor 't', shape at byte 13",
                        "[4611686018427387904] of F32",
                        "whole bytes, at most 9223372036854775807"),
                refused(
                        "half a byte",
                        "{" + entry("t", "F4", "[3]", 0, 2) + "}",
                        "tensor 't', shape at byte 13",
                        "[3] of F4",
                        "whole bytes, at most 9223372036854775807"),
                refused(
                        "sizes of a byte and a half",
                        "{" + entry("t", "F6_E2M3", "[2]", 0, 2) + "}",
                        "tensor 't', shape at byte 13",
                        "[2] of F6_E2M3",
                        "whole bytes, at most 9223372036854775807"),
                refused(
                        "too few bytes",
                        "{" + entry("t", "F32", "[3]", 0, 8) + "}",
                        "tensor 't', data_offsets at byte 13",
                        "[0, 8]",
                        "12 bytes for F32[3]"),
                refused(
                        "end before begin",
                        "{" + entry("t", "F32", "[0]", 8, 4) + "}",
                        "tensor 't', data_offsets at byte 13",
                        "[8, 4]",
                        "0 bytes for F32[0]"),
                refused(
                        "hole in front",
                        "{" + entry("t", "U8", "[7]", 1, 8) + "}",
                        "tensor 't', data_offsets at byte 13",
                        "[1, 8]",
                        "begin 0 where the tensor before ends, end up to 8"),
                refused(
                        "hole",
                        "{" + entry("t", "U8", "[3]", 0, 3) + "," + entry("u", "U8", "[4]", 4, 8) + "}",
                        "tensor 'u', data_offsets at byte 65",
                        "[4, 8]",
                        "begin 3 where the tensor before ends, end up to 8"),
                refused(
                        "overlap",
                        "{" + entry("t", "U8", "[5]", 0, 5) + "," + entry("u", "U8", "[4]", 4, 8) + "}",
                        "tensor 'u', data_offsets at byte 65",
                        "[4, 8]",
                        "begin 5 where the tensor before ends, end up to 8"),
                refused(
                        "the same twice",
                        "{" + entry("t", "U8", "[8]", 0, 8) + "," + entry("u", "U8", "[8]", 0, 8) + "}",
                        "tensor 'u', data_offsets at byte 65",
                        "[0, 8]",
                        "begin 8 where the tensor before ends, end up to 8"),
                refused(
                        "hole at the end",
                        "{" + entry("t", "U8", "[7]", 0, 7) + "}",
                        "data, size at byte 61",
                        "8 bytes",
                        "7, where the last tensor ends"),
                refused(
                        "beyond the end",
                        "{" + entry("t", "U8", "[9]", 0, 9) + "}",
                        "tensor 't', data_offsets at byte 13",
                        "[0, 9]",
                        "begin 0 where the tensor before ends, end up to 8"),
                refused(
                        "nothing beyond the end",
                        "{" + entry("t", "U8", "[8]", 0, 8) + "," + entry("u", "U8", "[0]", 9, 9) + "}",
                        "tensor 'u', data_offsets at byte 65",
                        "[9, 9]",
                        "begin 8 where the tensor before ends, end up to 8"),
                refused(
                        "absurd",
                        "{" + entry("t", "U8", "[9223372036854775807]", 0, Long.MAX_VALUE) + "}",
                        "tensor 't', data_offsets at byte 13",
                        "[0, 9223372036854775807]",
                        "begin 0 where the tensor before ends, end up to 8"));
    }

    @Test
    void everyTruncationIsRefused() {
        byte[] all = sample().array();
        for (int length = 0; length < all.length; length++) {
            Bytes cut = new Bytes();
            for (byte b : Arrays.copyOf(all, length)) {
                cut.u8(b);
            }
            String message = assertThrows(MalformedFileException.class, cut::safetensors, length + " bytes")
                    .getMessage();
            assertTrue(message.matches("(?s)some.file: .*: given .*; allowed: .*"), message);
        }
    }

    /** Brackets are not followed deeper than the format goes, however many there are. */
    @Test
    void deepNesting() {
        for (String header : new String[] {
            "{\"t\":" + "{\"t\":".repeat(100_000), "{" + "[".repeat(100_000), "{" + "{".repeat(100_000)
        }) {
            String message = assertThrows(MalformedFileException.class, file(header)::safetensors)
                    .getMessage();
            assertTrue(message.length() < 200, message);
        }
    }
}
