package io.gatun.bench.peers;

import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.Tensor;
import io.gatun.bench.AttentionCase;
import io.gatun.bench.AttentionData;
import io.gatun.bench.AttentionPeer;
import io.gatun.bench.Contender;
import io.gatun.bench.HugePages;
import io.gatun.bench.RotatingContender;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * ONNX Runtime's operations of attention in f32, each a peer of its own: MultiHeadAttention; GroupQueryAttention, which
 * is causal and keeps k and v for later calls; SparseAttention, causal as well. Inputs and outputs are [S, heads, head
 * size], bound once; the time includes their transposition, which is the operations' own.
 *
 * <p>All but MultiHeadAttention that is not causal keep the probabilities of all pairs, 4 bytes each: 8 GiB with 8192
 * keys, for which they are left out.
 */
final class OnnxAttention implements AttentionPeer {
    private static final String KEY = "key";
    private static final String VALUE = "value";
    private static final String PRESENT_KEY = "present_key";
    private static final String PRESENT_VALUE = "present_value";

    /** Of the probabilities of all heads; not every machine has room for more of several peers. */
    private static final long MOST_BYTES = 2L << 30;

    /** The operations and the names of their peers. */
    enum Operation {
        MULTI_HEAD("MultiHeadAttention", "onnxruntime-mha"),
        GROUP_QUERY("GroupQueryAttention", "onnxruntime-gqa"),
        SPARSE("SparseAttention", "onnxruntime-sparse");

        private final String title;
        private final String peer;

        Operation(String title, String peer) {
            this.title = title;
            this.peer = peer;
        }
    }

    private final OrtEnvironment environment;
    private final Operation operation;

    private OnnxAttention(Operation operation) {
        environment = OnnxRuntime.environment();
        this.operation = operation;
    }

    /** A peer for each operation. */
    static List<AttentionPeer> all() {
        return Arrays.stream(Operation.values())
                .<AttentionPeer>map(OnnxAttention::new)
                .toList();
    }

    @Override
    public String name() {
        return operation.peer;
    }

    @Override
    public String version() {
        return environment.getVersion();
    }

    @Override
    public Contender prepare(AttentionCase problem, AttentionData data) throws OrtException {
        boolean fits = switch (operation) {
            case MULTI_HEAD -> problem.kind() == AttentionCase.Kind.DENSE;
            case GROUP_QUERY -> problem.kind() == AttentionCase.Kind.DENSE && problem.causal();
            case SPARSE -> problem.kind() == AttentionCase.Kind.SPARSE && problem.causal();
        };
        if (!fits) {
            return null;
        }
        long pairs = (long) HEADS * problem.length() * problem.length();
        if (problem.causal() && pairs * Float.BYTES > MOST_BYTES) {
            throw new IllegalStateException(operation.title + " keeps " + pairs * Float.BYTES
                    + " bytes of probabilities; at most " + MOST_BYTES);
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
        private final AttentionCase problem;
        private final long[] tokens;
        private final long[] heads;
        private final Map<String, OnnxTensor> inputs = new HashMap<>();
        private final Map<String, OnnxTensor> outputs = new HashMap<>();
        private final MemorySegment y;
        private final OrtSession session;

        Attention(Arena arena, AttentionCase problem, AttentionData data) throws OrtException {
            super(
                    name() + " " + version(),
                    operation.title + " f32",
                    operation == Operation.MULTI_HEAD
                            ? "attention, [S, heads x 128]"
                            : "attention, and k and v kept, [S, heads x 128]",
                    1);
            this.arena = arena;
            this.problem = problem;
            tokens = new long[] {1, problem.length(), (long) HEADS * HEAD_SIZE};
            heads = new long[] {1, HEADS, problem.length(), HEAD_SIZE};
            inputs.put(OnnxGraph.INPUT, floats(tokens(data.q()), tokens));
            inputs.put(KEY, floats(tokens(data.k()), tokens));
            inputs.put(VALUE, floats(tokens(data.v()), tokens));
            y = floats();
            outputs.put(OnnxGraph.OUTPUT, floats(y, tokens));
            try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
                options.setIntraOpNumThreads(problem.threads());
                options.setInterOpNumThreads(1);
                options.addConfigEntry("session.force_spinning_stop", "1");
                session = environment.createSession(model(), options);
            }
        }

        private byte[] model() throws OrtException {
            OnnxGraph graph = new OnnxGraph("com.microsoft", operation.title, attributes())
                    .input(KEY, OnnxGraph.FLOAT, tokens)
                    .input(VALUE, OnnxGraph.FLOAT, tokens);
            switch (operation) {
                case MULTI_HEAD -> {}
                case GROUP_QUERY -> {
                    graph.omitted(2);
                    graph.constant("last", OnnxGraph.INT32, bytes(problem.length() - 1), 1);
                    graph.constant("length", OnnxGraph.INT32, bytes(problem.length()));
                    present(graph);
                }
                case SPARSE -> {
                    graph.input("past_key", OnnxGraph.FLOAT, heads).input("past_value", OnnxGraph.FLOAT, heads);
                    lists(graph);
                    graph.constant("length", OnnxGraph.INT32, bytes(problem.length()), 1);
                    graph.constant("lengths", OnnxGraph.INT32, bytes(problem.length()), 1);
                    present(graph);
                    inputs.put("past_key", outputs.get(PRESENT_KEY)); // it insists on one buffer for both
                    inputs.put("past_value", outputs.get(PRESENT_VALUE));
                }
            }
            return graph.model(OnnxGraph.FLOAT, tokens, OnnxGraph.FLOAT, tokens);
        }

        private Map<String, Long> attributes() {
            Map<String, Long> attributes = new HashMap<>(Map.of("num_heads", (long) HEADS));
            switch (operation) {
                case MULTI_HEAD -> attributes.put("unidirectional", problem.causal() ? 1L : 0L);
                case GROUP_QUERY -> attributes.put("kv_num_heads", (long) HEADS);
                case SPARSE -> {
                    attributes.put("kv_num_heads", (long) HEADS);
                    attributes.put("sparse_block_size", (long) AttentionCase.BLOCK);
                }
            }
            return attributes;
        }

        private void present(OnnxGraph graph) throws OrtException {
            for (String name : List.of(PRESENT_KEY, PRESENT_VALUE)) {
                graph.output(name, OnnxGraph.FLOAT, heads);
                outputs.put(name, floats(floats(), heads));
            }
        }

        /** Rows of blocks as compressed sparse rows, a layout for each head. */
        private void lists(OnnxGraph graph) {
            byte[] map = AttentionData.map(problem);
            int blocks = problem.blocks();
            int[] rows = new int[HEADS * (blocks + 1)];
            int[][] columns = new int[HEADS][];
            for (int head = 0; head < HEADS; head++) {
                int[] list = new int[blocks * blocks];
                int count = 0;
                for (int i = 0; i < blocks * blocks; i++) {
                    if (map[head * blocks * blocks + i] != 0) {
                        list[count++] = i % blocks;
                    }
                    rows[head * (blocks + 1) + i / blocks + 1] = count;
                }
                columns[head] = Arrays.copyOf(list, count);
            }
            int most =
                    Arrays.stream(columns).mapToInt(list -> list.length).max().orElse(0);
            int[] padded = Arrays.stream(columns)
                    .flatMapToInt(list -> Arrays.stream(Arrays.copyOf(list, most)))
                    .toArray();
            graph.constant("rows", OnnxGraph.INT32, bytes(rows), HEADS, blocks + 1L);
            graph.constant("columns", OnnxGraph.INT32, bytes(padded), HEADS, most);
        }

        private static byte[] bytes(int... values) {
            ByteBuffer bytes =
                    ByteBuffer.allocate(values.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asIntBuffer().put(IntBuffer.wrap(values));
            return bytes.array();
        }

        private MemorySegment floats() {
            return HugePages.allocate(arena, (long) HEADS * problem.length() * HEAD_SIZE * Float.BYTES);
        }

        private MemorySegment tokens(Tensor values) {
            MemorySegment copy = floats();
            HeadLayout.toTokens(values.segment(), copy, problem.length());
            return copy;
        }

        private OnnxTensor floats(MemorySegment values, long[] shape) throws OrtException {
            return OnnxTensor.createTensor(
                    environment,
                    values.asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer(),
                    shape);
        }

        @Override
        protected void call(int copy) {
            try {
                session.run(inputs, outputs).close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected void result(float[] values) {
            HeadLayout.ofTokens(y, values, problem.length());
        }

        @Override
        public void close() {
            try {
                session.close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
            Stream.of(inputs, outputs)
                    .flatMap(tensors -> tensors.values().stream())
                    .distinct()
                    .forEach(OnnxTensor::close);
            arena.close();
        }
    }
}
