package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvPredictorTest {
    private static final int HEADS = 2;
    private static final int SIZE = 32;
    private static final int WIDTH = HEADS * SIZE;

    private final Random random = new Random(26);

    /** y = W x + b + noise, W the same for each call. */
    private final float[] mixing = random.normal(WIDTH * WIDTH, 1 / Math.sqrt(WIDTH));

    private Tensor next(Tensor x, double noise) {
        int tokens = (int) x.shape().size(0);
        float[] in = x.toFloatArray();
        float[] y = random.normal(tokens * WIDTH, noise);
        for (int n = 0; n < y.length; n++) {
            y[n] += n % WIDTH / 8;
            for (int i = 0; i < WIDTH; i++) {
                y[n] += mixing[n % WIDTH * WIDTH + i] * in[n / WIDTH * WIDTH + i];
            }
        }
        return Tensor.of(y, tokens, WIDTH);
    }

    private Tensor rows(int tokens) {
        return Tensor.of(random.normal(tokens * WIDTH, 1), tokens, WIDTH);
    }

    private static double error(Tensor right, Tensor given) {
        float[] expected = right.toFloatArray();
        float[] values = given.toFloatArray();
        double sum = 0;
        for (int n = 0; n < expected.length; n++) {
            sum += Math.pow(values[n] - expected[n], 2);
        }
        return Math.sqrt(sum / expected.length);
    }

    /** Where nothing is left over, W and b are found; in int8 up to a step. */
    @Test
    void findsWhatIsLinear() {
        Tensor x = rows(400);
        KvPredictor predictor = KvPredictor.fit(x, next(x, 0), 0);
        assertEquals(WIDTH, predictor.inputs());
        assertEquals(WIDTH, predictor.outputs());
        Tensor other = rows(50);
        Tensor predicted = f32(50, WIDTH);
        predictor.predict(other, predicted);
        assertTrue(error(next(other, 0), predicted) < 0.01, "" + error(next(other, 0), predicted));
    }

    /** Rows are not rounded on their way: predictions of sums are sums of predictions. */
    @Test
    void isLinear() {
        Tensor samples = rows(300);
        KvPredictor predictor = KvPredictor.fit(samples, next(samples, 0.1), 0);
        float[] a = random.normal(WIDTH, 1);
        float[] rows = new float[4 * WIDTH]; // 0, a, b, a + b
        for (int i = 0; i < WIDTH; i++) {
            rows[WIDTH + i] = a[i];
            rows[2 * WIDTH + i] = 10 * a[WIDTH - 1 - i];
            rows[3 * WIDTH + i] = rows[WIDTH + i] + rows[2 * WIDTH + i];
        }
        Tensor predicted = f32(4, WIDTH);
        predictor.predict(Tensor.of(rows, 4, WIDTH), predicted);
        for (int i = 0; i < WIDTH; i++) {
            float sum = predicted.getFloat(1, i) + predicted.getFloat(2, i);
            assertEquals(sum, predicted.getFloat(0, i) + predicted.getFloat(3, i), 1e-4);
        }
    }

    /** The normal equations: products of what is missed with inputs about their mean are what the ridge leaves. */
    @Test
    void ridge() {
        float[] x = random.normal(60 * 3, 1);
        float[] y = random.normal(60, 1);
        for (int t = 0; t < 60; t++) {
            x[3 * t] += 7; // a mean, which the ridge does not hold back
            y[t] += x[3 * t] - x[3 * t + 1] + 5;
        }
        for (double ridge : new double[] {0, 0.1, 10}) {
            KvPredictor predictor = KvPredictor.fit(Tensor.of(x, 60, 3), Tensor.of(y, 60, 1), ridge);
            Tensor ends = f32(4, 1);
            predictor.predict(Tensor.of(new float[] {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, 4, 3), ends);
            double[] w = new double[3];
            double[] means = new double[3];
            double mean = 0;
            for (int i = 0; i < 3; i++) {
                w[i] = ends.getFloat(i + 1, 0) - ends.getFloat(0, 0);
            }
            for (int n = 0; n < 180; n++) {
                means[n % 3] += x[n] / 60;
                mean += n < 60 ? y[n] / 60 : 0;
            }
            double energy = 0;
            double[] products = new double[3];
            for (int t = 0; t < 60; t++) {
                double missed = y[t] - mean;
                for (int i = 0; i < 3; i++) {
                    missed -= w[i] * (x[3 * t + i] - means[i]);
                    energy += Math.pow(x[3 * t + i] - means[i], 2) / 3;
                }
                for (int i = 0; i < 3; i++) {
                    products[i] += missed * (x[3 * t + i] - means[i]);
                }
            }
            for (int i = 0; i < 3; i++) {
                // int8 weights are off by up to 1/254 of the largest one.
                assertEquals(ridge * energy * w[i], products[i], (1 + ridge) * energy * 3 * 0.01);
            }
            double center = ends.getFloat(0, 0);
            for (int i = 0; i < 3; i++) {
                center += w[i] * means[i];
            }
            assertEquals(mean, center, 0.05);
        }
    }

    /**
     * The property of AQUA-KV: where a layer follows from the one before it, 2 bits for what is missed lose much less
     * than 2 bits for the rows. Of a long sequence that is 1 % more bytes at most, with the predictor. Each layer is
     * predicted from what the cache gives of the one before.
     */
    @Test
    void residualsNeedFewerBits() {
        int tokens = 256;
        KvFormat two = KvFormat.int2(16);
        long[] slots = LongStream.range(0, tokens).toArray();
        Tensor samples = rows(1500);
        Tensor layer = rows(tokens);
        try (KvPool pool = KvPool.allocate(two, HEADS, 16, 16, SIZE);
                KvPool direct = KvPool.allocate(two, HEADS, 16, 16, SIZE);
                KvPool wider = KvPool.allocate(KvFormat.int4(16), HEADS, 16, 16, SIZE)) {
            Tensor before = f32(tokens, WIDTH);
            wider.write(KvPredictor.heads(layer, HEADS), slots); // the first layer: 4 bits
            wider.read(slots, KvPredictor.heads(before, HEADS));
            for (int l = 1; l < 4; l++) {
                Tensor nextSamples = next(samples, 0.1);
                KvPredictor predictor = KvPredictor.fit(samples, nextSamples, 1e-3);
                Tensor rows = next(layer, 0.1);
                Tensor restored = f32(tokens, WIDTH);
                predictor.write(before, rows, pool, slots);
                predictor.read(before, pool, slots, restored);
                Tensor plain = f32(tokens, WIDTH);
                direct.write(KvPredictor.heads(rows, HEADS), slots);
                direct.read(slots, KvPredictor.heads(plain, HEADS));
                double predicted = error(rows, restored);
                assertTrue(predicted < 0.35 * error(rows, plain), "layer " + l + ": " + predicted);
                long length = 100_000;
                long bytes = two.bytes(length, SIZE) * HEADS + predictor.bytes();
                assertTrue(bytes < 1.01 * two.bytes(length, SIZE) * HEADS);
                samples = nextSamples;
                layer = rows;
                before = restored;
            }
        }
    }

    /** What a prompt wrote at once is read token by token, the same bits; attention to it is that to the rows it is. */
    @Test
    void promptsAndSteps() {
        int tokens = 77;
        Tensor x = rows(tokens);
        Tensor samples = rows(500);
        KvPredictor predictor = KvPredictor.fit(samples, next(samples, 0.3), 1e-3);
        Tensor rows = next(x, 0.3);
        try (KvPool residuals = KvPool.allocate(KvFormat.int4(0), HEADS, 5, 16, SIZE);
                KvPool keys = KvPool.allocate(KvFormat.F32, HEADS, 5, 16, SIZE)) {
            long[] slots = LongStream.range(0, tokens).map(t -> 79 - t).toArray();
            predictor.write(x, rows, residuals, slots);
            Tensor all = f32(tokens, WIDTH);
            predictor.read(x, residuals, slots, all);
            for (int t = 0; t < tokens; t++) {
                Tensor one = f32(1, WIDTH);
                predictor.read(x.slice(0, t, t + 1), residuals, new long[] {slots[t]}, one);
                assertArrayEquals(all.slice(0, t, t + 1).toFloatArray(), one.toFloatArray());
            }
            assertTrue(error(rows, all) < 0.05, "" + error(rows, all));
            // Per head, in the order of the tokens.
            long[] inOrder = LongStream.range(0, tokens).toArray();
            keys.write(KvPredictor.heads(all, HEADS), inOrder);
            Tensor q = Tensor.of(random.normal(4 * SIZE, 1), 1, 4, 1, SIZE);
            Tensor out = f32(1, 4, 1, SIZE);
            Tensor table = Tensor.of(new int[] {0, 1, 2, 3, 4}, 1, 1, 5);
            Decode.run(q, keys, keys, table, new long[] {tokens}, out);
            Tensor right = f32(1, 4, 1, SIZE);
            Tensor perHead = KvPredictor.heads(all, HEADS).contiguous().reshape(1, HEADS, tokens, SIZE);
            Attention.run(q, perHead, perHead, right);
            assertArrayEquals(right.toFloatArray(), out.toFloatArray(), 1e-5f);
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor x = rows(100);
        KvPredictor some = KvPredictor.fit(x, x, 1);
        KvPool pool = KvPool.allocate(KvFormat.int4(0), 3, 1, 1, SIZE);
        Tensor twice = f32(3, 2); // all zeros: the inputs depend on each other
        return new Refusals(() -> true)
                .add("samples", "y", "[99, 64]", "[100, any]", () -> KvPredictor.fit(x, x.slice(0, 0, 99), 1))
                .add("none", "samples", "0", "1..", () -> KvPredictor.fit(f32(0, 2), f32(0, 2), 1))
                .add("ridge", "ridge", "-1", ">= 0", () -> KvPredictor.fit(x, x, -1))
                .add("singular", "ridge", "0.0", "input 0 depends", () -> KvPredictor.fit(twice, twice, 0))
                .add("heads", "heads", "3", "divisors of 64", () -> KvPredictor.heads(x, 3))
                .add("pool", "residuals", "3 heads of 32", "64", () -> some.write(x, x, pool, new long[100]))
                .add(
                        "rows",
                        "rows",
                        "[3, 2]",
                        "[100, 64]",
                        () -> some.write(x, twice, KvPool.allocate(KvFormat.int4(0), 2, 1, 1, SIZE), new long[100]))
                .add("NaN", "y[1, 0]", "NaN", "finite", () -> {
                    Tensor bad = f32(2, 1);
                    bad.setFloat(Float.NaN, 1, 0);
                    KvPredictor.fit(f32(2, 1), bad, 1);
                })
                .missing("x", () -> KvPredictor.fit(null, x, 1))
                .missing("residuals", () -> some.read(x, null, new long[100], x))
                .tests();
    }
}
