package io.gatun.example;

import io.gatun.onnxruntime.proto.Onnx.GraphProto;
import io.gatun.onnxruntime.proto.Onnx.ModelProto;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What the demo needs of an ONNX file: the graph's nodes in order and its float initializers. */
record OnnxModel(List<NodeProto> nodes, Map<String, Initializer> initializers) {
    private static final int DATA_TYPE_FLOAT = 1;

    /** A constant tensor, row-major. */
    record Initializer(long[] shape, float[] values) {}

    static OnnxModel read(InputStream stream) throws IOException {
        ModelProto model = ModelProto.parseFrom(stream);
        if (!model.hasGraph()) {
            throw new IOException("not an ONNX model: it has no graph");
        }
        GraphProto graph = model.getGraph();
        Map<String, Initializer> initializers = new HashMap<>();
        graph.getInitializerList().stream()
                .filter(tensor -> tensor.getDataType() == DATA_TYPE_FLOAT)
                .forEach(tensor -> initializers.put(tensor.getName(), initializer(tensor)));
        return new OnnxModel(graph.getNodeList(), initializers);
    }

    /** The initializer among the node's inputs, or null if all of them are computed or of another type. */
    Initializer constantInput(NodeProto node) {
        return node.getInputList().stream()
                .filter(initializers::containsKey)
                .map(initializers::get)
                .findFirst()
                .orElse(null);
    }

    Initializer initializer(String name) {
        Initializer found = initializers.get(name);
        if (found == null) {
            throw new IllegalArgumentException("the ONNX model has no float initializer " + name);
        }
        return found;
    }

    private static Initializer initializer(TensorProto tensor) {
        if (!tensor.hasRawData()) {
            throw new IllegalArgumentException(tensor.getName() + " has no raw data");
        }
        float[] values = new float[tensor.getRawData().size() / Float.BYTES];
        tensor.getRawData()
                .asReadOnlyByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer()
                .get(values);
        long[] shape = tensor.getDimsList().stream().mapToLong(Long::longValue).toArray();
        return new Initializer(shape, values);
    }
}
