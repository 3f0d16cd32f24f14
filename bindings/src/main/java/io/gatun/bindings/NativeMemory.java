package io.gatun.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Memory that was not allocated by Java: the only place that makes segments of addresses. */
public final class NativeMemory {
    private NativeMemory() {}

    /**
     * Memory at an address, of which nothing is checked, as long as the arena is open.
     *
     * @param release runs when the arena has closed, or null
     */
    public static MemorySegment at(long address, long bytes, Arena arena, Runnable release) {
        return MemorySegment.ofAddress(address)
                .reinterpret(bytes, arena, release == null ? null : memory -> release.run());
    }
}
