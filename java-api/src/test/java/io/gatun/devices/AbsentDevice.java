package io.gatun.devices;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.bindings.NativeMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;

/** A device whose memory is at addresses that no processor maps: whoever reads it on the CPU ends the program. */
final class AbsentDevice extends Device {
    private static final AtomicLong NEXT = new AtomicLong(0x4000_0000_0000_0000L);

    private final String name;
    private final DeviceStream stream = new DeviceStream(this) {
        @Override
        public MemorySegment handle() {
            return MemorySegment.NULL;
        }

        @Override
        public void synchronize() {}

        @Override
        public synchronized void queue(Runnable work) {
            work.run();
        }

        @Override
        protected void transfer(Tensor from, Tensor to) {
            throw new UnsupportedOperationException("copied " + from.byteSize() + " bytes");
        }
    };

    AbsentDevice(String name) {
        this.name = name;
    }

    Tensor tensor(DType dtype, long... shape) {
        return allocate(Arena.global(), dtype, shape);
    }

    @Override
    protected MemorySegment memory(Arena arena, long bytes, boolean zeros) {
        return NativeMemory.at(NEXT.getAndAdd(Math.ceilDiv(bytes, 256L) * 256), bytes, arena, null);
    }

    @Override
    public DeviceStream stream() {
        return stream;
    }

    @Override
    public void synchronize() {}

    @Override
    public int index() {
        return 0;
    }

    @Override
    public String toString() {
        return name;
    }
}
