package io.gatun.example;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.onnxruntime.GatunOps;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The peer: ONNX Runtime on the exported graph, sentences padded to the longest of the batch and masked. The graph may
 * have Gatun's ops.
 */
final class OrtEncoder implements Encoder, AutoCloseable {
    private static final OrtEnvironment ENVIRONMENT = environmentWithoutTelemetry();

    private final OrtSession session;

    OrtEncoder(byte[] model, int threads) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
            GatunOps.register(options);
            session = ENVIRONMENT.createSession(model, options);
        }
    }

    static String version() {
        return ENVIRONMENT.getVersion();
    }

    /**
     * ONNX Runtime writes a device id and a database of events to the user's cache folder as soon as it is loaded, and
     * sends them. On Linux and macOS only a variable in the C environment, which Java cannot write, stops it.
     */
    private static OrtEnvironment environmentWithoutTelemetry() {
        Linker linker = Linker.nativeLinker();
        Optional<MemorySegment> setenv = linker.defaultLookup().find("setenv");
        try (Arena arena = Arena.ofConfined()) {
            if (setenv.isPresent()) {
                int unused = (int) linker.downcallHandle(
                                setenv.get(),
                                FunctionDescriptor.of(
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.JAVA_INT))
                        .invokeExact(arena.allocateFrom("ORT_DISABLE_TELEMETRY"), arena.allocateFrom("1"), 1);
            }
            OrtEnvironment environment = OrtEnvironment.getEnvironment();
            environment.setTelemetry(false);
            return environment;
        } catch (Throwable e) {
            throw new IllegalStateException("ONNX Runtime's telemetry cannot be turned off", e);
        }
    }

    @Override
    public float[][] encode(List<int[]> sentences) {
        int longest = sentences.stream().mapToInt(ids -> ids.length).max().orElse(0);
        long[] shape = {sentences.size(), longest};
        LongBuffer ids = longs(sentences.size() * longest);
        LongBuffer mask = longs(sentences.size() * longest);
        for (int s = 0; s < sentences.size(); s++) {
            int[] sentence = sentences.get(s);
            for (int t = 0; t < sentence.length; t++) {
                ids.put(s * longest + t, sentence[t]);
                mask.put(s * longest + t, 1);
            }
        }
        try (OnnxTensor idTensor = OnnxTensor.createTensor(ENVIRONMENT, ids, shape);
                OnnxTensor maskTensor = OnnxTensor.createTensor(ENVIRONMENT, mask, shape);
                OnnxTensor typeTensor = OnnxTensor.createTensor(ENVIRONMENT, longs(ids.capacity()), shape);
                OrtSession.Result result = session.run(
                        Map.of("input_ids", idTensor, "attention_mask", maskTensor, "token_type_ids", typeTensor))) {
            return pool(((OnnxTensor) result.get(0)).getFloatBuffer(), sentences, longest);
        } catch (OrtException e) {
            throw new IllegalStateException("ONNX Runtime refused a batch of " + sentences.size(), e);
        }
    }

    private static float[][] pool(FloatBuffer hidden, List<int[]> sentences, int longest) {
        float[][] embeddings = new float[sentences.size()][];
        float[] rows = new float[longest * MiniLmWeights.HIDDEN];
        for (int s = 0; s < embeddings.length; s++) {
            hidden.get(s * rows.length, rows);
            embeddings[s] = Vectors.unitMean(rows, sentences.get(s).length, MiniLmWeights.HIDDEN);
        }
        return embeddings;
    }

    private static LongBuffer longs(int count) {
        return ByteBuffer.allocateDirect(count * Long.BYTES)
                .order(ByteOrder.nativeOrder())
                .asLongBuffer();
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }
}
