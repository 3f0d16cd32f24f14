package io.gatun.example;

import static io.gatun.example.MiniLmWeights.HIDDEN;
import static io.gatun.example.MiniLmWeights.INNER;
import static io.gatun.example.MiniLmWeights.NORM_EPSILON;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.example.MiniLmWeights.LayerNorm;
import io.gatun.ops.Norm;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * all-MiniLM-L6-v2 on Gatun's kernels: linears in any format, quantized embeddings, LayerNorm, attention. Any number of
 * threads may use one at once: each call borrows buffers for activations, which grow with the largest batch.
 */
final class GatunEncoder implements Encoder {
    private final Embeddings embeddings;
    private final HiddenNorm embeddingNorm;
    private final List<Layer> layers;
    private final Workers workers;
    private final Deque<Activations> unused = new ConcurrentLinkedDeque<>();

    GatunEncoder(MiniLmWeights weights, LinearFormat format, Workers workers) {
        this.embeddings = new Embeddings(weights, workers);
        this.embeddingNorm = new HiddenNorm(weights.embeddingNorm());
        this.layers =
                weights.layers().stream().map(layer -> new Layer(layer, format)).toList();
        this.workers = workers;
    }

    @Override
    public float[][] encode(List<int[]> sentences) {
        TokenBatch batch = TokenBatch.of(sentences);
        return withActivations(batch.tokens(), use -> {
            embeddings.run(batch, use.words, use.sum);
            embeddingNorm.run(use.sum, use.hidden);
            SelfAttention attention = SelfAttention.within(batch.starts());
            for (Layer layer : layers) {
                layer.run(attention, use);
            }
            return pool(batch, use.hidden);
        });
    }

    /**
     * Which kernels run and how they split the work.
     *
     * @param linear of the inner linear, the largest
     * @param attention of sentences
     * @param norm of LayerNorm
     * @param words of the word embeddings' quantization, once, and dequantization, in every batch
     */
    record Kernels(String linear, String attention, String norm, String words) {}

    /** The kernels for a batch of this many tokens in sentences of about the same length. */
    Kernels explain(int tokens, int sentences) {
        SelfAttention attention = SelfAttention.within(IntStream.rangeClosed(0, sentences)
                .map(s -> tokens * s / sentences)
                .toArray());
        return withActivations(
                tokens,
                use -> new Kernels(
                        layers.getFirst().inner.explain(use.hidden, use.inner),
                        attention.explain(use.queryKeyValue, use.context),
                        Norm.explain(Norm.Kind.LAYER, use.sum, use.hidden),
                        Quantize.explain(use.sum, use.words.spec())));
    }

    long bytes() {
        return embeddings.bytes()
                + embeddingNorm.bytes()
                + layers.stream().mapToLong(Layer::bytes).sum();
    }

    private <T> T withActivations(int tokens, Function<Activations, T> act) {
        Activations borrowed = unused.pollFirst();
        if (borrowed == null || borrowed.capacity() < tokens) {
            borrowed = new Activations(embeddings, tokens);
        }
        try {
            return act.apply(borrowed.first(tokens));
        } finally {
            unused.addFirst(borrowed);
        }
    }

    private float[][] pool(TokenBatch batch, Tensor hidden) {
        float[][] pooled = new float[batch.sentences()][];
        workers.forEach(pooled.length, 8, s -> {
            float[] rows = new float[batch.length(s) * HIDDEN];
            long begin = (long) batch.starts()[s] * HIDDEN * Float.BYTES;
            MemorySegment.copy(hidden.segment(), ValueLayout.JAVA_FLOAT, begin, rows, 0, rows.length);
            pooled[s] = Vectors.unitMean(rows, batch.length(s), HIDDEN);
        });
        return pooled;
    }

    private final class Layer {
        private final LinearLayer queryKeyValue;
        private final LinearLayer attentionOutput;
        private final HiddenNorm attentionNorm;
        private final LinearLayer inner;
        private final LinearLayer output;
        private final HiddenNorm outputNorm;

        Layer(MiniLmWeights.Layer weights, LinearFormat format) {
            queryKeyValue = format.pack(weights.queryKeyValue(), Activation.NONE);
            attentionOutput = format.pack(weights.attentionOutput(), Activation.NONE);
            attentionNorm = new HiddenNorm(weights.attentionNorm());
            inner = format.pack(weights.inner(), Activation.GELU);
            output = format.pack(weights.output(), Activation.NONE);
            outputNorm = new HiddenNorm(weights.outputNorm());
        }

        void run(SelfAttention attention, Activations use) {
            queryKeyValue.run(use.hidden, use.queryKeyValue);
            attention.run(use.queryKeyValue, use.context);
            attentionOutput.runAdding(use.hidden, use.context, use.sum);
            attentionNorm.run(use.sum, use.hidden);
            inner.run(use.hidden, use.inner);
            output.runAdding(use.hidden, use.inner, use.sum);
            outputNorm.run(use.sum, use.hidden);
        }

        long bytes() {
            return queryKeyValue.bytes()
                    + attentionOutput.bytes()
                    + attentionNorm.bytes()
                    + inner.bytes()
                    + output.bytes()
                    + outputNorm.bytes();
        }
    }

    /** A layer normalization with its weights as tensors. */
    private record HiddenNorm(Tensor weight, Tensor bias) {
        HiddenNorm(LayerNorm norm) {
            this(Tensor.of(norm.weight(), HIDDEN), Tensor.of(norm.bias(), HIDDEN));
        }

        void run(Tensor x, Tensor y) {
            Norm.layer(x, weight, bias, NORM_EPSILON, y);
        }

        long bytes() {
            return weight.segment().byteSize() + bias.segment().byteSize();
        }
    }

    /** What flows between the layers, a row for each token. */
    private record Activations(
            QuantizedTensor words, Tensor hidden, Tensor queryKeyValue, Tensor context, Tensor sum, Tensor inner) {
        Activations(Embeddings embeddings, long tokens) {
            this(
                    embeddings.allocateRows(tokens),
                    Tensor.allocate(DType.F32, tokens, HIDDEN),
                    Tensor.allocate(DType.F32, tokens, 3L * HIDDEN),
                    Tensor.allocate(DType.F32, tokens, HIDDEN),
                    Tensor.allocate(DType.F32, tokens, HIDDEN),
                    Tensor.allocate(DType.F32, tokens, INNER));
        }

        long capacity() {
            return words.rows();
        }

        Activations first(int tokens) {
            return new Activations(
                    words.slice(0, tokens),
                    hidden.slice(0, 0, tokens),
                    queryKeyValue.slice(0, 0, tokens),
                    context.slice(0, 0, tokens),
                    sum.slice(0, 0, tokens),
                    inner.slice(0, 0, tokens));
        }
    }
}
