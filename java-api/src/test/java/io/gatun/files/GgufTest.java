package io.gatun.files;

import static io.gatun.files.GgufSamples.everything;
import static io.gatun.files.GgufSamples.head;
import static io.gatun.files.GgufSamples.key;
import static io.gatun.files.GgufSamples.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.GgufType;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantizedTensor;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Reading files that were put together by hand. */
class GgufTest {
    @TempDir
    Path folder;

    @Test
    void smallestFile() throws IOException {
        Gguf file = new Bytes()
                .hex("47475546 03000000 0000000000000000 0000000000000000")
                .gguf();
        assertEquals(3, file.version());
        assertEquals(32, file.alignment());
        assertTrue(file.metadata().isEmpty());
        assertTrue(file.tensors().isEmpty());
    }

    /** One key, one tensor [2, 1] of F16 {1.0, -2.0} and its padding, byte by byte. */
    @Test
    void smallFile() throws IOException {
        Gguf file = new Bytes()
                .hex("47475546 03000000 0100000000000000 0100000000000000")
                .hex("0100000000000000 6b 02000000 e803")
                .hex("0100000000000000 74 02000000 0100000000000000 0200000000000000 01000000 0000000000000000")
                .hex("00000000 00000000 00000000 00000000")
                .hex("003c 00c0")
                .gguf();
        assertEquals(1000, file.value("k").asLong());
        assertArrayEquals(new float[] {1, -2}, file.tensor("t").tensor().toFloatArray());
        assertEquals(Shape.of(2, 1), file.tensor("t").shape());
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void everyTypeOfValue(int version) throws IOException {
        Gguf file = everything(version).gguf();
        assertEquals(version, file.version());
        assertEquals(200, file.value("a.uint8").asLong());
        assertEquals(-128, file.value("a.int8").asLong());
        assertEquals(60000, file.value("a.uint16").asLong());
        assertEquals(-30000, file.value("a.int16").asLong());
        assertEquals(4000000000L, file.value("a.uint32").asLong());
        assertEquals(-2000000000, file.value("a.int32").asLong());
        assertEquals(-1.5, file.value("a.float32").asDouble());
        assertTrue(file.value("a.true").asBoolean());
        assertFalse(file.value("a.false").asBoolean());
        assertEquals("G\u00fcn\nz", file.value("a.string").asString());
        assertEquals("UINT64 18446744073709551615", file.value("a.uint64").toString());
        assertEquals(Long.MIN_VALUE, file.value("a.int64").asLong());
        assertEquals(Math.PI, file.value("a.float64").asDouble());
        assertArrayEquals(new long[] {1, -2, 3}, file.value("b.int32").asLongs());
        assertArrayEquals(
                new float[] {0.5f, Float.NEGATIVE_INFINITY},
                file.value("b.float32").asFloats());
        assertEquals(
                List.of(true, false, true),
                file.value("b.bool").elements().stream()
                        .map(GgufValue::asBoolean)
                        .toList());
        assertEquals(0, file.value("b.empty").size());
        assertEquals(List.of(), file.value("b.empty").asStrings());
        assertEquals(42, file.value("c.last").asLong());
        List<GgufValueType> types = new ArrayList<>();
        file.metadata().values().forEach(value -> types.add(value.type()));
        for (GgufValueType type : GgufValueType.values()) {
            assertTrue(types.contains(type), type + " is not in the sample");
        }
        assertEquals("a.uint8", file.metadata().keySet().iterator().next());
        assertEquals(21, file.metadata().size());
    }

    @Test
    void arraysOfArrays() throws IOException {
        GgufValue nested = everything(3).gguf().value("b.nested");
        assertEquals(GgufValueType.ARRAY, nested.elementType());
        assertArrayEquals(new long[] {7, 8}, nested.elements().get(0).asLongs());
        assertEquals(List.of("deep"), nested.elements().get(1).asStrings());
        GgufValue third = nested.elements().get(2);
        assertArrayEquals(new long[] {-5}, third.elements().get(0).asLongs());
        assertThrows(IndexOutOfBoundsException.class, () -> nested.elements().get(3));
        assertThrows(
                UnsupportedOperationException.class, () -> nested.elements().clear());
        assertThrows(
                UnsupportedOperationException.class, () -> nested.elements().set(0, nested));
    }

    /** A vocabulary may hold pieces of characters: the file opens, and only that text is refused. */
    @Test
    void textThatIsNotUtf8() throws IOException {
        GgufValue strings = everything(3).gguf().value("b.string");
        assertEquals("<s>", strings.elements().get(0).asString());
        assertEquals("", strings.elements().get(1).asString());
        GgufValue broken = strings.elements().get(2);
        String message =
                assertThrows(IllegalArgumentException.class, broken::asString).getMessage();
        assertTrue(message.contains("not UTF-8"), message);
        assertArrayEquals(
                new byte[] {2, 0, 0, 0, 0, 0, 0, 0, (byte) 0xc3, 0x28},
                broken.encoded().toArray(ValueLayout.JAVA_BYTE));
        assertTrue(broken.toString().startsWith("STRING '"));
    }

    @Test
    void valuesOfOtherTypesAreRefused() throws IOException {
        Gguf file = everything(3).gguf();
        for (GgufValue value : file.metadata().values()) {
            int accepted = 0;
            for (Runnable use :
                    List.<Runnable>of(value::asLong, value::asDouble, value::asBoolean, value::asString, value::size)) {
                try {
                    use.run();
                    accepted++;
                } catch (IllegalArgumentException e) {
                    assertTrue(e.getMessage().matches("(?s)value: given .*; allowed: .*"), e.getMessage());
                }
            }
            // The one that is too large for a long is no text either.
            assertEquals(value.equals(file.value("a.uint64")) ? 0 : 1, accepted, value.toString());
        }
    }

    @Test
    void tensors() throws IOException {
        Gguf file = everything(3).gguf();
        assertEquals(16, file.alignment());
        assertEquals(
                List.of("scalar", "matrix", "blocks", "nothing", "bytes"),
                List.copyOf(file.tensors().keySet()));

        Tensor matrix = file.tensor("matrix").tensor();
        assertEquals("f32[2, 3]", matrix.dtype() + matrix.shape().toString());
        assertArrayEquals(new float[] {1, 2, 3, 4, 5, -6}, matrix.toFloatArray());
        assertTrue(matrix.segment().isReadOnly());

        GgufTensor scalar = file.tensor("scalar");
        assertEquals(GgmlType.F64, scalar.type());
        assertEquals(Shape.of(), scalar.shape());
        assertEquals(1.0, scalar.data().get(ValueLayout.JAVA_DOUBLE, 0));
        String message =
                assertThrows(IllegalArgumentException.class, scalar::tensor).getMessage();
        assertEquals("tensor 'scalar': given type F64; allowed: a type of DType, or bytes()", message);

        GgufTensor blocks = file.tensor("blocks");
        assertEquals("blocks Q8_0[1, 2, 64]", blocks.toString());
        assertEquals(8, blocks.type().id());
        assertNull(blocks.dtype());
        assertEquals(Shape.of(2, 68), blocks.blocks().shape());
        assertEquals(Shape.of(136), blocks.bytes().shape());
        assertEquals(68, blocks.blocks().getInt(1, 0));

        assertEquals(0, file.tensor("nothing").tensor().shape().elements());
        assertArrayEquals(
                new float[] {1, 2, 3, 4, -1}, file.tensor("bytes").tensor().toFloatArray());
        assertEquals(Shape.of(1, 5), file.tensor("bytes").blocks().shape());
    }

    /** Blocks of a file are a quantized matrix as they lie there, and back. */
    @Test
    void quantizedMatrices() throws IOException {
        GgufTensor blocks = everything(3).gguf().tensor("blocks");
        QuantizedTensor quantized = blocks.quantized();
        assertEquals("quantized[2, 64] gguf Q8_0", quantized.toString());
        assertEquals(blocks.data().address(), quantized.codes().segment().address());
        GgufTensor back = GgufTensor.of("back", quantized);
        assertEquals("back Q8_0[2, 64]", back.toString());
        assertEquals(-1, blocks.data().mismatch(back.data()));

        GgufTensor matrix = everything(3).gguf().tensor("matrix");
        String message =
                assertThrows(IllegalArgumentException.class, matrix::quantized).getMessage();
        assertEquals("tensor 'matrix': given type F32; allowed: " + Arrays.toString(GgufType.values()), message);
        QuantizedTensor other = QuantizedTensor.allocate(QuantSpec.int8(), 2, 16);
        assertThrows(IllegalArgumentException.class, () -> GgufTensor.of("t", other));
    }

    /** Kinds of blocks that can be quantized are kinds of blocks in files. */
    @Test
    void blocksAreThoseOfTheOps() {
        for (GgufType quantized : GgufType.values()) {
            GgmlType type = GgmlType.of(quantized.id());
            assertEquals(quantized.name(), type.name());
            assertEquals(quantized.elements(), type.blockElements());
            assertEquals(quantized.bytes(), type.blockBytes());
            assertEquals(quantized.rowBytes(512), type.bytes(512));
        }
    }

    @Test
    void sizesOfTypes() {
        assertEquals(0, GgmlType.Q6_K.bytes(0));
        assertEquals(Long.MAX_VALUE, GgmlType.I8.bytes(Long.MAX_VALUE));
        assertThrows(IllegalArgumentException.class, () -> GgmlType.Q6_K.bytes(128));
        assertThrows(IllegalArgumentException.class, () -> GgmlType.I8.bytes(-1));
        assertThrows(IllegalArgumentException.class, () -> GgmlType.I16.bytes(1L << 62));
        assertNull(GgmlType.of(4));
        assertNull(GgmlType.of(-1));
        assertNull(GgmlType.of(1L << 32));
    }

    @Test
    void copiesAreAlignedAndWritable() throws IOException {
        Gguf file = everything(3).gguf();
        try (Arena arena = Arena.ofConfined()) {
            Tensor copy = file.tensor("matrix").copy(arena);
            copy.setFloat(9, 0, 0);
            assertArrayEquals(new float[] {9, 2, 3, 4, 5, -6}, copy.toFloatArray());
            assertEquals(0, copy.segment().address() % 64);
            assertThrows(
                    IllegalArgumentException.class, () -> file.tensor("blocks").copy(arena));
        }
    }

    @Test
    void unknownNames() throws IOException {
        Gguf file = everything(3).gguf();
        String message = assertThrows(IllegalArgumentException.class, () -> file.tensor("Matrix"))
                .getMessage();
        assertEquals("tensor: given 'Matrix'; allowed: one of the 5 in some.file", message);
        message = assertThrows(IllegalArgumentException.class, () -> file.value("a\nb"))
                .getMessage();
        assertEquals("key: given 'a\\u000ab'; allowed: one of the 21 in some.file", message);
        assertThrows(NullPointerException.class, () -> file.value(null));
        assertThrows(UnsupportedOperationException.class, () -> file.tensors().clear());
        assertThrows(UnsupportedOperationException.class, () -> file.metadata().clear());
    }

    /** Data may come in another order than the list of tensors, and with gaps. */
    @Test
    void dataInAnyOrder() throws IOException {
        Bytes b = head(3, 2, 0);
        tensor(b, "second", 24, 96, 2);
        tensor(b, "first", 24, 32, 1);
        b.pad(32).zeros(32).u8(7).pad(32).zeros(32).u8(8, 9);
        Gguf file = b.gguf();
        assertArrayEquals(new float[] {8, 9}, file.tensor("second").tensor().toFloatArray());
        assertArrayEquals(new float[] {7}, file.tensor("first").tensor().toFloatArray());
    }

    @Test
    void everyTypeOfTensor() throws IOException {
        GgmlType[] types = GgmlType.values();
        Bytes b = head(3, types.length, 0);
        long offset = 0;
        for (GgmlType type : types) {
            tensor(b, type.name(), type.id(), offset, 256, 3);
            offset += (3L * 256 / type.blockElements() * type.blockBytes() + 31) / 32 * 32;
        }
        b.pad(32).zeros((int) offset);
        Gguf file = b.gguf();
        for (GgmlType type : types) {
            GgufTensor tensor = file.tensor(type.name());
            assertEquals(type, tensor.type());
            assertEquals(
                    3L * 256 / type.blockElements() * type.blockBytes(),
                    tensor.data().byteSize());
            assertEquals(type.dtype() != null, tensor.type().dtype() == tensor.dtype() && tensor.dtype() != null);
        }
    }

    @Test
    void mappedFileLivesAsLongAsTheArena() throws Exception {
        Path path = folder.resolve("model.gguf");
        Files.write(path, everything(3).array());
        Arena arena = Arena.ofConfined();
        Gguf file = Gguf.open(path, arena);
        try (arena) {
            assertArrayEquals(
                    new float[] {1, 2, 3, 4, 5, -6},
                    file.tensor("matrix").tensor().toFloatArray());
            assertEquals(path + ": GGUF 3, 21 keys, 5 tensors", file.toString());
        }
        assertThrows(IllegalStateException.class, () -> file.value("a.uint8").asLong());
        assertThrows(
                IllegalStateException.class,
                () -> file.tensor("matrix").tensor().getFloat(0, 0));
    }

    /** Beyond 4 GiB, in a file with a hole. */
    @Test
    void largeFile() throws IOException {
        Path path = folder.resolve("large.gguf");
        long columns = 5L << 30;
        Bytes b = head(3, 2, 0);
        tensor(b, "large", 24, 0, columns);
        tensor(b, "last", 24, columns, 3);
        b.pad(32);
        try (RandomAccessFile out = new RandomAccessFile(path.toFile(), "rw")) {
            out.write(b.array());
            out.seek(out.length() + columns - 1);
            out.write(new byte[] {5, 6, 7, 8});
        }
        try (Arena arena = Arena.ofConfined()) {
            Gguf file = Gguf.open(path, arena);
            assertEquals(5, file.tensor("large").tensor().getInt(columns - 1));
            assertArrayEquals(
                    new float[] {6, 7, 8}, file.tensor("last").tensor().toFloatArray());
        }
    }

    @Test
    void whatCannotBeOpened() throws IOException {
        Path empty = Files.createFile(folder.resolve("empty.gguf"));
        try (Arena arena = Arena.ofConfined()) {
            assertThrows(NoSuchFileException.class, () -> Gguf.open(folder.resolve("none.gguf"), arena));
            String message = assertThrows(IllegalArgumentException.class, () -> Gguf.open(folder, arena))
                    .getMessage();
            assertTrue(message.contains("no regular file"), message);
            message = assertThrows(MalformedFileException.class, () -> Gguf.open(empty, arena))
                    .getMessage();
            assertEquals(
                    empty + ": header, magic at byte 0: given 4 bytes; allowed: 0..0 up to the end of the file",
                    message);
            assertThrows(NullPointerException.class, () -> Gguf.open(null, arena));
            assertThrows(NullPointerException.class, () -> Gguf.open(empty, null));
        }
        Arena closed = Arena.ofConfined();
        closed.close();
        assertThrows(IllegalStateException.class, () -> Gguf.open(empty, closed));
    }

    @Test
    void anotherThreadsArena() throws Exception {
        Path path = folder.resolve("model.gguf");
        Files.write(path, everything(3).array());
        Arena[] foreign = new Arena[1];
        Gguf[] file = new Gguf[1];
        Thread owner = new Thread(() -> {
            foreign[0] = Arena.ofConfined();
            file[0] = assertDoesNotThrow(() -> Gguf.open(path, foreign[0]));
        });
        owner.start();
        owner.join();
        assertThrows(WrongThreadException.class, () -> Gguf.open(path, foreign[0]));
        assertThrows(WrongThreadException.class, () -> file[0].value("a.uint8").asLong());
    }

    @Test
    void keysAreKeptWhateverTheySay() throws IOException {
        Bytes b = head(3, 0, 1);
        key(b, "Gatun-\u00e9.\u4e2d \u0000", 0).u8(1);
        assertEquals(1, b.gguf().value("Gatun-\u00e9.\u4e2d \u0000").asLong());
    }

    @Test
    void elementsAreSharedNotCopied() throws IOException {
        Gguf file = everything(3).gguf();
        assertEquals(
                DType.F32.bytes(6), file.tensor("matrix").tensor().segment().byteSize());
        assertEquals(
                file.tensor("matrix").data().address(),
                file.tensor("matrix").tensor().segment().address());
    }
}
