package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Needles: a few keys that all queries of a head look for, in keys that none does, f32 [1, heads, length, 128].
 *
 * <p>Queries, keys and values are standard normal, but along one direction u of each head, of length 1: an ordinary key
 * has nothing there, a needle is a u alone, and query i has c[i] u, so that the needle's logit, scale c[i] a, tops the
 * largest one of ordinary keys, row by row, by 2 to 4, one needle after the other; c is near 8. Those largest logits
 * come from the log-sum-exp at 8 times the scale, divided by 8, and {@link #check} looks at rows of them.
 *
 * <p>The scale decides what is asked. At 1 / sqrt(128) = 0.088 needles that top the others so hold an eighth of the
 * attention of 32k keys, and whoever keeps a tenth of the blocks loses most of the rest, so that no selection is right.
 * At 0.5 logits spread so far that a few keys hold all, and the needles 98 % of the attention.
 */
final class Haystack {
    static final int SIZE = 128;
    static final int NEEDLES = 8;
    static final float SCALE = 0.5f;

    private static final float SHARPER = 8;
    private static final double ALONG = 8;
    private static final double MARGIN = 3;
    private static final double SPREAD = 0.6;

    final int heads;
    final int length;
    final Attention.Options options;
    final Tensor q;
    final Tensor k;
    final Tensor v;
    private final int[][] needles;
    private final double[][] directions;

    /**
     * @param apart no two needles are in the same stretch of so many keys
     */
    Haystack(long seed, int heads, int length, int apart, int threads) {
        this.heads = heads;
        this.length = length;
        options = Attention.Options.DEFAULT.withScale(SCALE).withThreads(threads);
        q = rows();
        k = rows();
        v = rows();
        needles = new int[heads][];
        directions = new double[heads][];
        IntStream.range(0, heads).parallel().forEach(head -> {
            SplittableRandom random = new SplittableRandom(seed * heads + head);
            directions[head] = unit(random);
            needles[head] = places(random, apart);
            for (int i = 0; i < length; i++) {
                for (int x = 0; x < SIZE; x++) {
                    set(q, head, i, x, random.nextGaussian());
                    set(k, head, i, x, random.nextGaussian());
                    set(v, head, i, x, random.nextGaussian());
                }
                setAlong(q, head, i, 0);
                setAlong(k, head, i, 0);
            }
            for (int needle : needles[head]) {
                for (int x = 0; x < SIZE; x++) {
                    set(k, head, needle, x, 0);
                }
            }
        });
        Tensor largest = Tensor.allocate(DType.F32, 1, heads, length);
        Attention.run(q, k, null, null, options.withScale(SCALE * SHARPER).withLse(largest));
        IntStream.range(0, heads).parallel().forEach(head -> hide(head, largest));
    }

    private Tensor rows() {
        return Tensor.allocate(DType.F32, 1, heads, length, SIZE);
    }

    private void set(Tensor rows, int head, int i, int x, double value) {
        rows.segment().setAtIndex(ValueLayout.JAVA_FLOAT, at(head, i) + x, (float) value);
    }

    private long at(int head, int i) {
        return ((long) head * length + i) * SIZE;
    }

    private static double[] unit(SplittableRandom random) {
        double[] u =
                random.doubles(SIZE, 0, 1).map(ignored -> random.nextGaussian()).toArray();
        double norm = Math.sqrt(dot(u, u));
        return IntStream.range(0, SIZE).mapToDouble(x -> u[x] / norm).toArray();
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int x = 0; x < SIZE; x++) {
            sum += a[x] * b[x];
        }
        return sum;
    }

    private int[] places(SplittableRandom random, int apart) {
        return random.ints(0, length / apart)
                .distinct()
                .limit(NEEDLES)
                .map(stretch -> stretch * apart + random.nextInt(apart))
                .toArray();
    }

    private double[] row(Tensor rows, int head, int i) {
        float[] values = rows.segment()
                .asSlice(at(head, i) * Float.BYTES, SIZE * (long) Float.BYTES)
                .toArray(ValueLayout.JAVA_FLOAT);
        return IntStream.range(0, SIZE).mapToDouble(x -> values[x]).toArray();
    }

    private void setAlong(Tensor rows, int head, int i, double along) {
        double[] u = directions[head];
        double[] values = row(rows, head, i);
        double change = along - dot(values, u);
        for (int x = 0; x < SIZE; x++) {
            set(rows, head, i, x, values[x] + change * u[x]);
        }
    }

    private void hide(int head, Tensor largest) {
        double[] most = new double[length];
        double mean = 0;
        for (int i = 0; i < length; i++) {
            most[i] = largest.getFloat(0, head, i) / SHARPER;
            mean += most[i] / length;
        }
        double a = (mean + MARGIN) / (SCALE * ALONG);
        for (int i = 0; i < length; i++) {
            setAlong(q, head, i, (most[i] + MARGIN) / (SCALE * a));
        }
        for (int n = 0; n < NEEDLES; n++) {
            double more = SPREAD * (2.0 * n / (NEEDLES - 1) - 1);
            for (int x = 0; x < SIZE; x++) {
                set(k, head, needles[head][n], x, a * (1 + more / (mean + MARGIN)) * directions[head][x]);
            }
        }
    }

    /** The keys of a head. */
    int[] needles(int head) {
        return needles[head].clone();
    }

    /** What attention of rows by chance is, in double, and what a mask keeps of it. */
    record Row(int head, int query, double[] weights, double[] out) {}

    /** So many rows of each head, their weights and their attention. Refuses needles that do not top the others. */
    Row[] rows(int each, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        int[] queries = random.ints((long) each * heads, 0, length).toArray();
        return IntStream.range(0, queries.length)
                .parallel()
                .mapToObj(n -> row(n / each, queries[n]))
                .toArray(Row[]::new);
    }

    private Row row(int head, int query) {
        double[] values = row(q, head, query);
        double[] weights = new double[length];
        MemorySegment keys = k.segment().asSlice(at(head, 0) * Float.BYTES);
        for (int j = 0; j < length; j++) {
            double sum = 0;
            for (int x = 0; x < SIZE; x++) {
                sum += values[x] * keys.getAtIndex(ValueLayout.JAVA_FLOAT, (long) j * SIZE + x);
            }
            weights[j] = SCALE * sum;
        }
        check(head, weights);
        double most =
                IntStream.range(0, length).mapToDouble(j -> weights[j]).max().orElseThrow();
        double all = 0;
        for (int j = 0; j < length; j++) {
            weights[j] = Math.exp(weights[j] - most);
            all += weights[j];
        }
        double[] out = new double[SIZE];
        for (int j = 0; j < length; j++) {
            weights[j] /= all;
            for (int x = 0; x < SIZE; x++) {
                out[x] += weights[j] * v.segment().getAtIndex(ValueLayout.JAVA_FLOAT, at(head, j) + x);
            }
        }
        return new Row(head, query, weights, out);
    }

    /** Two logits that are nearly the same look larger together by ln(2) / 8. */
    private void check(int head, double[] logits) {
        boolean[] isNeedle = new boolean[length];
        for (int needle : needles[head]) {
            isNeedle[needle] = true;
        }
        double most = IntStream.range(0, length)
                .filter(j -> !isNeedle[j])
                .mapToDouble(j -> logits[j])
                .max()
                .orElseThrow();
        for (int needle : needles[head]) {
            double more = logits[needle] - most;
            if (!(more > 1.99 && more < 4.1)) {
                throw new IllegalStateException("a needle tops the other logits by " + more + ", not by 2 to 4");
            }
        }
    }
}
