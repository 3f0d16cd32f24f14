package io.gatun.devices;

import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;

/** A device that does no work; what a test is about it overrides. */
public abstract class FakeDevice extends Device {
    private final String name;
    private final DeviceStream stream = new DeviceStream(this) {
        @Override
        public MemorySegment handle() {
            return MemorySegment.NULL;
        }

        @Override
        public synchronized void queue(Runnable work) {
            work.run();
        }

        @Override
        public void synchronize() {
            FakeDevice.this.synchronize();
        }

        @Override
        protected void transfer(Tensor from, Tensor to) {
            FakeDevice.this.transfer(from, to);
        }
    };

    /** With the name that messages have. */
    protected FakeDevice(String name) {
        this.name = name;
    }

    /** What a copy does: nothing. */
    protected void transfer(Tensor from, Tensor to) {}

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
