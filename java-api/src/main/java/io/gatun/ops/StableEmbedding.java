package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;

/**
 * An embedding that 8-bit optimizers train as well as 32-bit ones (Dettmers et al. 2022, section 2.3): rows of a table,
 * initialized uniformly as by Glorot and Bengio (2010), then LayerNorm with epsilon 1e-5; state of the table is f32 whatever
 * the optimizer's is.
 *
 * <pre>
 * StableEmbedding embedding = StableEmbedding.of("tokens", DType.BF16, vocabulary, 512, seed);
 * Optimizer optimizer = Optimizer.adam8bit(embedding.parameters().toArray(Parameter[]::new));
 * // at each step:
 * optimizer.zeroGradients(); // as backward adds to them
 * embedding.forward(tokens, y);
 * // the rest of the model, forward and backward
 * embedding.backward(tokens, dy);
 * optimizer.step();
 * </pre>
 *
 * <p>Lookup and backward are plain Java on the calling thread; the norm of forward is {@link Norm#layer}.
 */
public final class StableEmbedding {
    private static final float EPSILON = 1e-5f;
    /** The length that an array of any JVM may have. */
    private static final long MOST_PLACES = Integer.MAX_VALUE - 8;

    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final Set<DType> I32 = EnumSet.of(DType.I32);
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);

    private final Parameter table;
    private final Parameter weight;
    private final Parameter bias;

    private StableEmbedding(Parameter table, Parameter weight, Parameter bias) {
        this.table = table;
        this.weight = weight;
        this.bias = bias;
    }

    /**
     * A table of random values: with u = {@code new java.util.Random(seed).nextFloat()}, row by row, (2 u - 1) sqrt(6 / (rows
     * + dimension)) in f32, rounded to the dtype. Memory is freed when nothing refers to it any more. O(rows * dimension).
     *
     * @param name of the layer; its parameters are {@code <name>.weight}, {@code <name>.norm.weight} and
     *     {@code <name>.norm.bias}, the latter two f32, ones and zeros
     * @param dtype of the table: f32, f16 or bf16
     * @param rows how many things can be embedded, 1 or more
     * @param dimension of an embedding, 1 or more
     */
    public static StableEmbedding of(String name, DType dtype, long rows, long dimension, long seed) {
        Check.present("name", name);
        Check.present("dtype", dtype);
        if (!FLOATS.contains(dtype)) {
            throw Check.invalid("dtype", dtype, FLOATS);
        }
        Check.range("rows", rows, 1, Integer.MAX_VALUE);
        Check.range("dimension", dimension, 1, Integer.MAX_VALUE);
        Tensor values = Tensor.allocate(dtype, rows, dimension);
        Random random = new Random(seed);
        float bound = (float) Math.sqrt(6.0 / (rows + dimension));
        for (long i = 0; i < rows * dimension; i++) {
            set(values, i, (2 * random.nextFloat() - 1) * bound);
        }
        Tensor ones = Tensor.allocate(DType.F32, dimension);
        for (long i = 0; i < dimension; i++) {
            set(ones, i, 1);
        }
        return new StableEmbedding(
                Parameter.of(name + ".weight", values).withFullPrecisionState(),
                Parameter.of(name + ".norm.weight", ones),
                Parameter.of(name + ".norm.bias", Tensor.allocate(DType.F32, dimension)));
    }

    /** The table, and weight and bias of the norm: for an optimizer. */
    public List<Parameter> parameters() {
        return List.of(table, weight, bias);
    }

    /**
     * Row i of y becomes the norm of the table's row {@code indices[i]}. O(indices * dimension).
     *
     * @param indices i32 [n], contiguous, below the rows of the table
     * @param y f32 [n, dimension], contiguous, memory of its own
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     */
    public void forward(Tensor indices, Tensor y) {
        check(indices, Long.MAX_VALUE, "y", y);
        Check.writable("y", y.segment());
        Check.disjoint("y", y, "indices", indices);
        for (Parameter parameter : parameters()) {
            Check.disjoint("y", y, parameter.name(), parameter.value());
        }
        long dimension = dimension();
        for (long i = 0; i < indices.shape().size(0); i++) {
            long from = index(indices, i) * dimension;
            for (long j = 0; j < dimension; j++) {
                set(y, i * dimension + j, get(table.value(), from + j));
            }
        }
        Norm.layer(y, weight.value(), bias.value(), EPSILON, y);
    }

    /**
     * Adds the gradients of table, weight and bias to those of {@link #parameters}. Sums are of doubles, in the order of the
     * indices and then of their places, and are rounded once to the dtype of the gradient, so the result is always the same.
     * O(indices * (dimension + log indices)).
     *
     * @param indices as {@link #forward} was given them, at most 2^31 - 9, the table being what it was
     * @param dy the gradient of y: f32 [n, dimension], contiguous, memory of its own
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     */
    public void backward(Tensor indices, Tensor dy) {
        check(indices, MOST_PLACES, "dy", dy);
        for (Parameter parameter : parameters()) {
            Check.disjoint("dy", dy, parameter.name(), parameter.gradient());
            Check.disjoint("indices", indices, parameter.name(), parameter.gradient());
        }
        int dimension = (int) dimension();
        double[] sum = new double[dimension];
        double[] normed = new double[dimension];
        double[] weightSum = new double[dimension];
        double[] biasSum = new double[dimension];
        // Places in the order of their indices.
        long[] order = new long[(int) indices.shape().size(0)];
        for (int i = 0; i < order.length; i++) {
            order[i] = index(indices, i) << 32 | i;
        }
        Arrays.sort(order);
        for (int begin = 0, end; begin < order.length; begin = end) {
            long row = order[begin] >> 32;
            Arrays.fill(sum, 0);
            for (end = begin; end < order.length && order[end] >> 32 == row; end++) {
                long from = (order[end] & 0xffffffffL) * dimension;
                for (int j = 0; j < dimension; j++) {
                    sum[j] += get(dy, from + j);
                }
            }
            double inverse = normalize(row, normed);
            for (int j = 0; j < dimension; j++) {
                biasSum[j] += sum[j];
                weightSum[j] += sum[j] * normed[j];
            }
            addToRow(row, sum, normed, inverse);
        }
        add(weight.gradient(), 0, weightSum);
        add(bias.gradient(), 0, biasSum);
    }

    /** (x - mean) / deviation of a row of the table; returns 1 / deviation. */
    private double normalize(long row, double[] normed) {
        double mean = 0;
        for (int j = 0; j < normed.length; j++) {
            normed[j] = get(table.value(), row * normed.length + j);
            mean += normed[j] / normed.length;
        }
        double variance = 0;
        for (double x : normed) {
            variance += (x - mean) * (x - mean) / normed.length;
        }
        double inverse = 1 / Math.sqrt(variance + EPSILON);
        for (int j = 0; j < normed.length; j++) {
            normed[j] = (normed[j] - mean) * inverse;
        }
        return inverse;
    }

    /**
     * With n the normed row and g = dy * weight, the gradient of the row is (g - mean(g) - n mean(g n)) / deviation. It is
     * linear in dy, so the sum over all places of a row will do.
     */
    private void addToRow(long row, double[] dy, double[] normed, double inverse) {
        double mean = 0;
        double along = 0;
        double[] gradient = new double[dy.length];
        for (int j = 0; j < dy.length; j++) {
            gradient[j] = dy[j] * get(weight.value(), j);
            mean += gradient[j] / dy.length;
            along += gradient[j] * normed[j] / dy.length;
        }
        for (int j = 0; j < dy.length; j++) {
            gradient[j] = (gradient[j] - mean - normed[j] * along) * inverse;
        }
        add(table.gradient(), row * dy.length, gradient);
    }

    private static void add(Tensor gradient, long begin, double[] values) {
        for (int j = 0; j < values.length; j++) {
            set(gradient, begin + j, (float) (get(gradient, begin + j) + values[j]));
        }
    }

    private long dimension() {
        return table.value().shape().size(1);
    }

    private void check(Tensor indices, long most, String name, Tensor values) {
        Check.present("indices", indices);
        Check.present(name, values);
        Check.dtype("indices", indices, I32);
        if (indices.shape().rank() != 1) {
            throw Check.invalid("indices", "shape " + indices.shape(), "a vector");
        }
        Check.range("length of indices", indices.shape().size(0), 0, most);
        Check.contiguous("indices", indices);
        Check.reachable("indices", indices.segment());
        Check.dtype(name, values, F32);
        Check.matrix(name, values, indices.shape().size(0), dimension());
        Check.contiguous(name, values);
        Check.reachable(name, values.segment());
        long rows = table.value().shape().size(0);
        for (long i = 0; i < indices.shape().size(0); i++) {
            long index = index(indices, i);
            if (index < 0 || index >= rows) {
                throw Check.invalid("indices[" + i + "]", index, "0.." + (rows - 1));
            }
        }
    }

    /** Name, dtype and shape of the table, and the norm; for a person. */
    @Override
    public String toString() {
        return "StableEmbedding " + table + ", LayerNorm with epsilon " + EPSILON;
    }

    private static long index(Tensor indices, long i) {
        return indices.segment().getAtIndex(JAVA_INT, i);
    }

    private static float get(Tensor tensor, long i) {
        MemorySegment memory = tensor.segment();
        return tensor.dtype() == DType.F32
                ? memory.getAtIndex(JAVA_FLOAT, i)
                : tensor.dtype().decode(memory.getAtIndex(JAVA_SHORT, i));
    }

    private static void set(Tensor tensor, long i, float value) {
        if (tensor.dtype() == DType.F32) {
            tensor.segment().setAtIndex(JAVA_FLOAT, i, value);
        } else {
            tensor.segment().setAtIndex(JAVA_SHORT, i, (short) tensor.dtype().encode(value));
        }
    }
}
