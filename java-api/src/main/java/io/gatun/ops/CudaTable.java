package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The pages of sequences on an NVIDIA GPU, as {@link Decode} takes them; launches carry what has changed there. For one
 * thread at a time.
 */
final class CudaTable {
    private static final long LEAST = 64;

    private Tensor host;
    /** What is there when the work is done that {@link #stream} has. */
    private Tensor stored;

    private Tensor there;
    private DeviceStream stream;

    /** [items, 1, the most pages of an item], valid until the next call. */
    Tensor of(Device device, List<KvSegment> segments) {
        int most = 0;
        for (KvSegment segment : segments) {
            most = Math.max(most, segment.count());
        }
        long count = (long) segments.size() * most;
        if (there == null || there.shape().size(0) < count) {
            long room = Math.max(2 * count, LEAST); // even, as they are stored in pairs
            host = Tensor.allocate(DType.I32, room);
            stored = Tensor.allocate(DType.I32, room);
            there = device.allocate(DType.I32, room);
            stream = null;
        }
        for (int b = 0; b < segments.size(); b++) {
            segments.get(b).copyPages(host.segment(), (long) b * most);
        }
        store(device.stream(), Math.ceilDiv(count, 2L));
        return there.slice(0, 0, count).reshape(segments.size(), 1, most);
    }

    private void store(DeviceStream now, long pairs) {
        MemorySegment changed = host.segment().asSlice(0, pairs * Long.BYTES);
        MemorySegment before = stored.segment().asSlice(0, pairs * Long.BYTES);
        if (now == stream && before.mismatch(changed) < 0) {
            return;
        }
        now.queue(() -> CudaCall.store(now, there.pointer(), changed, pairs));
        before.copyFrom(changed);
        stream = now;
    }
}
