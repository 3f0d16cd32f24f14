package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A native copy of an array, in memory that grows to the longest one and is then used again. */
final class NativeLongs {
    private MemorySegment memory = MemorySegment.NULL;

    /** The copy, or more than that; valid until the next call. */
    MemorySegment of(long[] values) {
        MemorySegment copy = atLeast(values.length);
        MemorySegment.copy(values, 0, copy, JAVA_LONG, 0, values.length);
        return copy;
    }

    /** Room for so many, of any content. */
    MemorySegment atLeast(int count) {
        if (memory.byteSize() < JAVA_LONG.byteSize() * Math.max(count, 1)) {
            memory = Arena.ofAuto().allocate(JAVA_LONG, Math.max(2L * count, 16));
        }
        return memory;
    }
}
