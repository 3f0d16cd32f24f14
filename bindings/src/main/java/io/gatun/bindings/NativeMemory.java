package io.gatun.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;

/** Memory that was not allocated by Java: the only place that makes segments of addresses. */
public final class NativeMemory {
    private static final int LONGEST_WAIT_MILLISECONDS = 256;

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

    /**
     * New memory of an allocator that the garbage collector knows nothing of, as long as the arena is open. Where there is
     * none, memory whose segments nothing refers to any more is freed first, as the JDK does for its own.
     *
     * @param allocate returns an address, or 0 if there is no memory
     * @param free takes the address when the arena has closed
     * @return null if there is no memory
     */
    public static MemorySegment allocate(long bytes, Arena arena, LongSupplier allocate, LongConsumer free) {
        long address = allocate.getAsLong();
        boolean interrupted = false;
        for (int wait = 1; address == 0 && wait <= LONGEST_WAIT_MILLISECONDS; wait *= 2) {
            if (wait == 1) {
                System.gc();
            }
            try {
                Thread.sleep(wait); // other threads run the releases
            } catch (InterruptedException e) {
                interrupted = true; // the caller sees it later
            }
            address = allocate.getAsLong();
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (address == 0) {
            return null;
        }
        long taken = address;
        try {
            return at(taken, bytes, arena, () -> free.accept(taken));
        } catch (RuntimeException e) {
            free.accept(taken); // the arena refused it
            throw e;
        }
    }
}
