package io.gatun.onnxruntime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxTensorLike;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.google.protobuf.ByteString;
import io.gatun.onnxruntime.proto.Onnx.AttributeProto;
import io.gatun.onnxruntime.proto.Onnx.AttributeProto.AttributeType;
import io.gatun.onnxruntime.proto.Onnx.GraphProto;
import io.gatun.onnxruntime.proto.Onnx.ModelProto;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import io.gatun.onnxruntime.proto.Onnx.OperatorSetIdProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import io.gatun.onnxruntime.proto.Onnx.TensorShapeProto;
import io.gatun.onnxruntime.proto.Onnx.TypeProto;
import io.gatun.onnxruntime.proto.Onnx.ValueInfoProto;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Builds small models of one output, y, and runs them. */
final class Models {
    private final GraphProto.Builder graph = GraphProto.newBuilder().setName("test");
    private final Map<String, OnnxTensor> feeds = new HashMap<>();
    private int opset = 13;
    private int irVersion = 8;

    Models opset(int version) {
        opset = version;
        return this;
    }

    /** The version of the format of the file. */
    Models irVersion(int version) {
        irVersion = version;
        return this;
    }

    /** The constant of this name is an input, too. */
    Models alsoInput(String name, int rank) {
        graph.addInput(value(name, Constants.FLOAT, rank));
        return this;
    }

    /** An input that models are never run with. */
    Models input(String name, int type, int rank) {
        graph.addInput(value(name, type, rank));
        return this;
    }

    /** An input of the model, with the numbers that it is run with. */
    Models input(String name, float[] values, long... shape) throws OrtException {
        feeds.put(name, OnnxTensor.createTensor(environment(), FloatBuffer.wrap(values), shape));
        graph.addInput(value(name, Constants.FLOAT, shape.length));
        return this;
    }

    Models input(String name, long[] values, long... shape) throws OrtException {
        feeds.put(name, OnnxTensor.createTensor(environment(), LongBuffer.wrap(values), shape));
        graph.addInput(value(name, Constants.INT64, shape.length));
        return this;
    }

    Models constant(String name, float[] values, long... shape) {
        ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        raw.asFloatBuffer().put(values);
        return constant(name, Constants.FLOAT, raw, shape);
    }

    Models constant(String name, byte[] values, long... shape) {
        return constant(name, Constants.UINT8, ByteBuffer.wrap(values), shape);
    }

    Models constant(String name, long[] values, long... shape) {
        ByteBuffer raw = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        raw.asLongBuffer().put(values);
        return constant(name, Constants.INT64, raw, shape);
    }

    Models constant(String name, int[] values, long... shape) {
        ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        raw.asIntBuffer().put(values);
        return constant(name, 6, raw, shape);
    }

    Models constant(String name, int type, ByteBuffer raw, long... shape) {
        graph.addInitializer(TensorProto.newBuilder()
                .setName(name)
                .setDataType(type)
                .addAllDims(Arrays.stream(shape).boxed().toList())
                .setRawData(ByteString.copyFrom(raw)));
        return this;
    }

    /** A node; attributes are numbers, texts and arrays of long. */
    Models nodeOf(String domain, String type, String inputs, String output, Object... attributes) {
        NodeProto.Builder node = NodeProto.newBuilder()
                .setName(output + "_node")
                .setOpType(type)
                .setDomain(domain)
                .addAllInput(List.of(inputs.split(",", -1)))
                .addOutput(output);
        for (int i = 0; i < attributes.length; i += 2) {
            AttributeProto.Builder attribute = AttributeProto.newBuilder().setName((String) attributes[i]);
            switch (attributes[i + 1]) {
                case Integer number -> attribute.setType(AttributeType.INT).setI(number);
                case Float number -> attribute.setType(AttributeType.FLOAT).setF(number);
                case String text -> attribute.setType(AttributeType.STRING).setS(ByteString.copyFromUtf8(text));
                case long[] numbers ->
                    attribute
                            .setType(AttributeType.INTS)
                            .addAllInts(Arrays.stream(numbers).boxed().toList());
                default -> throw new AssertionError(attributes[i + 1]);
            }
            node.addAttribute(attribute);
        }
        graph.addNode(node);
        return this;
    }

    Models node(String type, String inputs, String output, Object... attributes) {
        return nodeOf("", type, inputs, output, attributes);
    }

    byte[] bytes() {
        ModelProto.Builder model = ModelProto.newBuilder().setIrVersion(irVersion);
        model.addOpsetImport(OperatorSetIdProto.newBuilder().setDomain("").setVersion(opset));
        model.addOpsetImport(
                OperatorSetIdProto.newBuilder().setDomain("com.microsoft").setVersion(1));
        model.addOpsetImport(
                OperatorSetIdProto.newBuilder().setDomain(ModelRewriter.DOMAIN).setVersion(1));
        GraphProto.Builder whole = graph.clone().clearOutput();
        whole.addOutput(ValueInfoProto.newBuilder()
                .setName("y")
                .setType(TypeProto.newBuilder()
                        .setTensorType(TypeProto.Tensor.newBuilder().setElemType(Constants.FLOAT))));
        return model.setGraph(whole).build().toByteArray();
    }

    /** y, row by row, of the model as it is. */
    float[] run() throws OrtException {
        return run(bytes());
    }

    /** y of a model with these inputs. */
    float[] run(byte[] model) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            GatunOps.register(options);
            try (OrtSession session = environment().createSession(model, options)) {
                return run(session);
            }
        }
    }

    /** y of a model in a file. */
    float[] run(Path model) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            GatunOps.register(options);
            try (OrtSession session = environment().createSession(model.toString(), options)) {
                return run(session);
            }
        }
    }

    private float[] run(OrtSession session) throws OrtException {
        try (OrtSession.Result result = session.run(Map.<String, OnnxTensorLike>copyOf(feeds))) {
            FloatBuffer y = ((OnnxTensor) result.get(0)).getFloatBuffer();
            float[] values = new float[y.remaining()];
            y.get(values);
            return values;
        }
    }

    /** The types of the nodes of a model. */
    static List<String> ops(byte[] model) throws java.io.IOException {
        List<String> types = new ArrayList<>();
        ModelProto.parseFrom(model).getGraph().getNodeList().forEach(node -> types.add(node.getOpType()));
        return types;
    }

    static OrtEnvironment environment() {
        return OrtEnvironment.getEnvironment();
    }

    private static ValueInfoProto value(String name, int type, int rank) {
        TensorShapeProto.Builder shape = TensorShapeProto.newBuilder();
        for (int i = 0; i < rank; i++) {
            shape.addDim(TensorShapeProto.Dimension.newBuilder().setDimParam(name + i));
        }
        return ValueInfoProto.newBuilder()
                .setName(name)
                .setType(TypeProto.newBuilder()
                        .setTensorType(
                                TypeProto.Tensor.newBuilder().setElemType(type).setShape(shape)))
                .build();
    }
}
