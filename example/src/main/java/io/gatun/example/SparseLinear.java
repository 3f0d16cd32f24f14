package io.gatun.example;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.Mask;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.Prune;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.SparseTensor;
import io.gatun.ops.Sparsity;

/** A linear layer with N:M sparse weights. */
record SparseLinear(NmWeights weights, Options options) implements LinearLayer {
    /** The best weights by some score, as f32. */
    static SparseLinear prune(Linear linear, Score score, Sparsity.Nm pattern, Activation activation) {
        SparseTensor kept = Prune.compress(LinearLayer.weights(linear).contiguous(), score, pattern);
        return new SparseLinear(
                NmMatmul.pack(kept), LinearLayer.options(linear, activation).withMode(Mode.PRECISE));
    }

    /** The same in int8, one scale for each output; so are activations, on the fly. */
    static SparseLinear pruneInt8(Linear linear, Score score, Sparsity.Nm pattern, Activation activation) {
        Mask mask = Prune.run(LinearLayer.weights(linear).contiguous(), score, pattern);
        SparseTensor kept = SparseTensor.compress(Quantize.run(masked(linear, mask), QuantSpec.int8()), mask, pattern);
        return new SparseLinear(
                NmMatmul.pack(kept), LinearLayer.options(linear, activation).withMode(Mode.INT8_ROW));
    }

    /** The weights [outputs, inputs] with zeros where nothing is kept. */
    static Tensor masked(Linear linear, Mask mask) {
        Tensor masked = Tensor.allocate(DType.F32, linear.outputs(), linear.inputs());
        mask.apply(LinearLayer.weights(linear).contiguous(), masked);
        return masked;
    }

    @Override
    public void run(Tensor x, Tensor y, Options use) {
        NmMatmul.run(x, weights, y, use);
    }

    @Override
    public String explain(Tensor x, Tensor y) {
        return NmMatmul.explain(x, weights, y, options);
    }

    @Override
    public long bytes() {
        return weights.segment().byteSize() + weights.rows() * Float.BYTES;
    }
}
