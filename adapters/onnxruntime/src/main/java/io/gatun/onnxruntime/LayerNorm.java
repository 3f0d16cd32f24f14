package io.gatun.onnxruntime;

import static io.gatun.onnxruntime.GraphView.other;

import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import java.util.List;

/**
 * The nodes that normalize a value over its last axis, as one op or as exporters write its formula:
 * {@code d = x - mean(x); d / sqrt(mean(d^2) + epsilon) * weight + bias}.
 *
 * @param nodes all of them
 * @param output of the last one
 * @param bias empty if there is none
 */
record LayerNorm(List<NodeProto> nodes, String output, String weight, String bias, float epsilon) {
    /** That of a value, given one of the nodes that read it; null if there is none. */
    static LayerNorm of(String value, NodeProto reader, GraphView graph) {
        if (GraphView.isOp(reader, "LayerNormalization")) {
            boolean plain = GraphView.integer(reader, "axis", -1) == -1
                    && reader.getOutputCount() == 1
                    && reader.getInput(0).equals(value)
                    && graph.isVector(reader.getInput(1));
            return plain
                    ? new LayerNorm(
                            List.of(reader),
                            reader.getOutput(0),
                            reader.getInput(1),
                            GraphView.input(reader, 2),
                            GraphView.real(reader, "epsilon", 1e-5f))
                    : null;
        }
        NodeProto less = isMeanOfLastAxis(reader, graph) ? graph.onlyConsumer(reader.getOutput(0), "Sub") : null;
        List<NodeProto> readers =
                less == null || !less.getInput(0).equals(value) ? List.of() : graph.consumers(less.getOutput(0));
        if (readers.size() != 2) {
            return null;
        }
        LayerNorm found = formula(reader, less, readers.get(0), readers.get(1), graph);
        return found != null ? found : formula(reader, less, readers.get(1), readers.get(0), graph);
    }

    private static LayerNorm formula(
            NodeProto mean, NodeProto less, NodeProto square, NodeProto ratio, GraphView graph) {
        boolean squares = GraphView.isOp(square, "Pow") && graph.isNumber(square.getInput(1), 2);
        NodeProto variance = squares ? graph.onlyConsumer(square.getOutput(0), "ReduceMean") : null;
        boolean averages = variance != null && isMeanOfLastAxis(variance, graph);
        NodeProto plus = averages ? graph.onlyConsumer(variance.getOutput(0), "Add") : null;
        Float epsilon = plus == null ? null : graph.number(other(plus, variance.getOutput(0)));
        NodeProto root = epsilon == null ? null : graph.onlyConsumer(plus.getOutput(0), "Sqrt");
        NodeProto divided = root == null ? null : graph.onlyConsumer(root.getOutput(0), "Div");
        if (divided == null || !divided.equals(ratio) || !divided.getInput(0).equals(less.getOutput(0))) {
            return null;
        }
        NodeProto scaled = graph.onlyConsumer(divided.getOutput(0), "Mul");
        NodeProto shifted = scaled == null ? null : graph.onlyConsumer(scaled.getOutput(0), "Add");
        if (shifted == null) {
            return null;
        }
        String weight = other(scaled, divided.getOutput(0));
        String bias = other(shifted, scaled.getOutput(0));
        List<NodeProto> nodes = List.of(mean, less, square, variance, plus, root, divided, scaled, shifted);
        return graph.isVector(weight) && graph.isVector(bias)
                ? new LayerNorm(nodes, shifted.getOutput(0), weight, bias, epsilon)
                : null;
    }

    private static boolean isMeanOfLastAxis(NodeProto node, GraphView graph) {
        return GraphView.isOp(node, "ReduceMean")
                && GraphView.integer(node, "keepdims", 1) == 1
                && List.of(-1L).equals(graph.integers(node, "axes", 1));
    }
}
