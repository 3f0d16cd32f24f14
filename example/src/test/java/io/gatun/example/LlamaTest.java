package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** A small random model in a file, decoded by Gatun and by plain Java. */
class LlamaTest {
    private static final int LAYERS = 2;
    private static final int WIDTH = 256;
    private static final int INNER = 512;
    private static final int VOCABULARY = 96;
    private static final int CONTEXT = 64;

    /** What all keys say in {@link #keys}. */
    private static final PlainLlama.Numbers USUAL =
            new PlainLlama.Numbers(LAYERS, WIDTH, 8, 2, 32, 32, 500, 1e-5, ones(16));

    private final Random random = new Random(11);
    private final Map<String, float[]> weights = new HashMap<>();
    private final List<GgufTensor> tensors = new ArrayList<>();

    private static float[] ones(int count) {
        float[] ones = new float[count];
        Arrays.fill(ones, 1);
        return ones;
    }

    /** How a file has its matrices: as blocks of GGUF, or as floats. */
    private interface Stored {
        /** Writes a matrix; gives what products take it for. */
        float[] add(List<GgufTensor> tensors, String name, Tensor values);
    }

    private static Stored blocks(GgufType type) {
        return (tensors, name, values) -> {
            QuantizedTensor blocks = Quantize.run(values, QuantSpec.gguf(type));
            tensors.add(GgufTensor.of(name, blocks));
            return Quantize.dequantize(blocks, DType.F32).toFloatArray();
        };
    }

    private static Stored floats(DType dtype) {
        return (tensors, name, values) -> {
            Tensor rounded = values.to(dtype);
            tensors.add(GgufTensor.of(name, rounded));
            if (name.startsWith("token_embd")) {
                return rounded.toFloatArray();
            }
            return Quantize.dequantize(Quantize.run(rounded, QuantSpec.int8(32)), DType.F32)
                    .toFloatArray();
        };
    }

    private void vector(String name) {
        float[] values = new float[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            values[i] = 0.5f + random.nextFloat();
        }
        weights.put(name, values);
        tensors.add(GgufTensor.of(name, Tensor.of(values, WIDTH)));
    }

    private void matrix(String name, Stored stored, int rows, int depth) {
        float[] values = new float[rows * depth];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() / Math.sqrt(depth));
        }
        weights.put(name, stored.add(tensors, name, Tensor.of(values, rows, depth)));
    }

    /** What a file of {@link #USUAL} says. */
    private static Map<String, GgufValue> keys() {
        Map<String, GgufValue> keys = new LinkedHashMap<>();
        keys.put("general.architecture", GgufValue.string("llama"));
        keys.put("llama.block_count", GgufValue.uint32(LAYERS));
        keys.put("llama.embedding_length", GgufValue.uint32(WIDTH));
        keys.put("llama.feed_forward_length", GgufValue.uint32(INNER));
        keys.put("llama.attention.head_count", GgufValue.uint32(8));
        keys.put("llama.attention.head_count_kv", GgufValue.uint32(2));
        keys.put("llama.attention.layer_norm_rms_epsilon", GgufValue.float32(1e-5f));
        keys.put("llama.rope.freq_base", GgufValue.float32(500));
        keys.put("llama.context_length", GgufValue.uint32(CONTEXT));
        return keys;
    }

    private Path write(
            Path folder, Map<String, GgufValue> keys, PlainLlama.Numbers numbers, Stored stored, Stored output)
            throws IOException {
        int queries = numbers.heads() * numbers.headSize();
        int keysWidth = numbers.kvHeads() * numbers.headSize();
        matrix("token_embd.weight", stored, VOCABULARY, WIDTH);
        for (int layer = 0; layer < LAYERS; layer++) {
            String prefix = "blk." + layer + ".";
            vector(prefix + "attn_norm.weight");
            matrix(prefix + "attn_q.weight", stored, queries, WIDTH);
            matrix(prefix + "attn_k.weight", stored, keysWidth, WIDTH);
            matrix(prefix + "attn_v.weight", stored, keysWidth, WIDTH);
            matrix(prefix + "attn_output.weight", stored, WIDTH, queries);
            vector(prefix + "ffn_norm.weight");
            matrix(prefix + "ffn_gate.weight", stored, INNER, WIDTH);
            matrix(prefix + "ffn_up.weight", stored, INNER, WIDTH);
            matrix(prefix + "ffn_down.weight", stored, WIDTH, INNER);
        }
        vector("output_norm.weight");
        if (output != null) {
            matrix("output.weight", output, VOCABULARY, WIDTH);
        }
        Path path = folder.resolve("model.gguf");
        Gguf.write(path, keys, tensors);
        return path;
    }

    private void assertDecodes(Path path, PlainLlama.Numbers numbers) throws IOException {
        try (Arena arena = Arena.ofShared();
                Llama llama = new Llama(Gguf.open(path, arena), 32, QMatmul.Mode.PRECISE, KvFormat.F32)) {
            PlainLlama plain = new PlainLlama(weights, numbers);
            // A prompt, then a token each.
            assertLogits(plain.append(3, 17, 80, 5, 44), llama.append(3, 17, 80, 5, 44));
            for (int token : new int[] {9, 9, 60}) {
                assertLogits(plain.append(token), llama.append(token));
            }
            assertEquals(8, llama.length());
        }
    }

    @ParameterizedTest
    @CsvSource({"Q4_0, Q8_0", "Q4_K, Q6_K", "Q8_0,"})
    void logitsAreThoseOfPlainJava(GgufType type, GgufType ofOutput, @TempDir Path folder) throws IOException {
        Stored output = ofOutput == null ? null : blocks(ofOutput);
        assertDecodes(write(folder, keys(), USUAL, blocks(type), output), USUAL);
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "F16", "BF16"})
    void weightsInFloats(DType dtype, @TempDir Path folder) throws IOException {
        assertDecodes(write(folder, keys(), USUAL, floats(dtype), floats(dtype)), USUAL);
    }

    @Test
    void whatAFileNeedNotSay(@TempDir Path folder) throws IOException {
        Map<String, GgufValue> keys = keys();
        keys.remove("llama.attention.head_count_kv");
        keys.remove("llama.rope.freq_base");
        PlainLlama.Numbers numbers = new PlainLlama.Numbers(LAYERS, WIDTH, 8, 8, 32, 32, 10000, 1e-5, ones(16));
        assertDecodes(write(folder, keys, numbers, blocks(GgufType.Q8_0), null), numbers);
    }

    /** Heads of a size of their own, of which a part is rotated, by angles as Llama 3.1 has them. */
    @Test
    void headsAndPositionsOfTheirOwn(@TempDir Path folder) throws IOException {
        Map<String, GgufValue> keys = keys();
        keys.put("llama.attention.key_length", GgufValue.uint32(64));
        keys.put("llama.attention.value_length", GgufValue.uint32(64));
        keys.put("llama.rope.dimension_count", GgufValue.uint32(20));
        keys.put("llama.rope.scaling.type", GgufValue.string("none"));
        float[] factors = {1, 1, 1, 1.25f, 2, 3.5f, 6, 8, 8, 8};
        tensors.add(GgufTensor.of("rope_freqs.weight", Tensor.of(factors, 10)));
        PlainLlama.Numbers numbers = new PlainLlama.Numbers(LAYERS, WIDTH, 8, 2, 64, 20, 500, 1e-5, factors);
        assertDecodes(write(folder, keys, numbers, blocks(GgufType.Q8_0), null), numbers);
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
        Path path = write(folder, keys(), USUAL, blocks(GgufType.Q8_0), null);
        try (Arena arena = Arena.ofShared();
                Llama llama = new Llama(Gguf.open(path, arena), 32, QMatmul.Mode.AUTO, KvFormat.BF16)) {
            assertRefuses("tokens[1] = 96; allowed: 0..95", () -> llama.append(1, 96));
            assertRefuses("tokens: given none; allowed: 1 or more", llama::append);
        }
        assertRefuses(
                "longest: given 65 tokens; allowed: 1..64, as the model was made for", () -> open(path, CONTEXT + 1));
        assertRefuses("longest: given 0 tokens; allowed: 1..64, as the model was made for", () -> open(path, 0));
    }

    private static void assertRefuses(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }

    private static void open(Path path, int longest) throws IOException {
        try (Arena arena = Arena.ofShared()) {
            new Llama(Gguf.open(path, arena), longest, QMatmul.Mode.AUTO, KvFormat.BF16).close();
        }
    }

    @Test
    void whatIsNotImplementedIsRefused(@TempDir Path folder) throws IOException {
        expectRefusal(folder, "general.architecture", GgufValue.string("qwen2"), "qwen2; allowed: llama");
        expectRefusal(
                folder, "llama.rope.scaling.type", GgufValue.string("yarn"), "STRING 'yarn'; allowed: STRING 'none'");
        expectRefusal(folder, "llama.rope.scaling.factor", GgufValue.float32(4), "FLOAT32 4.0; allowed: FLOAT32 1.0");
        expectRefusal(
                folder, "llama.rope.scaling.attn_factor", GgufValue.float32(2), "FLOAT32 2.0; allowed: FLOAT32 1.0");
        expectRefusal(folder, "llama.rope.scale_linear", GgufValue.float32(8), "FLOAT32 8.0; allowed: FLOAT32 1.0");
        expectRefusal(folder, "llama.rope.dimension_count", GgufValue.uint32(34), "34; allowed: even, 0..32");
        expectRefusal(folder, "llama.attention.value_length", GgufValue.uint32(16), "UINT32 16; allowed: UINT32 32");
        expectRefusal(folder, "llama.expert_count", GgufValue.uint32(8), "UINT32 8; allowed: UINT32 0");
        for (String name : List.of("blk.0.attn_q.bias", "blk.1.ffn_gate_inp.weight", "blk.1.attn_k_norm.weight")) {
            tensors.clear();
            vector(name);
            Path path = write(folder, keys(), USUAL, blocks(GgufType.Q8_0), null);
            String message = assertThrows(IllegalArgumentException.class, () -> open(path, 32))
                    .getMessage();
            assertTrue(message.startsWith("tensors: given " + name + "; allowed: "), message);
        }
    }

    private void expectRefusal(Path folder, String key, GgufValue value, String text) throws IOException {
        tensors.clear();
        Map<String, GgufValue> keys = keys();
        keys.put(key, value);
        Path path = write(folder, keys, USUAL, blocks(GgufType.Q8_0), null);
        assertRefuses(key + ": given " + text, () -> open(path, 32));
    }

    /** As many tokens as wanted, each the best one after those before it; the last one, too. */
    @Test
    void generate(@TempDir Path folder) throws IOException, InterruptedException {
        Path path = write(folder, keys(), USUAL, blocks(GgufType.Q4_0), null);
        List<String> wanted = new ArrayList<>();
        try (Arena arena = Arena.ofShared();
                Llama llama = new Llama(Gguf.open(path, arena), 32, QMatmul.Mode.AUTO, KvFormat.BF16)) {
            int token = Llama.best(llama.append(1, 2));
            while (wanted.size() < 8) {
                wanted.add(String.valueOf(token));
                token = Llama.best(llama.append(token));
            }
        }
        List<String> lines = generate(path, "8", "1", "2").lines().toList();
        assertEquals(wanted, List.of(lines.get(lines.size() - 2).strip().split(" ")));
        assertTrue(lines.getLast().startsWith("8 tokens, "), lines.getLast());
        assertTrue(generate(path, "0", "1", "2").contains("0 tokens, "));
    }

    /** One line on the error stream, no trace. */
    @Test
    void generateTellsWhatIsWrong(@TempDir Path folder) throws IOException, InterruptedException {
        String path = write(folder, keys(), USUAL, blocks(GgufType.Q4_0), null).toString();
        String none = folder.resolve("none.gguf").toString();
        expectFailure("no such file: " + none, none);
        expectFailure("tokens to add: given -1; allowed: 0..999999999", path, "-1");
        expectFailure("token: given x; allowed: 0..999999999", path, "1", "x");
        expectFailure("longest: given 100000001 tokens; allowed: ", path, "100000000");
        String last = String.valueOf(VOCABULARY - 1);
        expectFailure("tokens[1] = 99999; allowed: 0.." + last, path, "1", "0", "99999");
        JavaProcess.Ended usage = JavaProcess.start(command("--help"));
        assertEquals(0, usage.status());
        assertTrue(usage.output().startsWith("usage: Generate "), usage.output());
        assertEquals(2, JavaProcess.start(command()).status());
    }

    private static void expectFailure(String message, String... arguments) throws IOException, InterruptedException {
        JavaProcess.Ended ended = JavaProcess.start(command(arguments));
        assertEquals(1, ended.status(), ended.output());
        String last = ended.output().lines().reduce("", (before, line) -> line);
        assertTrue(last.startsWith("Generate: " + message), ended.output());
        assertFalse(ended.output().contains("Exception"), ended.output());
    }

    private static String generate(Path path, String... arguments) throws IOException, InterruptedException {
        return JavaProcess.run(command(
                Stream.concat(Stream.of(path.toString()), Stream.of(arguments)).toArray(String[]::new)));
    }

    private static String[] command(String... arguments) {
        List<String> command = new ArrayList<>(List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Generate.class.getName()));
        command.addAll(List.of(arguments));
        return command.toArray(String[]::new);
    }
}
