package io.gatun.onnxruntime;

import static io.gatun.onnxruntime.GraphView.other;

import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import java.util.ArrayList;
import java.util.List;

/**
 * The nodes of attention as exporters of encoders write it, from values [batch, length, heads, size] on:
 *
 * <pre>
 * scores = MatMul(Transpose(q, 0 2 1 3), Transpose(k, 0 2 3 1)) / c, or * c
 * Transpose(MatMul(Softmax(scores + (1 - Cast(Unsqueeze(mask))) * large), Transpose(v, 0 2 1 3)), 0 2 1 3)
 * </pre>
 *
 * where the mask [batch, keys] has 1 for keys that count and large is -10000 or below; or without a mask.
 *
 * @param nodes all of them, the last one last; those that make the large numbers stay, since other layers read them
 * @param keyMask the mask, or empty
 */
record SelfAttention(List<NodeProto> nodes, String q, String k, String v, String keyMask, float scale) {
    private static final List<Long> HEADS_FIRST = List.of(0L, 2L, 1L, 3L);
    private static final List<Long> HEADS_FIRST_TRANSPOSED = List.of(0L, 2L, 3L, 1L);
    private static final float LARGE = -1e4f;

    NodeProto last() {
        return nodes.getLast();
    }

    /** The attention with this node of type Softmax; null if it is none. */
    static SelfAttention around(NodeProto softmax, GraphView graph) {
        NodeProto product = graph.isOfLastAxis(softmax) ? graph.onlyConsumer(softmax.getOutput(0), "MatMul") : null;
        if (product == null || !product.getInput(0).equals(softmax.getOutput(0))) {
            return null;
        }
        List<NodeProto> nodes = new ArrayList<>();
        String logits = softmax.getInput(0);
        String keyMask = "";
        NodeProto sum = graph.ownProducer(logits, "Add");
        if (sum != null) {
            for (String added : sum.getInputList()) {
                keyMask = keyMask.isEmpty() ? keyMask(added, graph) : keyMask;
                logits = keyMask.isEmpty() || !logits.equals(softmax.getInput(0)) ? logits : other(sum, added);
            }
            if (keyMask.isEmpty()) {
                return null;
            }
            nodes.add(sum);
        }
        float scale = 1;
        NodeProto division = graph.ownProducer(logits, "Div");
        NodeProto multiplication = graph.ownProducer(logits, "Mul");
        if (division != null && graph.number(division.getInput(1)) != null) {
            scale = 1 / graph.number(division.getInput(1));
            nodes.add(division);
            logits = division.getInput(0);
        } else if (multiplication != null && graph.number(multiplication.getInput(1)) != null) {
            scale = graph.number(multiplication.getInput(1));
            nodes.add(multiplication);
            logits = multiplication.getInput(0);
        }
        NodeProto scores = graph.ownProducer(logits, "MatMul");
        NodeProto q = scores == null ? null : transpose(scores.getInput(0), HEADS_FIRST, graph);
        NodeProto k = scores == null ? null : transpose(scores.getInput(1), HEADS_FIRST_TRANSPOSED, graph);
        NodeProto v = transpose(product.getInput(1), HEADS_FIRST, graph);
        NodeProto last = graph.onlyConsumer(product.getOutput(0), "Transpose");
        boolean whole = q != null && k != null && v != null && last != null;
        boolean isPlain = whole && scale > 0 && Float.isFinite(scale) && graph.isFloat(product.getInput(1));
        if (!isPlain || !HEADS_FIRST.equals(graph.integers(last, "perm", -1))) {
            return null;
        }
        nodes.addAll(List.of(q, k, v, scores, softmax, product, last));
        return new SelfAttention(nodes, q.getInput(0), k.getInput(0), v.getInput(0), keyMask, scale);
    }

    private static NodeProto transpose(String value, List<Long> axes, GraphView graph) {
        NodeProto node = graph.ownProducer(value, "Transpose");
        return node != null && axes.equals(graph.integers(node, "perm", -1)) ? node : null;
    }

    /** The mask [batch, keys] that numbers to be added to logits come from; empty if they come from something else. */
    private static String keyMask(String added, GraphView graph) {
        NodeProto product = graph.producer(added, "Mul");
        if (product == null) {
            return "";
        }
        boolean second = graph.number(product.getInput(1)) != null;
        Float large = graph.number(product.getInput(second ? 1 : 0));
        NodeProto hidden = graph.producer(product.getInput(second ? 0 : 1), "Sub");
        if (large == null || large > LARGE || hidden == null || !graph.isNumber(hidden.getInput(0), 1)) {
            return "";
        }
        NodeProto cast = graph.producer(hidden.getInput(1), "Cast");
        NodeProto outer = cast == null ? null : graph.producer(cast.getInput(0), "Unsqueeze");
        if (outer == null) {
            return "";
        }
        List<Long> axes = graph.integers(outer, "axes", 1);
        if (List.of(1L, 2L).equals(axes)) {
            return outer.getInput(0);
        }
        NodeProto inner = graph.producer(outer.getInput(0), "Unsqueeze");
        return inner != null && List.of(2L).equals(axes) && List.of(1L).equals(graph.integers(inner, "axes", 1))
                ? inner.getInput(0)
                : "";
    }
}
