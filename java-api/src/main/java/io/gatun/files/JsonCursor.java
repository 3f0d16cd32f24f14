package io.gatun.files;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Reads JSON (RFC 8259) of a known structure: the caller asks for what must come next. Most numbers are whole, not
 * negative and written as digits only.
 */
final class JsonCursor extends Place {
    private final MemorySegment bytes;
    private final long end;

    /** The JSON lies in {@code position..end} of a file. */
    JsonCursor(Path file, MemorySegment bytes, long position, long end) {
        super(file);
        this.bytes = bytes;
        this.position = position;
        this.end = end;
    }

    /** The next character after white space, or -1 at the end; it is not passed. */
    private int next() {
        while (position < end) {
            int c = bytes.get(ValueLayout.JAVA_BYTE, position) & 0xff;
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return c;
            }
            position++;
        }
        return -1;
    }

    /** Passes one character. */
    void expect(String field, char wanted) throws MalformedFileException {
        int c = next();
        if (c != wanted) {
            throw malformed(position, field, describe(c), "'" + wanted + "'");
        }
        position++;
    }

    /** Passes what follows an opening bracket or a member: true if a member comes, false after the closing bracket. */
    boolean member(String field, boolean first, char close) throws MalformedFileException {
        int c = next();
        if (c == close) {
            position++;
            return false;
        }
        if (!first) {
            if (c != ',') {
                throw malformed(position, field, describe(c), "',' or '" + close + "'");
            }
            position++;
        }
        return true;
    }

    /** Refuses anything but white space up to the end. */
    void finish(String field) throws MalformedFileException {
        int c = next();
        if (c >= 0) {
            throw malformed(position, field, describe(c), "nothing but spaces");
        }
    }

    /** A whole number of digits. */
    long number(String field) throws MalformedFileException {
        int c = next();
        long start = position;
        long value = 0;
        boolean tooLarge = false;
        while (position < end && isDigit(c = bytes.get(ValueLayout.JAVA_BYTE, position) & 0xff)) {
            tooLarge |= value > (Long.MAX_VALUE - (c - '0')) / 10;
            value = 10 * value + (c - '0');
            position++;
        }
        if (position == start) {
            throw malformed(start, field, describe(c), "a whole number from 0 on");
        }
        boolean leadingZero = position - start > 1 && bytes.get(ValueLayout.JAVA_BYTE, start) == '0';
        boolean goesOn = c == '.' || c == 'e' || c == 'E';
        if (tooLarge || leadingZero || goesOn) {
            throw malformed(start, field, text(start, position + (goesOn ? 1 : 0)), "digits of 0.." + Long.MAX_VALUE);
        }
        return value;
    }

    /** Any number, as the nearest double; infinite if there is none. */
    double decimal(String field) throws MalformedFileException {
        int c = next();
        long start = position;
        while (position < end && "+-.0123456789eE".indexOf(bytes.get(ValueLayout.JAVA_BYTE, position)) >= 0) {
            position++;
        }
        byte[] some = bytes.asSlice(start, position - start).toArray(ValueLayout.JAVA_BYTE);
        String number = new String(some, StandardCharsets.ISO_8859_1);
        if (!number.matches("-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?")) {
            throw malformed(start, field, number.isEmpty() ? describe(c) : text(start, position), "a number");
        }
        return Double.parseDouble(number);
    }

    private static boolean isDigit(int c) {
        return c >= '0' && c <= '9';
    }

    /** A string in quotes, of any characters. */
    String string(String field) throws MalformedFileException {
        expect(field, '"');
        long start = position;
        boolean plain = true;
        while (position < end) {
            int c = bytes.get(ValueLayout.JAVA_BYTE, position) & 0xff;
            if (c == '"') {
                String raw = decode(field, start, position++);
                return plain ? raw : unescape(field, start, raw);
            }
            if (c < ' ') {
                throw malformed(position, field, describe(c), "characters from 0x20 on");
            }
            plain &= c != '\\';
            position += c == '\\' ? 2 : 1; // what is escaped does not end the string
        }
        throw malformed(start, field, "no closing quote", "a string inside the header");
    }

    private String decode(String field, long from, long to) throws MalformedFileException {
        try {
            return Text.decode(bytes.asSlice(from, to - from));
        } catch (CharacterCodingException e) {
            throw malformed(from, field, "bytes that are not UTF-8", "UTF-8");
        }
    }

    private String unescape(String field, long start, String raw) throws MalformedFileException {
        StringBuilder text = new StringBuilder(raw.length());
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            if (c != '\\') {
                text.append(c);
                continue;
            }
            char kind = raw.charAt(++i);
            int plain = "\"\\/bfnrt".indexOf(kind);
            if (plain >= 0) {
                text.append("\"\\/\b\f\n\r\t".charAt(plain));
            } else if (kind == 'u' && i + 4 < raw.length() && hex(raw, i + 1) >= 0) {
                text.append((char) hex(raw, i + 1));
                i += 4;
            } else {
                throw malformed(
                        start, field, "escape " + Text.quote("\\" + kind), "\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
            }
        }
        for (int i = 0; i < text.length(); i++) {
            boolean pair = i + 1 < text.length() && Character.isSurrogatePair(text.charAt(i), text.charAt(i + 1));
            if (Character.isSurrogate(text.charAt(i)) && !pair) {
                throw malformed(start, field, "half a surrogate pair", "both halves");
            }
            i += pair ? 1 : 0;
        }
        return text.toString();
    }

    /** Four hexadecimal digits, or -1. */
    private static int hex(String text, int at) {
        int value = 0;
        for (int i = at; i < at + 4; i++) {
            char c = text.charAt(i);
            int digit = c < 128 ? Character.digit(c, 16) : -1;
            value = digit < 0 ? -1 : value < 0 ? value : 16 * value + digit;
            if (value < 0) {
                return -1;
            }
        }
        return value;
    }

    private String describe(int c) {
        return c < 0 ? "the end of the header" : c < 128 ? Text.quote(String.valueOf((char) c)) : "byte " + c;
    }

    private String text(long from, long to) {
        byte[] some = bytes.asSlice(from, Math.min(to - from, 100)).toArray(ValueLayout.JAVA_BYTE);
        return Text.quote(new String(some, StandardCharsets.ISO_8859_1));
    }
}
