package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvProjectionTest {
    private static final int SIZE = 40;

    private final Random random = new Random(25);

    /** Rows of each head near a subspace of so many directions, other ones for each head. */
    private Tensor lowRank(int heads, int tokens, int rank, double noise) {
        float[] rows = random.normal(heads * tokens * SIZE, noise);
        for (int h = 0; h < heads; h++) {
            float[] directions = random.normal(rank * SIZE, 1);
            for (int t = 0; t < tokens; t++) {
                float[] weights = random.normal(rank, 1);
                for (int n = 0; n < rank * SIZE; n++) {
                    rows[(h * tokens + t) * SIZE + n % SIZE] += weights[n / SIZE] * directions[n];
                }
            }
        }
        return Tensor.of(rows, heads, tokens, SIZE);
    }

    @Test
    void eigenvectorsOfSymmetricMatrices() {
        for (int size : new int[] {1, 2, 3, 17, 64}) {
            double[][] a = new double[size][size];
            for (int i = 0; i < size; i++) {
                for (int j = 0; j <= i; j++) {
                    a[i][j] = random.source.nextGaussian() * (size == 17 && i > 3 ? 0 : 1); // one of rank 4
                    a[j][i] = a[i][j];
                }
            }
            double[][] diagonal = Arrays.stream(a).map(double[]::clone).toArray(double[][]::new);
            double[][] vectors = Jacobi.eigenvectors(diagonal);
            for (int r = 0; r < size; r++) {
                for (int i = 0; i < size; i++) {
                    double product = 0;
                    double dot = 0;
                    for (int j = 0; j < size; j++) {
                        product += a[i][j] * vectors[j][r];
                        dot += vectors[j][i] * vectors[j][r];
                    }
                    assertEquals(diagonal[r][r] * vectors[i][r], product, 1e-11 * size);
                    assertEquals(i == r ? 1 : 0, dot, 1e-12 * size);
                }
            }
        }
    }

    /** Squared errors of rows that were projected to so many channels and back, over their squares. */
    private static double error(KvProjection projection, Tensor rows, int channels) {
        long heads = rows.shape().size(0);
        long tokens = rows.shape().size(1);
        Tensor narrow = f32(1, heads, tokens, channels);
        Tensor back = f32(1, heads, tokens, SIZE);
        projection.project(rows.reshape(1, heads, tokens, SIZE), narrow);
        projection.restore(narrow, back);
        return error(rows, back);
    }

    private static double error(Tensor right, Tensor given) {
        float[] expected = right.toFloatArray();
        float[] values = given.toFloatArray();
        double squares = 0;
        double differences = 0;
        for (int n = 0; n < expected.length; n++) {
            squares += (double) expected[n] * expected[n];
            differences += Math.pow(values[n] - expected[n], 2);
        }
        return differences / squares;
    }

    /** Each 8 directions more lose less, by as much as their energy says; all lose nothing. */
    @Test
    void nested() {
        Tensor rows = lowRank(2, 300, SIZE, 0.5);
        try (KvProjection projection = KvProjection.fit(rows)) {
            double before = 1;
            for (int channels = 8; channels < SIZE; channels += 8) {
                double now = error(projection, rows, channels);
                assertTrue(now < before, channels + " channels: " + now);
                before = now;
            }
            assertTrue(error(projection, rows, SIZE) < 1e-12);
            // No other basis loses less: neither the channels as they are, nor one fit to other rows.
            float[] identity = new float[2 * SIZE * SIZE];
            for (int n = 0; n < 2 * SIZE; n++) {
                identity[n * SIZE + n % SIZE] = 1;
            }
            double best = error(projection, rows, 16);
            try (KvProjection plain = KvProjection.of(Tensor.of(identity, 2, SIZE, SIZE));
                    KvProjection foreign = KvProjection.fit(lowRank(2, 300, SIZE, 0.5))) {
                assertTrue(best < 0.8 * error(plain, rows, 16));
                assertTrue(best < 0.8 * error(foreign, rows, 16));
            }
        }
    }

    /** The fewest channels, in eights, of the head that needs most. */
    @Test
    void channelsByEnergy() {
        Tensor rows = lowRank(2, 200, 12, 1e-3);
        try (KvProjection projection = KvProjection.fit(rows)) {
            assertEquals(8, projection.channels(0.1));
            assertEquals(16, projection.channels(0.999));
            assertEquals(SIZE, projection.channels(1));
            for (double share : new double[] {0.5, 0.9, 0.99}) {
                int channels = projection.channels(share);
                for (int h = 0; h < 2; h++) {
                    Tensor basis = projection.basis().slice(0, h, h + 1);
                    Tensor head = rows.slice(0, h, h + 1);
                    try (KvProjection one = KvProjection.of(basis)) {
                        assertTrue(1 - error(one, head, channels) >= share - 1e-6);
                    }
                }
            }
            try (KvProjection given = KvProjection.of(projection.basis())) {
                assertThrows(IllegalStateException.class, () -> given.channels(0.5));
            }
        }
    }

    /** By its definition: y = B x, of the basis of the head that a query head shares. */
    @Test
    void products() {
        try (KvProjection projection = KvProjection.fit(lowRank(2, 100, SIZE, 1))) {
            Tensor q = Tensor.of(random.normal(2 * 6 * 300 * SIZE, 1), 2, 6, 300, SIZE);
            Tensor narrow = f32(2, 6, 300, 24);
            projection.project(q, narrow);
            Tensor back = f32(2, 6, 300, SIZE);
            projection.restore(narrow, back);
            for (int round = 0; round < 500; round++) {
                int b = random.between(0, 1);
                int h = random.between(0, 5);
                int i = random.of(0, 255, 256, 299, random.between(0, 299));
                int r = random.between(0, 23);
                int x = random.between(0, SIZE - 1);
                double dot = 0;
                double sum = 0;
                for (int c = 0; c < SIZE; c++) {
                    dot += projection.basis().getFloat(h / 3, r, c) * q.getFloat(b, h, i, c);
                }
                for (int c = 0; c < 24; c++) {
                    sum += projection.basis().getFloat(h / 3, c, x) * narrow.getFloat(b, h, i, c);
                }
                assertEquals(dot, narrow.getFloat(b, h, i, r), 1e-4);
                assertEquals(sum, back.getFloat(b, h, i, x), 1e-4);
            }
        }
    }

    /** Decodes over projected keys and values; returns the result in all channels. */
    private static Tensor attend(Tensor q, Tensor k, Tensor v, KvProjection forK, KvProjection forV, int r, int s) {
        long heads = k.shape().size(0);
        long tokens = k.shape().size(1);
        long queries = q.shape().size(1);
        Tensor narrowQ = f32(1, queries, 1, r);
        Tensor narrowK = f32(1, heads, tokens, r);
        Tensor narrowV = f32(1, heads, tokens, s);
        forK.project(q, narrowQ);
        forK.project(k.reshape(1, heads, tokens, SIZE), narrowK);
        forV.project(v.reshape(1, heads, tokens, SIZE), narrowV);
        Tensor narrowOut = f32(1, queries, 1, s);
        Tensor out = f32(1, queries, 1, SIZE);
        float scale = (float) (1 / Math.sqrt(SIZE)); // of the keys as they were
        try (KvPool keys = KvPool.allocate(KvFormat.F32, (int) heads, 1, (int) tokens, r);
                KvPool values = KvPool.allocate(KvFormat.F32, (int) heads, 1, (int) tokens, s)) {
            long[] slots = LongStream.range(0, tokens).toArray();
            keys.write(narrowK.reshape(heads, tokens, r), slots);
            values.write(narrowV.reshape(heads, tokens, s), slots);
            Decode.run(
                    narrowQ,
                    keys,
                    values,
                    null,
                    new long[] {tokens},
                    narrowOut,
                    Decode.Options.DEFAULT.withScale(scale));
        }
        forV.restore(narrowOut, out);
        return out;
    }

    /**
     * Attention to rows of rank 14 (and noise) in 16 of 40 channels, 60 % less, is nearly that to all; other numbers of
     * channels for keys and values work, too. All channels lose nothing.
     */
    @Test
    void attentionInFewerChannels() {
        Tensor k = lowRank(2, 500, 14, 0.02);
        Tensor v = lowRank(2, 500, 14, 0.02);
        Tensor q = Tensor.of(random.normal(4 * SIZE, 1), 1, 4, 1, SIZE);
        Tensor all = f32(1, 4, 1, SIZE);
        Attention.run(q, k.reshape(1, 2, 500, SIZE), v.reshape(1, 2, 500, SIZE), all);
        try (KvProjection forK = KvProjection.fit(k);
                KvProjection forV = KvProjection.fit(v)) {
            assertTrue(error(all, attend(q, k, v, forK, forV, SIZE, SIZE)) < 1e-9);
            double few = error(all, attend(q, k, v, forK, forV, 16, 16));
            assertTrue(few < 0.02, "16 channels: " + few);
            double uneven = error(all, attend(q, k, v, forK, forV, 24, 8));
            assertTrue(uneven > few && uneven < 1, "24 and 8 channels: " + uneven);
        }
    }

    @Test
    void close() {
        KvProjection projection = KvProjection.fit(lowRank(1, 10, 2, 1));
        Tensor rows = f32(1, 1, 1, SIZE);
        projection.close();
        assertThrows(IllegalStateException.class, () -> projection.project(rows, f32(1, 1, 1, 8)));
        assertArrayEquals(new long[] {1, SIZE, SIZE}, projection.basis().shape().toArray());
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        KvProjection some = KvProjection.fit(lowRank(2, 10, 2, 1));
        Tensor rows = f32(1, 4, 3, SIZE);
        return new Refusals(() -> true)
                .add("size", "rows", "size 12", "multiples of 8", () -> KvProjection.fit(f32(1, 5, 12)))
                .add("heads", "rows", "[0, 5, 16]", "a head or more", () -> KvProjection.fit(f32(0, 5, 16)))
                .add("basis", "basis[0]", "rows 0 and 0", "orthonormal", () -> KvProjection.of(f32(1, 8, 8)))
                .add("square", "basis", "[1, 16, 8]", "[heads, size, size]", () -> KvProjection.of(f32(1, 16, 8)))
                .add("x", "x", "[1, 3, 3, 40]", "multiple of 2", () -> some.project(f32(1, 3, 3, SIZE), rows))
                .add("y", "y", "[1, 4, 3, 12]", "multiple of 8 in 8..40", () -> some.project(rows, f32(1, 4, 3, 12)))
                .add("rows", "y", "[1, 4, 2, 8]", "that of x", () -> some.restore(f32(1, 4, 2, 8), rows))
                .add("NaN", "rows", "NaN", "finite", () -> {
                    Tensor bad = f32(1, 2, 8);
                    bad.setFloat(Float.NaN, 0, 1, 3);
                    KvProjection.fit(bad);
                })
                .add("share", "share", "-1", "0..1", () -> some.channels(-1))
                .add("dtype", "rows", "i32", "f32", () -> KvProjection.fit(Tensor.allocate(DType.I32, 1, 2, 8)))
                .missing("rows", () -> KvProjection.fit(null))
                .tests();
    }
}
