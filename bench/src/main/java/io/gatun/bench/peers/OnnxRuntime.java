package io.gatun.bench.peers;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.bench.Contender;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import io.gatun.bench.RotatingContender;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * ONNX Runtime: MatMulNBits for weights in groups, with activations in int8 (accuracy level 4) or, when Gatun is precise,
 * in f32 (1); DynamicQuantizeMatMul for int8 weights with a scale for each row. Each copy of the weights is a session of
 * its own, input and output are bound once.
 *
 * <p>After a call, a session's workers look for work for 40 ms. Where sessions take turns, those of the one before would
 * take the processors from the next one, and after long calls from the next contender; there,
 * {@code session.force_spinning_stop} ends that with the call. Short calls, to which waking a worker is much, are spared.
 */
final class OnnxRuntime implements Peer {
    private static final String MICROSOFT = "com.microsoft";
    private static final long F32 = 1;
    private static final long INT8 = 4;

    private final OrtEnvironment environment;

    OnnxRuntime() {
        environment = environment();
    }

    /** The one of the process. */
    static OrtEnvironment environment() {
        // It writes a device id and a database of events to the user's cache folder as soon as it is loaded, and sends
        // them. On Linux and macOS only this variable stops it.
        NativeCode.setEnvironment("ORT_DISABLE_TELEMETRY", "1");
        return OrtEnvironment.getEnvironment();
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
    public Contender prepare(QMatmulCase problem, QMatmulData data) throws OrtException {
        if (problem.inBf16()) {
            return null;
        }
        Weights weights = new Weights(problem, data);
        if (problem.group() != 0) {
            return inGroups(problem, data, weights);
        }
        return problem.isInt4() || problem.precise() ? null : inRows(problem, data, weights);
    }

    /** B [N, groups, bytes of a group]: unsigned codes, padded to whole groups by those that stand for 0. */
    private Contender inGroups(QMatmulCase problem, QMatmulData data, Weights weights) throws OrtException {
        if (Long.bitCount(problem.group()) != 1 || problem.group() < 16 || problem.group() > 256) {
            return null;
        }
        int bits = problem.isInt4() ? 4 : 8;
        long accuracy = problem.precise() ? F32 : INT8;
        long paddedDepth = (long) weights.groups * weights.group;
        Map<String, Long> attributes = Map.of(
                "K",
                problem.depth(),
                "N",
                problem.columns(),
                "bits",
                (long) bits,
                "block_size",
                (long) problem.group(),
                "accuracy_level",
                accuracy);
        byte[] scales = bytes(data.scales);
        return contender(
                problem,
                data,
                "MatMulNBits, accuracy level " + accuracy,
                weights,
                weights.columns * paddedDepth * bits / 8,
                (row, values, target) -> {
                    for (int i = 0; i < paddedDepth; i++) {
                        int code = (i < values.length ? values[i] : 0) + (1 << bits - 1);
                        if (bits == 4) {
                            Weights.setNibble(target, row * paddedDepth + i, code);
                        } else {
                            target.set(ValueLayout.JAVA_BYTE, row * paddedDepth + i, (byte) code);
                        }
                    }
                },
                codes -> new OnnxGraph(MICROSOFT, "MatMulNBits", attributes)
                        .constant(
                                "codes",
                                OnnxGraph.UINT8,
                                codes,
                                weights.columns,
                                weights.groups,
                                (long) weights.group * bits / 8)
                        .constant("scales", OnnxGraph.FLOAT, scales, weights.columns, weights.groups));
    }

    /** B [K, N]. */
    private Contender inRows(QMatmulCase problem, QMatmulData data, Weights weights) throws OrtException {
        byte[] scales = bytes(data.scales);
        return contender(
                problem,
                data,
                "DynamicQuantizeMatMul",
                weights,
                (long) weights.columns * weights.depth,
                (row, values, target) -> {
                    for (int k = 0; k < values.length; k++) {
                        target.set(ValueLayout.JAVA_BYTE, (long) k * weights.columns + row, values[k]);
                    }
                },
                codes -> new OnnxGraph(MICROSOFT, "DynamicQuantizeMatMul", Map.of())
                        .constant("codes", OnnxGraph.INT8, codes, weights.depth, weights.columns)
                        .constant("scales", OnnxGraph.FLOAT, scales, weights.columns));
    }

    /** The graph with a copy of the weights. */
    private interface Graphs {
        OnnxGraph with(byte[] codes);
    }

    private Contender contender(
            QMatmulCase problem,
            QMatmulData data,
            String kernel,
            Weights weights,
            long codeBytes,
            Weights.RowPacker packer,
            Graphs graphs)
            throws OrtException {
        List<OrtSession> sessions = new ArrayList<>();
        try (Arena arena = Arena.ofShared();
                OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(problem.threads());
            options.setInterOpNumThreads(1);
            MemorySegment[] copies = weights.pack(arena, codeBytes, packer);
            if (copies.length > 1 || !isShort(problem)) {
                options.addConfigEntry("session.force_spinning_stop", "1");
            }
            for (MemorySegment codes : copies) {
                byte[] model = graphs.with(codes.toArray(ValueLayout.JAVA_BYTE))
                        .model(problem.rows(), problem.depth(), problem.columns());
                sessions.add(environment.createSession(model, options));
            }
            return new Sessions(this, kernel, problem, data, sessions);
        } catch (OrtException | RuntimeException | Error e) {
            close(sessions);
            throw e;
        }
    }

    /** A few milliseconds at most. */
    private static boolean isShort(QMatmulCase problem) {
        return problem.rows() * problem.columns() * problem.depth() < 1L << 28;
    }

    private static void close(List<OrtSession> sessions) throws OrtException {
        for (OrtSession session : sessions) {
            session.close();
        }
    }

    static byte[] bytes(float[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return bytes.array();
    }

    private static final class Sessions extends RotatingContender {
        private final List<OrtSession> sessions;
        private final FloatBuffer y;
        private final Map<String, OnnxTensor> inputs;
        private final Map<String, OnnxTensor> outputs;

        Sessions(OnnxRuntime peer, String kernel, QMatmulCase problem, QMatmulData data, List<OrtSession> sessions)
                throws OrtException {
            super(peer, kernel, problem.precise() ? "product" : "activation quantization + product", sessions.size());
            this.sessions = sessions;
            FloatBuffer x = floats(problem.rows() * problem.depth()).put(data.x).rewind();
            y = floats(problem.rows() * problem.columns());
            inputs = Map.of(OnnxGraph.INPUT, tensor(peer, x, problem.rows(), problem.depth()));
            outputs = Map.of(OnnxGraph.OUTPUT, tensor(peer, y, problem.rows(), problem.columns()));
        }

        private static FloatBuffer floats(long count) {
            return ByteBuffer.allocateDirect(Math.toIntExact(count * Float.BYTES))
                    .order(ByteOrder.nativeOrder())
                    .asFloatBuffer();
        }

        private static OnnxTensor tensor(OnnxRuntime peer, FloatBuffer values, long... shape) throws OrtException {
            return OnnxTensor.createTensor(peer.environment, values, shape);
        }

        @Override
        protected void call(int copy) {
            try {
                sessions.get(copy).run(inputs, outputs).close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected void result(float[] values) {
            y.get(0, values);
        }

        @Override
        public void close() {
            try {
                OnnxRuntime.close(sessions);
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
            inputs.values().forEach(OnnxTensor::close);
            outputs.values().forEach(OnnxTensor::close);
        }
    }
}
