package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.CodeBook;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Weights put together by hand from what bitsandbytes writes, and Gatun's through a file and back. */
class BitsAndBytesTest {
    @TempDir
    Path folder;

    private static final String PLAIN =
            "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"bfloat16\", \"shape\": [2, 3]}";
    private static final String NESTED =
            PLAIN.replace("}", ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 2.0}");

    private final Map<String, Tensor> tensors = new LinkedHashMap<>();

    /** 2 rows of 3: codes 7 15 0 15 7 0, so 0 1 -1 1 0 -1 times the scale 4. */
    private static final float[] VALUES = {0, 4, -4, 4, 0, -4};

    private void plain() {
        tensors.put("w", Tensor.of(DType.U8, new byte[] {0x7f, 0x0f, 0x70}, 3, 1));
        tensors.put("w.absmax", Tensor.of(new float[] {4}, 1));
        tensors.put("w.quant_map", Tensor.of(CodeBook.NF4.values(), 16));
        state("nf4", PLAIN);
    }

    /** The scale 4 as 1 * 2 + 2: code 255 of the dynamic book is 1. */
    private void nested() {
        plain();
        tensors.put("w.absmax", Tensor.of(DType.U8, new byte[] {-1}, 1));
        tensors.put("w.nested_absmax", Tensor.of(new float[] {2}, 1));
        tensors.put("w.nested_quant_map", Tensor.of(CodeBook.DYNAMIC.values(), 256));
        state("nf4", NESTED);
    }

    private void state(String type, String json) {
        byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
        tensors.put("w.quant_state.bitsandbytes__" + type, Tensor.of(DType.U8, bytes, bytes.length));
    }

    private Safetensors file() throws IOException {
        Path path = folder.resolve("model.safetensors");
        Safetensors.write(
                path,
                Map.of(),
                tensors.entrySet().stream()
                        .map(entry -> SafetensorsTensor.of(entry.getKey(), entry.getValue()))
                        .toList());
        return Safetensors.open(path, Arena.ofAuto());
    }

    private static float[] values(QuantizedTensor weights) {
        return Quantize.dequantize(weights, DType.F32).toFloatArray();
    }

    @Test
    void plainScales() throws IOException {
        plain();
        assertTrue(BitsAndBytes.contains(file(), "w"));
        assertFalse(BitsAndBytes.contains(file(), "w.absmax"));
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        assertEquals("quantized[2, 3] nf4 u4 blocks of 64, f32 scales", weights.toString());
        // Elements 0 and 1 are 7 and 15: the first in the low half.
        assertArrayEquals(new byte[] {(byte) 0xf7, (byte) 0xf0, 0x07}, bytes(weights.codes()));
        assertArrayEquals(VALUES, values(weights));
    }

    @Test
    void nestedScales() throws IOException {
        nested();
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        assertEquals("quantized[2, 3] nf4 u4 blocks of 64, nested f32 scales", weights.toString());
        assertArrayEquals(VALUES, values(weights));
    }

    /** Another book of scales, and blocks of 1: 0.5 * 4 + 2. */
    @Test
    void nestedScalesOfAnotherBookBecomePlain() throws IOException {
        nested();
        float[] map = new float[256];
        map[7] = .5f;
        tensors.put("w.absmax", Tensor.of(DType.U8, new byte[] {7}, 1));
        tensors.put("w.nested_absmax", Tensor.of(new float[] {4}, 1));
        tensors.put("w.nested_quant_map", Tensor.of(map, 256));
        state("nf4", NESTED.replace("256", "1"));
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        assertEquals("quantized[2, 3] nf4 u4 blocks of 64, f32 scales", weights.toString());
        assertEquals(4f, weights.scales().getFloat(0, 0));
        assertArrayEquals(VALUES, values(weights));
    }

    @Test
    void fp4AndAnotherBookAndAnotherRank() throws IOException {
        plain();
        tensors.remove("w.quant_state.bitsandbytes__nf4");
        state("fp4", PLAIN.replace("nf4", "fp4").replace("[2, 3]", "[1, 3, 2]"));
        tensors.put("w.quant_map", Tensor.of(CodeBook.FP4.values(), 16));
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        // Codes 7 and 15 are 3 / 12 and the negative.
        assertArrayEquals(new float[] {1, -1, 0, -1, 1, 0}, values(weights));
        assertEquals("[1, 6]", weights.shape().toString());
        float[] book = new float[16];
        for (int i = 0; i < 16; i++) {
            book[i] = i;
        }
        tensors.put("w.quant_map", Tensor.of(book, 16));
        assertArrayEquals(new float[] {28, 60, 0, 60, 28, 0}, values(BitsAndBytes.read(file(), "w")));
    }

    /** The low half beside the last code is ignored. */
    @Test
    void oddNumberOfElements() throws IOException {
        plain();
        tensors.put("w", Tensor.of(DType.U8, new byte[] {0x7f, 0x0b}, 2));
        state("nf4", PLAIN.replace("[2, 3]", "[3]"));
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        assertArrayEquals(new byte[] {(byte) 0xf7, 0x00}, bytes(weights.codes()));
        assertArrayEquals(new float[] {0, 4, -4}, values(weights));
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whatIsWrittenIsReadAgain(boolean isNested) throws IOException {
        for (QuantSpec spec : new QuantSpec[] {QuantSpec.nf4(64), QuantSpec.fp4(32)}) {
            float[] values = new float[37 * 611];
            SplittableRandom random = new SplittableRandom(3);
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            QuantizedTensor weights =
                    Quantize.run(Tensor.of(values, 37, 611), isNested ? spec.withNestedScales() : spec);
            tensors.clear();
            BitsAndBytes.write("w", weights, DType.F16).forEach(t -> tensors.put(t.name(), t.tensor()));
            QuantizedTensor read = BitsAndBytes.read(file(), "w");
            assertEquals(weights.toString(), read.toString());
            assertArrayEquals(bytes(weights.codes()), bytes(read.codes()));
            assertArrayEquals(values(weights), values(read));
            if (isNested) {
                assertArrayEquals(
                        bytes(weights.nested().values().codes()),
                        bytes(read.nested().values().codes()));
                assertArrayEquals(
                        bytes(weights.nested().offset()), bytes(read.nested().offset()));
            }
        }
    }

    /** The tensors and the text that bitsandbytes would write. */
    @Test
    void writtenByHand() throws IOException {
        plain();
        Map<String, Tensor> wanted = new LinkedHashMap<>(tensors);
        QuantizedTensor weights = BitsAndBytes.read(file(), "w");
        tensors.clear();
        BitsAndBytes.write("w", weights, DType.BF16).forEach(t -> tensors.put(t.name(), t.tensor()));
        assertEquals(wanted.keySet(), tensors.keySet());
        wanted.forEach((name, tensor) -> {
            assertEquals(tensor.describe(), tensors.get(name).describe());
            assertArrayEquals(bytes(tensor), bytes(tensors.get(name)), name);
        });
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "nf4 | fp4 | quant_type | as the name says",
                "64 | 15 | blocksize | at least 16",
                "64 | -64 | blocksize | a whole number",
                "64 | 6.4e1 | blocksize | digits",
                "[2, 3] | [2, 4] | given w U8[3, 1] | 4 elements of U8",
                "[2, 3] | 6 | shape | '['",
                "[2, 3] | [9223372036854775807, 3] | shape | 2^63 - 1 elements",
                "\"dtype\" | \"type\" | field at byte 38 | quant_type, blocksize, dtype",
                "\"dtype\": \"bfloat16\", | '' | fields | dtype",
                "\"dtype\": | \"shape\": [2, 3], \"dtype\": | field at byte 76 | each field once",
                "256 | 0 | nested_blocksize | at least 1",
                "float32 | float64 | nested_dtype | \"float32\"",
                "2.0 | 1e39 | nested_offset | numbers of f32",
                "2.0 | NaN | nested_offset | a number",
                "2.0 | 1. | nested_offset | a number",
                "2.0} | 2.0}, | end | nothing but spaces",
            })
    void badStates(String replaced, String by, String field, String allowed) throws IOException {
        nested();
        state("nf4", NESTED.replaceFirst(Pattern.quote(replaced), by));
        assertMalformed(field, allowed);
    }

    private void assertMalformed(String field, String allowed) throws IOException {
        Safetensors file = file();
        String message = assertThrows(MalformedFileException.class, () -> BitsAndBytes.read(file, "w"))
                .getMessage();
        assertTrue(message.contains(field) && message.contains(allowed), message);
    }

    @Test
    void badTensors() throws IOException {
        nested();
        tensors.put("w.nested_absmax", Tensor.of(new float[] {2, 3}, 2));
        assertMalformed("tensor 'w.nested_absmax'", "1 elements of F32");
        nested();
        tensors.put("w.absmax", Tensor.of(new float[] {4}, 1));
        assertMalformed("tensor 'w.absmax'", "1 elements of U8");
        plain();
        tensors.remove("w.nested_absmax");
        tensors.put("w.absmax", Tensor.of(new float[] {Float.NaN}, 1));
        assertMalformed("NaN at 0", "finite");
        plain();
        float[] book = CodeBook.NF4.values();
        book[3] = 1;
        tensors.put("w.quant_map", Tensor.of(book, 16));
        assertMalformed("tensor 'w.quant_map'", "ascending");
        tensors.remove("w.quant_map");
        Safetensors file = file();
        assertTrue(assertThrows(IllegalArgumentException.class, () -> BitsAndBytes.read(file, "w"))
                .getMessage()
                .contains("w.quant_map"));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> BitsAndBytes.read(file, "v"))
                .getMessage()
                .contains("'v'"));
    }

    @Test
    void badWeights() {
        QuantizedTensor other = QuantizedTensor.allocate(QuantSpec.int4(16), 2, 16);
        String message = assertThrows(IllegalArgumentException.class, () -> BitsAndBytes.write("w", other, DType.F32))
                .getMessage();
        assertTrue(message.contains("weights") && message.contains("nf4"), message);
        QuantizedTensor weights = QuantizedTensor.allocate(QuantSpec.nf4(16), 2, 16);
        message = assertThrows(IllegalArgumentException.class, () -> BitsAndBytes.write("w", weights, DType.I8))
                .getMessage();
        assertTrue(message.contains("original") && message.contains("bf16"), message);
    }
}
