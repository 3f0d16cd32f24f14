package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvFormat.Scaling;

/**
 * Decoding in double, row by row from the definition of {@link Decode}: all logits, then their softmax. What the
 * definition rounds before products, queries that meet codes, is rounded here, too, each step one operation in f32;
 * exponentials are exact, and what their rounding may do is in the bounds, which are those of gatun/decode.h.
 */
final class DecodeOracle {
    private final Tensor q;
    private final KvPool k;
    private final KvPool v;
    private final Tensor table;
    private final long[] lengths;
    private final Options options;
    private final int tableHeads;
    private Rows keys;
    private Rows values;

    DecodeOracle(Tensor q, KvPool k, KvPool v, Tensor table, long[] lengths, Options options) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.table = table;
        this.lengths = lengths;
        this.options = options;
        int batch = (int) q.shape().size(0);
        tableHeads = batch == 0 ? 1 : lengths.length / batch;
    }

    /**
     * What is right for a row, and how far from it a call may be, before out is rounded to its type.
     *
     * @param logits of each key; -infinity where it is not seen
     */
    record Row(double[] out, double[] outBounds, double lse, double lseBound, double[] logits, double[] logitBounds) {}

    /** Keys or values of an item and a head, as code * scale + zero. */
    private record Rows(KvPool pool, int b, int g, double[][] codes, double[][] scales, double[][] zeros) {
        double value(int j, int c) {
            return codes[j][c] * scales[j][c] + zeros[j][c];
        }

        double magnitude(int j, int c) {
            return Math.abs(codes[j][c] * scales[j][c]) + Math.abs(zeros[j][c]);
        }
    }

    int length(int b, int g) {
        return (int) lengths[tableHeads == 1 ? b : b * tableHeads + g];
    }

    private Rows load(Rows before, KvPool pool, int b, int g) {
        if (before != null && before.b == b && before.g == g) {
            return before;
        }
        int length = length(b, g);
        double[][][] parts = new double[3][length][pool.size()];
        for (int j = 0; j < length; j++) {
            long page = table == null ? b : table.getInt(b, tableHeads == 1 ? 0 : g, j / pool.pageSize());
            long slot = page * pool.pageSize() + j % pool.pageSize();
            for (int c = 0; c < pool.size(); c++) {
                parts[0][j][c] = KvOracle.code(pool, slot, g, c);
                parts[1][j][c] = KvOracle.scale(pool, slot, g, c);
                parts[2][j][c] = KvOracle.zero(pool, slot, g, c);
            }
        }
        return new Rows(pool, b, g, parts[0], parts[1], parts[2]);
    }

    boolean sees(int j, long position) {
        Attention.Window window = options.window();
        return !(options.causal() && j > position)
                && !(window.left() >= 0 && j < position - window.left() && j >= window.sinkKeys());
    }

    /** Multiples of amax / levels. */
    private static double[] rounded(float[] x, float levels) {
        float amax = 0;
        for (float value : x) {
            amax = Math.max(amax, Math.abs(value));
        }
        float step = amax / levels;
        double[] result = new double[x.length];
        for (int c = 0; step >= 0x1p-120f && c < x.length; c++) {
            result[c] = Math.rint(x[c] * (1 / step)) * step;
        }
        return result;
    }

    /** The product of a query and key j, and the sum of its terms' magnitudes. */
    private double[] product(float[] query, int j) {
        KvFormat format = k.format();
        boolean channels = format.scaling() == Scaling.PER_CHANNEL;
        float[] x = query.clone();
        for (int c = 0; channels && c < x.length; c++) {
            x[c] *= (float) keys.scales[j][c];
        }
        double[] left = new double[x.length];
        for (int c = 0; c < x.length; c++) {
            left[c] = x[c];
        }
        if (format.scaling() != Scaling.NONE) {
            left = rounded(x, options.mode() == Mode.INT8 ? 127 : 16256);
        }
        double sum = 0;
        double magnitude = 0;
        for (int c = 0; c < x.length; c++) {
            double product = channels ? left[c] * keys.codes[j][c] : left[c] * keys.codes[j][c] * keys.scales[j][c];
            double shift = (channels ? query[c] : left[c]) * keys.zeros[j][c];
            sum += product + shift;
            magnitude += Math.abs(product) + Math.abs(shift);
        }
        return new double[] {sum, magnitude};
    }

    Row row(int b, int h, int i) {
        int g = h / ((int) q.shape().size(1) / k.heads());
        keys = load(keys, k, b, g);
        values = v == null ? null : load(values, v, b, g);
        int length = length(b, g);
        long position = i + length - q.shape().size(2);
        double scale = Float.isNaN(options.scale()) ? (float) (1 / Math.sqrt(k.size())) : options.scale();
        float[] query = new float[k.size()];
        for (int c = 0; c < query.length; c++) {
            query[c] = q.getFloat(b, h, i, c);
        }
        double sink = options.sinks() == null
                ? Double.NEGATIVE_INFINITY
                : options.sinks().getFloat(h);
        double[] logits = new double[length];
        double[] logitBounds = new double[length];
        double top = sink;
        double worst = 0;
        for (int j = 0; j < length; j++) {
            logits[j] = Double.NEGATIVE_INFINITY;
            if (!sees(j, position)) {
                continue;
            }
            double[] product = product(query, j);
            double logit = scale * product[0];
            double units = (k.size() / 16.0 + 4) * Math.abs(scale) * product[1];
            if (options.softCap() > 0) {
                logit = options.softCap() * Math.tanh(logit / options.softCap());
                units += 4 * Math.abs(logit);
            }
            if (options.slopes() != null) {
                double bias = options.slopes().getFloat(h) * (double) (j - position);
                logit += bias;
                units += Math.abs(bias);
            }
            logits[j] = logit;
            logitBounds[j] = 0x1p-23 * (units + Math.abs(logit) + 2);
            worst = Math.max(worst, logitBounds[j]);
            top = Math.max(top, logit);
        }
        int size = v == null ? 0 : v.size();
        double lse = top;
        double[] weights = new double[length];
        if (top > Double.NEGATIVE_INFINITY) {
            double sum = Math.exp(sink - top);
            for (int j = 0; j < length; j++) {
                weights[j] = Math.exp(logits[j] - top);
                sum += weights[j];
            }
            lse = top + Math.log(sum);
            for (int j = 0; j < length; j++) {
                weights[j] /= sum;
            }
        }
        double error = 2 * worst + 0x1p-22 * ((lse == Double.NEGATIVE_INFINITY ? 0 : Math.abs(lse)) + 78);
        double[] out = new double[size];
        double[] outBounds = new double[size];
        for (int c = 0; c < size; c++) {
            double most = 0;
            for (int j = 0; j < length; j++) {
                if (weights[j] > 0) {
                    out[c] += weights[j] * values.value(j, c);
                    most = Math.max(most, values.magnitude(j, c));
                }
            }
            outBounds[c] = error * most + exponentials(weights, c);
        }
        return new Row(out, outBounds, lse, error, logits, logitBounds);
    }

    /** What rounding of the exponentials makes of an element of out. */
    private double exponentials(double[] weights, int c) {
        double error = 0;
        if (v.format().dtype() == DType.BF16 && q.dtype() == DType.BF16) {
            for (int j = 0; j < weights.length; j++) {
                error += 0x1p-8 * weights[j] * values.magnitude(j, c);
            }
        }
        if (v.format().scaling() == Scaling.NONE) {
            return error;
        }
        boolean tokens = v.format().scaling() == Scaling.PER_TOKEN;
        for (int first = 0; first < weights.length; first += 64) {
            double largest = 0;
            double codes = 0;
            for (int j = first; j < Math.min(weights.length, first + 64); j++) {
                if (weights[j] > 0) {
                    largest = Math.max(largest, Math.abs(weights[j] * (tokens ? values.scales[j][c] : 1)));
                    codes += Math.abs(values.codes[j][c] * (tokens ? 1 : values.scales[j][c]));
                }
            }
            error += 0.5 * largest / 16256 * codes;
        }
        return error;
    }
}
