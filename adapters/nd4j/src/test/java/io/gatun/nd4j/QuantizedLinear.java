package io.gatun.nd4j;

import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** A product of ND4J with 4-bit weights. */
final class QuantizedLinear {
    public static void main(String[] arguments) {
        INDArray weights = Nd4j.randn(DataType.FLOAT, 512, 256); // [outputs, inputs]
        INDArray x = Nd4j.randn(DataType.FLOAT, 8, 256);
        PackedWeights packed = QMatmul.pack(Nd4jOps.quantize(weights, QuantSpec.int4(32)));
        INDArray y = Nd4jOps.qmatmul(x, packed);
        INDArray exact = x.mmul(weights.transpose());
        double error =
                y.sub(exact).norm2Number().doubleValue() / exact.norm2Number().doubleValue();
        System.out.println("relative error " + error);
    }
}
