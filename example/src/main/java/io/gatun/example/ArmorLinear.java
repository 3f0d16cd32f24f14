package io.gatun.example;

import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.Armor;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.Sparsity;

/**
 * A linear layer whose weights are block-diagonal x N:M sparse x block-diagonal, in f32.
 *
 * @param weights packed
 * @param options with bias and activation
 * @param firstLoss what the fit minimizes, as plain N:M weights have it
 * @param lastLoss the same after the fit
 */
record ArmorLinear(Armor.Weights weights, Options options, double firstLoss, double lastLoss) implements LinearLayer {
    /** Fits blocks of d x d for inputs with these norms. */
    static ArmorLinear fit(
            Linear linear, Tensor norms, Sparsity.Nm pattern, long d, int rounds, Activation activation) {
        Armor.Factors factors = Armor.fit(LinearLayer.weights(linear).contiguous(), norms, pattern, d, rounds);
        return new ArmorLinear(
                factors.pack(),
                LinearLayer.options(linear, activation).withMode(Mode.PRECISE),
                factors.losses()[0],
                factors.losses()[rounds]);
    }

    @Override
    public void run(Tensor x, Tensor y, Options use) {
        Armor.run(x, weights, y, use);
    }

    /** Of the sparse part. */
    @Override
    public String explain(Tensor x, Tensor y) {
        return NmMatmul.explain(x, weights.core(), y, options);
    }

    @Override
    public long bytes() {
        return weights.core().segment().byteSize()
                + weights.left().segment().byteSize()
                + weights.right().segment().byteSize()
                + weights.core().rows() * Float.BYTES;
    }
}
