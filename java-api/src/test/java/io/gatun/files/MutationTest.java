package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Shape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged files give a file whose every tensor lies inside it, or a refusal that says what is wrong; nothing else. The
 * memory that is read ends where the file does, so that a read beyond it would be an IndexOutOfBoundsException.
 */
class MutationTest {
    /** Once in full, on the class path; as a module, a few. */
    private static final int MUTATIONS = Boolean.getBoolean("gatun.test.module") ? 2_000 : 100_000;

    private static final int MAPPED = 500;
    private static final Pattern MESSAGE =
            Pattern.compile("[^:]*some\\.file: [^\\p{Cntrl}]+: given [^\\p{Cntrl}]+; allowed: [^\\p{Cntrl}]+");

    @TempDir
    Path folder;

    /** Opens a file and returns all its tensors; uses whatever else is in it. */
    interface Format {
        Collection<? extends StoredTensor> use(Path file, MemorySegment bytes) throws IOException;
    }

    static Collection<GgufTensor> useGguf(Path file, MemorySegment bytes) throws IOException {
        Gguf gguf = new GgufReader(file, bytes).read();
        gguf.metadata().values().forEach(MutationTest::use);
        for (GgufTensor tensor : gguf.tensors().values()) {
            try {
                assertEquals(tensor.data().byteSize(), tensor.blocks().shape().elements());
                assertEquals(tensor.data().byteSize(), tensor.quantized().byteSize());
            } catch (IllegalArgumentException e) {
                assertTrue(e.getMessage().contains("; allowed: "), e.getMessage());
            }
            assertEquals(0, (tensor.data().address() - bytes.address()) % gguf.alignment());
        }
        return gguf.tensors().values();
    }

    /** Reads all of a value; only texts may turn out to be unreadable. */
    private static void use(GgufValue value) {
        assertTrue(value.toString().length() < 700);
        switch (value.type()) {
            case STRING -> {
                try {
                    value.asString();
                } catch (IllegalArgumentException e) {
                    assertTrue(e.getMessage().contains("not UTF-8"), e.getMessage());
                }
            }
            case ARRAY -> value.elements().forEach(MutationTest::use);
            case BOOL -> value.asBoolean();
            case FLOAT32, FLOAT64 -> value.asDouble();
            case UINT64 -> assertEquals(8, value.encoded().byteSize());
            default -> value.asLong();
        }
    }

    static Collection<SafetensorsTensor> useSafetensors(Path file, MemorySegment bytes) throws IOException {
        Safetensors safetensors = new SafetensorsReader(file, bytes).read();
        safetensors.metadata().forEach((name, text) -> assertTrue(name.length() + text.length() < 1000));
        // Without holes or overlaps: the sizes add up to the rest of the file.
        long header = 8 + bytes.get(ValueLayout.JAVA_LONG_UNALIGNED, 0);
        long data = safetensors.tensors().values().stream()
                .mapToLong(tensor -> tensor.data().byteSize())
                .sum();
        assertEquals(bytes.byteSize(), header + data);
        return safetensors.tensors().values();
    }

    /** Whether the file was accepted. */
    static boolean accepted(Format format, Path file, MemorySegment bytes) throws IOException {
        Collection<? extends StoredTensor> tensors;
        try {
            tensors = format.use(file, bytes);
        } catch (MalformedFileException e) {
            assertTrue(MESSAGE.matcher(e.getMessage()).matches(), e.getMessage());
            assertTrue(e.getMessage().length() < 700, e.getMessage());
            return false;
        }
        for (StoredTensor tensor : tensors) {
            MemorySegment data = tensor.data();
            assertTrue(data.address() >= bytes.address());
            assertTrue(data.address() + data.byteSize() <= bytes.address() + bytes.byteSize());
            if (data.byteSize() > 0) {
                data.get(ValueLayout.JAVA_BYTE, 0);
                data.get(ValueLayout.JAVA_BYTE, data.byteSize() - 1);
            }
            try {
                assertEquals(tensor.shape(), tensor.tensor().shape());
            } catch (IllegalArgumentException e) {
                assertTrue(e.getMessage().startsWith("tensor '"), e.getMessage());
            }
        }
        return true;
    }

    private static void mutate(Format format, byte[] file) throws IOException {
        int accepted = 0;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(4L * file.length, 64);
            assertTrue(assertAccepted(format, file, memory), "the file before it was damaged");
            for (int seed = 0; seed < MUTATIONS; seed++) {
                byte[] bytes = Mutations.of(file, new SplittableRandom(seed));
                try {
                    accepted += assertAccepted(format, bytes, memory) ? 1 : 0;
                } catch (Throwable e) {
                    throw new AssertionError("seed " + seed, e);
                }
            }
        }
        // Neither does a mutation always break the file, nor does nearly everything pass.
        assertTrue(accepted > MUTATIONS / 100 && accepted < MUTATIONS / 2, accepted + " accepted");
    }

    private static boolean assertAccepted(Format format, byte[] bytes, MemorySegment memory) throws IOException {
        MemorySegment.copy(bytes, 0, memory, ValueLayout.JAVA_BYTE, 0, bytes.length);
        return accepted(format, Bytes.NAME, memory.asSlice(0, bytes.length).asReadOnly());
    }

    @Test
    void gguf() throws IOException {
        mutate(MutationTest::useGguf, GgufSamples.everything(3).array());
    }

    @Test
    void safetensors() throws IOException {
        mutate(MutationTest::useSafetensors, SafetensorsTest.sample().array());
    }

    /** The same through files. */
    @Test
    void mapped() throws IOException {
        Path file = folder.resolve("some.file");
        for (int seed = 0; seed < MAPPED; seed++) {
            for (byte[] sample : List.of(
                    GgufSamples.everything(3).array(), SafetensorsTest.sample().array())) {
                Files.write(file, Mutations.of(sample, new SplittableRandom(seed)));
                try (Arena arena = Arena.ofConfined()) {
                    if (sample[0] == 'G') {
                        Gguf.open(file, arena)
                                .tensors()
                                .values()
                                .forEach(tensor -> assertEquals(
                                        -1,
                                        tensor.data().mismatch(tensor.bytes().segment())));
                    } else {
                        Safetensors.open(file, arena)
                                .tensors()
                                .values()
                                .forEach(tensor -> assertEquals(
                                        -1,
                                        tensor.data().mismatch(tensor.bytes().segment())));
                    }
                } catch (MalformedFileException e) {
                    assertTrue(MESSAGE.matcher(e.getMessage()).matches(), e.getMessage());
                }
            }
        }
    }

    /** The check of bounds itself: a tensor that ends behind the file is noticed. */
    @Test
    void noticesATensorOutsideTheFile() {
        MemorySegment memory = Arena.ofAuto().allocate(64);
        GgufTensor outside = new GgufTensor("t", GgmlType.I8, Shape.of(9), memory.asSlice(8, 9));
        assertThrows(
                AssertionError.class,
                () -> accepted((file, bytes) -> List.of(outside), Bytes.NAME, memory.asSlice(0, 16)));
    }
}
