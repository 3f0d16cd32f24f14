package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Options;
import java.util.ArrayList;
import java.util.List;

/**
 * Attention of one row in double, from its definition: all logits, then their softmax.
 *
 * <p>Bounds: those of gatun/attention.h; of INT8 what a change of each logit by D makes of a softmax, exp(2 D) - 1,
 * where D comes from half a step of each code.
 */
final class AttentionOracle {
    final Tensor q;
    final Tensor k;
    final Tensor v;
    final Options options;

    AttentionOracle(Tensor q, Tensor k, Tensor v, Options options) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.options = options;
    }

    /**
     * What is right for a row.
     *
     * @param out of each element
     * @param outBound of each element, before rounding to the type of out
     * @param lse natural logarithm of the denominator
     * @param lseBound its error
     */
    record Row(double[] out, double outBound, double lse, double lseBound) {}

    /** An element; of ragged tensors i counts from the start of the tensor, and b is 0. */
    double at(Tensor t, long b, long h, long i, long x) {
        boolean hnd = options.layout() == Layout.HND;
        if (options.sequences() != null) {
            return hnd ? t.getFloat(h, i, x) : t.getFloat(i, h, x);
        }
        return hnd ? t.getFloat(b, h, i, x) : t.getFloat(b, i, h, x);
    }

    /**
     * @param firstQuery where the item's queries begin in the tensors; 0 unless ragged
     * @param queries of the item
     */
    Row row(int b, int h, int i, int firstQuery, int queries, int firstKey, int keys, int headsOfQ, int headsOfK) {
        int g = h / (headsOfQ / headsOfK);
        int size = (int) q.shape().size(q.shape().rank() - 1);
        long position = (long) i + keys - queries;
        double scale = Float.isNaN(options.scale()) ? (float) (1 / Math.sqrt(size)) : options.scale();
        List<Integer> seen = new ArrayList<>();
        List<Double> logits = new ArrayList<>();
        double largest = 0;
        double drift = 0;
        for (int j = 0; j < keys; j++) {
            if (!sees(b, h, i, j, position)) {
                continue;
            }
            double dot = 0;
            double absolute = 0;
            for (int x = 0; x < size; x++) {
                double product = at(q, b, h, firstQuery + i, x) * at(k, b, g, firstKey + j, x);
                dot += product;
                absolute += Math.abs(product);
            }
            double logit = scale * dot;
            largest = Math.max(largest, Math.abs(scale) * absolute);
            if (options.softCap() > 0) {
                logit = options.softCap() * Math.tanh(logit / options.softCap());
            }
            if (options.slopes() != null) {
                logit += options.slopes().getFloat(h) * (double) (j - position);
                largest = Math.max(largest, Math.abs(logit));
            }
            seen.add(j);
            logits.add(logit);
        }
        if (options.mode() == Mode.INT8) {
            drift = Math.abs(scale) * drift(b, h, g, firstQuery + i, firstKey, keys, size);
        }
        double sink = options.sinks() == null
                ? Double.NEGATIVE_INFINITY
                : options.sinks().getFloat(h);
        double top = Math.max(sink, logits.stream().mapToDouble(l -> l).max().orElse(Double.NEGATIVE_INFINITY));
        double sum = top == Double.NEGATIVE_INFINITY ? 0 : Math.exp(sink - top);
        for (double logit : logits) {
            sum += Math.exp(logit - top);
        }
        double lse = top == Double.NEGATIVE_INFINITY ? top : top + Math.log(sum);
        double correction = 1;
        if (options.correction() != null) {
            correction = options.sequences() == null
                    ? options.correction().getFloat(b, h, i)
                    : options.correction().getFloat(h, firstQuery + i);
        }
        int values = v == null ? 0 : (int) v.shape().size(v.shape().rank() - 1);
        double[] out = new double[values];
        double most = 0;
        for (int n = 0; n < seen.size(); n++) {
            double weight = correction * Math.exp(logits.get(n) - lse);
            for (int x = 0; x < values; x++) {
                double value = at(v, b, g, firstKey + seen.get(n), x);
                out[x] += weight * value;
                most = Math.max(most, Math.abs(value));
            }
        }
        double error = 0x1p-22 * (size / 16.0 + 24) * (largest + keys / 64.0 + 8);
        boolean rounded = q.dtype() == DType.BF16 || options.mode() == Mode.INT8;
        double relative = Math.expm1(2 * drift) + error + (rounded ? 0x1p-8 : 0);
        return new Row(out, Math.abs(correction) * relative * most, lse, drift + error + (rounded ? 0x1p-8 : 0));
    }

    boolean sees(int b, int h, int i, int j, long position) {
        Attention.Window window = options.window();
        BlockMask mask = options.mask();
        return !(options.causal() && j > position)
                && !(window.left() >= 0 && j < position - window.left() && j >= window.sinkKeys())
                && !(window.right() >= 0 && j > position + window.right())
                && (mask == null || mask.sees(mask.batch() == 1 ? 0 : b, mask.heads() == 1 ? 0 : h, i, j));
    }

    /** Whether options hide less than all of a block. */
    boolean seesSome(int b, int h, int queryBlock, int keyBlock, BlockGrid grid, int queries, int keys) {
        for (int i = queryBlock * grid.queryBlock(); i < Math.min((queryBlock + 1) * grid.queryBlock(), queries); i++) {
            for (int j = keyBlock * grid.keyBlock(); j < Math.min((keyBlock + 1) * grid.keyBlock(), keys); j++) {
                if (sees(b, h, i, j, (long) i + keys - queries)) {
                    return true;
                }
            }
        }
        return false;
    }

    /** How much the quantized product of a query and any key may be away from the exact one. */
    private double drift(int b, int h, int g, int query, int firstKey, int keys, int size) {
        double qLargest = 0;
        double qSum = 0;
        for (int x = 0; x < size; x++) {
            qLargest = Math.max(qLargest, Math.abs(at(q, b, h, query, x)));
            qSum += Math.abs(at(q, b, h, query, x));
        }
        double kLargest = 0;
        double kSum = 0;
        double[] mean = new double[size];
        for (int j = 0; j < keys; j++) {
            for (int x = 0; x < size; x++) {
                mean[x] += at(k, b, g, firstKey + j, x) / keys;
            }
        }
        for (int j = 0; j < keys; j++) {
            double sum = 0;
            for (int x = 0; x < size; x++) {
                double value = Math.abs(at(k, b, g, firstKey + j, x) - mean[x]);
                kLargest = Math.max(kLargest, value);
                sum += value;
            }
            kSum = Math.max(kSum, sum);
        }
        double qStep = qLargest / 127;
        double kStep = kLargest / 127;
        return 0.5 * (qStep * kSum + kStep * qSum + 0.5 * qStep * kStep * size) * 1.01;
    }
}
