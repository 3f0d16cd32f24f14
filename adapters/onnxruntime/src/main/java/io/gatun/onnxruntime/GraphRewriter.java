package io.gatun.onnxruntime;

import static io.gatun.onnxruntime.GraphView.input;
import static io.gatun.onnxruntime.GraphView.other;

import com.google.protobuf.ByteString;
import io.gatun.onnxruntime.ModelRewriter.Options;
import io.gatun.onnxruntime.proto.Onnx.AttributeProto;
import io.gatun.onnxruntime.proto.Onnx.AttributeProto.AttributeType;
import io.gatun.onnxruntime.proto.Onnx.GraphProto;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import io.gatun.onnxruntime.proto.Onnx.ValueInfoProto;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Rewrites the main graph of a model; see {@link ModelRewriter}. */
final class GraphRewriter {
    private final GraphProto.Builder graph;
    private final GraphView view;
    private final Options options;
    private final TensorFiles files;
    private final boolean initializersAreConstant;

    private final List<NodeProto> nodes = new ArrayList<>();
    private final List<TensorProto> added = new ArrayList<>();
    private final List<String> changes = new ArrayList<>();
    /** Nodes that became part of another one. */
    private final Set<NodeProto> taken = new HashSet<>();
    /** By the last of its nodes. */
    private final Map<NodeProto, SelfAttention> attentions = new HashMap<>();
    /** Key masks as 64-bit integers, by their name in the model. */
    private final Map<String, String> masks = new HashMap<>();
    /** By the node without what differs between nodes that share weights. */
    private final Map<NodeProto, Product> products = new HashMap<>();

    /** What nodes with the same weights become. */
    private record Product(String packed, String op, String mode, long columns, String text) {}

    /** {@code opset}: the version of ONNX's own ops. {@code irVersion}: of the file's format. */
    GraphRewriter(GraphProto graph, long opset, long irVersion, Options options, TensorFiles files) {
        this.graph = graph.toBuilder();
        this.view = new GraphView(graph, opset, irVersion, files);
        this.options = options;
        this.files = files;
        this.initializersAreConstant = irVersion < GraphView.INITIALIZERS_ARE_DEFAULTS;
    }

    /** A line for each change. */
    List<String> changes() {
        return changes;
    }

    GraphProto rewrite() {
        for (NodeProto node : graph.getNodeList()) {
            SelfAttention found = GraphView.isOp(node, "Softmax") ? SelfAttention.around(node, view) : null;
            if (found != null && mayChange(found.nodes())) {
                attentions.put(found.last(), found);
                taken.addAll(found.nodes());
            }
        }
        for (NodeProto node : graph.getNodeList()) {
            if (attentions.containsKey(node)) {
                nodes.add(attention(attentions.get(node)));
            } else if (!taken.contains(node) && !isChanged(node)) {
                nodes.add(node);
            }
        }
        Set<String> read = new HashSet<>(view.readElsewhere());
        nodes.forEach(node -> read.addAll(node.getInputList()));
        nodes.removeIf(node -> GraphView.isConstant(node) && !read.contains(node.getOutput(0)));
        // A bias may have come after the product.
        nodes.sort(Comparator.comparing(node -> !GraphView.isConstant(node)));
        List<TensorProto> kept = graph.getInitializerList().stream()
                .filter(tensor -> read.contains(tensor.getName()) || view.isDefault(tensor.getName()))
                .map(files::keep)
                .toList();
        if (initializersAreConstant) {
            Set<String> initializers = new HashSet<>();
            graph.getInitializerList().forEach(tensor -> initializers.add(tensor.getName()));
            List<ValueInfoProto> inputs = graph.getInputList().stream()
                    .filter(input -> !initializers.contains(input.getName()))
                    .toList();
            graph.clearInput().addAllInput(inputs);
        }
        return graph.clearNode()
                .addAllNode(nodes)
                .clearInitializer()
                .addAllInitializer(kept)
                .addAllInitializer(added)
                .build();
    }

    private boolean mayChange(NodeProto node) {
        return options.nodes().test(node.getName());
    }

    private boolean mayChange(List<NodeProto> all) {
        return all.stream().allMatch(this::mayChange);
    }

    private boolean isChanged(NodeProto node) {
        try {
            return mayChange(node) && (makeNorm(node) || makeProduct(node));
        } catch (IllegalArgumentException | UnsupportedOperationException e) {
            String message = "node " + node.getName() + " (" + node.getOpType() + "): " + e.getMessage();
            throw e instanceof IllegalArgumentException
                    ? new IllegalArgumentException(message, e)
                    : new UnsupportedOperationException(message, e);
        }
    }

    // ---- products --------------------------------------------------------------------------------------------------

    /** Whether the node is a product by a constant matrix, for which an op was added. */
    private boolean makeProduct(NodeProto node) {
        Product product = product(node);
        if (product == null) {
            return false;
        }
        List<String> parts = new ArrayList<>();
        String output = node.getOutput(0);
        String bias = GraphView.isOp(node, "MatMulNBits") ? input(node, 5) : "";
        NodeProto add = bias.isEmpty() ? view.onlyConsumer(output, "Add") : null;
        TensorProto vector = add == null || !mayChange(add) ? null : view.constant(other(add, output));
        if (vector != null
                && vector.getDataType() == Constants.FLOAT
                && Constants.isVector(vector, product.columns())) {
            bias = other(add, output);
            output = take(add);
            parts.add("bias");
        }
        String activation = "NONE";
        Gelu gelu = Gelu.after(output, view);
        NodeProto relu = view.onlyConsumer(output, "Relu");
        if (gelu != null && mayChange(gelu.nodes())) {
            gelu.nodes().forEach(this::take);
            output = gelu.output();
            activation = gelu.activation();
        } else if (relu != null && mayChange(relu)) {
            output = take(relu);
            activation = "RELU";
        }
        if (!activation.equals("NONE")) {
            parts.add(activation);
        }
        changes.add(node.getName() + ": " + node.getOpType() + " becomes " + product.op() + " by " + product.text()
                + ", mode " + product.mode() + (parts.isEmpty() ? "" : ", with " + String.join(" and ", parts)));
        nodes.add(op(node, product.op(), List.of(node.getInput(0), product.packed(), bias), output)
                .addAttribute(attribute("mode", product.mode()))
                .addAttribute(attribute("activation", activation))
                .build());
        return true;
    }

    /** What a node becomes if it is a product by a constant matrix, or null; weights that nodes share are packed once. */
    private Product product(NodeProto node) {
        NodeProto.Builder shared = node.toBuilder().clearName().clearOutput();
        if (node.getInputCount() > 0) {
            shared.setInput(0, "");
        }
        if (node.getInputCount() > 5) {
            shared.setInput(5, ""); // the bias of MatMulNBits
        }
        NodeProto key = shared.build();
        if (!products.containsKey(key)) {
            Weights.Found found = Weights.of(node, view, options);
            if (found.reason() != null) {
                changes.add(node.getName() + ": left as it is, " + found.reason());
            }
            Weights weights = found.weights();
            if (weights == null) {
                return null;
            }
            String name = node.getOutput(0) + ".gatun";
            added.add(files.store(name, weights.packed()));
            products.put(key, new Product(name, weights.op(), weights.mode(), weights.columns(), weights.text()));
        }
        return products.get(key);
    }

    /** Makes a node part of another one; its output. */
    private String take(NodeProto node) {
        taken.add(node);
        return node.getOutput(0);
    }

    // ---- normalization and attention -------------------------------------------------------------------------------

    /** Whether the node begins a LayerNorm, or a sum and its LayerNorm, for which an op was added. */
    private boolean makeNorm(NodeProto node) {
        LayerNorm norm = null;
        String skip = "";
        if (GraphView.isOp(node, "Add")) {
            String sum = node.getOutput(0);
            List<NodeProto> readers = view.consumers(sum);
            for (NodeProto reader : readers) {
                norm = norm == null ? LayerNorm.of(sum, reader, view) : norm;
            }
            if (norm == null || !norm.nodes().containsAll(readers)) {
                return false;
            }
            skip = node.getInput(1);
        } else if (node.getInputCount() > 0) {
            norm = LayerNorm.of(node.getInput(0), node, view);
        }
        if (norm == null || !mayChange(norm.nodes())) {
            return false;
        }
        norm.nodes().forEach(this::take);
        changes.add(node.getName() + ": LayerNorm" + (skip.isEmpty() ? "" : " and the sum before it")
                + " becomes LayerNorm");
        nodes.add(op(node, "LayerNorm", List.of(node.getInput(0), norm.weight(), norm.bias(), skip), norm.output())
                .addAttribute(attribute("epsilon", norm.epsilon()))
                .build());
        return true;
    }

    private NodeProto attention(SelfAttention found) {
        String mask = found.keyMask().isEmpty() ? "" : masks.computeIfAbsent(found.keyMask(), this::castToIntegers);
        changes.add(
                found.last().getName() + ": attention becomes Attention" + (mask.isEmpty() ? "" : " with key_mask"));
        List<String> inputs = List.of(found.q(), found.k(), found.v(), "", "", "", "", "", mask);
        return op(found.last(), "Attention", inputs, found.last().getOutput(0))
                .addAttribute(attribute("layout", "BLHD"))
                .addAttribute(attribute("scale", found.scale()))
                .build();
    }

    private String castToIntegers(String mask) {
        String name = mask + ".gatun";
        while (view.has(name)) { // of a model that was rewritten before
            name += "_";
        }
        nodes.add(NodeProto.newBuilder()
                .setName(name)
                .setOpType("Cast")
                .addInput(mask)
                .addOutput(name)
                .addAttribute(AttributeProto.newBuilder()
                        .setName("to")
                        .setType(AttributeType.INT)
                        .setI(Constants.INT64))
                .build());
        return name;
    }

    // ---- nodes -----------------------------------------------------------------------------------------------------

    /** An op of Gatun's in the place of a node; inputs that are not there are empty. */
    private static NodeProto.Builder op(NodeProto node, String type, List<String> inputs, String output) {
        int count = inputs.size();
        while (inputs.get(count - 1).isEmpty()) {
            count--;
        }
        return NodeProto.newBuilder()
                .setName(node.getName())
                .setDomain(ModelRewriter.DOMAIN)
                .setOpType(type)
                .addAllInput(inputs.subList(0, count))
                .addOutput(output);
    }

    private static AttributeProto attribute(String name, String value) {
        return AttributeProto.newBuilder()
                .setName(name)
                .setType(AttributeType.STRING)
                .setS(ByteString.copyFromUtf8(value))
                .build();
    }

    private static AttributeProto attribute(String name, float value) {
        return AttributeProto.newBuilder()
                .setName(name)
                .setType(AttributeType.FLOAT)
                .setF(value)
                .build();
    }
}
