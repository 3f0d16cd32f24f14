package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** What is written is what the definition says, and reads as what it was. */
class SafetensorsWriteTest {
    @TempDir
    Path folder;

    private static SafetensorsTensor u8(String name, int... values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return SafetensorsTensor.of(name, Tensor.of(DType.U8, bytes, bytes.length));
    }

    private byte[] written(Map<String, String> metadata, SafetensorsTensor... tensors) throws IOException {
        Path path = folder.resolve("written.safetensors");
        Safetensors.write(path, metadata, List.of(tensors));
        return Files.readAllBytes(path);
    }

    /** The header is padded to 8 bytes. */
    @Test
    void nothing() throws IOException {
        assertArrayEquals(new Bytes().u64(8).text("{}      ").array(), written(Map.of()));
        assertArrayEquals(
                new Bytes()
                        .u64(40)
                        .text("{\"__metadata__\":{\"framework\":\"pt\"}}     ")
                        .array(),
                written(Map.of("framework", "pt")));
    }

    /** Larger elements first, then by name as bytes; characters that JSON escapes. */
    @Test
    void everyByte() throws IOException {
        String header = "{\"__metadata__\":{\"b\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u007f\u00e9\",\"a\":\"\"},"
                + SafetensorsTest.entry("z", "I64", "[1]", 0, 8) + ","
                + SafetensorsTest.entry("f", "F32", "[1,2]", 8, 16) + ","
                + SafetensorsTest.entry("i", "I32", "[]", 16, 20) + ","
                + SafetensorsTest.entry("A", "F16", "[0]", 20, 20) + ","
                + SafetensorsTest.entry("\uffee", "U8", "[2]", 20, 22) + ","
                + SafetensorsTest.entry("\ud83d\ude00", "U8", "[1]", 22, 23) + "}";
        Bytes expected = SafetensorsTest.file(header);
        int spaces = Math.floorMod(-expected.array().length, 8);
        expected = SafetensorsTest.file(header + " ".repeat(spaces))
                .hex("0807060504030201")
                .hex("0000803f 000000c0")
                .hex("07000000")
                .hex("0102")
                .hex("03");
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("b", "\"\\/\b\f\n\r\t\u0001\u007f\u00e9");
        metadata.put("a", "");
        MemorySegment eight = MemorySegment.ofArray(new byte[] {8, 7, 6, 5, 4, 3, 2, 1});
        assertArrayEquals(
                expected.array(),
                written(
                        metadata,
                        u8("\ud83d\ude00", 3),
                        u8("\uffee", 1, 2),
                        SafetensorsTensor.of("A", Tensor.allocate(DType.F16, 0)),
                        SafetensorsTensor.of("i", Tensor.of(new int[] {7})),
                        SafetensorsTensor.of("f", Tensor.of(new float[] {1, -2}, 1, 2)),
                        new SafetensorsTensor("z", SafetensorsType.I64, Shape.of(1), eight)));
    }

    @Test
    void randomFiles() throws IOException {
        Path path = folder.resolve("random.safetensors");
        for (int seed = 0; seed < 100; seed++) {
            SplittableRandom random = new SplittableRandom(seed);
            Map<String, String> metadata = new LinkedHashMap<>();
            for (int i = random.nextInt(5); i > 0; i--) {
                metadata.put(text(random) + i, text(random));
            }
            Map<String, SafetensorsTensor> tensors = new LinkedHashMap<>();
            for (int i = random.nextInt(20); i > 0; i--) {
                SafetensorsTensor tensor = tensor(random, text(random) + i);
                tensors.put(tensor.name(), tensor);
            }
            Safetensors.write(path, metadata, tensors.values());
            try (Arena arena = Arena.ofConfined()) {
                Safetensors file = Safetensors.open(path, arena);
                assertEquals(metadata, file.metadata(), "seed " + seed);
                assertEquals(tensors.keySet(), file.tensors().keySet());
                for (SafetensorsTensor read : file.tensors().values()) {
                    SafetensorsTensor tensor = tensors.get(read.name());
                    assertEquals(tensor.toString(), read.toString());
                    assertEquals(-1, tensor.data().mismatch(read.data()), "seed " + seed);
                    assertEquals(
                            0, read.data().address() % Math.max(tensor.type().bits() / 8, 1));
                }
            }
        }
    }

    /** Every kind of character, also those that JSON must escape. */
    private static String text(SplittableRandom random) {
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(8); i > 0; i--) {
            int c = random.nextInt(random.nextBoolean() ? 0x80 : 0x110000);
            text.appendCodePoint(c >= 0xd800 && c < 0xe000 ? c - 0x800 : c);
        }
        return text.toString();
    }

    private static SafetensorsTensor tensor(SplittableRandom random, String name) {
        SafetensorsType type = SafetensorsType.values()[random.nextInt(SafetensorsType.values().length)];
        long[] sizes = random.longs(random.nextInt(5), 0, 5).toArray();
        Shape shape = Shape.of(sizes);
        if (shape.elements() * type.bits() % 8 != 0) {
            shape = Shape.of(4, 5);
        }
        byte[] data = new byte[(int) (shape.elements() * type.bits() / 8)];
        random.nextBytes(data);
        return new SafetensorsTensor(
                name, type, shape, random.nextBoolean() ? MemorySegment.ofArray(data) : Bytes.segment(data));
    }

    /** Types that the format lacks are stored as their bytes. */
    @Test
    void packedCodes() throws IOException {
        Tensor codes = Tensor.of(DType.U4, new byte[] {0x21, 0x03, 0x54, 0x06}, 2, 3);
        Path path = folder.resolve("codes.safetensors");
        Safetensors.write(path, Map.of(), List.of(SafetensorsTensor.ofBytes("codes", codes)));
        try (Arena arena = Arena.ofConfined()) {
            SafetensorsTensor stored = Safetensors.open(path, arena).tensor("codes");
            assertEquals("codes U8[2, 2]", stored.toString());
            assertArrayEquals(
                    codes.toFloatArray(),
                    Tensor.wrap(stored.data(), DType.U4, 2, 3).toFloatArray());
        }
        assertEquals(
                Shape.of(4),
                SafetensorsTensor.ofBytes("s", Tensor.allocate(DType.F32)).shape());
    }

    @Test
    void smallFloats() throws IOException {
        for (DType dtype : new DType[] {DType.F8E4M3, DType.F8E5M2, DType.E8M0, DType.F4E2M1}) {
            Tensor tensor = Tensor.of(dtype, new float[] {1, 2, 4, 1, 2, 2}, 3, 2);
            Path path = folder.resolve("floats.safetensors");
            Safetensors.write(path, Map.of(), List.of(SafetensorsTensor.of("t", tensor)));
            try (Arena arena = Arena.ofConfined()) {
                Tensor read = Safetensors.open(path, arena).tensor("t").tensor();
                assertEquals(dtype, read.dtype());
                assertArrayEquals(tensor.toFloatArray(), read.toFloatArray());
            }
        }
        Tensor odd = Tensor.allocate(DType.F4E2M1, 2, 3);
        assertThrows(IllegalArgumentException.class, () -> SafetensorsTensor.of("t", odd));
        assertEquals("t U8[2, 2]", SafetensorsTensor.ofBytes("t", odd).toString());
    }

    @Test
    void replacesAFileThatIsMapped() throws IOException {
        Path path = folder.resolve("model.safetensors");
        Safetensors.write(path, Map.of(), List.of(u8("a", 1, 2), u8("b", 3)));
        try (Arena arena = Arena.ofConfined()) {
            Safetensors old = Safetensors.open(path, arena);
            Safetensors.write(path, Map.of(), List.of(u8("a", 9), old.tensor("b")));
            assertArrayEquals(new float[] {1, 2}, old.tensor("a").tensor().toFloatArray());
            Safetensors now = Safetensors.open(path, arena);
            assertArrayEquals(new float[] {9}, now.tensor("a").tensor().toFloatArray());
            assertArrayEquals(new float[] {3}, now.tensor("b").tensor().toFloatArray());
        }
    }

    private void refused(Class<? extends Exception> type, String part, Executable call) throws IOException {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(part), message);
        assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(folder.resolve("old")));
        try (var files = Files.list(folder)) {
            assertEquals(1, files.count());
        }
    }

    @Test
    void whatCannotBeWritten() throws IOException {
        Path old = Files.write(folder.resolve("old"), new byte[] {1, 2, 3});
        Map<String, String> none = Map.of();
        Class<IllegalArgumentException> illegal = IllegalArgumentException.class;
        Class<NullPointerException> missing = NullPointerException.class;
        refused(
                illegal,
                "'t'; allowed: each name once",
                () -> Safetensors.write(old, none, List.of(u8("t", 1), u8("t", 1))));
        refused(illegal, "none __metadata__", () -> Safetensors.write(old, none, List.of(u8("__metadata__", 1))));
        refused(illegal, "surrogates", () -> Safetensors.write(old, none, List.of(u8("\ud800", 1))));
        refused(illegal, "surrogates", () -> Safetensors.write(old, Map.of("\udc00", ""), List.of()));
        refused(illegal, "surrogates", () -> Safetensors.write(old, Map.of("k", "\udc00"), List.of()));
        refused(missing, "metadata 'k'", () -> Safetensors.write(old, Collections.singletonMap("k", null), List.of()));
        refused(missing, "metadata", () -> Safetensors.write(old, null, List.of()));
        refused(missing, "tensors", () -> Safetensors.write(old, none, null));
        refused(missing, "tensors[1]", () -> Safetensors.write(old, none, withNull()));
        refused(missing, "file", () -> Safetensors.write(null, none, List.of()));
        refused(illegal, "no regular file", () -> Safetensors.write(folder, none, List.of()));
        SafetensorsTensor closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = SafetensorsTensor.of("t", Tensor.allocate(arena, DType.F32, 4));
        }
        refused(IllegalStateException.class, "tensors[0].data", () -> Safetensors.write(old, none, List.of(closed)));
    }

    private static List<SafetensorsTensor> withNull() {
        List<SafetensorsTensor> tensors = new ArrayList<>();
        tensors.add(u8("t", 1));
        tensors.add(null);
        return tensors;
    }

    @Test
    void tensorsThatDoNotFit() {
        MemorySegment data = MemorySegment.ofArray(new byte[6]);
        assertEquals("t F4[3, 4]", new SafetensorsTensor("t", SafetensorsType.F4, Shape.of(3, 4), data).toString());
        for (Map.Entry<Executable, String> refused : Map.<Executable, String>of(
                        () -> new SafetensorsTensor("t", SafetensorsType.F4, Shape.of(11), data),
                        "shape: given [11] of F4; allowed: whole bytes, at most 9223372036854775807",
                        () -> new SafetensorsTensor("t", SafetensorsType.F32, Shape.of(Long.MAX_VALUE), data),
                        "shape: given [9223372036854775807] of F32; allowed: whole bytes, at most 9223372036854775807",
                        () -> new SafetensorsTensor("t", SafetensorsType.F16, Shape.of(2), data),
                        "data: given 6 bytes; allowed: 4 for F16[2]",
                        () -> new SafetensorsTensor("t", SafetensorsType.U8, Shape.of(new long[65]), data),
                        "shape: given rank 65; allowed: 0..64",
                        () -> SafetensorsTensor.of("t", Tensor.allocate(DType.U4, 2, 3)),
                        "tensor: given u4[2, 3]; allowed: a type of SafetensorsType without gaps, or ofBytes")
                .entrySet()) {
            assertEquals(
                    refused.getValue(),
                    assertThrows(IllegalArgumentException.class, refused.getKey())
                            .getMessage());
        }
    }
}
