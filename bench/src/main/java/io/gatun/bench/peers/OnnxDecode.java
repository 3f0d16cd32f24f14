package io.gatun.bench.peers;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static io.gatun.bench.DecodeCase.QUERY_HEADS;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.DecodeCase;
import io.gatun.bench.DecodeData;
import io.gatun.bench.DecodePeer;
import io.gatun.bench.HugePages;
import io.gatun.bench.RotatingContender;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * ONNX Runtime's GroupQueryAttention with caches of several types, each a peer of its own. The past cache is the
 * present one, as its documentation wants it for speed: of all keys and values, a call writes those of its own token,
 * which is the last one. Codes have one scale for all of them. Tensors are bound once.
 */
final class OnnxDecode implements DecodePeer {
    private static final String PRESENT_KEY = "present_key";
    private static final String PRESENT_VALUE = "present_value";

    /** What caches consist of. */
    private enum Type {
        F32("", DType.F32, OnnxGraph.FLOAT, OnnxJavaType.FLOAT),
        F16("-f16", DType.F16, OnnxGraph.FLOAT16, OnnxJavaType.FLOAT16),
        INT8("-int8", DType.I8, OnnxGraph.INT8, OnnxJavaType.INT8),
        INT4("-int4", DType.U4, OnnxGraph.UINT8, OnnxJavaType.UINT8);

        private final String suffix;
        private final DType dtype;
        private final int element;
        private final OnnxJavaType java;

        Type(String suffix, DType dtype, int element, OnnxJavaType java) {
            this.suffix = suffix;
            this.dtype = dtype;
            this.element = element;
            this.java = java;
        }

        /** f32 is measured beside all, another type beside caches of as many bits. */
        private boolean fits(DecodeCase.Cache cache) {
            return switch (this) {
                case F32 -> true;
                case F16 -> cache == DecodeCase.Cache.F16;
                case INT8 -> cache == DecodeCase.Cache.INT8;
                case INT4 -> cache == DecodeCase.Cache.INT4 || cache == DecodeCase.Cache.INT4_GROUPS;
            };
        }

        /** 0 of values. */
        private long codeBits() {
            return this == INT8 ? 8 : this == INT4 ? 4 : 0;
        }

        /** Of queries, new keys and the result. */
        private Type ofQuery() {
            return this == F16 ? F16 : F32;
        }
    }

    private final OrtEnvironment environment;
    private final Type type;

    private OnnxDecode(Type type) {
        environment = OnnxRuntime.environment();
        this.type = type;
    }

    /** A peer for each type. */
    static List<DecodePeer> all() {
        return Arrays.stream(Type.values()).<DecodePeer>map(OnnxDecode::new).toList();
    }

    @Override
    public String name() {
        return "onnxruntime-gqa" + type.suffix;
    }

    @Override
    public String version() {
        return environment.getVersion();
    }

    @Override
    public Contender prepare(DecodeCase problem, DecodeData data) throws OrtException {
        if (!type.fits(problem.cache())) {
            return null;
        }
        Arena arena = Arena.ofShared();
        try {
            return new Attention(arena, problem, data);
        } catch (OrtException | RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /** The calls of a case. */
    private final class Attention extends RotatingContender {
        private final Arena arena;
        private final DecodeCase problem;
        private final DecodeData data;
        private final List<OnnxTensor> tensors = new ArrayList<>();
        private final List<Map<String, OnnxTensor>> inputs = new ArrayList<>();
        private final List<Map<String, OnnxTensor>> outputs = new ArrayList<>();
        private final Tensor y;
        private final OrtSession session;

        Attention(Arena arena, DecodeCase problem, DecodeData data) throws OrtException {
            super(
                    name() + " " + version(),
                    "GroupQueryAttention " + type.name().toLowerCase(Locale.ROOT),
                    "attention, and k and v of the token kept",
                    CacheCopies.count(problem, data, type.dtype));
            this.arena = arena;
            this.problem = problem;
            this.data = data;
            long[] one = {1, 1, (long) QUERY_HEADS * HEAD_SIZE};
            long[] token = {1, 1, (long) problem.heads() * HEAD_SIZE};
            long[] cache = {1, problem.heads(), problem.keys(), type.dtype.bytes(HEAD_SIZE) / type.java.size};
            y = Tensor.allocate(arena, type.ofQuery().dtype, one);
            OnnxTensor result = tensor(y.segment(), type.ofQuery(), one);
            Map<String, OnnxTensor> same = new HashMap<>();
            same.put(OnnxGraph.INPUT, tensor(converted(data.q().segment()), type.ofQuery(), one));
            same.put("key", tensor(last(data.k(0).segment()), type.ofQuery(), token));
            same.put("value", tensor(last(data.v(0).segment()), type.ofQuery(), token));
            List<MemorySegment> allKeys = CacheCopies.of(arena, problem, data, data::k, type.dtype);
            List<MemorySegment> allValues = CacheCopies.of(arena, problem, data, data::v, type.dtype);
            for (int copy = 0; copy < copies(); copy++) {
                OnnxTensor keys = tensor(allKeys.get(copy), type, cache);
                OnnxTensor values = tensor(allValues.get(copy), type, cache);
                inputs.add(new HashMap<>(same));
                inputs.getLast().put("past_key", keys);
                inputs.getLast().put("past_value", values);
                outputs.add(Map.of(OnnxGraph.OUTPUT, result, PRESENT_KEY, keys, PRESENT_VALUE, values));
            }
            try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
                options.setIntraOpNumThreads(problem.threads());
                options.setInterOpNumThreads(1);
                options.addConfigEntry("session.force_spinning_stop", "1");
                session = environment.createSession(model(one, token, cache), options);
            }
        }

        private byte[] model(long[] one, long[] token, long[] cache) {
            int element = type.ofQuery().element;
            OnnxGraph graph = new OnnxGraph(
                            "com.microsoft",
                            "GroupQueryAttention",
                            Map.of(
                                    "num_heads",
                                    (long) QUERY_HEADS,
                                    "kv_num_heads",
                                    (long) problem.heads(),
                                    "kv_cache_bit_width",
                                    type.codeBits()))
                    .input("key", element, token)
                    .input("value", element, token)
                    .input("past_key", type.element, cache)
                    .input("past_value", type.element, cache)
                    .constant("last", OnnxGraph.INT32, bytes(problem.keys() - 1), 1)
                    .constant("length", OnnxGraph.INT32, bytes(problem.keys()));
            if (type.codeBits() != 0) {
                byte[] unit = bytes(Float.floatToRawIntBits(data.unit()));
                graph.attribute("k_quant_type", "PER_TENSOR").attribute("v_quant_type", "PER_TENSOR");
                graph.omitted(5)
                        .constant("k_scale", OnnxGraph.FLOAT, unit, 1)
                        .constant("v_scale", OnnxGraph.FLOAT, unit, 1);
            }
            return graph.output(PRESENT_KEY, type.element, cache)
                    .output(PRESENT_VALUE, type.element, cache)
                    .model(element, one, element, one);
        }

        private static byte[] bytes(int value) {
            return ByteBuffer.allocate(Integer.BYTES)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putInt(value)
                    .array();
        }

        /** The rows of the last key of all heads, converted. */
        private MemorySegment last(MemorySegment values) {
            long bytes = (long) HEAD_SIZE * Float.BYTES;
            MemorySegment rows = HugePages.allocate(arena, problem.heads() * bytes);
            for (int head = 0; head < problem.heads(); head++) {
                MemorySegment.copy(values, ((head + 1L) * problem.keys() - 1) * bytes, rows, head * bytes, bytes);
            }
            return converted(rows);
        }

        /** In the type of queries. */
        private MemorySegment converted(MemorySegment values) {
            return CacheCopies.converted(arena, values, type.ofQuery().dtype, data.unit());
        }

        private OnnxTensor tensor(MemorySegment values, Type of, long[] shape) throws OrtException {
            OnnxTensor tensor = OnnxTensor.createTensor(
                    environment, values.asByteBuffer().order(ByteOrder.nativeOrder()), shape, of.java);
            tensors.add(tensor);
            return tensor;
        }

        @Override
        protected void call(int copy) {
            try {
                session.run(inputs.get(copy), outputs.get(copy)).close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected void result(float[] values) {
            System.arraycopy(y.toFloatArray(), 0, values, 0, values.length);
        }

        @Override
        public void close() {
            try {
                session.close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
            tensors.forEach(OnnxTensor::close);
            arena.close();
        }
    }
}
