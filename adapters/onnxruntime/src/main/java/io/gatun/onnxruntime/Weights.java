package io.gatun.onnxruntime;

import static io.gatun.onnxruntime.GraphView.input;
import static io.gatun.onnxruntime.GraphView.integer;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.onnxruntime.ModelRewriter.Options;
import io.gatun.onnxruntime.proto.Onnx.NodeProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import io.gatun.ops.NmMatmul;
import io.gatun.ops.NmWeights;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Packing;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import io.gatun.ops.SparseTensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A constant matrix in Gatun's packed form, and what multiplies by it.
 *
 * @param op Gatun's
 * @param mode its attribute
 * @param text what the weights are, for a person
 */
record Weights(String op, String mode, MemorySegment packed, long columns, String text) {
    /** What was found at a node: weights, or why there are none, or neither if it is no product by a constant. */
    record Found(Weights weights, String reason) {
        static final Found NOTHING = new Found(null, null);
    }

    static Found of(NodeProto node, GraphView graph, Options options) {
        return GraphView.isOp(node, "MatMul")
                ? ofMatMul(node, graph, options)
                : GraphView.isOp(node, "MatMulNBits") ? ofMatMulNBits(node, graph, options) : Found.NOTHING;
    }

    private static Found ofMatMul(NodeProto node, GraphView graph, Options options) {
        TensorProto matrix = graph.constant(node.getInput(1));
        if (graph.isDefault(node.getInput(1))) {
            return new Found(null, "its weights are an input, too");
        }
        if (matrix == null || matrix.getDimsCount() != 2 || Constants.elements(matrix) == 0) {
            return Found.NOTHING;
        }
        if (matrix.getDataType() != Constants.FLOAT) {
            return new Found(null, "its weights are not f32");
        }
        Tensor transposed = Tensor.of(Constants.floats(graph.load(matrix)), matrix.getDims(0), matrix.getDims(1))
                .transpose()
                .contiguous();
        return new Found(
                options.prune() == null
                        ? dense(Quantize.run(transposed, options.quantize()), options.mode())
                        : sparse(transposed, options),
                null);
    }

    private static Weights dense(QuantizedTensor quantized, QMatmul.Mode wanted) {
        PackedWeights packed = QMatmul.pack(quantized);
        QMatmul.Mode mode = wanted == QMatmul.Mode.AUTO ? packed.modes().getFirst() : wanted;
        if (!packed.modes().contains(mode)) {
            throw new IllegalArgumentException("mode = " + mode + "; allowed with these weights: " + packed.modes());
        }
        String text = quantized.spec().codes() + " [" + packed.rows() + ", " + packed.depth() + "]";
        return new Weights("QMatMul", mode.name(), packed.segment(), packed.rows(), text);
    }

    private static Weights sparse(Tensor weights, Options options) {
        Prune.Score score = Prune.Score.magnitude();
        boolean floats = options.quantize() == null;
        NmWeights packed = NmMatmul.pack(
                floats
                        ? Prune.compress(weights, score, options.prune())
                        : SparseTensor.compress(
                                Quantize.run(weights, options.quantize()),
                                Prune.run(weights, score, options.prune()),
                                options.prune()));
        return new Weights("NmMatMul", floats ? "F32" : "INT8", packed.segment(), packed.rows(), packed.toString());
    }

    private static Found ofMatMulNBits(NodeProto node, GraphView graph, Options options) {
        long depth = integer(node, "K", 0);
        long columns = integer(node, "N", 0);
        long bits = integer(node, "bits", 4);
        long block = integer(node, "block_size", 32);
        TensorProto codes = graph.constant(node.getInput(1));
        TensorProto scales = graph.constant(node.getInput(2));
        String zerosName = input(node, 3);
        TensorProto zeros = graph.constant(zerosName);
        if (bits != 4 && bits != 8) {
            return new Found(null, "it has " + bits + " bits");
        }
        if (codes == null || scales == null || zeros == null && !zerosName.isEmpty()) {
            return new Found(null, "its weights are not constant");
        }
        if (!input(node, 4).isEmpty() || zeros != null && zeros.getDataType() != Constants.UINT8) {
            return new Found(null, zeros == null ? "it has g_idx" : "it has g_idx or float zero points");
        }
        if (scales.getDataType() != Constants.FLOAT) {
            return new Found(null, "its scales, and so its numbers, are not f32");
        }
        // Without zero points, codes of 8 bits count from 128.
        QuantSpec spec = (bits == 8
                        ? QuantSpec.int8Asymmetric(block)
                        : zeros == null ? QuantSpec.int4(block) : QuantSpec.int4Asymmetric(block))
                .withScales(DType.F32);
        long blocks = Math.ceilDiv(depth, block);
        Tensor zeroPoints = zeros != null
                ? Constants.bytes(graph.load(zeros), columns, Math.ceilDiv(blocks * bits, 8))
                : bits == 8 ? Tensor.of(DType.U8, filled(columns * blocks, (byte) 128), columns, blocks) : null;
        QuantizedTensor quantized = Packing.read(
                Packing.Format.MATMUL_NBITS,
                spec,
                columns,
                depth,
                new Packing.Planes(
                        Constants.bytes(graph.load(codes), columns, blocks, block * bits / 8),
                        Tensor.of(Constants.floats(graph.load(scales)), columns, blocks),
                        zeroPoints));
        QMatmul.Mode byAccuracy =
                integer(node, "accuracy_level", 0) == 4 ? QMatmul.Mode.INT8_GROUP : QMatmul.Mode.PRECISE;
        return new Found(dense(quantized, options.mode() == QMatmul.Mode.AUTO ? byAccuracy : options.mode()), null);
    }

    private static byte[] filled(long count, byte value) {
        byte[] bytes = new byte[Math.toIntExact(count)];
        Arrays.fill(bytes, value);
        return bytes;
    }
}
