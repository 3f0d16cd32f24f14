package io.gatun.example;

import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;

/** A linear layer with packed int8 or int4 weights; bias and activation ride in the matmul's epilogue. */
record QuantizedLinear(PackedWeights weights, Options options) {
    static QuantizedLinear pack(Linear linear, QuantSpec spec, Mode mode, Activation activation) {
        // The graph stores [inputs, outputs]; the transposed view is quantized without a copy.
        Tensor weights =
                Tensor.of(linear.weights(), linear.inputs(), linear.outputs()).transpose();
        Tensor bias = Tensor.of(linear.bias(), linear.outputs());
        return new QuantizedLinear(
                QMatmul.pack(weights, spec),
                Options.DEFAULT.withBias(bias).withActivation(activation).withMode(mode));
    }

    /** y = activation(x * weights + bias). */
    void run(Tensor x, Tensor y) {
        QMatmul.run(x, weights, y, options);
    }

    /** y = x * weights + bias + residual. */
    void runAdding(Tensor residual, Tensor x, Tensor y) {
        QMatmul.run(x, weights, y, options.withResidual(residual));
    }

    String explain(Tensor x, Tensor y) {
        return QMatmul.explain(x, weights, y, options);
    }

    long bytes() {
        return weights.segment().byteSize() + weights.rows() * Float.BYTES;
    }
}
