package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Window;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvFormat.Scaling;
import java.util.List;

/** Random queries to sequences of a cache, and what is right in double, row by row from the definition of Decode. */
final class RandomKvAttend {
    final Tensor q;
    final Tensor out;
    final Options options;

    private final Random random;
    private final List<Age> formats;
    private final List<NaiveKvCache> items;
    private final int heads;
    private final int queryHeads;
    private final int queries;
    private final int valueSize;
    private final String context;

    RandomKvAttend(
            Random random,
            List<Age> formats,
            List<NaiveKvCache> items,
            int heads,
            int size,
            int valueSize,
            String context) {
        this.random = random;
        this.formats = formats;
        this.items = items;
        this.heads = heads;
        this.valueSize = valueSize;
        queryHeads = heads * random.of(1, 2, 3);
        queries = random.of(1, 1, 2, 3, 7);
        int batch = items.size();
        q = Tensor.of(random.normal(batch * queryHeads * queries * size, 1), batch, queryHeads, queries, size);
        out = Tensor.allocate(DType.F32, batch, queryHeads, queries, valueSize);
        int longest = items.stream().mapToInt(NaiveKvCache::length).max().orElse(0);
        Options drawn = Options.DEFAULT.withCausal(random.chance(0.7)).withThreads(1);
        if (random.chance(0.4)) {
            drawn = drawn.withWindow(new Window(random.between(0, 40), -1, random.of(0, 0, 1, 4)));
        }
        if (random.chance(0.2)) {
            drawn = drawn.withSoftCap(3);
        }
        if (random.chance(0.3)) {
            drawn = drawn.withSlopes(Tensor.of(random.normal(queryHeads, 0.1), queryHeads));
        }
        if (random.chance(0.3)) {
            drawn = drawn.withSinks(Tensor.of(random.normal(queryHeads, 1), queryHeads));
        }
        if (random.chance(0.5)) {
            drawn = drawn.withLse(Tensor.allocate(DType.F32, batch, queryHeads, queries));
        }
        if (random.chance(0.3)) {
            drawn = drawn.withLogits(Tensor.allocate(DType.F32, batch, queryHeads, queries, longest + 3));
        }
        options = drawn;
        this.context = context + " " + queries + " queries of " + queryHeads + " heads, " + options;
    }

    /** The call with scores, and those: sums of weights, over what was there. */
    void verifyScores(KvCache.Sequence sequence) {
        int length = items.get(0).length();
        Tensor scores = Tensor.allocate(DType.F32, 1, heads, length + 1);
        boolean accumulate = random.chance(0.5);
        float[] before = random.normal(heads * (length + 1), 1);
        scores.copyFrom(before);
        sequence.attend(q, out, options, scores, accumulate);
        double[][] right = new double[heads][length];
        double[][] bounds = new double[heads][length];
        for (int h = 0; h < queryHeads; h++) {
            for (int i = 0; i < queries; i++) {
                Row row = row(0, h, i);
                for (int j = 0; j < length; j++) {
                    int g = h / (queryHeads / heads);
                    right[g][j] += row.weights[j];
                    bounds[g][j] += row.weights[j] * (row.logitBound + row.lseBound) + 0x1p-20;
                }
            }
        }
        for (int g = 0; g < heads; g++) {
            for (int j = 0; j < length; j++) {
                double base = accumulate ? before[g * (length + 1) + j] : 0;
                double bound = bounds[g][j] + 0x1p-20 * Math.abs(base);
                assertNear(
                        base + right[g][j], scores.getFloat(0, g, j), bound, "score " + g + " " + j + ": " + context);
            }
            assertEquals(before[g * (length + 1) + length], scores.getFloat(0, g, length), context);
        }
    }

    void verify() {
        for (int b = 0; b < items.size(); b++) {
            for (int h = 0; h < queryHeads; h++) {
                for (int i = 0; i < queries; i++) {
                    verify(b, h, i, row(b, h, i));
                }
            }
        }
    }

    private void verify(int b, int h, int i, Row row) {
        String where = "[" + b + ", " + h + ", " + i + "]: " + context;
        for (int c = 0; c < valueSize; c++) {
            assertNear(row.out[c], out.getFloat(b, h, i, c), row.outBound, "out " + c + where);
        }
        if (options.lse() != null) {
            assertNear(row.lse, options.lse().getFloat(b, h, i), row.lseBound, "lse " + where);
        }
        for (int j = 0; options.logits() != null && j < row.logits.length; j++) {
            assertNear(row.logits[j], options.logits().getFloat(b, h, i, j), row.logitBound, "logit " + j + where);
        }
    }

    private static void assertNear(double expected, float given, double bound, String where) {
        boolean near = expected == given || Math.abs(expected - given) <= bound;
        assertTrue(near, () -> expected + " is not " + given + " within " + bound + ", " + where);
    }

    private record Row(
            double[] out,
            double outBound,
            double lse,
            double lseBound,
            double[] logits,
            double logitBound,
            double[] weights) {}

    /** All keys of a row at once, whatever their format. */
    private Row row(int b, int h, int i) {
        NaiveKvCache item = items.get(b);
        int g = h / (queryHeads / heads);
        List<NaiveKvCache.Row> keys = item.rows(true, g);
        List<NaiveKvCache.Row> values = item.rows(false, g);
        int length = keys.size();
        long position = i + length - queries;
        double scale = (float) (1 / Math.sqrt(q.shape().size(3)));
        double sink = options.sinks() == null
                ? Double.NEGATIVE_INFINITY
                : options.sinks().getFloat(h);
        double[] logits = new double[length];
        double top = sink;
        double logitBound = 0;
        for (int j = 0; j < length; j++) {
            logits[j] = Double.NEGATIVE_INFINITY;
            Window window = options.window();
            boolean far = window.left() >= 0 && j < position - window.left() && j >= window.sinkKeys();
            if (far || options.causal() && j > position) {
                continue;
            }
            float[] key = keys.get(j).values();
            double sum = 0;
            double magnitude = 0;
            for (int c = 0; c < key.length; c++) {
                double factor = q.getFloat(b, h, i, c);
                sum += factor * key[c];
                magnitude += Math.abs(factor * key[c]);
            }
            double bias = options.slopes() == null ? 0 : options.slopes().getFloat(h) * (double) (j - position);
            double cap = options.softCap();
            double logit = cap > 0 ? cap * Math.tanh(scale * sum / cap) : scale * sum;
            logits[j] = logit + bias;
            logitBound = Math.max(
                    logitBound,
                    0x1p-20 * (magnitude + Math.abs(bias) + length * Math.abs(bias) + Math.abs(logit) + 8)
                            + scale * rounding(formatOf(item, j, true), b, h, i, keys.get(j)));
            top = Math.max(top, logits[j]);
        }
        return softmax(item, values, logits, logitBound, sink, top);
    }

    /** What rounding q, times scales per channel, to multiples of its amax / 16256 may change where keys are codes. */
    private double rounding(KvFormat format, int b, int h, int i, NaiveKvCache.Row key) {
        if (format.scaling() == Scaling.NONE) {
            return 0;
        }
        boolean channels = format.scaling() == Scaling.PER_CHANNEL;
        double largest = 0;
        double sum = 0;
        for (int c = 0; c < key.codes().length; c++) {
            double code = Math.abs(key.codes()[c]);
            double product = code * Math.abs(key.scales()[c]);
            largest = Math.max(largest, Math.abs(q.getFloat(b, h, i, c) * (channels ? key.scales()[c] : 1)));
            sum += channels ? code : product + Math.abs(key.values()[c]) + product;
        }
        return 0.5 / 16256 * largest * sum;
    }

    private KvFormat formatOf(NaiveKvCache item, int j, boolean keys) {
        for (int i = 0; i < formats.size(); i++) {
            if (j >= item.offset(i)) {
                return keys ? formats.get(i).k() : formats.get(i).v();
            }
        }
        throw new AssertionError(j);
    }

    private Row softmax(
            NaiveKvCache item,
            List<NaiveKvCache.Row> values,
            double[] logits,
            double logitBound,
            double sink,
            double top) {
        double[] weights = new double[logits.length];
        double[] result = new double[valueSize];
        double lse = top;
        double error = 2 * logitBound + 0x1p-20 * (100 + (Double.isInfinite(top) ? 0 : Math.abs(top)));
        double bound = 0;
        if (top > Double.NEGATIVE_INFINITY) {
            double sum = Math.exp(sink - top);
            for (int j = 0; j < logits.length; j++) {
                weights[j] = Math.exp(logits[j] - top);
                sum += weights[j];
            }
            lse = top + Math.log(sum);
            double most = 0;
            double coded = 0;
            for (int j = 0; j < logits.length; j++) {
                weights[j] /= sum;
                for (int c = 0; c < valueSize; c++) {
                    float value = values.get(j).values()[c];
                    result[c] += weights[j] * value;
                    most = weights[j] > 0 ? Math.max(most, Math.abs(value)) : most;
                }
                coded += formatOf(item, j, false).scaling() == Scaling.NONE ? 0 : 1;
            }
            bound = most * (error + 0.5 / 16256 * coded * 4);
        }
        return new Row(result, bound, lse, error, logits, logitBound, weights);
    }
}
