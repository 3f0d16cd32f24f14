package io.gatun.files;

import static io.gatun.files.GgufSamples.ARRAY;
import static io.gatun.files.GgufSamples.STRING;
import static io.gatun.files.GgufSamples.head;
import static io.gatun.files.GgufSamples.key;
import static io.gatun.files.GgufSamples.tensor;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.gatun.Shape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** What files state allocates nothing on the heap before the file is known to hold it; data passes by the heap. */
class AllocationTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    @TempDir
    Path folder;

    private static long allocated(Executable call) throws Throwable {
        long before = THREADS.getCurrentThreadAllocatedBytes();
        call.execute();
        return THREADS.getCurrentThreadAllocatedBytes() - before;
    }

    /** What the first use of classes takes is not counted. */
    @BeforeAll
    static void useEverything() throws IOException {
        for (int seed = 0; seed < 1000; seed++) {
            SplittableRandom random = new SplittableRandom(seed);
            MemorySegment gguf =
                    Bytes.segment(Mutations.of(GgufSamples.everything(3).array(), random));
            MutationTest.accepted(MutationTest::useGguf, Bytes.NAME, gguf);
            MemorySegment safetensors =
                    Bytes.segment(Mutations.of(SafetensorsTest.sample().array(), random));
            MutationTest.accepted(MutationTest::useSafetensors, Bytes.NAME, safetensors);
        }
    }

    /** Some tens of bytes for each byte of a file, and what an exception takes. */
    private static long most(long fileBytes) {
        return 200_000 + 100 * fileBytes;
    }

    @Test
    void seesAnAllocation() throws Throwable {
        byte[][] kept = new byte[1][];
        assertTrue(allocated(() -> kept[0] = new byte[1 << 20]) >= 1 << 20);
    }

    @Test
    void absurdCounts() throws Throwable {
        for (long count : new long[] {1L << 31, 1L << 33, 1L << 60, Long.MAX_VALUE, -1}) {
            for (Bytes file : List.of(
                    head(3, count, 0).zeros(100),
                    head(3, 0, count).zeros(100),
                    head(3, 0, 1).u64(count).zeros(100),
                    key(head(3, 0, 1), "k", STRING).u64(count).zeros(100),
                    key(head(3, 0, 1), "k", ARRAY).u32(STRING).u64(count).zeros(100),
                    key(head(3, 0, 1), "k", ARRAY).u32(ARRAY).u64(count).zeros(100),
                    key(head(3, 0, 1), "k", ARRAY).u32(0).u64(count).zeros(100),
                    head(3, 1, 0).string("t").u32(count | 5).zeros(100),
                    tensor(head(3, 1, 0), "t", 24, 0, count).zeros(100))) {
                MemorySegment bytes = file.segment();
                long heap = allocated(() ->
                        assertThrows(MalformedFileException.class, () -> new GgufReader(Bytes.NAME, bytes).read()));
                assertTrue(heap < most(bytes.byteSize()), heap + " bytes for count " + count);
            }
            MemorySegment bytes = new Bytes().u64(count).text("{}").segment();
            long heap = allocated(() ->
                    assertThrows(MalformedFileException.class, () -> new SafetensorsReader(Bytes.NAME, bytes).read()));
            assertTrue(heap < most(bytes.byteSize()), heap + " bytes for length " + count);
        }
    }

    @Test
    void damagedFiles() throws Throwable {
        byte[] gguf = GgufSamples.everything(3).array();
        byte[] safetensors = SafetensorsTest.sample().array();
        for (int seed = 0; seed < 10_000; seed++) {
            MemorySegment damaged = Bytes.segment(Mutations.of(gguf, new SplittableRandom(seed)));
            long heap = allocated(() -> MutationTest.accepted(MutationTest::useGguf, Bytes.NAME, damaged));
            assertTrue(heap < most(damaged.byteSize()), heap + " bytes for GGUF, seed " + seed);
            MemorySegment other = Bytes.segment(Mutations.of(safetensors, new SplittableRandom(seed)));
            heap = allocated(() -> MutationTest.accepted(MutationTest::useSafetensors, Bytes.NAME, other));
            assertTrue(heap < most(other.byteSize()), heap + " bytes for safetensors, seed " + seed);
        }
    }

    /** A vocabulary in metadata stays in the file until it is asked for. */
    @Test
    void arraysStayInTheFile() throws Throwable {
        Bytes file = key(head(3, 0, 2), "tokens", ARRAY).u32(STRING).u64(100_000);
        for (int i = 0; i < 100_000; i++) {
            file.string("token");
        }
        MemorySegment bytes =
                key(file, "scores", ARRAY).u32(6).u64(100_000).zeros(400_000).segment();
        new GgufReader(Bytes.NAME, bytes).read();
        long heap = allocated(() -> new GgufReader(Bytes.NAME, bytes).read());
        assertTrue(heap < 100_000, heap + " bytes");
    }

    @Test
    void dataIsStreamed() throws Throwable {
        long size = 64 << 20;
        Path path = folder.resolve("large");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(size);
            List<GgufTensor> gguf = List.of(new GgufTensor("t", GgmlType.I8, Shape.of(size), data));
            List<SafetensorsTensor> safetensors =
                    List.of(new SafetensorsTensor("t", SafetensorsType.I8, Shape.of(size), data));
            for (Executable write : List.<Executable>of(
                    () -> Gguf.write(path, Map.of(), gguf), () -> Safetensors.write(path, Map.of(), safetensors))) {
                long heap = allocated(write);
                assertTrue(heap < 1_000_000, heap + " bytes");
                assertTrue(Files.size(path) > size);
            }
        }
        assertMapped(path, size);
    }

    private static void assertMapped(Path path, long size) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            assertTrue(Safetensors.open(path, arena).tensor("t").data().byteSize() == size);
        }
    }
}
