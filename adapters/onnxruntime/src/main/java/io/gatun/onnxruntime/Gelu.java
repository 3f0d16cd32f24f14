package io.gatun.onnxruntime;

import static io.gatun.onnxruntime.GraphView.other;

import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import java.util.List;

/**
 * The nodes that make GELU of a value, as one op or as exporters write its formula: h * (1 + erf(h / sqrt 2)) * 0.5.
 *
 * @param nodes all of them
 * @param output of the last one
 * @param activation as Gatun's ops name it
 */
record Gelu(List<NodeProto> nodes, String output, String activation) {
    private static final double ROOT = Math.sqrt(2);

    /** The GELU of this value, which nothing else reads; null if there is none. */
    static Gelu after(String value, GraphView graph) {
        NodeProto op = graph.onlyConsumer(value, "Gelu");
        if (op != null) {
            boolean tanh = op.getAttributeList().stream()
                    .anyMatch(attribute -> attribute.getName().equals("approximate")
                            && attribute.getS().toStringUtf8().equals("tanh"));
            return new Gelu(List.of(op), op.getOutput(0), tanh ? "GELU_TANH" : "GELU");
        }
        List<NodeProto> readers = graph.consumers(value);
        if (readers.size() != 2) {
            return null;
        }
        Gelu found = formula(value, readers.get(0), readers.get(1), graph);
        return found != null ? found : formula(value, readers.get(1), readers.get(0), graph);
    }

    private static Gelu formula(String value, NodeProto scaled, NodeProto product, GraphView graph) {
        boolean divides = GraphView.isOp(scaled, "Div")
                && scaled.getInput(0).equals(value)
                && graph.isNumber(scaled.getInput(1), ROOT);
        boolean multiplies = GraphView.isOp(scaled, "Mul") && graph.isNumber(other(scaled, value), 1 / ROOT);
        NodeProto erf = divides || multiplies ? graph.onlyConsumer(scaled.getOutput(0), "Erf") : null;
        NodeProto plus = erf == null ? null : graph.onlyConsumer(erf.getOutput(0), "Add");
        if (plus == null || !graph.isNumber(other(plus, erf.getOutput(0)), 1)) {
            return null;
        }
        NodeProto whole = graph.onlyConsumer(plus.getOutput(0), "Mul");
        if (whole == null
                || !whole.equals(product)
                || !other(whole, plus.getOutput(0)).equals(value)) {
            return null;
        }
        NodeProto half = graph.onlyConsumer(whole.getOutput(0), "Mul");
        if (half == null || !graph.isNumber(other(half, whole.getOutput(0)), 0.5)) {
            return null;
        }
        return new Gelu(List.of(scaled, erf, plus, whole, half), half.getOutput(0), "GELU");
    }
}
