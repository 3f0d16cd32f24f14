package io.gatun.nd4j;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Sparsity;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

class Nd4jOpsTest {
    private static float[] numbers(int count) {
        Random random = new Random(count);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static INDArray array(float[] values, long... shape) {
        return Nd4j.create(values, shape, 'c');
    }

    private static float[] values(INDArray array) {
        return array.dup('c').data().asFloat();
    }

    @Test
    void viewsKeepTheirStrides() {
        INDArray array = array(numbers(60), 5, 12);
        long address = array.data().address();
        assertEquals(address, (long) Nd4jOps.with(array, Tensor::address));
        INDArray columns = array.get(NDArrayIndex.all(), NDArrayIndex.interval(2, 10));
        assertEquals(address + 8, (long) Nd4jOps.with(columns, Tensor::address));
        assertArrayEquals(new long[] {12, 1}, Nd4jOps.with(columns, Tensor::strides));
        assertArrayEquals(values(columns), Nd4jOps.with(columns, Tensor::toFloatArray));
        INDArray part = columns.transpose().get(NDArrayIndex.interval(3, 6), NDArrayIndex.interval(1, 5));
        assertEquals(address + 5 * 4 + 48, (long) Nd4jOps.with(part, Tensor::address));
        assertArrayEquals(new long[] {1, 12}, Nd4jOps.with(part, Tensor::strides));
        assertArrayEquals(values(part), Nd4jOps.with(part, Tensor::toFloatArray));
        INDArray row = array.getRow(3);
        assertEquals(address + 3 * 48, (long) Nd4jOps.with(row, Tensor::address));
        assertArrayEquals(values(array.transpose()), Nd4jOps.with(array.transpose(), Tensor::toFloatArray));
        INDArray fortran = array.dup('f');
        assertArrayEquals(values(array), Nd4jOps.with(fortran, Tensor::toFloatArray));
        Nd4jOps.with(columns, tensor -> {
            tensor.setFloat(42, 4, 1);
            return null;
        });
        assertEquals(42, array.getFloat(4, 3));
    }

    @Test
    void types() {
        INDArray array = array(numbers(3), 3);
        assertEquals(DType.F16, Nd4jOps.with(array.castTo(DataType.HALF), Tensor::dtype));
        assertEquals(DType.BF16, Nd4jOps.with(array.castTo(DataType.BFLOAT16), Tensor::dtype));
        assertEquals(DType.I8, Nd4jOps.with(array.castTo(DataType.INT8), Tensor::dtype));
        assertEquals(DType.U8, Nd4jOps.with(array.castTo(DataType.UINT8), Tensor::dtype));
        assertEquals(DType.I32, Nd4jOps.with(array.castTo(DataType.INT32), Tensor::dtype));
    }

    @Test
    void productsAreThoseOfTensors() {
        float[] x = numbers(6 * 64);
        float[] w = numbers(40 * 64);
        PackedWeights packed = QMatmul.pack(Tensor.of(w, 40, 64), QuantSpec.int8());
        Tensor expected = Tensor.allocate(DType.F32, 6, 40);
        QMatmul.run(Tensor.of(x, 6, 64), packed, expected);
        assertArrayEquals(expected.toFloatArray(), values(Nd4jOps.qmatmul(array(x, 6, 64), packed)));
        INDArray batch = Nd4jOps.qmatmul(array(x, 2, 3, 64), packed);
        assertArrayEquals(new long[] {2, 3, 40}, batch.shape());
        assertArrayEquals(expected.toFloatArray(), values(batch));
        INDArray wide = Nd4j.zeros(DataType.FLOAT, 6, 50);
        INDArray part = wide.get(NDArrayIndex.all(), NDArrayIndex.interval(5, 45));
        Nd4jOps.qmatmul(array(x, 6, 64), packed, part, QMatmul.Options.DEFAULT);
        assertArrayEquals(expected.toFloatArray(), values(part));
        assertEquals(part.norm2Number().floatValue(), wide.norm2Number().floatValue());

        var sparse =
                NmMatmul.pack(Prune.compress(Tensor.of(w, 40, 64), Prune.Score.magnitude(), new Sparsity.Nm(2, 4, 1)));
        NmMatmul.run(Tensor.of(x, 6, 64), sparse, expected);
        assertArrayEquals(expected.toFloatArray(), values(Nd4jOps.nmMatmul(array(x, 6, 64), sparse)));
    }

    @Test
    void attentionAndNorm() {
        float[] q = numbers(2 * 3 * 5 * 8);
        float[] k = numbers(2 * 3 * 7 * 8);
        Tensor out = Tensor.allocate(DType.F32, 2, 3, 5, 8);
        Attention.run(Tensor.of(q, 2, 3, 5, 8), Tensor.of(k, 2, 3, 7, 8), Tensor.of(k, 2, 3, 7, 8), out);
        INDArray keys = array(k, 2, 3, 7, 8);
        assertArrayEquals(
                out.toFloatArray(),
                values(Nd4jOps.attention(array(q, 2, 3, 5, 8), keys, keys, Attention.Options.DEFAULT)));

        INDArray x = array(q, 30, 8);
        INDArray less = x.subColumnVector(x.mean(1));
        INDArray deviation = org.nd4j.linalg.ops.transforms.Transforms.sqrt(
                less.mul(less).mean(1).add(1e-5));
        assertArrayEquals(
                values(less.divColumnVector(deviation)),
                values(Nd4jOps.layerNorm(x, Nd4j.ones(DataType.FLOAT, 8), null, 1e-5f)),
                1e-5f);
    }

    @Test
    void refusals() {
        INDArray array = Nd4j.create(new double[] {1, 2}, 1, 2).castTo(DataType.DOUBLE);
        assertEquals(
                "array: given DOUBLE; allowed: FLOAT, HALF, BFLOAT16, INT8, UINT8, INT32",
                assertThrows(IllegalArgumentException.class, () -> Nd4jOps.with(array, Tensor::dtype))
                        .getMessage());
        PackedWeights packed = QMatmul.pack(Tensor.of(numbers(16 * 16), 16, 16), QuantSpec.int8());
        INDArray view = array(numbers(2 * 16 * 3), 2, 16, 3).permute(0, 2, 1);
        assertEquals(
                "x: given a view, or order f, of shape [2, 3, 16]; allowed: two axes, or contiguous arrays in order c",
                assertThrows(IllegalArgumentException.class, () -> Nd4jOps.qmatmul(view, packed))
                        .getMessage());
        INDArray scalar = Nd4j.scalar(1f);
        refuses("x", () -> Nd4jOps.qmatmul(scalar, packed));
        refuses("q", () -> Nd4jOps.attention(scalar, view, view, Attention.Options.DEFAULT));
        refuses("v", () -> Nd4jOps.attention(view, view, scalar, Attention.Options.DEFAULT));
        refuses("x", () -> Nd4jOps.layerNorm(scalar, null, null, 1e-5f));
        assertEquals(
                "x: given null; allowed: an array",
                assertThrows(NullPointerException.class, () -> Nd4jOps.qmatmul(null, packed))
                        .getMessage());
        INDArray closed = array(numbers(4), 4);
        closed.close();
        assertThrows(IllegalStateException.class, () -> Nd4jOps.with(closed, Tensor::dtype));
        Tensor[] kept = new Tensor[1];
        Nd4jOps.with(array(numbers(4), 4), tensor -> kept[0] = tensor);
        assertThrows(IllegalStateException.class, () -> kept[0].getFloat(0));
    }

    private static void refuses(String name, Executable scalar) {
        String message = assertThrows(IllegalArgumentException.class, scalar).getMessage();
        assertEquals(name + ": given a scalar; allowed: [..., size]", message);
    }

    @Test
    void noElements() {
        PackedWeights packed = QMatmul.pack(Tensor.of(numbers(16 * 16), 16, 16), QuantSpec.int8());
        assertArrayEquals(
                new long[] {0, 16},
                Nd4jOps.qmatmul(Nd4j.create(DataType.FLOAT, 0, 16), packed).shape());
        // A product of depth 0 is zeros.
        PackedWeights flat = QMatmul.pack(Tensor.allocate(DType.F32, 5, 0), QuantSpec.int8());
        INDArray y = Nd4j.ones(DataType.FLOAT, 2, 3, 5);
        Nd4jOps.qmatmul(Nd4j.create(DataType.FLOAT, 2, 3, 0), flat, y, QMatmul.Options.DEFAULT);
        assertArrayEquals(new float[30], values(y));
    }
}
