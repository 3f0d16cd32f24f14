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

/** A graph as patterns ask for it: who makes a value, who reads it, which values are constants, and of what type. */
final class GraphView {
    /** The first version whose initializers that are inputs, too, may be replaced by the caller. */
    static final long INITIALIZERS_ARE_DEFAULTS = 4;

    /** The first version whose Softmax is over one axis, the last one if it does not say. */
    private static final long SOFTMAX_OF_ONE_AXIS = 13;

    /** Ops whose result has the type of their first input, or of the first two. */
    private static final Set<String> LIKE_FIRST = Set.of(
            "Dropout",
            "Erf",
            "Gather",
            "Gelu",
            "Identity",
            "LayerNormalization",
            "Pow",
            "Relu",
            "Reshape",
            "Slice",
            "Softmax",
            "Split",
            "Squeeze",
            "Tanh",
            "Transpose",
            "Unsqueeze");

    private static final Set<String> LIKE_TWO = Set.of("Add", "Concat", "Div", "Gemm", "MatMul", "Mul", "Sub");

    private final Map<String, TensorProto> constants = new HashMap<>();
    private final Map<String, NodeProto> producers = new HashMap<>();
    private final Map<String, List<NodeProto>> consumers = new HashMap<>();
    /** Names that something else than a node of this graph reads: outputs, and what nodes of subgraphs read. */
    private final Set<String> readElsewhere = new HashSet<>();
    /** Initializers that are inputs, too, which the caller may replace. */
    private final Set<String> defaults = new HashSet<>();
    /** Element types that the graph tells, or that were found. */
    private final Map<String, Integer> types = new HashMap<>();

    private final TensorFiles files;
    private final long opset;

    /** {@code opset}: the version of ONNX's own ops. {@code irVersion}: of the file's format. */
    GraphView(GraphProto graph, long opset, long irVersion, TensorFiles files) {
        this.files = files;
        this.opset = opset;
        graph.getInitializerList().forEach(tensor -> constants.put(tensor.getName(), tensor));
        if (irVersion >= INITIALIZERS_ARE_DEFAULTS) {
            graph.getInputList().stream()
                    .map(ValueInfoProto::getName)
                    .filter(name -> constants.remove(name) != null)
                    .forEach(defaults::add);
        }
        graph.getOutputList().stream().map(ValueInfoProto::getName).forEach(readElsewhere::add);
        for (List<ValueInfoProto> told :
                List.of(graph.getInputList(), graph.getOutputList(), graph.getValueInfoList())) {
            told.forEach(value ->
                    types.put(value.getName(), value.getType().getTensorType().getElemType()));
        }
        for (NodeProto node : graph.getNodeList()) {
            if (isConstant(node)) {
                node.getAttributeList().forEach(attribute -> makeConstant(node.getOutput(0), attribute));
            }
            node.getOutputList().forEach(output -> producers.put(output, node));
            node.getInputList()
                    .forEach(input -> consumers
                            .computeIfAbsent(input, name -> new ArrayList<>())
                            .add(node));
            node.getAttributeList().forEach(this::readBySubgraphs);
        }
    }

    private void makeConstant(String name, AttributeProto attribute) {
        if (attribute.getName().equals("value") && attribute.hasT()) {
            constants.put(name, attribute.getT());
        } else if (attribute.getName().equals("value_float")) {
            TensorProto.Builder number = TensorProto.newBuilder().setDataType(Constants.FLOAT);
            constants.put(name, number.addFloatData(attribute.getF()).build());
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

    /** The same with its numbers, wherever they lie. */
    TensorProto load(TensorProto constant) {
        return files.load(constant);
    }

    /** Whether a value has this name. */
    boolean has(String value) {
        return producers.containsKey(value) || constants.containsKey(value) || isDefault(value);
    }

    /** Whether a value is an initializer that the caller may replace. */
    boolean isDefault(String value) {
        return defaults.contains(value);
    }

    /** Whether a value is certain to be of 32-bit floats. */
    boolean isFloat(String value) {
        return elementType(value) == Constants.FLOAT;
    }

    /** As ONNX counts types; 0 if it is not known. */
    private int elementType(String value) {
        TensorProto constant = constants.get(value);
        if (constant != null) {
            return constant.getDataType();
        }
        Integer known = types.get(value);
        if (known != null && known != 0) {
            return known;
        }
        types.put(value, 0); // a graph that is none, with a circle, ends here
        int found = 0;
        NodeProto node = producers.get(value);
        if (known == null && node != null && isStandard(node) && node.getInputCount() > 0) {
            if (node.getOpType().equals("Cast")) {
                found = (int) integer(node, "to", 0);
            } else if (LIKE_FIRST.contains(node.getOpType()) || LIKE_TWO.contains(node.getOpType())) {
                found = elementType(node.getInput(0));
            }
            if (found == 0 && LIKE_TWO.contains(node.getOpType()) && node.getInputCount() > 1) {
                found = elementType(node.getInput(1));
            }
        }
        types.put(value, found);
        return found;
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
        return tensor != null && tensor.getDataType() == Constants.FLOAT && Constants.isNumber(tensor)
                ? (Float) Constants.floats(load(tensor))[0]
                : null;
    }

    /** Whether a value is a constant float close to this number. */
    boolean isNumber(String value, double expected) {
        Float found = number(value);
        return found != null && Math.abs(found - expected) <= 1e-6 * Math.abs(expected);
    }

    /** Whether a value is a constant vector of floats, and not a number for all elements. */
    boolean isVector(String value) {
        TensorProto tensor = constants.get(value);
        return tensor != null
                && tensor.getDataType() == Constants.FLOAT
                && tensor.getDimsCount() == 1
                && tensor.getDims(0) > 1;
    }

    // ---- nodes -----------------------------------------------------------------------------------------------------

    /** Whether a node is of ONNX's own op of this name, or Microsoft's. */
    static boolean isOp(NodeProto node, String type) {
        return node.getOpType().equals(type) && (isStandard(node) || ModelRewriter.isMicrosoft(node.getDomain()));
    }

    private static boolean isStandard(NodeProto node) {
        return ModelRewriter.isStandard(node.getDomain());
    }

    /** Whether a Softmax of four axes is over the last one. */
    boolean isOfLastAxis(NodeProto softmax) {
        long axis = integer(softmax, "axis", opset < SOFTMAX_OF_ONE_AXIS ? 1 : -1);
        return axis == -1 || axis == 3;
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
        return tensor == null ? null : Constants.integers(load(tensor));
    }

    private static AttributeProto attribute(NodeProto node, String name) {
        return node.getAttributeList().stream()
                .filter(attribute -> attribute.getName().equals(name))
                .findFirst()
                .orElse(null);
    }
}
