package io.gatun.files;

import static io.gatun.files.GgufSamples.everything;
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
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** What is written is what the definition says, and reads as what it was. */
class GgufWriteTest {
    @TempDir
    Path folder;

    private static final Map<String, GgufValue> NO_METADATA = Map.of();

    private List<String> filesInFolder() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    private static GgufTensor i8(String name, int... values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return GgufTensor.of(name, Tensor.of(bytes, bytes.length));
    }

    /** Made with the factories; equal to the sample made by hand, to the last byte. */
    @Test
    void everyTypeOfValue() throws IOException {
        Map<String, GgufValue> metadata = new LinkedHashMap<>();
        Gguf sample = everything(3).gguf();
        metadata.put("a.uint8", GgufValue.uint8(200));
        metadata.put("a.int8", GgufValue.int8(-128));
        metadata.put("a.uint16", GgufValue.uint16(60000));
        metadata.put("a.int16", GgufValue.int16(-30000));
        metadata.put("a.uint32", GgufValue.uint32(4000000000L));
        metadata.put("a.int32", GgufValue.int32(-2000000000));
        metadata.put("a.float32", GgufValue.float32(-1.5f));
        metadata.put("a.true", GgufValue.bool(true));
        metadata.put("a.false", GgufValue.bool(false));
        metadata.put("a.string", GgufValue.string("G\u00fcn\nz"));
        metadata.put("a.uint64", sample.value("a.uint64"));
        metadata.put("a.int64", GgufValue.int64(Long.MIN_VALUE));
        metadata.put("a.float64", GgufValue.float64(Math.PI));
        metadata.put("b.int32", GgufValue.array(1, -2, 3));
        metadata.put("b.float32", GgufValue.array(0.5f, Float.NEGATIVE_INFINITY));
        metadata.put(
                "b.bool",
                GgufValue.array(
                        GgufValueType.BOOL,
                        List.of(GgufValue.bool(true), GgufValue.bool(false), GgufValue.bool(true))));
        metadata.put(
                "b.string",
                GgufValue.array(GgufValueType.STRING, sample.value("b.string").elements()));
        metadata.put("b.empty", GgufValue.strings(List.of()));
        metadata.put(
                "b.nested",
                GgufValue.array(
                        GgufValueType.ARRAY,
                        List.of(
                                GgufValue.array(GgufValueType.UINT8, List.of(GgufValue.uint8(7), GgufValue.uint8(8))),
                                GgufValue.strings(List.of("deep")),
                                GgufValue.array(
                                        GgufValueType.ARRAY,
                                        List.of(GgufValue.array(GgufValueType.INT16, List.of(GgufValue.int16(-5))))))));
        metadata.put(Gguf.ALIGNMENT, GgufValue.uint32(16));
        metadata.put("c.last", GgufValue.uint32(42));
        assertEquals(sample.metadata(), metadata);

        MemorySegment one = Tensor.of(DType.U8, new byte[] {0, 0, 0, 0, 0, 0, (byte) 0xf0, 0x3f}, 8)
                .segment();
        byte[] blocks = new byte[136];
        for (int i = 0; i < blocks.length; i++) {
            blocks[i] = (byte) i;
        }
        List<GgufTensor> tensors = List.of(
                new GgufTensor("scalar", GgmlType.F64, Shape.of(), one),
                GgufTensor.of("matrix", Tensor.of(new float[] {1, 2, 3, 4, 5, -6}, 2, 3)),
                new GgufTensor("blocks", GgmlType.Q8_0, Shape.of(1, 2, 64), MemorySegment.ofArray(blocks)),
                GgufTensor.of("nothing", Tensor.allocate(DType.F16, 5, 0)),
                i8("bytes", 1, 2, 3, 4, -1));
        Path path = folder.resolve("all.gguf");
        Gguf.write(path, metadata, tensors);
        assertArrayEquals(everything(3).array(), Files.readAllBytes(path));
    }

    @Test
    void readAndWrittenAgain() throws IOException {
        Path path = folder.resolve("copy.gguf");
        Gguf sample = everything(2).gguf();
        Gguf.write(path, sample.metadata(), sample.tensors().values());
        assertArrayEquals(everything(3).array(), Files.readAllBytes(path));
    }

    @Test
    void nothing() throws IOException {
        Path path = folder.resolve("nothing.gguf");
        Gguf.write(path, NO_METADATA, List.of());
        assertArrayEquals(new Bytes().hex("47475546 03000000").zeros(24).array(), Files.readAllBytes(path));
    }

    @Test
    void randomFiles() throws IOException {
        Path path = folder.resolve("random.gguf");
        for (int seed = 0; seed < 100; seed++) {
            SplittableRandom random = new SplittableRandom(seed);
            Map<String, GgufValue> metadata = new LinkedHashMap<>();
            int alignment = 8 << random.nextInt(6);
            metadata.put(Gguf.ALIGNMENT, GgufValue.uint32(alignment));
            for (int i = random.nextInt(20); i > 0; i--) {
                metadata.put("key." + i, value(random, 0));
            }
            List<GgufTensor> tensors = new ArrayList<>();
            for (int i = random.nextInt(10); i > 0; i--) {
                tensors.add(tensor(random, "tensor." + i));
            }
            Gguf.write(path, metadata, tensors);
            try (Arena arena = Arena.ofConfined()) {
                Gguf file = Gguf.open(path, arena);
                assertEquals(metadata, file.metadata(), "seed " + seed);
                assertEquals(alignment, file.alignment());
                assertEquals(
                        List.copyOf(metadata.keySet()),
                        List.copyOf(file.metadata().keySet()));
                List<GgufTensor> read = List.copyOf(file.tensors().values());
                assertEquals(tensors.toString(), read.toString());
                for (int i = 0; i < read.size(); i++) {
                    assertEquals(-1, tensors.get(i).data().mismatch(read.get(i).data()), "seed " + seed);
                    assertEquals(0, read.get(i).data().address() % alignment);
                }
            }
        }
        assertEquals(List.of("random.gguf"), filesInFolder());
    }

    private static GgufValue value(SplittableRandom random, int depth) {
        GgufValueType[] types = GgufValueType.values();
        return value(random, types[random.nextInt(types.length)], depth);
    }

    private static GgufValue value(SplittableRandom random, GgufValueType type, int depth) {
        return switch (type) {
            case UINT8 -> GgufValue.uint8(random.nextInt(256));
            case INT8 -> GgufValue.int8(random.nextInt(-128, 128));
            case UINT16 -> GgufValue.uint16(random.nextInt(65536));
            case INT16 -> GgufValue.int16(random.nextInt(-32768, 32768));
            case UINT32 -> GgufValue.uint32(random.nextLong(1L << 32));
            case INT32 -> GgufValue.int32(random.nextInt());
            case FLOAT32 -> GgufValue.float32(Float.intBitsToFloat(random.nextInt()));
            case BOOL -> GgufValue.bool(random.nextBoolean());
            case STRING -> GgufValue.string("\u00e9\ud83d\ude00x".repeat(random.nextInt(5)));
            case UINT64 -> GgufValue.uint64(random.nextLong(Long.MAX_VALUE));
            case INT64 -> GgufValue.int64(random.nextLong());
            case FLOAT64 -> GgufValue.float64(Double.longBitsToDouble(random.nextLong()));
            case ARRAY -> {
                GgufValueType each = depth >= 6
                        ? GgufValueType.UINT8
                        : GgufValueType.values()[random.nextInt(GgufValueType.values().length)];
                List<GgufValue> values = new ArrayList<>();
                for (int i = random.nextInt(4); i > 0; i--) {
                    values.add(value(random, each, depth + 1));
                }
                yield GgufValue.array(each, values);
            }
        };
    }

    private static GgufTensor tensor(SplittableRandom random, String name) {
        GgmlType type = GgmlType.values()[random.nextInt(GgmlType.values().length)];
        long[] sizes = random.longs(random.nextInt(1, 5), 0, 4).toArray();
        sizes[sizes.length - 1] *= type.blockElements();
        Shape shape = Shape.of(sizes);
        byte[] data = new byte[(int) (shape.elements() / type.blockElements() * type.blockBytes())];
        random.nextBytes(data);
        return new GgufTensor(
                name, type, shape, random.nextBoolean() ? MemorySegment.ofArray(data) : Bytes.segment(data));
    }

    /** More than the buffer and more than a piece, and not a multiple of either. */
    @Test
    void largeData() throws IOException {
        byte[] data = new byte[(3 << 20) + 12345];
        new SplittableRandom(1).nextBytes(data);
        Path path = folder.resolve("large.gguf");
        GgufTensor large = new GgufTensor("large", GgmlType.I8, Shape.of(data.length), MemorySegment.ofArray(data));
        Gguf.write(path, NO_METADATA, List.of(i8("before", 1), large, i8("after", 2)));
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(path, arena);
            assertEquals(-1, file.tensor("large").data().mismatch(MemorySegment.ofArray(data)));
            assertEquals(2, file.tensor("after").tensor().getInt(0));
        }
    }

    /** What is read may be written to the file that it comes from. */
    @Test
    void replacesAFileThatIsMapped() throws IOException {
        Path path = folder.resolve("model.gguf");
        Files.write(path, everything(3).array());
        try (Arena arena = Arena.ofConfined()) {
            Gguf old = Gguf.open(path, arena);
            Gguf.write(path, old.metadata(), List.of(i8("bytes", 9), old.tensor("matrix")));
            assertArrayEquals(
                    new float[] {1, 2, 3, 4, -1}, old.tensor("bytes").tensor().toFloatArray());
            Gguf now = Gguf.open(path, arena);
            assertEquals(9, now.tensor("bytes").tensor().getInt(0));
            assertArrayEquals(
                    new float[] {1, 2, 3, 4, 5, -6},
                    now.tensor("matrix").tensor().toFloatArray());
        }
        assertEquals(List.of("model.gguf"), filesInFolder());
    }

    @Test
    void replacesWhatALinkLeadsTo() throws IOException {
        Path path = folder.resolve("model.gguf");
        Files.write(path, new byte[1]);
        Path link = Files.createSymbolicLink(folder.resolve("link.gguf"), path);
        Gguf.write(link, NO_METADATA, List.of());
        assertTrue(Files.isSymbolicLink(link));
        assertEquals(32, Files.size(path));
    }

    private void refused(Class<? extends Exception> type, String part, Executable call) throws IOException {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(part), message);
        assertEquals(List.of("old.gguf"), filesInFolder());
        assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(folder.resolve("old.gguf")));
    }

    @Test
    void whatCannotBeWritten() throws IOException {
        Path old = Files.write(folder.resolve("old.gguf"), new byte[] {1, 2, 3});
        GgufTensor tensor = i8("t", 1);
        Class<IllegalArgumentException> illegal = IllegalArgumentException.class;
        refused(illegal, "'t'; allowed: each name once", () -> Gguf.write(old, NO_METADATA, List.of(tensor, tensor)));
        refused(
                illegal,
                "64 bytes; allowed: 0..63",
                () -> Gguf.write(old, NO_METADATA, List.of(i8("x".repeat(64), 1))));
        refused(illegal, "surrogates", () -> Gguf.write(old, NO_METADATA, List.of(i8("\ud800", 1))));
        refused(illegal, "given 0 bytes; allowed: 1..65535", () -> write(old, "", GgufValue.uint8(1)));
        refused(illegal, "65536 bytes", () -> write(old, "k".repeat(65536), GgufValue.uint8(1)));
        refused(illegal, "surrogates", () -> write(old, "\udc00", GgufValue.uint8(1)));
        refused(illegal, "UINT32 20; allowed: a power of two", () -> write(old, Gguf.ALIGNMENT, GgufValue.uint32(20)));
        refused(illegal, "UINT32 4; allowed: a power of two", () -> write(old, Gguf.ALIGNMENT, GgufValue.uint32(4)));
        refused(illegal, "UINT64 32", () -> write(old, Gguf.ALIGNMENT, GgufValue.uint64(32)));
        refused(illegal, "no regular file", () -> Gguf.write(folder, NO_METADATA, List.of()));
        refused(
                NoSuchFileException.class,
                "no such folder",
                () -> Gguf.write(folder.resolve("no/f"), NO_METADATA, List.of()));
        refused(NullPointerException.class, "metadata 'k'", () -> write(old, "k", null));
        refused(NullPointerException.class, "metadata", () -> Gguf.write(old, null, List.of()));
        refused(NullPointerException.class, "tensors", () -> Gguf.write(old, NO_METADATA, null));
        refused(
                NullPointerException.class,
                "tensors[0]",
                () -> Gguf.write(old, NO_METADATA, Collections.singletonList(null)));
        refused(NullPointerException.class, "file", () -> Gguf.write(null, NO_METADATA, List.of()));
        GgufTensor closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = GgufTensor.of("t", Tensor.allocate(arena, DType.F32, 4));
        }
        refused(IllegalStateException.class, "tensors[0].data", () -> Gguf.write(old, NO_METADATA, List.of(closed)));
    }

    private static void write(Path path, String key, GgufValue value) throws IOException {
        Gguf.write(path, Collections.singletonMap(key, value), List.of());
    }

    /** An arena that is closed while its tensor is written: nothing is left behind. */
    @Test
    void failureWhileWriting() throws IOException {
        Files.write(folder.resolve("old.gguf"), new byte[] {1, 2, 3});
        Arena arena = Arena.ofShared();
        MemorySegment data = arena.allocate(1 << 20);
        GgufTensor tensor = new GgufTensor("t", GgmlType.I8, Shape.of(1 << 20), data);
        refused(IllegalStateException.class, "", () -> {
            try (NewFile out = new NewFile(folder.resolve("old.gguf"))) {
                out.segment(tensor.data());
                arena.close();
                out.segment(tensor.data());
                out.complete();
            }
        });
    }

    @Test
    void valuesOutOfRange() {
        for (Executable call : List.<Executable>of(
                () -> GgufValue.uint8(256),
                () -> GgufValue.uint8(-1),
                () -> GgufValue.int8(128),
                () -> GgufValue.uint16(65536),
                () -> GgufValue.int16(-32769),
                () -> GgufValue.uint32(1L << 32),
                () -> GgufValue.uint32(-1),
                () -> GgufValue.uint64(-1))) {
            String message = assertThrows(IllegalArgumentException.class, call).getMessage();
            assertTrue(message.matches("value: given -?\\d+; allowed: -?\\d+\\.\\.\\d+"), message);
        }
        assertThrows(IllegalArgumentException.class, () -> GgufValue.string("\ud83d"));
        assertThrows(NullPointerException.class, () -> GgufValue.string(null));
        assertThrows(NullPointerException.class, () -> GgufValue.array(GgufValueType.UINT8, null));
        assertThrows(
                IllegalArgumentException.class, () -> GgufValue.array(GgufValueType.UINT8, List.of(GgufValue.int8(1))));
        GgufValue deep = GgufValue.array(1);
        for (int i = 1; i < 8; i++) {
            deep = GgufValue.array(GgufValueType.ARRAY, List.of(deep));
        }
        GgufValue deepest = deep;
        String message = assertThrows(
                        IllegalArgumentException.class, () -> GgufValue.array(GgufValueType.ARRAY, List.of(deepest)))
                .getMessage();
        assertEquals("values[0]: given arrays 8 deep; allowed: up to 7", message);
    }

    @Test
    void tensorsThatDoNotFit() {
        MemorySegment data = MemorySegment.ofArray(new byte[18]);
        assertEquals(
                -1,
                new GgufTensor("t", GgmlType.Q4_0, Shape.of(32), data).data().mismatch(data));
        for (Map.Entry<Executable, String> refused : Map.<Executable, String>of(
                        () -> new GgufTensor("t", GgmlType.Q4_0, Shape.of(2, 16), data),
                        "shape: given [2, 16] of Q4_0; allowed: a last axis that is a multiple of 32",
                        () -> new GgufTensor("t", GgmlType.I8, Shape.of(1, 1, 1, 1, 18), data),
                        "shape: given [1, 1, 1, 1, 18] of I8; allowed: at most 4 axes",
                        () -> new GgufTensor("t", GgmlType.Q4_0, Shape.of(64), data),
                        "data: given 18 bytes; allowed: 36 for Q4_0[64]",
                        () -> GgufTensor.of("t", Tensor.allocate(DType.U8, 3)),
                        "tensor: given dtype u8; allowed: f32, f16, bf16, i8 or i32, or blocks")
                .entrySet()) {
            assertEquals(
                    refused.getValue(),
                    assertThrows(IllegalArgumentException.class, refused.getKey())
                            .getMessage());
        }
        Tensor transposed = Tensor.allocate(DType.F32, 2, 3).transpose();
        assertThrows(IllegalArgumentException.class, () -> GgufTensor.of("t", transposed));
    }
}
