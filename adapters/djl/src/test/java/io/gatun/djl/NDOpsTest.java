package io.gatun.djl;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Sparsity;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NDOpsTest {
    private static NDManager pyTorch;

    @BeforeAll
    static void open() {
        pyTorch = NDManager.newBaseManager(Device.cpu(), "PyTorch");
    }

    @AfterAll
    static void close() {
        pyTorch.close();
    }

    private static float[] numbers(int count) {
        Random random = new Random(count);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    /** What is written through a view is in the array: nothing was copied. */
    private static void assertSameMemory(NDArray array, float value, long... index) {
        NDOps.with(array, tensor -> {
            tensor.setFloat(value, index);
            return null;
        });
        long flat = 0;
        for (int axis = 0; axis < index.length; axis++) {
            flat = flat * array.getShape().get(axis) + index[axis];
        }
        assertEquals(value, array.toFloatArray()[(int) flat]);
    }

    @ParameterizedTest
    @ValueSource(strings = {"PyTorch", "OnnxRuntime"})
    void arraysAreNotCopied(String engine) {
        try (NDManager manager = NDManager.newBaseManager(Device.cpu(), engine)) {
            ByteBuffer memory = manager.allocateDirect(48);
            NDArray own = manager.create(memory, new Shape(3, 4), DataType.FLOAT32);
            assertSameMemory(own, 7, 1, 2);
            assertSameMemory(manager.create(numbers(12), new Shape(3, 4)), 8, 2, 3);
            if (engine.equals("OnnxRuntime")) {
                long address = MemorySegment.ofBuffer(memory).address();
                assertEquals(address, (long) NDOps.with(own, Tensor::address));
            }
        }
    }

    @Test
    void viewsKeepTheirStrides() {
        NDArray array = pyTorch.create(numbers(60), new Shape(5, 12));
        long address = NDOps.with(array, Tensor::address);
        assertEquals(address + 48, (long) NDOps.with(array.get("1:3"), Tensor::address));
        NDArray columns = array.get(":, 2:10");
        assertEquals(address + 8, (long) NDOps.with(columns, Tensor::address));
        assertArrayEquals(new long[] {12, 1}, NDOps.with(columns, Tensor::strides));
        NDArray transposed = array.transpose();
        assertEquals(address, (long) NDOps.with(transposed, Tensor::address));
        assertArrayEquals(new long[] {1, 12}, NDOps.with(transposed, Tensor::strides));
        assertArrayEquals(transposed.toFloatArray(), NDOps.with(transposed, Tensor::toFloatArray));
        NDArray part = columns.transpose().get("3:6, 1:"); // a view of a view of a view
        assertEquals(address + 5 * 4 + 48, (long) NDOps.with(part, Tensor::address));
        assertArrayEquals(new long[] {1, 12}, NDOps.with(part, Tensor::strides));
        assertArrayEquals(part.toFloatArray(), NDOps.with(part, Tensor::toFloatArray));
    }

    /** Not BFLOAT16: DJL's own conversion to it ends the process. */
    @Test
    void types() {
        NDArray array = pyTorch.create(new float[] {1, 2, 3}, new Shape(3));
        assertEquals(DType.F16, NDOps.with(array.toType(DataType.FLOAT16, true), Tensor::dtype));
        assertEquals(DType.I8, NDOps.with(array.toType(DataType.INT8, true), Tensor::dtype));
        assertEquals(DType.U8, NDOps.with(array.toType(DataType.UINT8, true), Tensor::dtype));
        assertEquals(DType.I32, NDOps.with(array.toType(DataType.INT32, true), Tensor::dtype));
    }

    @Test
    void productsAreThoseOfTensors() {
        float[] x = numbers(6 * 64);
        float[] w = numbers(40 * 64);
        PackedWeights packed = QMatmul.pack(Tensor.of(w, 40, 64), QuantSpec.int8());
        Tensor expected = Tensor.allocate(DType.F32, 6, 40);
        QMatmul.run(Tensor.of(x, 6, 64), packed, expected);
        assertArrayEquals(
                expected.toFloatArray(),
                NDOps.qmatmul(pyTorch.create(x, new Shape(6, 64)), packed).toFloatArray());
        NDArray batch = NDOps.qmatmul(pyTorch.create(x, new Shape(2, 3, 64)), packed);
        assertEquals(new Shape(2, 3, 40), batch.getShape());
        assertArrayEquals(expected.toFloatArray(), batch.toFloatArray());
        // Into some columns of a larger array, and nowhere else.
        NDArray wide = pyTorch.zeros(new Shape(6, 50));
        NDOps.qmatmul(pyTorch.create(x, new Shape(6, 64)), packed, wide.get(":, 5:45"), QMatmul.Options.DEFAULT);
        assertArrayEquals(expected.toFloatArray(), wide.get(":, 5:45").toFloatArray());
        assertEquals(0, wide.get(":, :5").abs().sum().getFloat());
        assertEquals(0, wide.get(":, 45:").abs().sum().getFloat());

        var sparse =
                NmMatmul.pack(Prune.compress(Tensor.of(w, 40, 64), Prune.Score.magnitude(), new Sparsity.Nm(2, 4, 1)));
        NmMatmul.run(Tensor.of(x, 6, 64), sparse, expected);
        assertArrayEquals(
                expected.toFloatArray(),
                NDOps.nmMatmul(pyTorch.create(x, new Shape(6, 64)), sparse).toFloatArray());
    }

    @Test
    void attentionAndNormAreThoseOfPyTorch() {
        NDArray q = pyTorch.create(numbers(2 * 3 * 5 * 8), new Shape(2, 3, 5, 8));
        NDArray k = pyTorch.create(numbers(2 * 3 * 7 * 8), new Shape(2, 3, 7, 8));
        // As a model has it, [batch, length, heads, size], seen the other way round.
        NDArray v =
                pyTorch.create(numbers(2 * 7 * 3 * 8), new Shape(2, 7, 3, 8)).transpose(0, 2, 1, 3);
        NDArray out = NDOps.attention(q, k, v, Attention.Options.DEFAULT);
        NDArray expected = q.matMul(k.transpose(0, 1, 3, 2))
                .div((float) Math.sqrt(8))
                .softmax(-1)
                .matMul(v);
        assertArrayEquals(expected.toFloatArray(), out.toFloatArray(), 1e-5f);

        NDArray weight = pyTorch.create(numbers(8), new Shape(8));
        NDArray x = q.sub(q.mean(new int[] {-1}, true));
        NDArray normal =
                x.div(x.square().mean(new int[] {-1}, true).add(1e-5f).sqrt()).mul(weight);
        assertArrayEquals(
                normal.toFloatArray(), NDOps.layerNorm(q, weight, null, 1e-5f).toFloatArray(), 1e-5f);
    }

    @Test
    void refusals() {
        NDArray array = pyTorch.create(new double[] {1, 2}, new Shape(1, 2));
        String message = assertThrows(IllegalArgumentException.class, () -> NDOps.with(array, Tensor::dtype))
                .getMessage();
        assertEquals("array: given FLOAT64; allowed: FLOAT32, FLOAT16, BFLOAT16, INT8, UINT8, INT32", message);
        PackedWeights packed = QMatmul.pack(Tensor.of(numbers(16 * 16), 16, 16), QuantSpec.int8());
        NDArray view = pyTorch.create(numbers(2 * 16 * 3), new Shape(2, 16, 3)).transpose(0, 2, 1);
        message = assertThrows(IllegalArgumentException.class, () -> NDOps.qmatmul(view, packed))
                .getMessage();
        assertEquals("x: given a view (2, 3, 16); allowed: views of two axes, or contiguous arrays", message);
        NDArray scalar = pyTorch.create(1f);
        refuses("x", () -> NDOps.qmatmul(scalar, packed));
        refuses("q", () -> NDOps.attention(scalar, view, view, Attention.Options.DEFAULT));
        refuses("v", () -> NDOps.attention(view, view, scalar, Attention.Options.DEFAULT));
        refuses("x", () -> NDOps.layerNorm(scalar, null, null, 1e-5f));
        message = assertThrows(NullPointerException.class, () -> NDOps.qmatmul(null, packed))
                .getMessage();
        assertEquals("x: given null; allowed: an array", message);
        Tensor[] kept = new Tensor[1];
        NDOps.with(pyTorch.create(numbers(4), new Shape(4)), tensor -> kept[0] = tensor);
        assertThrows(IllegalStateException.class, () -> kept[0].getFloat(0));
        NDArray closed = pyTorch.create(numbers(4), new Shape(4));
        closed.close();
        assertThrows(IllegalStateException.class, () -> NDOps.with(closed, Tensor::dtype));
    }

    private static void refuses(String name, Executable scalar) {
        String message = assertThrows(IllegalArgumentException.class, scalar).getMessage();
        assertEquals(name + ": given a scalar; allowed: [..., size]", message);
    }

    @Test
    void sparseArraysAreRefused() {
        NDArray sparse = pyTorch.createCoo(FloatBuffer.wrap(new float[] {1}), new long[][] {{0}, {2}}, new Shape(2, 3));
        String message = assertThrows(UnsupportedOperationException.class, () -> NDOps.with(sparse, Tensor::dtype))
                .getMessage();
        assertEquals("array: given an array that is sparse; allowed: dense ones", message);
    }

    /** A failed call leaves its manager nothing to close. */
    @Test
    void resultsOfFailedCallsAreClosed() {
        PackedWeights packed = QMatmul.pack(Tensor.of(numbers(16 * 16), 16, 16), QuantSpec.int8());
        try (NDManager manager = pyTorch.newSubManager()) {
            NDArray deep = manager.create(numbers(2 * 17), new Shape(2, 17));
            int before = manager.getManagedArrays().size();
            assertThrows(IllegalArgumentException.class, () -> NDOps.qmatmul(deep, packed));
            assertThrows(IllegalArgumentException.class, () -> NDOps.layerNorm(deep, manager.create(1f), null, 1e-5f));
            assertThrows(
                    IllegalArgumentException.class, () -> NDOps.attention(deep, deep, deep, Attention.Options.DEFAULT));
            assertEquals(before + 1, manager.getManagedArrays().size()); // the weight
        }
    }

    @Test
    void noElements() {
        PackedWeights packed = QMatmul.pack(Tensor.of(numbers(16 * 16), 16, 16), QuantSpec.int8());
        NDArray y = NDOps.qmatmul(pyTorch.create(new Shape(0, 16)), packed);
        assertEquals(new Shape(0, 16), y.getShape());
    }

    /** A product of depth 0 is zeros. */
    @Test
    void noDepth() {
        PackedWeights packed = QMatmul.pack(Tensor.allocate(DType.F32, 5, 0), QuantSpec.int8());
        NDArray y = NDOps.qmatmul(pyTorch.create(new Shape(2, 3, 0)), packed);
        assertEquals(new Shape(2, 3, 5), y.getShape());
        assertArrayEquals(new float[30], y.toFloatArray());
    }
}
