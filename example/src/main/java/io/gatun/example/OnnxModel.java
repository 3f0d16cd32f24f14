package io.gatun.example;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnknownFieldSet;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What the demo needs of an ONNX file: the graph's nodes in order and its float initializers. The file is read as
 * plain protobuf fields, so no generated ONNX classes are involved; the field numbers below are those of onnx.proto.
 */
record OnnxModel(List<Node> nodes, Map<String, Initializer> initializers) {
    private static final int MODEL_GRAPH = 7;
    private static final int GRAPH_NODE = 1;
    private static final int GRAPH_INITIALIZER = 5;
    private static final int NODE_INPUT = 1;
    private static final int NODE_OUTPUT = 2;
    private static final int NODE_OP_TYPE = 4;
    private static final int TENSOR_DIMS = 1;
    private static final int TENSOR_DATA_TYPE = 2;
    private static final int TENSOR_NAME = 8;
    private static final int TENSOR_RAW_DATA = 9;
    private static final long DATA_TYPE_FLOAT = 1;

    /** One operation of the graph. */
    record Node(String opType, List<String> inputs, List<String> outputs) {}

    /** A constant tensor, row-major. */
    record Initializer(long[] shape, float[] values) {}

    static OnnxModel read(InputStream stream) throws IOException {
        CodedInputStream input = CodedInputStream.newInstance(stream);
        input.setSizeLimit(Integer.MAX_VALUE);
        UnknownFieldSet model = UnknownFieldSet.newBuilder().mergeFrom(input).build();
        List<UnknownFieldSet> graphs = messages(model, MODEL_GRAPH).toList();
        if (graphs.size() != 1) {
            throw new IOException("not an ONNX model: " + graphs.size() + " graphs");
        }
        List<Node> nodes =
                messages(graphs.getFirst(), GRAPH_NODE).map(OnnxModel::node).toList();
        Map<String, Initializer> initializers = new HashMap<>();
        messages(graphs.getFirst(), GRAPH_INITIALIZER)
                .filter(tensor -> varints(tensor, TENSOR_DATA_TYPE)[0] == DATA_TYPE_FLOAT)
                .forEach(tensor -> initializers.put(strings(tensor, TENSOR_NAME).getFirst(), initializer(tensor)));
        return new OnnxModel(nodes, initializers);
    }

    /** The initializer among the node's inputs, or null if all of them are computed or of another type. */
    Initializer constantInput(Node node) {
        return node.inputs().stream()
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

    private static Node node(UnknownFieldSet node) {
        return new Node(strings(node, NODE_OP_TYPE).getFirst(), strings(node, NODE_INPUT), strings(node, NODE_OUTPUT));
    }

    private static Initializer initializer(UnknownFieldSet tensor) {
        List<ByteString> data = tensor.getField(TENSOR_RAW_DATA).getLengthDelimitedList();
        if (data.size() != 1) {
            throw new IllegalArgumentException(strings(tensor, TENSOR_NAME).getFirst() + " has no raw data");
        }
        ByteString raw = data.getFirst();
        float[] values = new float[raw.size() / Float.BYTES];
        raw.asReadOnlyByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer()
                .get(values);
        return new Initializer(varints(tensor, TENSOR_DIMS), values);
    }

    private static Stream<UnknownFieldSet> messages(UnknownFieldSet parent, int field) {
        return parent.getField(field).getLengthDelimitedList().stream().map(OnnxModel::parse);
    }

    private static UnknownFieldSet parse(ByteString bytes) {
        try {
            return UnknownFieldSet.parseFrom(bytes);
        } catch (IOException e) {
            throw new IllegalArgumentException("not an ONNX model", e);
        }
    }

    private static List<String> strings(UnknownFieldSet parent, int field) {
        return parent.getField(field).getLengthDelimitedList().stream()
                .map(ByteString::toStringUtf8)
                .toList();
    }

    private static long[] varints(UnknownFieldSet parent, int field) {
        return parent.getField(field).getVarintList().stream()
                .mapToLong(Long::longValue)
                .toArray();
    }
}
