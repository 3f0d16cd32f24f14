package io.gatun.example;

import io.gatun.example.OnnxModel.Initializer;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/**
 * The fp32 weights of all-MiniLM-L6-v2: embeddings and six transformer encoder layers with normalization after each
 * residual sum. Exported graphs name the linear weights after the node that uses them, so they are found by following
 * the graph, not by name.
 */
record MiniLmWeights(
        float[] wordEmbeddings,
        float[] positionEmbeddings,
        float[] tokenTypeEmbeddings,
        LayerNorm embeddingNorm,
        List<Layer> layers) {
    static final int HIDDEN = 384;
    static final int HEADS = 12;
    static final int HEAD_SIZE = HIDDEN / HEADS;
    static final int INNER = 1536;
    static final int LAYERS = 6;
    static final int MAX_TOKENS = 512;
    static final float NORM_EPSILON = 1e-12f;

    private static final String RESOURCE = "/all-minilm-l6-v2.onnx";
    private static final int LINEARS_PER_LAYER = 6;

    /** y = x * weights + bias, weights [inputs, outputs] row-major. */
    record Linear(int inputs, int outputs, float[] weights, float[] bias) {
        /** One linear that gives the outputs of all of them side by side; their inputs are the same. */
        static Linear concatenate(Linear... parts) {
            int inputs = parts[0].inputs;
            int outputs = 0;
            for (Linear part : parts) {
                outputs += part.outputs;
            }
            float[] weights = new float[inputs * outputs];
            float[] bias = new float[outputs];
            int column = 0;
            for (Linear part : parts) {
                for (int row = 0; row < inputs; row++) {
                    System.arraycopy(part.weights, row * part.outputs, weights, row * outputs + column, part.outputs);
                }
                System.arraycopy(part.bias, 0, bias, column, part.outputs);
                column += part.outputs;
            }
            return new Linear(inputs, outputs, weights, bias);
        }
    }

    /** Weight and bias of a layer normalization. */
    record LayerNorm(float[] weight, float[] bias) {}

    /** One encoder layer; {@code queryKeyValue} is the three projections of attention in one. */
    record Layer(
            Linear queryKeyValue,
            Linear attentionOutput,
            LayerNorm attentionNorm,
            Linear inner,
            Linear output,
            LayerNorm outputNorm) {}

    /** Reads the model that the langchain4j artifact carries on the class path. */
    static MiniLmWeights load() throws IOException {
        try (InputStream stream = Resources.open(RESOURCE)) {
            return of(OnnxModel.read(stream));
        }
    }

    static MiniLmWeights of(OnnxModel model) {
        List<Linear> linears = linears(model);
        List<LayerNorm> norms = norms(model);
        List<Layer> layers = new ArrayList<>();
        for (int layer = 0; layer < LAYERS; layer++) {
            List<Linear> own = linears.subList(layer * LINEARS_PER_LAYER, (layer + 1) * LINEARS_PER_LAYER);
            layers.add(new Layer(
                    Linear.concatenate(own.get(0), own.get(1), own.get(2)),
                    own.get(3),
                    norms.get(1 + 2 * layer),
                    own.get(4),
                    own.get(5),
                    norms.get(2 + 2 * layer)));
        }
        return new MiniLmWeights(
                model.initializer("embeddings.word_embeddings.weight").values(),
                model.initializer("embeddings.position_embeddings.weight").values(),
                model.initializer("embeddings.token_type_embeddings.weight").values(),
                norms.getFirst(),
                List.copyOf(layers));
    }

    /** Query, key, value, attention output, inner and output of each layer, in this order. */
    static List<Linear> linears(OnnxModel model) {
        List<Linear> linears = scaledAndShifted(model, "MatMul").stream()
                .map(pair -> new Linear(
                        (int) pair.scale().shape()[0],
                        (int) pair.scale().shape()[1],
                        pair.scale().values(),
                        pair.shift().values()))
                .toList();
        expect("linear layers", LAYERS * LINEARS_PER_LAYER, linears.size());
        return linears;
    }

    private static List<LayerNorm> norms(OnnxModel model) {
        List<LayerNorm> norms = scaledAndShifted(model, "Mul").stream()
                .map(pair -> new LayerNorm(pair.scale().values(), pair.shift().values()))
                .toList();
        expect("layer normalizations", 1 + 2 * LAYERS, norms.size());
        return norms;
    }

    private record ScaleAndShift(Initializer scale, Initializer shift) {}

    /** The constants of every {@code opType(x, scale) + shift} in graph order. */
    private static List<ScaleAndShift> scaledAndShifted(OnnxModel model, String opType) {
        List<ScaleAndShift> found = new ArrayList<>();
        for (NodeProto node : model.nodes()) {
            Initializer scale = node.getOpType().equals(opType) ? model.constantInput(node) : null;
            if (scale != null) {
                found.add(new ScaleAndShift(scale, shiftOf(model, node.getOutput(0))));
            }
        }
        return found;
    }

    private static Initializer shiftOf(OnnxModel model, String result) {
        return model.nodes().stream()
                .filter(node ->
                        node.getOpType().equals("Add") && node.getInputList().contains(result))
                .map(model::constantInput)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("nothing is added to " + result));
    }

    private static void expect(String what, int expected, int found) {
        if (found != expected) {
            throw new IllegalArgumentException(
                    "not all-MiniLM-L6-v2: " + found + " " + what + " where " + expected + " are expected");
        }
    }
}
