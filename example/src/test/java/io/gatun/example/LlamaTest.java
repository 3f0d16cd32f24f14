package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.files.Gguf;
import io.gatun.files.GgufTensor;
import io.gatun.files.GgufValue;
import io.gatun.ops.GgufType;
import io.gatun.ops.KvFormat;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A small random model in a file, decoded by Gatun and by plain Java. */
class LlamaTest {
    private static final int WIDTH = 256;
    private static final int INNER = 512;
    private static final int HEADS = 8;
    private static final int KV_HEADS = 2;
    private static final int HEAD_SIZE = 32;
    private static final int VOCABULARY = 96;

    private final Random random = new Random(11);
    private final Map<String, float[]> weights = new HashMap<>();
    private final List<GgufTensor> tensors = new ArrayList<>();

    private void vector(String name) {
        float[] values = new float[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            values[i] = 0.5f + random.nextFloat();
        }
        weights.put(name, values);
        tensors.add(GgufTensor.of(name, Tensor.of(values, WIDTH)));
    }

    private void matrix(String name, GgufType type, int rows, int depth) {
        float[] values = new float[rows * depth];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() / Math.sqrt(depth));
        }
        QuantizedTensor blocks = Quantize.run(Tensor.of(values, rows, depth), QuantSpec.gguf(type));
        weights.put(name, Quantize.dequantize(blocks, DType.F32).toFloatArray());
        tensors.add(GgufTensor.of(name, blocks));
    }

    private Path write(Path folder, GgufType type, GgufType ofOutput, boolean tied) throws IOException {
        Map<String, GgufValue> metadata = new LinkedHashMap<>();
        metadata.put("general.architecture", GgufValue.string("llama"));
        metadata.put("llama.block_count", GgufValue.uint32(2));
        metadata.put("llama.embedding_length", GgufValue.uint32(WIDTH));
        metadata.put("llama.feed_forward_length", GgufValue.uint32(INNER));
        metadata.put("llama.attention.head_count", GgufValue.uint32(HEADS));
        metadata.put("llama.attention.head_count_kv", GgufValue.uint32(KV_HEADS));
        metadata.put("llama.attention.layer_norm_rms_epsilon", GgufValue.float32(1e-5f));
        metadata.put("llama.rope.freq_base", GgufValue.float32(500));
        metadata.put("llama.context_length", GgufValue.uint32(64));
        matrix("token_embd.weight", type, VOCABULARY, WIDTH);
        for (int layer = 0; layer < 2; layer++) {
            String prefix = "blk." + layer + ".";
            vector(prefix + "attn_norm.weight");
            matrix(prefix + "attn_q.weight", type, HEADS * HEAD_SIZE, WIDTH);
            matrix(prefix + "attn_k.weight", type, KV_HEADS * HEAD_SIZE, WIDTH);
            matrix(prefix + "attn_v.weight", type, KV_HEADS * HEAD_SIZE, WIDTH);
            matrix(prefix + "attn_output.weight", type, WIDTH, HEADS * HEAD_SIZE);
            vector(prefix + "ffn_norm.weight");
            matrix(prefix + "ffn_gate.weight", type, INNER, WIDTH);
            matrix(prefix + "ffn_up.weight", type, INNER, WIDTH);
            matrix(prefix + "ffn_down.weight", type, WIDTH, INNER);
        }
        vector("output_norm.weight");
        if (!tied) {
            matrix("output.weight", ofOutput, VOCABULARY, WIDTH);
        }
        Path path = folder.resolve("model.gguf");
        Gguf.write(path, metadata, tensors);
        return path;
    }

    @ParameterizedTest
    @CsvSource({"Q4_0, Q8_0, false", "Q4_K, Q6_K, false", "Q8_0, Q8_0, true"})
    void logitsAreThoseOfPlainJava(GgufType type, GgufType ofOutput, boolean tied, @TempDir Path folder)
            throws IOException {
        Path path = write(folder, type, ofOutput, tied);
        try (Arena arena = Arena.ofShared()) {
            Gguf file = Gguf.open(path, arena);
            try (Llama llama = new Llama(file, 32, QMatmul.Mode.PRECISE, KvFormat.F32)) {
                PlainLlama plain = new PlainLlama(weights, llama.sizes());
                // A prompt, then a token each.
                assertLogits(plain.append(3, 17, 80, 5, 44), llama.append(3, 17, 80, 5, 44));
                for (int token : new int[] {9, 9, 60}) {
                    assertLogits(plain.append(token), llama.append(token));
                }
                assertEquals(8, llama.length());
            }
        }
    }

    private static void assertLogits(double[] expected, float[] actual) {
        assertEquals(expected.length, actual.length);
        double squares = 0;
        for (double value : expected) {
            squares += value * value;
        }
        double bound = 1e-4 * Math.sqrt(squares / expected.length);
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], bound, "token " + i);
        }
    }

    @Test
    void badInput(@TempDir Path folder) throws IOException {
        Path path = write(folder, GgufType.Q8_0, GgufType.Q8_0, true);
        try (Arena arena = Arena.ofShared();
                Llama llama = new Llama(Gguf.open(path, arena), 32, QMatmul.Mode.AUTO, KvFormat.BF16)) {
            String message = assertThrows(IllegalArgumentException.class, () -> llama.append(1, 96))
                    .getMessage();
            assertEquals("tokens[1] = 96; allowed: 0..95", message);
        }
    }

    @Test
    void generate(@TempDir Path folder) throws IOException, InterruptedException {
        Path path = write(folder, GgufType.Q4_0, GgufType.Q4_0, true);
        String output = JavaProcess.run(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Generate.class.getName(),
                path.toString(),
                "8",
                "1",
                "2");
        assertTrue(output.contains("9 tokens, "), output);
    }
}
