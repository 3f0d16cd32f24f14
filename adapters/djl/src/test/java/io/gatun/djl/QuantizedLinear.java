package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;

/** A linear layer of DJL with 4-bit weights. */
final class QuantizedLinear {
    public static void main(String[] arguments) {
        try (NDManager manager = NDManager.newBaseManager()) {
            NDArray weights = manager.randomNormal(new Shape(512, 256)); // [outputs, inputs]
            NDArray x = manager.randomNormal(new Shape(8, 256));
            PackedWeights packed = QMatmul.pack(NDOps.quantize(weights, QuantSpec.int4(32)));
            NDArray y = NDOps.qmatmul(x, packed);
            NDArray exact = x.matMul(weights.transpose());
            System.out.println(
                    "relative error " + y.sub(exact).norm().div(exact.norm()).getFloat());
        }
    }
}
