package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.ops.Attention.Window;
import org.junit.jupiter.api.Test;

class KvSightTest {
    /** Every segment of a few keys, window and number of queries: Decode sees by its rule what the sequence's says. */
    @Test
    void queriesSeeWhatTheySeeOfAllKeys() {
        int whole = 0;
        int single = 0;
        for (int total = 0; total <= 6; total++) {
            for (int offset = 0; offset <= total; offset++) {
                for (int length = 0; length <= total - offset; length++) {
                    for (int queries = 1; queries <= 4; queries++) {
                        for (int left = -1; left <= 7; left++) {
                            for (int sinks = 0; sinks <= 3; sinks++) {
                                for (boolean causal : new boolean[] {false, true}) {
                                    Window window = new Window(left, -1, sinks);
                                    if (verify(offset, length, total, queries, causal, window)) {
                                        whole++;
                                    } else {
                                        single++;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        assertEquals(true, whole > 1000 && single > 1000, whole + " " + single);
    }

    /** Whether all queries are in one call. */
    private static boolean verify(int offset, int length, int total, int queries, boolean causal, Window window) {
        int next = 0;
        int calls = 0;
        for (KvSight sight : KvSight.of(offset, length, total, queries, causal, window)) {
            assertEquals(next, sight.begin());
            next = sight.end();
            calls++;
            for (int i = sight.begin(); i < sight.end(); i++) {
                String context = sight + " of " + offset + " + " + length + " of " + total + ", query " + i + " of "
                        + queries + (causal ? " causal " : " ") + window;
                long position = i + total - queries;
                long local = i - sight.begin() + sight.length() - (sight.end() - sight.begin());
                assertEquals(position, offset + local - sight.shift(), context);
                for (int j = 0; j < length; j++) {
                    boolean seen = !(causal && offset + j > position)
                            && !hides(window.left(), window.sinkKeys(), offset + j, position);
                    boolean decoded = j < sight.length() && !hides(sight.windowLeft(), sight.sinkKeys(), j, local);
                    assertEquals(seen, decoded, "key " + j + ": " + context);
                }
            }
        }
        assertEquals(queries, next);
        return calls == 1 && queries > 1;
    }

    private static boolean hides(long left, long sinkKeys, long key, long position) {
        return left >= 0 && key < position - left && key >= sinkKeys;
    }

    /** A step with one query is a single call for each segment whatever the window. */
    @Test
    void oneQueryIsOneCall() {
        KvSight all = KvSight.of(10, 20, 100, 1, true, Window.NONE).get(0);
        assertEquals(new KvSight(0, 1, 20, -1, 0, -70), all);
        KvSight some = KvSight.of(10, 20, 100, 1, true, new Window(75, -1, 12)).get(0);
        assertEquals(new KvSight(0, 1, 20, 5, 2, -70), some);
        KvSight sinks = KvSight.of(10, 20, 100, 1, true, new Window(5, -1, 12)).get(0);
        assertEquals(2, sinks.length());
        assertEquals(-1, sinks.windowLeft());
        KvSight none = KvSight.of(10, 20, 100, 1, true, new Window(5, -1, 0)).get(0);
        assertEquals(0, none.length());
    }
}
