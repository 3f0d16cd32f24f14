package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.Norm;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * Gatun's operations on DJL's arrays, of the engines PyTorch (2.2 and newer) and OnnxRuntime, on the CPU. Nothing is
 * copied: kernels read and write the arrays' own memory, views of PyTorch by their strides. An array must not be closed
 * before the call returns.
 *
 * <p>Arrays are of the types FLOAT32, FLOAT16, BFLOAT16, INT8, UINT8 and INT32. All methods throw
 * {@link UnsupportedOperationException} for versions of DJL other than 0.28 to 0.36, and for arrays of other engines
 * and devices, and sparse ones.
 */
public final class NDOps {
    private NDOps() {}

    /** As {@link #qmatmul(NDArray, PackedWeights, NDArray, QMatmul.Options)}, into a new array of the type of x. */
    public static NDArray qmatmul(NDArray x, PackedWeights w) {
        return into("x", x, w.rows(), y -> qmatmul(x, w, y, QMatmul.Options.DEFAULT));
    }

    /**
     * {@link QMatmul#run} on arrays: y = x * w^T.
     *
     * @param x [..., depth]; of more than two axes, or one, contiguous
     * @param y [..., columns], likewise
     */
    public static void qmatmul(NDArray x, PackedWeights w, NDArray y, QMatmul.Options options) {
        try (NDViews views = new NDViews()) {
            QMatmul.run(views.matrix("x", x), w, views.matrix("y", y), options);
        }
    }

    /** As {@link #nmMatmul(NDArray, NmWeights, NDArray, QMatmul.Options)}, into a new array of the type of x. */
    public static NDArray nmMatmul(NDArray x, NmWeights w) {
        return into("x", x, w.rows(), y -> nmMatmul(x, w, y, QMatmul.Options.DEFAULT));
    }

    /**
     * {@link NmMatmul#run} on arrays, which are as those of
     * {@link #qmatmul(NDArray, PackedWeights, NDArray, QMatmul.Options)}.
     */
    public static void nmMatmul(NDArray x, NmWeights w, NDArray y, QMatmul.Options options) {
        try (NDViews views = new NDViews()) {
            NmMatmul.run(views.matrix("x", x), w, views.matrix("y", y), options);
        }
    }

    /**
     * {@link Attention#run} on arrays.
     *
     * @param q [batch, query heads, query length, head size]
     * @param k [batch, key heads, key length, head size]
     * @param v [batch, key heads, key length, value size]
     * @return [batch, query heads, query length, value size], a new array
     */
    public static NDArray attention(NDArray q, NDArray k, NDArray v, Attention.Options options) {
        return into("q", q, last("v", v), out -> {
            try (NDViews views = new NDViews()) {
                Attention.run(views.of("q", q), views.of("k", k), views.of("v", v), views.of("out", out), options);
            }
        });
    }

    /** {@link Norm#layer} over the last axis, into a new array. */
    public static NDArray layerNorm(NDArray x, NDArray weight, NDArray bias, float epsilon) {
        return into("x", x, last("x", x), y -> {
            try (NDViews views = new NDViews()) {
                Norm.layer(
                        views.matrix("x", x),
                        views.of("weight", weight),
                        views.of("bias", bias),
                        epsilon,
                        views.matrix("y", y));
            }
        });
    }

    /** {@link Quantize#run} of a matrix; it does not refer to the array afterwards. */
    public static QuantizedTensor quantize(NDArray x, QuantSpec spec) {
        return with(x, tensor -> Quantize.run(tensor, spec));
    }

    /** What any operation gives for an array as a tensor, which ends when {@code act} does. */
    public static <T> T with(NDArray array, Function<Tensor, T> act) {
        try (NDViews views = new NDViews()) {
            return act.apply(views.of("array", array));
        }
    }

    private static long last(String name, NDArray array) {
        int axis = NDViews.lastAxis(name, array);
        return array.getShape().get(axis);
    }

    /** An array like this one, but with the given last size, which {@code act} writes; closed if that throws. */
    private static NDArray into(String name, NDArray like, long last, Consumer<NDArray> act) {
        int axis = NDViews.lastAxis(name, like);
        long[] shape = like.getShape().getShape().clone();
        shape[axis] = last;
        NDArray out = like.getManager().create(new Shape(shape), like.getDataType());
        try {
            act.accept(out);
            return out;
        } catch (Throwable e) {
            out.close();
            throw e;
        }
    }
}
