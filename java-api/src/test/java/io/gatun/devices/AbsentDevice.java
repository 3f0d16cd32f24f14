package io.gatun.devices;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.NativeMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;

/** A device whose memory is at addresses that no processor maps: whoever reads it on the CPU ends the program. */
final class AbsentDevice extends FakeDevice {
    private static final AtomicLong NEXT = new AtomicLong(0x4000_0000_0000_0000L);

    AbsentDevice(String name) {
        super(name);
    }

    Tensor tensor(DType dtype, long... shape) {
        return allocate(Arena.global(), dtype, shape);
    }

    @Override
    protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
        return NativeMemory.at(NEXT.getAndAdd(Math.ceilDiv(bytes, 256L) * 256), bytes, arena, null);
    }

    @Override
    protected void transfer(Tensor from, Tensor to) {
        throw new UnsupportedOperationException("copied " + from.byteSize() + " bytes");
    }
}
