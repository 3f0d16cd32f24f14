package io.gatun.files;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Strings of files: strict UTF-8, and a form that is safe in a message whatever a file holds. */
final class Text {
    private static final int LONGEST_QUOTE = 80;

    private Text() {}

    /** The string in quotes; control characters escaped, cut after 80 characters. */
    static String quote(String text) {
        StringBuilder quoted = new StringBuilder("'");
        int end = Math.min(text.length(), LONGEST_QUOTE);
        for (int i = 0; i < end; i++) {
            char c = text.charAt(i);
            boolean printable = !Character.isISOControl(c) && Character.getType(c) != Character.FORMAT;
            quoted.append(printable ? String.valueOf(c) : String.format("\\u%04x", (int) c));
        }
        return quoted.append(end < text.length() ? "..." : "").append("'").toString();
    }

    /** The string of these bytes. The caller has checked that they are few enough for an array. */
    static String decode(MemorySegment utf8) throws CharacterCodingException {
        byte[] bytes = utf8.toArray(ValueLayout.JAVA_BYTE);
        return StandardCharsets.UTF_8
                .newDecoder()
                .decode(ByteBuffer.wrap(bytes))
                .toString();
    }

    /** The bytes of a string; refuses unpaired surrogates, which UTF-8 cannot hold. */
    static byte[] encode(String argument, String text) {
        Check.present(argument, text);
        try {
            ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
            byte[] exact = new byte[bytes.remaining()];
            bytes.get(exact);
            return exact;
        } catch (CharacterCodingException e) {
            throw Check.invalid(argument, quote(text), "text without unpaired surrogates");
        }
    }
}
