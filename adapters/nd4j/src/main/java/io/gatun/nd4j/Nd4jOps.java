package io.gatun.nd4j;

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
import java.util.function.Function;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Gatun's operations on ND4J's arrays, of the CPU backend. Nothing is copied: kernels read and write the arrays' own
 * memory, views and order f by their strides. An array must not be closed before the call returns.
 *
 * <p>Arrays are of the types FLOAT, HALF, BFLOAT16, INT8, UINT8 and INT32. All methods throw
 * {@link UnsupportedOperationException} for versions of ND4J other than 1.0.0-beta7 to 1.0.0-M2.1, and other backends.
 */
public final class Nd4jOps {
    private Nd4jOps() {}

    /** As {@link #qmatmul(INDArray, PackedWeights, INDArray, QMatmul.Options)}, into a new array of the type of x. */
    public static INDArray qmatmul(INDArray x, PackedWeights w) {
        INDArray y = likeButLast("x", x, w.rows());
        qmatmul(x, w, y, QMatmul.Options.DEFAULT);
        return y;
    }

    /**
     * {@link QMatmul#run} on arrays: y = x * w^T.
     *
     * @param x [..., depth]; of more than two axes, or one, contiguous in order c
     * @param y [..., columns], likewise
     */
    public static void qmatmul(INDArray x, PackedWeights w, INDArray y, QMatmul.Options options) {
        try (Nd4jViews views = new Nd4jViews()) {
            QMatmul.run(views.matrix("x", x), w, views.matrix("y", y), options);
        }
    }

    /** As {@link #nmMatmul(INDArray, NmWeights, INDArray, QMatmul.Options)}, into a new array of the type of x. */
    public static INDArray nmMatmul(INDArray x, NmWeights w) {
        INDArray y = likeButLast("x", x, w.rows());
        nmMatmul(x, w, y, QMatmul.Options.DEFAULT);
        return y;
    }

    /**
     * {@link NmMatmul#run} on arrays, which are as those of
     * {@link #qmatmul(INDArray, PackedWeights, INDArray, QMatmul.Options)}.
     */
    public static void nmMatmul(INDArray x, NmWeights w, INDArray y, QMatmul.Options options) {
        try (Nd4jViews views = new Nd4jViews()) {
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
    public static INDArray attention(INDArray q, INDArray k, INDArray v, Attention.Options options) {
        INDArray out = likeButLast("q", q, last("v", v));
        try (Nd4jViews views = new Nd4jViews()) {
            Attention.run(views.of("q", q), views.of("k", k), views.of("v", v), views.of("out", out), options);
        }
        return out;
    }

    /** {@link Norm#layer} over the last axis, into a new array. */
    public static INDArray layerNorm(INDArray x, INDArray weight, INDArray bias, float epsilon) {
        INDArray y = likeButLast("x", x, last("x", x));
        try (Nd4jViews views = new Nd4jViews()) {
            Norm.layer(
                    views.matrix("x", x),
                    views.of("weight", weight),
                    views.of("bias", bias),
                    epsilon,
                    views.matrix("y", y));
        }
        return y;
    }

    /** {@link Quantize#run} of a matrix; it does not refer to the array afterwards. */
    public static QuantizedTensor quantize(INDArray x, QuantSpec spec) {
        return with(x, tensor -> Quantize.run(tensor, spec));
    }

    /** What any operation gives for an array as a tensor, which ends when {@code act} does. */
    public static <T> T with(INDArray array, Function<Tensor, T> act) {
        try (Nd4jViews views = new Nd4jViews()) {
            return act.apply(views.of("array", array));
        }
    }

    private static long last(String name, INDArray array) {
        int axis = Nd4jViews.lastAxis(name, array);
        return array.size(axis);
    }

    private static INDArray likeButLast(String name, INDArray like, long last) {
        int axis = Nd4jViews.lastAxis(name, like);
        long[] shape = like.shape().clone();
        shape[axis] = last;
        return Nd4j.create(like.dataType(), shape);
    }
}
