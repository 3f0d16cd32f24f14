package io.gatun.bench.peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * An ONNX model of one node: its first input x and its first output y are the graph's; the others are constants, or the
 * graph's as well. Written as plain protobuf fields; the numbers are those of onnx.proto.
 */
final class OnnxGraph {
    static final String INPUT = "x";
    static final String OUTPUT = "y";

    /** Element types of a tensor. */
    static final int FLOAT = 1;

    static final int UINT8 = 2;
    static final int INT8 = 3;
    static final int INT32 = 6;
    static final int FLOAT16 = 10;

    private static final int IR_VERSION = 10;
    private static final int OPSET = 21;
    private static final int ATTRIBUTE_INT = 2;
    private static final int ATTRIBUTE_STRING = 3;

    private final String domain;
    private final String operation;
    private final Map<String, Long> attributes;
    /** Of the node, without the first one. */
    private final List<String> inputNames = new ArrayList<>();

    private final List<String> outputNames = new ArrayList<>();
    private final Map<String, String> texts = new LinkedHashMap<>();
    private final List<Message> constants = new ArrayList<>();
    private final List<Message> inputs = new ArrayList<>();
    private final List<Message> outputs = new ArrayList<>();

    /** @param domain of the operation; {@code ""} is ONNX itself */
    OnnxGraph(String domain, String operation, Map<String, Long> attributes) {
        this.domain = domain;
        this.operation = operation;
        this.attributes = attributes;
    }

    /** Adds an attribute that is no number. */
    OnnxGraph attribute(String name, String text) {
        texts.put(name, text);
        return this;
    }

    /** Adds a constant, the node's next input. */
    OnnxGraph constant(String name, int type, byte[] data, long... shape) {
        Message tensor = new Message();
        for (long size : shape) {
            tensor.integer(1, size);
        }
        inputNames.add(name);
        constants.add(tensor.integer(2, type).text(8, name).bytes(9, data));
        return this;
    }

    /** Adds an input of the graph, the node's next one. */
    OnnxGraph input(String name, int type, long... shape) {
        inputNames.add(name);
        inputs.add(value(name, type, shape));
        return this;
    }

    /** Leaves the node's next inputs out. */
    OnnxGraph omitted(int count) {
        inputNames.addAll(Collections.nCopies(count, ""));
        return this;
    }

    /** Adds an output of the graph, the node's next one. */
    OnnxGraph output(String name, int type, long... shape) {
        outputNames.add(name);
        outputs.add(value(name, type, shape));
        return this;
    }

    /** The serialized model for x [rows, depth] and y [rows, columns] in f32. */
    byte[] model(long rows, long depth, long columns) {
        return model(FLOAT, new long[] {rows, depth}, FLOAT, new long[] {rows, columns});
    }

    /** The serialized model for x and y of these types and shapes. */
    byte[] model(int inputType, long[] inputShape, int outputType, long[] outputShape) {
        Message node = new Message().text(1, INPUT);
        inputNames.forEach(name -> node.text(1, name));
        node.text(2, OUTPUT);
        outputNames.forEach(name -> node.text(2, name));
        node.text(4, operation).text(7, domain);
        attributes.forEach((name, value) ->
                node.message(5, new Message().text(1, name).integer(3, value).integer(20, ATTRIBUTE_INT)));
        texts.forEach((name, text) ->
                node.message(5, new Message().text(1, name).text(4, text).integer(20, ATTRIBUTE_STRING)));

        Message graph = new Message().message(1, node).text(2, operation);
        constants.forEach(tensor -> graph.message(5, tensor));
        graph.message(11, value(INPUT, inputType, inputShape));
        inputs.forEach(input -> graph.message(11, input));
        graph.message(12, value(OUTPUT, outputType, outputShape));
        outputs.forEach(output -> graph.message(12, output));

        return new Message()
                .integer(1, IR_VERSION)
                .message(7, graph)
                .message(8, operators("", OPSET))
                .message(8, operators("com.microsoft", 1))
                .toByteArray();
    }

    private static Message operators(String domain, long version) {
        return new Message().text(1, domain).integer(2, version);
    }

    private static Message value(String name, int type, long[] shape) {
        Message dimensions = new Message();
        for (long size : shape) {
            dimensions.message(1, new Message().integer(1, size));
        }
        Message tensor = new Message().integer(1, type).message(2, dimensions);
        return new Message().text(1, name).message(2, new Message().message(1, tensor));
    }

    /** A protobuf message in the making. Its parts are put together once, as constants are large. */
    private static final class Message {
        private static final int VARINT = 0;
        private static final int LENGTH_DELIMITED = 2;

        private final List<byte[]> parts = new ArrayList<>();
        private int size;

        Message integer(int field, long value) {
            varint((long) field << 3 | VARINT);
            varint(value);
            return this;
        }

        Message text(int field, String value) {
            return bytes(field, value.getBytes(StandardCharsets.UTF_8));
        }

        Message message(int field, Message value) {
            begin(field, value.size);
            value.parts.forEach(this::append);
            return this;
        }

        Message bytes(int field, byte[] value) {
            begin(field, value.length);
            append(value);
            return this;
        }

        private void begin(int field, int length) {
            varint((long) field << 3 | LENGTH_DELIMITED);
            varint(length);
        }

        /** Seven bits a byte, lowest first; the top bit says that more follow. */
        private void varint(long value) {
            byte[] bytes = new byte[Long.SIZE / 7 + 1];
            int length = 0;
            long rest = value;
            for (; (rest & ~0x7fL) != 0; rest >>>= 7) {
                bytes[length++] = (byte) (rest & 0x7f | 0x80);
            }
            bytes[length++] = (byte) rest;
            append(Arrays.copyOf(bytes, length));
        }

        private void append(byte[] part) {
            parts.add(part);
            size = Math.addExact(size, part.length);
        }

        byte[] toByteArray() {
            ByteBuffer bytes = ByteBuffer.allocate(size);
            parts.forEach(bytes::put);
            return bytes.array();
        }
    }
}
