package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;

/**
 * Predicts keys or values of a layer linearly, so that a cache needs to hold only what the prediction misses, in 2 or 4
 * bits (AQUA-KV, Shutova et al. 2025). The paper predicts keys from the keys of the layer before, values from the
 * values of the layer before and the keys of this one side by side, each as reconstructed from the cache, so that
 * errors do not add up from layer to layer; keys before rotary embedding.
 *
 * <p>Rows are f32 [tokens, heads * size], those of all heads of a token together; {@link #heads} shows them head by
 * head. A prediction does not depend on how many tokens there are in the call, so a prompt may be written at once and
 * read token by token. The weights are int8 in groups of 32: the residual holds what they miss, too.
 */
public final class KvPredictor {
    private final PackedWeights weights;
    private final QMatmul.Options options;

    private KvPredictor(PackedWeights weights, Tensor bias) {
        this.weights = weights;
        options = QMatmul.Options.DEFAULT.withBias(bias).withMode(QMatmul.Mode.PRECISE);
    }

    /**
     * The least squares fit y = W x + b with a ridge: minimizes the sum of |W x + b - y|^2 over samples plus
     * {@code ridge} times the mean of x_i^2 (x about its mean) times the samples times |W|^2. O(samples * inputs *
     * (inputs + outputs) + inputs^3) in doubles.
     *
     * @param x f32 [samples, inputs], finite
     * @param y f32 [samples, outputs], finite
     * @param ridge 0 or more
     * @throws IllegalArgumentException if an argument does not fit, or inputs depend on each other and the ridge is too
     *     small for that
     */
    public static KvPredictor fit(Tensor x, Tensor y, double ridge) {
        checkRows("x", x, -1, -1);
        checkRows("y", y, x.shape().size(0), -1);
        Check.range("samples", x.shape().size(0), 1, Integer.MAX_VALUE);
        if (!(ridge >= 0 && ridge < Double.POSITIVE_INFINITY)) {
            throw Check.invalid("ridge", ridge, "finite numbers >= 0");
        }
        int inputs = Math.toIntExact(x.shape().size(1));
        int outputs = Math.toIntExact(y.shape().size(1));
        float[] in = finite("x", x);
        float[] out = finite("y", y);
        double[] inMeans = center(in, inputs);
        double[] outMeans = center(out, outputs);
        double[][] gram = products(in, inputs, in, inputs);
        double trace = 0;
        for (int i = 0; i < inputs; i++) {
            trace += gram[i][i];
        }
        for (int i = 0; i < inputs; i++) {
            gram[i][i] += ridge * trace / inputs;
        }
        double[][] solution = products(out, outputs, in, inputs);
        factor(gram, ridge);
        float[] w = new float[Math.multiplyExact(outputs, inputs)];
        float[] bias = new float[outputs];
        for (int o = 0; o < outputs; o++) {
            solve(gram, solution[o]);
            double sum = outMeans[o];
            for (int i = 0; i < inputs; i++) {
                w[o * inputs + i] = (float) solution[o][i];
                sum -= solution[o][i] * inMeans[i];
            }
            bias[o] = (float) sum;
        }
        PackedWeights packed = QMatmul.pack(Tensor.of(w, outputs, inputs), QuantSpec.int8(inputs < 32 ? 0 : 32));
        return new KvPredictor(packed, Tensor.of(bias, outputs));
    }

    /** Numbers of a row that is predicted from. */
    public long inputs() {
        return weights.depth();
    }

    /** Numbers of a row that is predicted. */
    public long outputs() {
        return weights.rows();
    }

    /** What the predictor takes in memory, once for all sequences. */
    public long bytes() {
        return weights.segment().byteSize() + options.bias().segment().byteSize();
    }

    /**
     * Predicts rows.
     *
     * @param x f32 [tokens, inputs], columns adjacent
     * @param rows f32 [tokens, outputs], columns adjacent
     */
    public void predict(Tensor x, Tensor rows) {
        QMatmul.run(x, weights, rows, options);
    }

    /**
     * Writes what the prediction misses of rows to a pool.
     *
     * @param x f32 [tokens, inputs], the same when the rows are read
     * @param rows f32 [tokens, outputs]
     * @param residuals of heads * size = outputs
     * @param slots one for each token
     */
    public void write(Tensor x, Tensor rows, KvPool residuals, long[] slots) {
        checkPool(residuals);
        Check.present("x", x);
        checkRows("rows", rows, x.shape().size(0), outputs());
        Tensor missed = Tensor.allocate(DType.F32, rows.shape().toArray());
        predict(x, missed);
        float[] predicted = missed.toFloatArray();
        float[] actual = rows.toFloatArray();
        for (int n = 0; n < actual.length; n++) {
            actual[n] -= predicted[n];
        }
        residuals.write(heads(missed.copyFrom(actual), residuals.heads()), slots);
    }

    /** Reads rows that {@link #write} wrote: prediction and residual. Allocates nothing but views. */
    public void read(Tensor x, KvPool residuals, long[] slots, Tensor rows) {
        checkPool(residuals);
        Check.present("x", x);
        checkRows("rows", rows, x.shape().size(0), outputs());
        residuals.read(slots, heads(rows, residuals.heads()));
        QMatmul.run(x, weights, rows, options.withResidual(rows));
    }

    /** Rows [tokens, heads * size] as [heads, tokens, size]; nothing is copied. */
    public static Tensor heads(Tensor rows, int heads) {
        Check.present("rows", rows);
        Check.matrix("rows", rows, -1, -1);
        Check.rowMajor("rows", rows);
        long tokens = rows.shape().size(0);
        long columns = rows.shape().size(1);
        if (heads < 1 || columns % heads != 0) {
            throw Check.invalid("heads", heads, "divisors of " + columns + ", the columns of rows");
        }
        long size = columns / heads;
        return Tensor.wrap(rows.segment(), rows.dtype(), Shape.of(heads, tokens, size), size, rows.stride(0), 1);
    }

    private void checkPool(KvPool residuals) {
        Check.present("residuals", residuals);
        if ((long) residuals.heads() * residuals.size() != outputs()) {
            throw Check.invalid(
                    "residuals",
                    residuals.heads() + " heads of " + residuals.size(),
                    "heads * size = " + outputs() + ", what is predicted");
        }
    }

    private static void checkRows(String name, Tensor rows, long tokens, long columns) {
        Check.present(name, rows);
        Check.dtype(name, rows, AttentionCall.F32);
        Check.matrix(name, rows, tokens, columns);
    }

    private static float[] finite(String name, Tensor rows) {
        float[] values = rows.toFloatArray();
        for (int n = 0; n < values.length; n++) {
            if (!Float.isFinite(values[n])) {
                long columns = rows.shape().size(1);
                throw Check.invalid(name + "[" + n / columns + ", " + n % columns + "]", values[n], "finite numbers");
            }
        }
        return values;
    }

    // ---- least squares ---------------------------------------------------------------------------------------------

    /** Subtracts the mean of each column. */
    private static double[] center(float[] rows, int columns) {
        double[] means = new double[columns];
        int count = columns == 0 ? 1 : rows.length / columns;
        for (int n = 0; n < rows.length; n++) {
            means[n % columns] += rows[n] / (double) count;
        }
        for (int n = 0; n < rows.length; n++) {
            rows[n] -= (float) means[n % columns];
        }
        return means;
    }

    /** A^T B of matrices of as many rows. */
    private static double[][] products(float[] a, int aColumns, float[] b, int bColumns) {
        double[][] products = new double[aColumns][bColumns];
        int count = aColumns == 0 ? 0 : a.length / aColumns;
        for (int row = 0; row < count; row++) {
            for (int i = 0; i < aColumns; i++) {
                double factor = a[row * aColumns + i];
                double[] sums = products[i];
                for (int j = 0; j < bColumns; j++) {
                    sums[j] += factor * b[row * bColumns + j];
                }
            }
        }
        return products;
    }

    /** A = L L^T (Cholesky); L replaces the lower half of A. */
    private static void factor(double[][] a, double ridge) {
        for (int i = 0; i < a.length; i++) {
            double whole = a[i][i];
            for (int j = 0; j <= i; j++) {
                double sum = a[i][j];
                for (int x = 0; x < j; x++) {
                    sum -= a[i][x] * a[j][x];
                }
                if (i > j) {
                    a[i][j] = sum / a[j][j];
                } else if (sum > 1e-12 * whole) {
                    a[i][i] = Math.sqrt(sum);
                } else {
                    throw Check.invalid("ridge", ridge, "more, as input " + i + " depends on those before it");
                }
            }
        }
    }

    /** Replaces b with the solution of L L^T x = b. */
    private static void solve(double[][] l, double[] b) {
        for (int i = 0; i < b.length; i++) {
            for (int j = 0; j < i; j++) {
                b[i] -= l[i][j] * b[j];
            }
            b[i] /= l[i][i];
        }
        for (int i = b.length - 1; i >= 0; i--) {
            for (int j = i + 1; j < b.length; j++) {
                b[i] -= l[j][i] * b[j];
            }
            b[i] /= l[i][i];
        }
    }
}
