package io.gatun.example;

import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.Linear;
import io.gatun.ops.ActivationStats;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.Sparsity;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** What the inputs of each linear layer are like while the dense fp32 model embeds some sentences. */
final class Calibration {
    private static final int BATCH = 32;

    /** Every weight: the dense model on kernels of sparse ones. */
    static final Sparsity.Nm ALL = Sparsity.nm(4, 4);

    private final Map<Linear, ActivationStats> inputs = new IdentityHashMap<>();

    private Calibration() {}

    /** Embeds the sentences. */
    static Calibration of(MiniLmWeights weights, List<int[]> sentences, Workers workers) {
        Calibration calibration = new Calibration();
        new Contender("dense", 0, new GatunEncoder(weights, calibration::observed, workers)).embed(sentences, BATCH);
        return calibration;
    }

    private LinearLayer observed(Linear linear, Activation activation) {
        ActivationStats stats = ActivationStats.of(linear.inputs());
        inputs.put(linear, stats);
        return new Observed(SparseLinear.prune(linear, Score.magnitude(), ALL, activation), stats);
    }

    /** The inputs of a layer of the model. */
    ActivationStats inputs(Linear linear) {
        return inputs.get(linear);
    }

    /** A layer whose inputs are counted. */
    private record Observed(LinearLayer layer, ActivationStats stats) implements LinearLayer {
        @Override
        public Options options() {
            return layer.options();
        }

        @Override
        public void run(Tensor x, Tensor y, Options use) {
            stats.observe(x);
            layer.run(x, y, use);
        }

        @Override
        public String explain(Tensor x, Tensor y) {
            return layer.explain(x, y);
        }

        @Override
        public long bytes() {
            return layer.bytes();
        }
    }
}
