package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Memory that steps read from end to end has the pages that they need, where the kernel has such. */
class HugePagesTest {
    private static final Pattern RANGE = Pattern.compile("([0-9a-f]+)-([0-9a-f]+) ");

    @Test
    void gradientsAndStatePreferHugePages() throws IOException {
        boolean there = Files.exists(Path.of("/sys/kernel/mm/transparent_hugepage"));
        Parameter w = Parameter.of("w", Tensor.allocate(DType.F32, 4 << 20));
        Optimizer adam = Optimizer.adam(w);
        assertEquals(there, prefersHugePages(w.gradient()), "gradient");
        assertEquals(there, prefersHugePages(adam.state().get("w.state1")), "state 1");
        assertEquals(there, prefersHugePages(adam.state().get("w.state2")), "state 2");
    }

    @Test
    void poolsPreferHugePages() throws IOException {
        boolean there = Files.exists(Path.of("/sys/kernel/mm/transparent_hugepage"));
        try (KvPool pool = KvPool.allocate(KvFormat.int4(16), 8, 4096, 16, 128)) {
            assertEquals(there, prefersHugePages(pool.rows()), "codes");
            assertEquals(there, prefersHugePages(pool.scales()), "scales");
            assertEquals(there, prefersHugePages(pool.zeroPoints()), "zero points");
        }
    }

    /** The advice that the mapping has got; of its middle, as ends may share pages with others. */
    private static boolean prefersHugePages(Tensor tensor) throws IOException {
        MemorySegment memory = tensor.segment();
        long at = memory.address() + memory.byteSize() / 2;
        boolean here = false;
        for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
            if (line.startsWith("VmFlags:") && here) {
                return line.contains(" hg");
            }
            Matcher range = RANGE.matcher(line);
            if (range.lookingAt()) {
                here = Long.parseUnsignedLong(range.group(1), 16) <= at
                        && at < Long.parseUnsignedLong(range.group(2), 16);
            }
        }
        throw new AssertionError("no mapping");
    }
}
