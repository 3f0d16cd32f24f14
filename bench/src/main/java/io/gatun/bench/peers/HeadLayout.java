package io.gatun.bench.peers;

import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;

/** From [heads, S, head size], a head after the other, to [S, heads, head size], a token after the other, and back. */
final class HeadLayout {
    private HeadLayout() {}

    /** Fills a buffer of tokens. */
    static void toTokens(MemorySegment heads, MemorySegment tokens, int length) {
        forEachRow(length, (head, token) -> MemorySegment.copy(heads, head, tokens, token, rowBytes()));
    }

    /** Fills an array of heads. */
    static void ofTokens(MemorySegment tokens, float[] heads, int length) {
        forEachRow(
                length,
                (head, token) -> MemorySegment.copy(
                        tokens, ValueLayout.JAVA_FLOAT, token, heads, Math.toIntExact(head / Float.BYTES), HEAD_SIZE));
    }

    private static long rowBytes() {
        return (long) HEAD_SIZE * Float.BYTES;
    }

    /** Where, in bytes, a row is in each of both. */
    private interface Row {
        void at(long head, long token);
    }

    private static void forEachRow(int length, Row row) {
        IntStream.range(0, HEADS).parallel().forEach(head -> {
            for (int i = 0; i < length; i++) {
                row.at(((long) head * length + i) * rowBytes(), ((long) i * HEADS + head) * rowBytes());
            }
        });
    }
}
