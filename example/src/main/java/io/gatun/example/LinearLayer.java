package io.gatun.example;

import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Options;

/** A linear layer in some form; bias and activation ride in the matmul's epilogue. */
interface LinearLayer {
    /** With bias and activation. */
    Options options();

    /** y = activation(x * weights + bias) + residual, as the options say. */
    void run(Tensor x, Tensor y, Options options);

    /** y = activation(x * weights + bias). */
    default void run(Tensor x, Tensor y) {
        run(x, y, options());
    }

    /** y = x * weights + bias + residual. */
    default void runAdding(Tensor residual, Tensor x, Tensor y) {
        run(x, y, options().withResidual(residual));
    }

    /** Which kernels run. */
    String explain(Tensor x, Tensor y);

    /** What weights and bias take. */
    long bytes();

    /** The weights [outputs, inputs], a view. */
    static Tensor weights(Linear linear) {
        return Tensor.of(linear.weights(), linear.inputs(), linear.outputs()).transpose();
    }

    /** Of a layer with these weights. */
    static Options options(Linear linear, Activation activation) {
        return Options.DEFAULT
                .withBias(Tensor.of(linear.bias(), linear.outputs()))
                .withActivation(activation);
    }
}
