package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.QuantizeCase;
import io.gatun.bench.QuantizePeer;
import io.gatun.bench.RotatingContender;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * ONNX Runtime's QuantizeLinear and DequantizeLinear for int8 with a scale for each row or group. QuantizeLinear takes
 * scales: they are made before, outside its time, so it has less to do than whoever makes them.
 */
final class OnnxQuantize implements QuantizePeer {
    private final OrtEnvironment environment;

    OnnxQuantize() {
        environment = OnnxRuntime.environment();
    }

    @Override
    public String name() {
        return "onnxruntime";
    }

    @Override
    public String version() {
        return environment.getVersion();
    }

    @Override
    public Contender prepare(QuantizeCase problem, Tensor x) throws OrtException {
        QuantSpec spec = problem.spec();
        boolean int8 = spec.codes() == DType.I8
                && spec.gguf() == null
                && !spec.blocks().flat();
        return int8 ? new Linear(problem, x) : null;
    }

    private final class Linear extends RotatingContender {
        private final Arena arena = Arena.ofShared();
        private final QuantizeCase problem;
        private final int depth;
        private final int groups;
        private final float[] scales;
        private final MemorySegment codes;
        private final MemorySegment values;
        private final OnnxTensor input;
        private final OnnxTensor output;
        private final OrtSession session;

        Linear(QuantizeCase problem, Tensor x) throws OrtException {
            super(
                    name() + " " + version(),
                    problem.quantize() ? "QuantizeLinear" : "DequantizeLinear",
                    problem.quantize() ? "codes, by scales that were made before" : "values",
                    1);
            this.problem = problem;
            QuantizedTensor quantized = Quantize.run(x, problem.spec());
            depth = Math.toIntExact(x.shape().size(1));
            groups = Math.toIntExact(quantized.scales().shape().size(1));
            scales = quantized.scales().toFloatArray();
            codes = quantized.codes().segment();
            values = problem.quantize()
                    ? x.segment()
                    : arena.allocate(x.segment().byteSize(), 64);
            long[] shape = x.shape().toArray();
            OnnxTensor floats =
                    OnnxTensor.createTensor(environment, direct(values).asFloatBuffer(), shape);
            OnnxTensor integers = OnnxTensor.createTensor(environment, direct(codes), shape, OnnxJavaType.INT8);
            input = problem.quantize() ? floats : integers;
            output = problem.quantize() ? integers : floats;
            try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
                options.setIntraOpNumThreads(problem.threads());
                options.setInterOpNumThreads(1);
                options.addConfigEntry("session.force_spinning_stop", "1");
                session = environment.createSession(model(shape), options);
            }
        }

        private static ByteBuffer direct(MemorySegment segment) {
            return segment.asByteBuffer().order(ByteOrder.nativeOrder());
        }

        /** A scale for each row is one along axis 0; groups are blocks along axis 1. */
        private byte[] model(long[] shape) {
            Map<String, Long> attributes =
                    groups == 1 ? Map.of("axis", 0L) : Map.of("axis", 1L, "block_size", (long) depth / groups);
            long[] scaleShape = groups == 1 ? new long[] {shape[0]} : new long[] {shape[0], groups};
            OnnxGraph graph = new OnnxGraph("", kernel(), attributes)
                    .constant("scales", OnnxGraph.FLOAT, OnnxRuntime.bytes(scales), scaleShape);
            if (problem.quantize()) { // its zero points, which say the type of the codes
                graph.constant("zeros", OnnxGraph.INT8, new byte[scales.length], scaleShape);
                return graph.model(OnnxGraph.FLOAT, shape, OnnxGraph.INT8, shape);
            }
            return graph.model(OnnxGraph.INT8, shape, OnnxGraph.FLOAT, shape);
        }

        @Override
        protected void call(int copy) {
            try {
                session.run(Map.of(OnnxGraph.INPUT, input), Map.of(OnnxGraph.OUTPUT, output))
                        .close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected void result(float[] out) {
            if (!problem.quantize()) {
                MemorySegment.copy(values, JAVA_FLOAT, 0, out, 0, out.length);
                return;
            }
            int group = depth / groups;
            IntStream.range(0, scales.length).parallel().forEach(g -> {
                for (int i = g * group; i < (g + 1) * group; i++) {
                    out[i] = codes.get(JAVA_BYTE, i) * scales[g];
                }
            });
        }

        @Override
        public void close() {
            try {
                session.close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
            input.close();
            output.close();
            arena.close();
        }
    }
}
