package io.gatun.bench;

import static io.gatun.bindings.c.gatun_h.gatun_prefer_huge_pages;

import io.gatun.bindings.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Memory on huge pages where the system gives them, as Gatun's packed weights are. */
public final class HugePages {
    /** Peers' vectors are no longer than a cache line. */
    public static final long ALIGNMENT = 64;

    private HugePages() {}

    /** Zeros in memory of an arena. */
    public static MemorySegment allocate(Arena arena, long bytes) {
        MemorySegment memory = arena.allocate(bytes, ALIGNMENT);
        NativeLibrary.load();
        if (gatun_prefer_huge_pages(memory, bytes) != 0) {
            throw new IllegalStateException("huge pages under " + bytes + " bytes are refused");
        }
        return memory;
    }
}
