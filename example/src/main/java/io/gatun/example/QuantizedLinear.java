package io.gatun.example;

import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;

/** A linear layer with packed int8 or int4 weights. */
record QuantizedLinear(PackedWeights weights, Options options) implements LinearLayer {
    static QuantizedLinear pack(Linear linear, QuantSpec spec, Mode mode, Activation activation) {
        // The graph stores [inputs, outputs]; the transposed view is quantized without a copy.
        return new QuantizedLinear(
                QMatmul.pack(LinearLayer.weights(linear), spec),
                LinearLayer.options(linear, activation).withMode(mode));
    }

    @Override
    public void run(Tensor x, Tensor y, Options use) {
        QMatmul.run(x, weights, y, use);
    }

    @Override
    public String explain(Tensor x, Tensor y) {
        return QMatmul.explain(x, weights, y, options);
    }

    @Override
    public long bytes() {
        return weights.segment().byteSize() + weights.rows() * Float.BYTES;
    }
}
