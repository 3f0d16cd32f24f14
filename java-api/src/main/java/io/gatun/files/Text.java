package io.gatun.files;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Strings of files: strict UTF-8, and a form that is safe in a message. */
final class Text {
    private Text() {}

    /** As {@link Check#quote}. */
    static String quote(String text) {
        return Check.quote(text);
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
