package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_kv_cache_move;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_kv_cache_move_workspace_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_kv_cache_read;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_kv_cache_write;

import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.KvFormat.Scaling;
import java.lang.foreign.MemorySegment;

/** {@link KvPool} on an NVIDIA GPU, of arguments that are checked but for slots. Launches carry these. */
final class CudaKvPool {
    /** Numbers of a {@code gatun_cuda_faults}. */
    private static final int FAULTS = 2;

    private CudaKvPool() {}

    /** Waits for the work if values become codes, to know whether there is one that has none. */
    static void write(KvPool pool, MemorySegment params, Tensor x, long[] slots, MemorySegment host) {
        checkSlots(pool, "slots", slots, -1, true);
        DeviceStream stream = pool.device().stream();
        if (pool.scales() == null) {
            long bytes = CudaCall.aligned(FAULTS) + CudaCall.aligned(slots.length);
            CudaCall.queue(stream, bytes, workspace -> write(pool, params, x, slots, host, stream, workspace));
            return;
        }
        long[] faults = CudaCall.found(
                stream,
                FAULTS,
                CudaCall.aligned(slots.length),
                workspace -> write(pool, params, x, slots, host, stream, workspace));
        refuse(faults[0], faults[1], x, pool);
    }

    private static int write(
            KvPool pool,
            MemorySegment params,
            Tensor x,
            long[] slots,
            MemorySegment host,
            DeviceStream stream,
            Tensor workspace) {
        MemorySegment there = CudaCall.own(workspace, FAULTS);
        CudaCall.store(stream, there, host, slots.length);
        return gatun_cuda_kv_cache_write(
                params,
                pool.layout(),
                x.pointer(),
                there,
                pool.rows().pointer(),
                Native.pointer(pool.scales()),
                Native.pointer(pool.zeroPoints()),
                workspace.pointer(),
                stream.handle());
    }

    /** The first value or scale that has no code, if there is one. */
    private static void refuse(long value, long block, Tensor x, KvPool pool) {
        long tokens = x.shape().size(1);
        long size = x.shape().size(2);
        if (value >= 0) {
            long row = value / size;
            throw Check.invalid(
                    "x[" + row / tokens + ", " + row % tokens + ", " + value % size + "]",
                    "NaN or infinity",
                    "finite values, as they become codes");
        }
        if (block >= 0) {
            boolean perChannel = pool.format().scaling() == Scaling.PER_CHANNEL;
            long columns = pool.scales().shape().size(3);
            long rows = perChannel ? tokens / pool.format().group() : tokens;
            long row = block / columns;
            String place = perChannel
                    ? ", group " + row % rows + " of tokens, channel " + block % columns
                    : ", token " + row % rows + ", group " + block % columns + " of channels";
            throw Check.invalid(
                    "x", "values of head " + row / rows + place + " whose scale overflows", "scales that fit f16");
        }
    }

    static void read(KvPool pool, MemorySegment params, long[] slots, MemorySegment host, Tensor x) {
        checkSlots(pool, "slots", slots, -1, false);
        DeviceStream stream = pool.device().stream();
        CudaCall.queue(stream, CudaCall.aligned(slots.length), workspace -> {
            CudaCall.store(stream, workspace.pointer(), host, slots.length);
            return gatun_cuda_kv_cache_read(
                    params,
                    pool.layout(),
                    pool.rows().pointer(),
                    Native.pointer(pool.scales()),
                    Native.pointer(pool.zeroPoints()),
                    workspace.pointer(),
                    x.pointer(),
                    stream.handle());
        });
    }

    static void move(KvPool pool, long[] from, MemorySegment hostFrom, long[] to, MemorySegment hostTo) {
        checkSlots(pool, "from", from, 0, true);
        checkSlots(pool, "to", to, 0, true);
        DeviceStream stream = pool.device().stream();
        long bytes = CudaCall.bytes(size -> gatun_cuda_kv_cache_move_workspace_bytes(pool.layout(), from.length, size));
        long slots = CudaCall.aligned(from.length);
        CudaCall.queue(stream, 2 * slots + bytes, workspace -> {
            MemorySegment there = CudaCall.at(workspace, slots);
            CudaCall.store(stream, workspace.pointer(), hostFrom, from.length);
            CudaCall.store(stream, there, hostTo, to.length);
            return gatun_cuda_kv_cache_move(
                    pool.layout(),
                    from.length,
                    workspace.pointer(),
                    there,
                    pool.rows().pointer(),
                    Native.pointer(pool.scales()),
                    Native.pointer(pool.zeroPoints()),
                    CudaCall.at(workspace, 2 * slots),
                    bytes,
                    stream.handle());
        });
    }

    /** What the CPU's functions look at, and a GPU's cannot: they would leave such tokens out. */
    private static void checkSlots(KvPool pool, String name, long[] slots, long least, boolean groups) {
        long end = (long) pool.pages() * pool.pageSize();
        long group = groups && pool.format().scaling() == Scaling.PER_CHANNEL
                ? pool.format().group()
                : 1;
        if (slots.length % group != 0) {
            throw Check.invalid(name, slots.length + " slots", "multiples of " + group + ", the tokens of a scale");
        }
        for (int i = 0; i < slots.length; i++) {
            if (slots[i] < least || slots[i] >= end) {
                throw Check.invalid(name + "[" + i + "]", slots[i], least + ".." + (end - 1));
            }
            boolean first = i % group == 0;
            long wanted = first || slots[i - 1] == -1 ? -1 : slots[i - 1] + 1;
            if (group > 1 && (first ? slots[i] >= 0 && slots[i] % group != 0 : slots[i] != wanted)) {
                throw Check.invalid(
                        name + "[" + i + "]",
                        slots[i],
                        first ? "multiples of " + group + ", for the first of a group" : wanted + ", in its group");
            }
        }
    }
}
