package io.gatun.onnxruntime;

import io.gatun.onnxruntime.proto.Onnx.AttributeProto;
import io.gatun.onnxruntime.proto.Onnx.GraphProto;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import io.gatun.onnxruntime.proto.Onnx.ValueInfoProto;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A graph as patterns ask for it: who makes a value, who reads it, which values are constants. */
final class GraphView {
    private final Map<String, TensorProto> constants = new HashMap<>();
    private final Map<String, NodeProto> producers = new HashMap<>();
    private final Map<String, List<NodeProto>> consumers = new HashMap<>();
    /** Names that something else than a node of this graph reads: outputs, and what nodes of subgraphs read. */
    private final Set<String> readElsewhere = new HashSet<>();

    GraphView(GraphProto graph) {
        graph.getInitializerList().forEach(tensor -> constants.put(tensor.getName(), tensor));
        // An initializer that is an input, too, may be replaced by the caller.
        graph.getInputList().forEach(input -> constants.remove(input.getName()));
        graph.getOutputList().stream().map(ValueInfoProto::getName).forEach(readElsewhere::add);
        for (NodeProto node : graph.getNodeList()) {
            if (isConstant(node)) {
                node.getAttributeList().stream()
                        .filter(attribute -> attribute.getName().equals("value") && attribute.hasT())
                        .forEach(attribute -> constants.put(node.getOutput(0), attribute.getT()));
            }
            node.getOutputList().forEach(output -> producers.put(output, node));
            node.getInputList()
                    .forEach(input -> consumers
                            .computeIfAbsent(input, name -> new ArrayList<>())
                            .add(node));
            node.getAttributeList().forEach(this::readBySubgraphs);
        }
    }

    private void readBySubgraphs(AttributeProto attribute) {
        List<GraphProto> graphs = new ArrayList<>(attribute.getGraphsList());
        if (attribute.hasG()) {
            graphs.add(attribute.getG());
        }
        for (GraphProto inner : graphs) {
            for (NodeProto node : inner.getNodeList()) {
                readElsewhere.addAll(node.getInputList());
                node.getAttributeList().forEach(this::readBySubgraphs);
            }
            inner.getOutputList().stream().map(ValueInfoProto::getName).forEach(readElsewhere::add);
        }
    }

    // ---- values ----------------------------------------------------------------------------------------------------

    /** A value that is known before the graph runs, or null. */
    TensorProto constant(String value) {
        return constants.get(value);
    }

    /** The names that something else than a node of this graph reads. */
    Set<String> readElsewhere() {
        return readElsewhere;
    }

    /** The nodes that read a value; none if something else does, too. */
    List<NodeProto> consumers(String value) {
        return readElsewhere.contains(value) ? List.of() : consumers.getOrDefault(value, List.of());
    }

    /** The node of this type that alone reads a value, or null. */
    NodeProto onlyConsumer(String value, String type) {
        List<NodeProto> all = consumers(value);
        return all.size() == 1 && isOp(all.getFirst(), type) ? all.getFirst() : null;
    }

    /** The node of this type that makes a value, or null. */
    NodeProto producer(String value, String type) {
        NodeProto found = producers.get(value);
        return found != null && isOp(found, type) ? found : null;
    }

    /** The same of a value that one node alone reads, or null. */
    NodeProto ownProducer(String value, String type) {
        return consumers(value).size() == 1 ? producer(value, type) : null;
    }

    /** A constant float of one element, or null. */
    Float number(String value) {
        TensorProto tensor = constants.get(value);
        return tensor != null && tensor.getDataType() == Constants.FLOAT && Constants.elements(tensor) == 1
                ? (Float) Constants.floats(tensor)[0]
                : null;
    }

    /** Whether a value is a constant float close to this number. */
    boolean isNumber(String value, double expected) {
        Float found = number(value);
        return found != null && Math.abs(found - expected) <= 1e-6 * Math.abs(expected);
    }

    /** Whether a value is a constant vector of floats. */
    boolean isVector(String value) {
        TensorProto tensor = constants.get(value);
        return tensor != null && tensor.getDataType() == Constants.FLOAT && tensor.getDimsCount() == 1;
    }

    // ---- nodes -----------------------------------------------------------------------------------------------------

    /** Whether a node is of ONNX's own op of this name, or Microsoft's. */
    static boolean isOp(NodeProto node, String type) {
        return node.getOpType().equals(type)
                && (node.getDomain().isEmpty() || ModelRewriter.isMicrosoft(node.getDomain()));
    }

    static boolean isConstant(NodeProto node) {
        return isOp(node, "Constant");
    }

    /** An input's name; empty if it is not there. */
    static String input(NodeProto node, int index) {
        return index < node.getInputCount() ? node.getInput(index) : "";
    }

    /** The other one of two inputs. */
    static String other(NodeProto node, String input) {
        return node.getInput(node.getInput(0).equals(input) ? 1 : 0);
    }

    static long integer(NodeProto node, String name, long otherwise) {
        AttributeProto found = attribute(node, name);
        return found == null ? otherwise : found.getI();
    }

    static float real(NodeProto node, String name, float otherwise) {
        AttributeProto found = attribute(node, name);
        return found == null ? otherwise : found.getF();
    }

    /** Integers of an attribute, or, as in newer versions of ops, of a constant input; null if there are none. */
    List<Long> integers(NodeProto node, String name, int input) {
        AttributeProto found = attribute(node, name);
        if (found != null) {
            return found.getIntsList();
        }
        TensorProto tensor = constants.get(input(node, input));
        return tensor == null ? null : Constants.integers(tensor);
    }

    private static AttributeProto attribute(NodeProto node, String name) {
        return node.getAttributeList().stream()
                .filter(attribute -> attribute.getName().equals(name))
                .findFirst()
                .orElse(null);
    }
}
