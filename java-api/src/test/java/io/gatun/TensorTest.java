package io.gatun;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantizedTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class TensorTest {
    private static Tensor iota(long... shape) {
        float[] values = new float[(int) Shape.of(shape).elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = i;
        }
        return Tensor.of(values, shape);
    }

    private static void refused(Executable call, String... parts) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
    }

    @Test
    void allocatesAlignedZeros() {
        for (DType dtype : DType.values()) {
            if (dtype.bits() == 6) {
                continue;
            }
            Tensor tensor = Tensor.allocate(dtype, 3, 5);
            assertEquals(0, tensor.segment().address() % 64);
            assertEquals(3 * dtype.bytes(5), tensor.segment().byteSize());
            float[] zeros = new float[15];
            Arrays.fill(zeros, dtype == DType.E8M0 ? 0x1p-127f : 0);
            assertArrayEquals(zeros, tensor.toFloatArray());
            assertTrue(tensor.isContiguous());
        }
    }

    @Test
    void emptyAndScalar() {
        Tensor empty = Tensor.allocate(DType.F32, 4, 0);
        assertEquals(0, empty.segment().byteSize());
        assertEquals(0, empty.toFloatArray().length);
        assertTrue(empty.isContiguous() && empty.transpose().isContiguous());
        Tensor scalar = Tensor.of(new float[] {7}, new long[0]);
        assertEquals(7, scalar.getFloat());
        assertEquals("f32[] 7.", scalar.toString());
    }

    @Test
    void copiesArrays() {
        float[] values = {1, 2, 3};
        Tensor tensor = Tensor.of(values, 3);
        values[0] = 9;
        assertEquals(1, tensor.getFloat(0));
        assertEquals(-128, Tensor.of(new byte[] {-128, 5}, 2).getInt(0));
        assertEquals(200, Tensor.of(DType.U8, new byte[] {(byte) 200}, 1).getInt(0));
        assertEquals(1 << 30, Tensor.of(new int[] {1 << 30}, 1).getInt(0));
        assertEquals(1.5f, Tensor.of(DType.BF16, new short[] {0x3fc0}, 1).getFloat(0));
        assertEquals(1.5f, Tensor.of(DType.F16, new short[] {0x3e00}, 1).getFloat(0));
        Tensor nibbles = Tensor.of(DType.U4, new byte[] {0x21, 0x03, 0x54, 0x06}, 2, 3);
        assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, nibbles.toFloatArray());
        refused(() -> Tensor.of(new float[2], 3), "values", "2", "3");
        refused(() -> Tensor.of(new int[2], 3), "values", "8 bytes", "12");
        refused(() -> Tensor.of(DType.F32, new short[2], 2), "dtype", "f32", "f16 or bf16");
        refused(() -> Tensor.of(DType.I32, new byte[4], 1), "dtype", "i32", "a type of at most 8 bits");
    }

    @Test
    void roundsWhatItWrites() {
        Tensor bf16 = Tensor.of(DType.BF16, new float[] {1 + 0x1p-8f, 1 + 3 * 0x1p-8f}, 2);
        assertArrayEquals(new float[] {1, 1 + 0x1p-6f}, bf16.toFloatArray());
        Tensor f16 = Tensor.of(DType.F16, new float[] {1 + 0x1p-11f, 1 + 3 * 0x1p-11f}, 2);
        assertArrayEquals(new float[] {1, 1 + 0x1p-9f}, f16.toFloatArray());
        refused(() -> Tensor.allocate(DType.U4, 1).setFloat(16, 0), "16", "0..15");
        refused(() -> Tensor.allocate(DType.I8, 1).setFloat(1.5f, 0), "1.5", "-128..127");
        refused(() -> Tensor.allocate(DType.I32, 1).setFloat(0x1p31f, 0), "2147483647");
        refused(() -> Tensor.allocate(DType.U8, 1).setFloat(Float.NaN, 0), "NaN", "0..255");
        refused(() -> iota(2).getInt(0), "f32", "integer");
    }

    @Test
    void nibblesKeepTheirNeighbours() {
        Tensor tensor = Tensor.allocate(DType.U4, 2, 3);
        for (int i = 0; i < 2; i++) {
            for (int j = 2; j >= 0; j--) {
                tensor.setFloat(15 - i * 3 - j, i, j);
            }
        }
        assertArrayEquals(new float[] {15, 14, 13, 12, 11, 10}, tensor.toFloatArray());
        tensor.setFloat(0, 0, 1);
        assertArrayEquals(new float[] {15, 0, 13, 12, 11, 10}, tensor.toFloatArray());
        assertEquals(0x0d, tensor.segment().get(JAVA_BYTE, 1)); // unused nibble 0
    }

    @Test
    void oddRowsOwnTheirLastNibble() {
        MemorySegment memory = Arena.ofAuto().allocate(3);
        Tensor column = Tensor.wrap(memory, DType.U4, 3, 1);
        assertArrayEquals(new long[] {2, 1}, column.strides());
        assertTrue(column.isContiguous());
        column.copyFrom(new float[] {1, 2, 3});
        assertArrayEquals(new byte[] {1, 2, 3}, memory.toArray(JAVA_BYTE));
        refused(() -> Tensor.wrap(memory, DType.U4, Shape.of(3, 1), 1, 1), "strides", "even");
        refused(() -> Tensor.wrap(memory, DType.U4, 4, 1), "segment", "3 bytes", "4");
    }

    @Test
    void packsElementsSmallerThanAByte() {
        Tensor twos = Tensor.of(DType.U2, new float[] {1, 2, 3, 0, 3, 2, 1, 0, 1, 3}, 2, 5);
        assertArrayEquals(
                new byte[] {0b00111001, 0b11, 0b00000110 | 1 << 6, 0b11},
                twos.segment().toArray(JAVA_BYTE));
        assertArrayEquals(new long[] {8, 1}, twos.strides());
        assertEquals(3, twos.getInt(1, 4));
        assertArrayEquals(new float[] {3}, twos.slice(1, 4, 5).slice(0, 1, 2).toFloatArray());
        refused(() -> twos.slice(1, 2, 5), "begin", "2", "multiples of 4 on the last axis of u2");
        refused(() -> twos.reshape(1, 10), "[1, 10]", "u2");
        refused(twos::transpose, "dtype", "u2");
        Tensor fours = Tensor.of(DType.F4E2M1, new float[] {0.5f, -6, 100}, 1, 3);
        assertArrayEquals(new byte[] {(byte) 0xf1, 7}, fours.segment().toArray(JAVA_BYTE));
        assertArrayEquals(new float[] {0.5f, -6, 6}, fours.toFloatArray());
        Tensor eights = Tensor.of(DType.F8E4M3, new byte[] {0x38, (byte) 0xb8, 0x7f}, 3);
        assertEquals("f8e4m3[3] [ 1., -1., nan]", eights.toString());
        refused(() -> Tensor.of(DType.F4E2M1, new float[] {Float.NaN}, 1), "values[0]", "NaN", "f4e2m1");
        refused(() -> Tensor.of(DType.E8M0, new float[] {3}, 1), "values[0]", "3.0", "a power of two", "e8m0");
        refused(() -> Tensor.allocate(DType.F6E3M2, 4), "dtype", "f6e3m2", "u8 bytes");
        refused(() -> Tensor.wrap(twos.segment(), DType.F6E2M3, Shape.of(4), 1), "dtype", "f6e2m3", "u8 bytes");
    }

    @Test
    void writesAllValuesOrNone() {
        for (DType dtype : new DType[] {DType.I8, DType.U8, DType.I32, DType.U4}) {
            Tensor tensor = Tensor.of(dtype, new float[] {1, 2, 3, 4}, 4);
            refused(
                    () -> tensor.copyFrom(new float[] {9, 9, 0.5f, 9}),
                    "values[2]",
                    "0.5",
                    "an integer",
                    "dtype " + dtype);
            assertArrayEquals(new float[] {1, 2, 3, 4}, tensor.toFloatArray());
        }
    }

    @Test
    void namesWhatIsMissing() {
        Tensor tensor = iota(2, 3);
        missing("values", () -> Tensor.of((float[]) null, 1));
        missing("values", () -> Tensor.of((int[]) null, 1));
        missing("bytes", () -> Tensor.of((byte[]) null, 1));
        missing("patterns", () -> Tensor.of(DType.F16, (short[]) null, 1));
        missing("values", () -> tensor.copyFrom(null));
        missing("shape", () -> Tensor.allocate(DType.F32, (long[]) null));
        missing("shape", () -> tensor.reshape((long[]) null));
        missing("strides", () -> Tensor.wrap(tensor.segment(), DType.F32, tensor.shape(), (long[]) null));
        missing("index", () -> tensor.getFloat((long[]) null));
        missing("index", () -> tensor.setFloat(1, (long[]) null));
        missing("arena", () -> Tensor.allocate((Arena) null, DType.F32, 1));
        missing("dtype", () -> tensor.to((DType) null));
        for (Executable call :
                new Executable[] {() -> tensor.stride(2), () -> tensor.shape().size(2)}) {
            assertMessage(IndexOutOfBoundsException.class, call, "axis: given 2; allowed: 0..1 for shape [2, 3]");
        }
    }

    private static void missing(String argument, Executable call) {
        assertMessage(NullPointerException.class, call, argument + ": given null; allowed: a value");
    }

    private static void assertMessage(Class<? extends Throwable> type, Executable call, String message) {
        assertEquals(message, assertThrows(type, call).getMessage());
    }

    @Test
    void namesArenasThatAreClosedOrForeign(@TempDir Path folder) throws Exception {
        Path file = Files.write(folder.resolve("file"), new byte[8]);
        Arena arena = Arena.ofConfined();
        Tensor tensor = Tensor.allocate(arena, DType.F32, 2);
        QuantizedTensor weights = QuantizedTensor.allocate(QuantSpec.int8(), 2, 2);
        Executable[] allocating = {
            () -> Tensor.allocate(arena, DType.F32, 2),
            () -> Tensor.map(file, 0, DType.F32, arena, 2),
            () -> QuantizedTensor.allocate(arena, QuantSpec.int8(), 2, 2),
            () -> QMatmul.pack(weights, arena)
        };
        Executable[] reading = {
            () -> tensor.getFloat(0),
            () -> tensor.setFloat(1, 0),
            () -> tensor.toFloatArray(),
            () -> tensor.copyFrom(new float[2]),
            () -> tensor.to(DType.BF16)
        };
        Thread other = new Thread(
                () -> {
                    refusedAs(WrongThreadException.class, allocating, "arena: given another thread's confined arena");
                    refusedAs(WrongThreadException.class, reading, "tensor: given memory of another thread's");
                },
                "other");
        AtomicReference<Throwable> failure = new AtomicReference<>();
        other.setUncaughtExceptionHandler((thread, thrown) -> failure.set(thrown));
        other.start();
        other.join();
        assertNull(failure.get(), () -> failure.get().toString());
        arena.close();
        refusedAs(IllegalStateException.class, allocating, "arena: given a closed arena; allowed: an open one");
        refusedAs(
                IllegalStateException.class, reading, "tensor: given memory of a closed arena; allowed: memory whose");
    }

    private static void refusedAs(Class<? extends Throwable> type, Executable[] calls, String start) {
        for (Executable call : calls) {
            String message = assertThrows(type, call).getMessage();
            assertTrue(message.startsWith(start), message);
        }
    }

    @Test
    void refusesSizesBeyondAddresses() {
        MemorySegment memory = Arena.ofAuto().allocate(64);
        refused(() -> Tensor.wrap(memory, DType.U4, 1, Long.MAX_VALUE), "shape", "u4", "strides up to");
        refused(() -> Tensor.wrap(memory, DType.F32, 1, Long.MAX_VALUE), "shape", "f32", "bytes");
        refused(() -> Tensor.wrap(memory, DType.I8, Long.MAX_VALUE, 2), "shape", "at most", "elements");
        refused(() -> Tensor.wrap(memory, DType.I8, Shape.of(2, 2), Long.MAX_VALUE, 1), "shape", "bytes");
        assertEquals(
                4,
                Tensor.wrap(memory, DType.I8, Shape.of(1, 4), Long.MAX_VALUE, 1)
                        .segment()
                        .byteSize());
    }

    @Test
    void wrapsSegments() {
        MemorySegment memory = Arena.ofAuto().allocate(64, 64);
        Tensor tensor = Tensor.wrap(memory.asSlice(8), DType.F32, 2, 3);
        tensor.setFloat(5, 1, 2);
        assertEquals(5, memory.get(JAVA_FLOAT, 8 + 20));
        Tensor strided = Tensor.wrap(memory, DType.F32, Shape.of(2, 3), 7, 2);
        strided.setFloat(6, 1, 2);
        assertEquals(6, memory.get(JAVA_FLOAT, 4 * (7 + 4)));
        assertEquals(48, strided.segment().byteSize());
        assertEquals("f32[2, 3] strides [7, 2]", strided.describe());

        refused(() -> Tensor.wrap(MemorySegment.ofArray(new float[6]), DType.F32, 2, 3), "segment", "heap", "native");
        refused(() -> Tensor.wrap(memory, DType.F32, 17), "segment", "64 bytes", "68 for f32[17]");
        refused(() -> Tensor.wrap(memory, DType.F32, Shape.of(2, 3), 15, 1), "64 bytes", "at least 72");
        refused(() -> Tensor.wrap(memory.asSlice(2), DType.F32, 2), "address 0x", "a multiple of 4");
        refused(() -> Tensor.wrap(memory, DType.F32, Shape.of(2, 3), -1, 1), "strides", "[-1, 1]", ">= 0");
        refused(() -> Tensor.wrap(memory, DType.F32, Shape.of(2, 3), 3), "strides", "2 strides");
        refused(() -> Tensor.wrap(memory, DType.U4, Shape.of(2, 3), 3, 1), "strides", "even");
        refused(() -> Tensor.wrap(memory, DType.F32, Shape.of(1L << 40, 2), 1L << 40, 1), "bytes");
        assertThrows(NullPointerException.class, () -> Tensor.wrap((MemorySegment) null, DType.F32, 1));
    }

    @Test
    void wrapsDirectBuffersFromTheirPosition() {
        ByteBuffer buffer = ByteBuffer.allocateDirect(64).order(ByteOrder.nativeOrder());
        buffer.putFloat(16, 3).position(16);
        Tensor tensor = Tensor.wrap(buffer, DType.F32, 3);
        assertEquals(3, tensor.getFloat(0));
        tensor.setFloat(4, 2);
        assertEquals(4, buffer.getFloat(24));
        buffer.position(0).limit(4);
        assertEquals(4, tensor.getFloat(2));
        refused(() -> Tensor.wrap(buffer, DType.F32, 2), "buffer", "4 bytes", "8");
        refused(() -> Tensor.wrap(ByteBuffer.allocate(64), DType.F32, 2), "buffer", "heap", "direct");
        buffer.position(1).limit(64);
        refused(() -> Tensor.wrap(buffer, DType.F32, 2), "buffer", "address", "multiple of 4");
    }

    @Test
    void mapsFiles(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("weights");
        ByteBuffer content = ByteBuffer.allocate(40).order(ByteOrder.nativeOrder());
        for (int i = 0; i < 10; i++) {
            content.putFloat(i);
        }
        Files.write(file, content.array());
        Tensor mapped;
        try (Arena arena = Arena.ofConfined()) {
            mapped = Tensor.map(file, 8, DType.F32, arena, 2, 4);
            assertArrayEquals(new float[] {2, 3, 4, 5, 6, 7, 8, 9}, mapped.toFloatArray());
            refused(() -> mapped.setFloat(1, 0, 0), "tensor", "read-only", "writable");
            refused(() -> mapped.copyFrom(new float[8]), "tensor", "read-only", "writable");
            refused(() -> Tensor.map(file, 12, DType.F32, arena, 2, 4), "offset", "12", "40 bytes", "0..8");
            refused(() -> Tensor.map(file, -4, DType.F32, arena, 1), "offset", "-4");
            refused(() -> Tensor.map(file, 0, DType.F32, arena, 11), "offset", "at least 44 bytes");
            refused(() -> Tensor.map(file, 2, DType.F32, arena, 1), "offset", "multiple of 4");
            assertEquals(0, Tensor.map(file, 40, DType.F32, arena, 0).toFloatArray().length);
            assertThrows(NoSuchFileException.class, () -> Tensor.map(folder.resolve("none"), 0, DType.F32, arena, 1));
        }
        assertThrows(IllegalStateException.class, () -> mapped.getFloat(0, 0));
    }

    @Test
    void exchangesTwoAxes() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2);
        Tensor y = x.transpose(0, 1);
        assertEquals(Shape.of(3, 2, 2), y.shape());
        assertArrayEquals(new float[] {1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12}, y.toFloatArray());
        assertEquals(x.address(), y.address());
        assertArrayEquals(x.toFloatArray(), x.transpose(2, 2).toFloatArray());
        assertThrows(IndexOutOfBoundsException.class, () -> x.transpose(3, 0));
        assertThrows(IndexOutOfBoundsException.class, () -> x.transpose(0, -1));
        Tensor packed = Tensor.allocate(DType.U4, 2, 3, 4);
        assertEquals(Shape.of(3, 2, 4), packed.transpose(1, 0).shape());
        assertThrows(IllegalArgumentException.class, () -> packed.transpose(0, 2));
    }

    @Test
    void slicesAndTransposesWithoutCopying() {
        Tensor tensor = iota(4, 6);
        Tensor part = tensor.slice(0, 1, 3).slice(1, 2, 5);
        assertArrayEquals(new float[] {8, 9, 10, 14, 15, 16}, part.toFloatArray());
        assertFalse(part.isContiguous());
        Tensor turned = part.transpose();
        assertEquals(Shape.of(3, 2), turned.shape());
        assertArrayEquals(new long[] {1, 6}, turned.strides());
        assertArrayEquals(new float[] {8, 14, 9, 15, 10, 16}, turned.toFloatArray());
        turned.setFloat(-1, 2, 1);
        assertEquals(-1, tensor.getFloat(2, 4));
        turned.copyFrom(new float[] {1, 2, 3, 4, 5, 6});
        assertArrayEquals(new float[] {1, 3, 5, 2, 4, 6}, part.toFloatArray());
        assertTrue(tensor.slice(0, 1, 3).isContiguous());
        assertEquals(0, tensor.slice(1, 6, 6).toFloatArray().length);
        assertArrayEquals(new long[] {1, 4, 12}, iota(2, 3, 4).transpose().strides());

        Tensor nibbles = Tensor.of(DType.U4, new byte[] {0x21, 0x43, 0x05}, 1, 5);
        assertArrayEquals(new float[] {3, 4, 5}, nibbles.slice(1, 2, 5).toFloatArray());
        refused(() -> nibbles.slice(1, 1, 5), "begin", "1", "even");
        refused(() -> nibbles.slice(1, 0, 3), "end", "3", "even", "its size 5");
        refused(() -> Tensor.allocate(DType.U4, 8).slice(0, 0, 1), "end", "1", "even");
        assertFalse(Tensor.allocate(DType.U4, 2, 8).slice(1, 0, 6).isContiguous());
        refused(nibbles::transpose, "dtype", "u4");
        refused(() -> tensor.slice(2, 0, 1), "axis", "2", "0..1");
        refused(() -> tensor.slice(1, 3, 7), "slice", "3..7", "0..6");
        refused(() -> tensor.slice(1, 4, 3), "slice", "4..3");
    }

    @Test
    void reshapesAndMakesContiguous() {
        Tensor tensor = iota(2, 6);
        assertArrayEquals(tensor.toFloatArray(), tensor.reshape(3, 2, 2).toFloatArray());
        assertSame(tensor, tensor.contiguous());
        Tensor turned = tensor.transpose();
        Tensor copy = turned.contiguous();
        assertNotSame(turned, copy);
        assertTrue(copy.isContiguous());
        assertArrayEquals(turned.toFloatArray(), copy.toFloatArray());
        refused(() -> turned.reshape(12), "strides [1, 6]", "contiguous");
        refused(() -> tensor.reshape(5), "[5]", "12 elements");
        Tensor odd = Tensor.allocate(DType.U4, 2, 3);
        refused(() -> odd.reshape(6), "[6]", "u4");
        assertEquals(Shape.of(1, 2, 3), odd.reshape(1, 2, 3).shape());
        int[] large = {16777217, -16777219};
        assertEquals(16777217, Tensor.of(large, 1, 2).transpose().to(DType.I32).getInt(0, 0));
        assertArrayEquals(
                new float[] {1, 2},
                Tensor.of(new float[] {1, 2}, 2).to(DType.U8).toFloatArray());
    }

    @Test
    void refusesWrongIndices() {
        Tensor tensor = iota(2, 3);
        refused(() -> tensor.getFloat(1), "index", "[1]", "2 numbers");
        String message = assertThrows(IndexOutOfBoundsException.class, () -> tensor.getFloat(1, 3))
                .getMessage();
        assertTrue(message.contains("[1, 3]") && message.contains("[2, 3]"), message);
        assertThrows(IndexOutOfBoundsException.class, () -> tensor.setFloat(0, -1, 0));
    }

    @Test
    void textIsForPeople() {
        assertEquals("f32[3] [0., 1., 2.]", iota(3).toString());
        assertEquals("f32[2, 3]\n[[0., 1., 2.],\n [3., 4., 5.]]", iota(2, 3).toString());
        assertEquals(
                "f32[3, 2] strides [1, 3]\n[[0., 3.],\n [1., 4.],\n [2., 5.]]",
                iota(2, 3).transpose().toString());
        assertEquals(
                "i8[2, 2]\n[[  1, -10],\n [100,   0]]",
                Tensor.of(new byte[] {1, -10, 100, 0}, 2, 2).toString());
        float[] special = {1 / 3f, -1e-6f, Float.NaN, Float.NEGATIVE_INFINITY, 123456789};
        assertEquals(
                "f32[5] [    0.33333, -1.0000e-06,         nan,        -inf,  1.2346e+08]",
                Tensor.of(special, 5).toString());
        String[] lines = iota(100, 50).toString().split("\n");
        assertEquals(8, lines.length);
        assertEquals("[[   0.,    1.,    2., ...,   47.,   48.,   49.],", lines[1]);
        assertEquals(" ...,", lines[4]);
        assertEquals("f32[0] []", iota(0).toString());
        assertEquals("[[],\n []]", iota(2, 0).toString().substring("f32[2, 0]\n".length()));
        assertTrue(Tensor.allocate(DType.F32, 1L << 40, 0).toString().length() < 200);
        Tensor closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = Tensor.allocate(arena, DType.F32, 2);
        }
        assertEquals("f32[2] (closed)", closed.toString());
    }

    @Test
    void addressesMoreThanTwoToThe31Elements(@TempDir Path folder) throws IOException {
        // A file with a hole: it takes neither disk nor memory.
        long columns = (1L << 31) + 3;
        Path file = folder.resolve("hole");
        try (FileChannel channel = FileChannel.open(
                file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.SPARSE)) {
            channel.write(ByteBuffer.wrap(new byte[] {7}), columns - 1);
        }
        try (Arena arena = Arena.ofConfined()) {
            Tensor tensor = Tensor.map(file, 0, DType.I8, arena, 1, columns);
            assertEquals(7, tensor.getInt(0, columns - 1));
            assertEquals(7, tensor.slice(1, columns - 2, columns).getInt(0, 1));
        }
    }
}
