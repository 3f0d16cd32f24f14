package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Shape;
import io.gatun.Tensor;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reading files that were put together by hand. */
class SafetensorsTest {
    @TempDir
    Path folder;

    /** Length, header, and data that follows. */
    static Bytes file(String header) {
        return new Bytes().u64(header.getBytes(StandardCharsets.UTF_8).length).text(header);
    }

    /** A tensor in the header. */
    static String entry(String name, String dtype, String shape, long begin, long end) {
        return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" + begin + ","
                + end + "]}";
    }

    static Bytes sample() {
        return file("{\"__metadata__\":{\"format\":\"pt\",\"\\u00fc\\n\":\"\\ud83d\\ude00\\\"\\\\\\/\"},"
                        + entry("w", "F32", "[2, 3]", 8, 32) + ",\n\t"
                        + entry("b", "I64", "[1]", 0, 8) + ","
                        + entry("scalar", "BF16", "[]", 32, 34) + ","
                        + entry("nothing", "F64", "[3,0,2]", 34, 34) + ","
                        + entry("half", "F16", "[2]", 34, 38) + ","
                        + entry("four", "F4", "[3,2]", 38, 41) + ","
                        + entry("flag", "BOOL", "[3]", 41, 44) + " }   ")
                .hex("0000000000000080")
                .hex("0000803f 00000040 00004040 00008040 0000a040 0000c0c0")
                .hex("c03f")
                .hex("003c 00c0")
                .hex("123456")
                .hex("010001");
    }

    @Test
    void smallestFile() throws IOException {
        Safetensors file = new Bytes().hex("0200000000000000").text("{}").safetensors();
        assertTrue(file.tensors().isEmpty());
        assertTrue(file.metadata().isEmpty());
    }

    @Test
    void tensorsAndMetadata() throws IOException {
        Safetensors file = sample().safetensors();
        assertEquals(Map.of("format", "pt", "\u00fc\n", "\ud83d\ude00\"\\/"), file.metadata());
        assertEquals(
                List.of("b", "w", "scalar", "nothing", "half", "four", "flag"),
                List.copyOf(file.tensors().keySet()));
        assertArrayEquals(
                new float[] {1, -2}, file.tensor("half").copy(Arena.ofAuto()).toFloatArray());
        assertEquals("four F4[3, 2]", file.tensor("four").toString());
        assertArrayEquals(
                new float[] {0x12, 0x34, 0x56}, file.tensor("four").bytes().toFloatArray());
        assertArrayEquals(new float[] {1, 0, 1}, file.tensor("flag").bytes().toFloatArray());
        assertEquals(SafetensorsType.I64, file.tensor("b").type());
        assertNull(file.tensor("b").dtype());
        assertEquals(Shape.of(3, 0, 2), file.tensor("nothing").shape());
        Tensor scalar = file.tensor("scalar").copy(Arena.ofAuto());
        assertEquals(Shape.of(), scalar.shape());
        assertEquals(1.5f, scalar.getFloat());
    }

    /** Data is where the header ends, and some writers do not round that up. */
    @Test
    void unalignedData() throws IOException {
        byte[] data = new Bytes().hex("0000803f 00000040").array();
        for (int spaces = 0; spaces < 8; spaces++) {
            Bytes b = file("{" + entry("w", "F32", "[2]", 0, 8) + "}" + " ".repeat(spaces));
            int start = b.array().length;
            for (byte value : data) {
                b.u8(value);
            }
            SafetensorsTensor tensor = b.safetensors().tensor("w");
            assertArrayEquals(new float[] {1, 2}, tensor.copy(Arena.ofAuto()).toFloatArray());
            if (start % 4 == 0) {
                assertArrayEquals(new float[] {1, 2}, tensor.tensor().toFloatArray());
            } else {
                String message = assertThrows(IllegalArgumentException.class, tensor::tensor)
                        .getMessage();
                assertTrue(
                        message.matches("tensor 'w': given f32 data at address 0x[0-9a-f]+; "
                                + "allowed: a multiple of 4, or copy\\(arena\\)"),
                        message);
            }
        }
    }

    @Test
    void smallFloats() throws IOException {
        Safetensors file = file("{" + entry("a", "F8_E4M3", "[2]", 0, 2) + "," + entry("b", "F8_E5M2", "[1,2]", 2, 4)
                        + "," + entry("c", "F8_E8M0", "[2]", 4, 6) + "," + entry("d", "F4", "[2,2]", 6, 8) + ","
                        + entry("e", "F4", "[2,3]", 8, 11) + "," + entry("f", "F6_E3M2", "[4]", 11, 14) + "}")
                .hex("38fe") // 1, -448
                .hex("3cfb") // 1, -57344
                .hex("7f81") // 1, 4
                .hex("217e") // 0.5 and 1, -4 and 6: the first in the low half
                .zeros(6)
                .safetensors();
        assertArrayEquals(new float[] {1, -448}, file.tensor("a").tensor().toFloatArray());
        assertArrayEquals(new float[] {1, -57344}, file.tensor("b").tensor().toFloatArray());
        assertArrayEquals(new float[] {1, 4}, file.tensor("c").tensor().toFloatArray());
        assertArrayEquals(
                new float[] {0.5f, 1, -4, 6}, file.tensor("d").tensor().toFloatArray());
        String message = assertThrows(
                        IllegalArgumentException.class, () -> file.tensor("e").tensor())
                .getMessage();
        assertEquals("tensor 'e': given [2, 3] of F4; allowed: rows of whole bytes, or bytes()", message);
        assertThrows(IllegalArgumentException.class, () -> file.tensor("e").copy(Arena.ofAuto()));
        assertEquals(3, file.tensor("e").bytes().shape().elements());
        assertThrows(IllegalArgumentException.class, () -> file.tensor("f").tensor());
    }

    @Test
    void everyType() throws IOException {
        StringBuilder header = new StringBuilder("{");
        long offset = 0;
        for (SafetensorsType type : SafetensorsType.values()) {
            long end = offset + 16L * type.bits() / 8;
            header.append(offset == 0 ? "" : ",").append(entry(type + "", type.name(), "[4,4]", offset, end));
            offset = end;
        }
        Safetensors file =
                file(header.append("}").toString()).zeros((int) offset).safetensors();
        for (SafetensorsType type : SafetensorsType.values()) {
            assertEquals(type, file.tensor(type.name()).type());
            assertEquals(
                    16L * type.bits() / 8,
                    file.tensor(type.name()).bytes().shape().elements());
        }
    }

    @Test
    void namesOfAllKinds() throws IOException {
        String[] names = {"", "a.b-c/d e", "\u00e9\u4e2d\ud83d\ude00", "{}[],:", "__metadata", "constructor"};
        StringBuilder header = new StringBuilder("{");
        for (String name : names) {
            header.append(header.length() > 1 ? "," : "").append(entry(name, "U8", "[0]", 0, 0));
        }
        Safetensors file = file(header.append("}").toString()).safetensors();
        for (String name : names) {
            assertEquals(Shape.of(0), file.tensor(name).shape());
        }
        assertEquals(names.length, file.tensors().size());
    }

    @Test
    void mappedFileLivesAsLongAsTheArena() throws IOException {
        Path path = folder.resolve("model.safetensors");
        Files.write(path, sample().array());
        Arena arena = Arena.ofConfined();
        Safetensors file = Safetensors.open(path, arena);
        try (arena) {
            assertEquals(path + ": safetensors, 7 tensors", file.toString());
            assertEquals(0x12, file.tensor("four").bytes().getInt(0));
            assertTrue(file.tensor("four").data().isReadOnly());
        }
        assertThrows(
                IllegalStateException.class, () -> file.tensor("four").bytes().getInt(0));
        assertEquals("pt", file.metadata().get("format"));
        String message = assertThrows(IllegalArgumentException.class, () -> file.tensor("five"))
                .getMessage();
        assertEquals("tensor: given 'five'; allowed: one of the 7 in " + path, message);
        assertThrows(UnsupportedOperationException.class, () -> file.tensors().clear());
        assertThrows(UnsupportedOperationException.class, () -> file.metadata().clear());
    }

    /** Beyond 4 GiB, in a file with a hole. */
    @Test
    void largeFile() throws IOException {
        Path path = folder.resolve("large.safetensors");
        long columns = 5L << 30;
        Bytes b = file("{" + entry("large", "I8", "[" + columns + "]", 0, columns) + ","
                + entry("last", "I8", "[3]", columns, columns + 3) + "}");
        try (RandomAccessFile out = new RandomAccessFile(path.toFile(), "rw")) {
            out.write(b.array());
            out.seek(out.length() + columns - 1);
            out.write(new byte[] {5, 6, 7, 8});
        }
        try (Arena arena = Arena.ofConfined()) {
            Safetensors file = Safetensors.open(path, arena);
            assertEquals(5, file.tensor("large").tensor().getInt(columns - 1));
            assertArrayEquals(
                    new float[] {6, 7, 8}, file.tensor("last").tensor().toFloatArray());
        }
    }
}
