package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class StableEmbeddingTest {
    private static final int ROWS = 7;
    private static final int DIMENSION = 5;

    private final int[] places = {3, 0, 3, 6, 3};
    private final Tensor indices = Tensor.of(places, places.length);

    private static double[] doubles(Tensor tensor) {
        float[] values = tensor.toFloatArray();
        double[] copy = new double[values.length];
        for (int i = 0; i < copy.length; i++) {
            copy[i] = values[i];
        }
        return copy;
    }

    /** The layer in double. */
    private double[] forward(double[] table, double[] weight, double[] bias) {
        double[] y = new double[places.length * DIMENSION];
        for (int i = 0; i < places.length; i++) {
            double[] row = Arrays.copyOfRange(table, places[i] * DIMENSION, (places[i] + 1) * DIMENSION);
            double mean = Arrays.stream(row).average().orElseThrow();
            double variance = Arrays.stream(row)
                    .map(x -> (x - mean) * (x - mean))
                    .average()
                    .orElseThrow();
            for (int j = 0; j < DIMENSION; j++) {
                y[i * DIMENSION + j] = (row[j] - mean) / Math.sqrt(variance + 1e-5f) * weight[j] + bias[j];
            }
        }
        return y;
    }

    /** Weight and bias that are not those of the beginning. */
    private static StableEmbedding layer(DType dtype) {
        StableEmbedding layer = StableEmbedding.of("e", dtype, ROWS, DIMENSION, 1);
        Random random = new Random(101);
        layer.parameters().get(1).value().copyFrom(random.normal(DIMENSION, 1));
        layer.parameters().get(2).value().copyFrom(random.normal(DIMENSION, 1));
        return layer;
    }

    private double[] expected(StableEmbedding layer) {
        List<Parameter> parameters = layer.parameters();
        return forward(
                doubles(parameters.get(0).value()),
                doubles(parameters.get(1).value()),
                doubles(parameters.get(2).value()));
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "F16", "BF16"})
    void rowsAreLookedUpAndNormalized(DType dtype) {
        StableEmbedding layer = layer(dtype);
        Tensor y = f32(places.length, DIMENSION);
        layer.forward(indices, y);
        assertArrayEquals(expected(layer), doubles(y), 2e-6);
    }

    /** Against differences of the layer in double; gradients are added to what is there. */
    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "F16", "BF16"})
    void gradientsAreThoseOfDifferences(DType dtype) {
        StableEmbedding layer = layer(dtype);
        float[] dy = new Random(102).normal(places.length * DIMENSION, 1);
        for (Parameter parameter : layer.parameters()) {
            parameter.gradient().setFloat(8, new long[parameter.value().shape().rank()]);
        }
        layer.backward(indices, Tensor.of(dy, places.length, DIMENSION));
        double[][] values = layer.parameters().stream()
                .map(parameter -> doubles(parameter.value()))
                .toArray(double[][]::new);
        for (int p = 0; p < 3; p++) {
            double[] gradient = doubles(layer.parameters().get(p).gradient());
            double unit = layer.parameters().get(p).value().dtype() == DType.F32
                    ? 0x1p-23
                    : dtype == DType.F16 ? 0x1p-10 : 0x1p-7;
            for (int i = 0; i < values[p].length; i++) {
                double kept = values[p][i];
                double sum = 0;
                for (double sign : new double[] {-1, 1}) {
                    values[p][i] = kept + sign * 1e-5;
                    double[] y = forward(values[0], values[1], values[2]);
                    for (int k = 0; k < y.length; k++) {
                        sum += sign * y[k] * dy[k] / 2e-5;
                    }
                }
                values[p][i] = kept;
                double right = sum + (i == 0 ? 8 : 0);
                assertEquals(right, gradient[i], 1e-7 + Math.abs(right) * unit, "parameter " + p + " element " + i);
            }
        }
    }

    @Test
    void nothingToLookUp() {
        StableEmbedding layer = layer(DType.F32);
        Tensor none = Tensor.of(new int[0], 0);
        layer.forward(none, f32(0, DIMENSION));
        layer.backward(none, f32(0, DIMENSION));
        for (Parameter parameter : layer.parameters()) {
            for (float value : parameter.gradient().toFloatArray()) {
                assertEquals(0, value);
            }
        }
    }

    @Test
    void beginsUniformly() {
        StableEmbedding layer = StableEmbedding.of("tokens", DType.F32, 1000, 50, 42);
        assertEquals(
                "[tokens.weight f32[1000, 50], tokens.norm.weight f32[50], tokens.norm.bias f32[50]]",
                layer.parameters().toString());
        assertEquals("StableEmbedding tokens.weight f32[1000, 50], LayerNorm with epsilon 1.0E-5", layer.toString());
        assertTrue(layer.parameters().get(0).fullPrecisionState());
        float[] values = layer.parameters().get(0).value().toFloatArray();
        double bound = Math.sqrt(6.0 / 1050);
        double squares = 0;
        double largest = 0;
        for (float value : values) {
            squares += value * value;
            largest = Math.max(largest, Math.abs(value));
        }
        assertTrue(largest <= bound && largest > 0.999 * bound, largest + " of " + bound);
        assertEquals(bound * bound / 3, squares / values.length, 0.02 * bound * bound / 3);
        assertEquals((2 * new java.util.Random(42).nextFloat() - 1) * (float) bound, values[0]);
        float[] again = StableEmbedding.of("e", DType.F32, 1000, 50, 42)
                .parameters()
                .get(0)
                .value()
                .toFloatArray();
        assertArrayEquals(values, again);
        float[] other = StableEmbedding.of("e", DType.F32, 1000, 50, 43)
                .parameters()
                .get(0)
                .value()
                .toFloatArray();
        assertFalse(Arrays.equals(values, other));
    }

    /** A layer whose rows are to be given vectors learns them. */
    @Test
    void learns() {
        StableEmbedding layer = StableEmbedding.of("e", DType.F32, 50, 8, 5);
        Optimizer adam = Optimizer.of(
                Optimizer.Options.of(Optimizer.Rule.ADAM).withLearningRate(0.02f),
                Optimizer.State.DYNAMIC8,
                layer.parameters().toArray(Parameter[]::new));
        assertEquals(DType.F32, adam.state().get("e.weight.state1").dtype());
        int[] all = new int[50];
        Arrays.setAll(all, i -> i);
        Tensor every = Tensor.of(all, 50);
        Tensor y = f32(50, 8);
        Tensor wanted = f32(50, 8);
        Norm.layer(Tensor.of(new Random(103).normal(400, 1), 50, 8), null, null, 1e-5f, wanted);
        double first = 0;
        double loss = 0;
        for (int step = 0; step < 200; step++) {
            layer.forward(every, y);
            float[] given = y.toFloatArray();
            float[] goal = wanted.toFloatArray();
            loss = 0;
            for (int i = 0; i < given.length; i++) {
                given[i] -= goal[i];
                loss += given[i] * given[i];
            }
            first = step == 0 ? loss : first;
            adam.zeroGradients();
            layer.backward(every, Tensor.of(given, 50, 8));
            adam.step();
        }
        assertTrue(loss < first / 1000, first + " -> " + loss);
    }

    private static DynamicTest refused(String message, Executable call) {
        return DynamicTest.dynamicTest(
                message,
                () -> assertEquals(
                        message, assertThrows(RuntimeException.class, call).getMessage()));
    }

    /** Of any length in the memory of one. */
    private static Tensor broadcast(long length) {
        return Tensor.wrap(Tensor.of(new int[1], 1).segment(), DType.I32, Shape.of(length), 0);
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        StableEmbedding layer = layer(DType.F32);
        Tensor y = f32(places.length, DIMENSION);
        Tensor wrong = Tensor.of(new int[] {0, 1, 7, 2, -1}, 5);
        Tensor negative = Tensor.of(new int[] {0, 1, 2, 2, -1}, 5);
        Tensor table = layer.parameters().get(0).value();
        Tensor gradient = layer.parameters().get(0).gradient();
        return Stream.of(
                refused("name: given null; allowed: a value", () -> StableEmbedding.of(null, DType.F32, 1, 1, 0)),
                refused("dtype: given i8; allowed: [f32, f16, bf16]", () -> StableEmbedding.of("e", DType.I8, 1, 1, 0)),
                refused("rows: given 0; allowed: 1..2147483647", () -> StableEmbedding.of("e", DType.F32, 0, 1, 0)),
                refused(
                        "dimension: given -1; allowed: 1..2147483647",
                        () -> StableEmbedding.of("e", DType.F32, 1, -1, 0)),
                refused("indices: given null; allowed: a value", () -> layer.forward(null, y)),
                refused("y: given null; allowed: a value", () -> layer.forward(indices, null)),
                refused("dy: given null; allowed: a value", () -> layer.backward(indices, null)),
                refused("indices: given dtype f32; allowed: [i32]", () -> layer.forward(f32(5), y)),
                refused(
                        "indices: given shape [5, 1]; allowed: a vector",
                        () -> layer.forward(indices.reshape(5, 1), y)),
                refused(
                        "length of indices: given 2147483648; allowed: 0..2147483639",
                        () -> layer.backward(broadcast(1L << 31), y)),
                refused(
                        "length of indices: given 2147483640; allowed: 0..2147483639",
                        () -> layer.backward(broadcast((1L << 31) - 8), y)),
                refused("indices[2]: given 7; allowed: 0..6", () -> layer.forward(wrong, y)),
                refused("indices[4]: given -1; allowed: 0..6", () -> layer.backward(negative, y)),
                refused("y: given shape [5, 4]; allowed: a matrix [5, 5]", () -> layer.forward(indices, f32(5, 4))),
                refused("dy: given shape [4, 5]; allowed: a matrix [5, 5]", () -> layer.backward(indices, f32(4, 5))),
                refused(
                        "y: given dtype bf16; allowed: [f32]",
                        () -> layer.forward(indices, Tensor.allocate(DType.BF16, 5, 5))),
                refused(
                        "y: given read-only memory; allowed: writable memory",
                        () -> layer.forward(indices, Unreachable.readOnly(y))),
                refused(
                        "y: given memory that overlaps e.weight; allowed: memory of its own",
                        () -> layer.forward(indices, table.slice(0, 1, 6))),
                refused(
                        "dy: given memory that overlaps e.weight; allowed: memory of its own",
                        () -> layer.backward(indices, gradient.slice(0, 1, 6))),
                refused(
                        "indices: given memory of a closed arena; allowed: memory whose arena stays open during the call",
                        () -> layer.forward(Unreachable.closed(DType.I32, 5), y)),
                refused(
                        "dy: given memory of a closed arena; allowed: memory whose arena stays open during the call",
                        () -> layer.backward(indices, Unreachable.closed(DType.F32, 5, 5))),
                DynamicTest.dynamicTest("nothing was written", () -> {
                    assertArrayEquals(new float[25], y.toFloatArray());
                    assertArrayEquals(new float[35], gradient.toFloatArray());
                }));
    }
}
