package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.DecodeCase.Cache;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DecodeDataTest {
    /** Pages of 64, the last one shorter. */
    private static final int KEYS = 64 * 5 + 17;

    private static final int HEADS = 8;

    /** So everybody has the same numbers. */
    @ParameterizedTest
    @EnumSource(Cache.class)
    void cachesHoldTheNumbersExactly(Cache cache) {
        DecodeCase problem = DecodeCase.all(cache, KEYS, HEADS, 1);
        try (DecodeData data = new DecodeData(problem, 3 * problem.bytes());
                GatunCaches caches = new GatunCaches(problem, data)) {
            int last = caches.copies() - 1;
            int[] pages = caches.pages(last);
            long[] slots = IntStream.range(0, KEYS)
                    .mapToLong(key -> pages[key / 64] * 64L + key % 64)
                    .toArray();
            Tensor read = Tensor.allocate(DType.F32, HEADS, KEYS, HEAD_SIZE);
            caches.k.read(slots, read);
            assertArrayEquals(data.k(0).toFloatArray(), read.toFloatArray());
            caches.v.read(slots, read);
            assertArrayEquals(data.v(0).toFloatArray(), read.toFloatArray());
            assertArrayEquals(data.q().toFloatArray(), caches.q.toFloatArray());
        }
    }

    /** Around 0, with a deviation of about 1, and no two rows alike. */
    @ParameterizedTest
    @EnumSource(Cache.class)
    void numbersAreAboutNormal(Cache cache) {
        DecodeCase problem = DecodeCase.all(cache, KEYS, HEADS, 1);
        try (DecodeData data = new DecodeData(problem, 0)) {
            for (Tensor tensor : new Tensor[] {data.k(0), data.v(0)}) {
                float[] values = tensor.toFloatArray();
                double mean = IntStream.range(0, values.length)
                        .mapToDouble(i -> values[i])
                        .average()
                        .orElseThrow();
                double squares = IntStream.range(0, values.length)
                        .mapToDouble(i -> values[i] * values[i])
                        .average()
                        .orElseThrow();
                assertEquals(0, mean, 0.02);
                assertEquals(1, Math.sqrt(squares), cache == Cache.INT4_GROUPS ? 0.4 : 0.25); // more extremes
                long rows = IntStream.range(0, values.length / HEAD_SIZE)
                        .mapToObj(row -> FloatBuffer.wrap(values, row * HEAD_SIZE, HEAD_SIZE))
                        .distinct()
                        .count();
                assertTrue(rows > 0.999 * HEADS * KEYS, "rows " + rows);
            }
            assertFalse(Arrays.equals(data.k(0).toFloatArray(), data.v(0).toFloatArray()));
        }
    }

    @Test
    void copiesAreAlikeAndFillTheirShare() {
        DecodeCase problem = DecodeCase.all(Cache.BF16, KEYS, HEADS, 1);
        long f32 = 2L * HEADS * KEYS * HEAD_SIZE * Float.BYTES;
        try (DecodeData data = new DecodeData(problem, 3 * f32 + 1)) {
            assertEquals(4, data.copies(f32));
            assertEquals(3, data.copies(f32 + 1));
            assertEquals(1, data.copies(4 * f32));
            assertTrue(data.isFor(problem));
            assertTrue(data.isFor(new DecodeCase(Cache.BF16, 10, KEYS, HEADS, 2)));
            assertFalse(data.isFor(problem.in(Cache.INT8)));
            assertEquals(-1, data.k(0).segment().mismatch(data.k(3).segment()));
            assertEquals(-1, data.v(0).segment().mismatch(data.v(3).segment()));
            assertTrue(data.k(0).segment().address() != data.k(3).segment().address());
        }
    }
}
