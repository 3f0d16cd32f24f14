package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_decode;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_decode_choose;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_decode_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_decode_scores;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_decode_workspace_bytes;

import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Decode.Options;
import java.lang.foreign.MemorySegment;

/**
 * {@link Decode} on an NVIDIA GPU, of arguments that are checked. Lengths, which are on the CPU, are carried by
 * launches.
 */
final class CudaDecode {
    private static final long EXPLAIN_BYTES = 2048;

    private CudaDecode() {}

    static void run(
            MemorySegment params,
            Tensor q,
            KvPool k,
            KvPool v,
            Tensor table,
            long[] lengths,
            Tensor out,
            Options options) {
        checkLengths(lengths, DecodeCall.room(k, table));
        DeviceStream stream = q.device().stream();
        MemorySegment host = DecodeCall.lengths(lengths);
        MemorySegment values = v == null ? MemorySegment.NULL : v.layout();
        long bytes = CudaCall.bytes(size -> gatun_cuda_decode_workspace_bytes(
                params, k.layout(), values, q.device().index(), size));
        long before = CudaCall.aligned(lengths.length);
        CudaCall.queue(stream, before + bytes, workspace -> {
            CudaCall.store(stream, workspace.pointer(), host, lengths.length);
            return gatun_cuda_decode(
                    params,
                    k.layout(),
                    values,
                    q.pointer(),
                    k.rows().pointer(),
                    Native.pointer(k.scales()),
                    Native.pointer(k.zeroPoints()),
                    v == null ? MemorySegment.NULL : v.rows().pointer(),
                    v == null ? MemorySegment.NULL : Native.pointer(v.scales()),
                    v == null ? MemorySegment.NULL : Native.pointer(v.zeroPoints()),
                    Native.pointer(table),
                    workspace.pointer(),
                    Native.pointer(options.slopes()),
                    Native.pointer(options.sinks()),
                    Native.pointer(out),
                    Native.pointer(options.lse()),
                    Native.pointer(options.logits()),
                    CudaCall.at(workspace, before),
                    bytes,
                    stream.handle());
        });
    }

    static String explain(MemorySegment params, Tensor q, KvPool k, KvPool v) {
        MemorySegment values = v == null ? MemorySegment.NULL : v.layout();
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_decode_explain(
                        params, k.layout(), values, q.device().index(), text, EXPLAIN_BYTES));
    }

    static void scores(MemorySegment params, Tensor logits, Tensor lse, long[] lengths, Tensor scores) {
        DeviceStream stream = logits.device().stream();
        MemorySegment host = DecodeCall.lengths(lengths);
        CudaCall.queue(stream, CudaCall.aligned(lengths.length), workspace -> {
            CudaCall.store(stream, workspace.pointer(), host, lengths.length);
            return gatun_cuda_decode_scores(
                    params, logits.pointer(), lse.pointer(), workspace.pointer(), scores.pointer(), stream.handle());
        });
    }

    /** Waits for the work, which the lengths come from. */
    static void choose(
            MemorySegment params,
            Tensor scores,
            Tensor table,
            long[] lengths,
            int pageSize,
            Tensor chosen,
            long[] chosenLengths) {
        long pages = table.shape().size(2);
        if (scores.shape().size(2) < pages) {
            throw Check.invalid(
                    "scores", "shape " + scores.shape(), pages + " on the last axis, the pages of a row of the table");
        }
        checkLengths(lengths, pages * pageSize);
        DeviceStream stream = scores.device().stream();
        MemorySegment host = DecodeCall.lengths(lengths);
        int count = chosenLengths.length;
        long[] found = CudaCall.found(stream, count, CudaCall.aligned(lengths.length), workspace -> {
            MemorySegment there = CudaCall.own(workspace, count);
            CudaCall.store(stream, there, host, lengths.length);
            return gatun_cuda_decode_choose(
                    params,
                    scores.pointer(),
                    table.pointer(),
                    there,
                    chosen.pointer(),
                    workspace.pointer(),
                    stream.handle());
        });
        System.arraycopy(found, 0, chosenLengths, 0, count);
    }

    /** Kernels would take them for others. */
    private static void checkLengths(long[] lengths, long most) {
        for (int i = 0; i < lengths.length; i++) {
            if (lengths[i] < 0 || lengths[i] > most) {
                throw Check.invalid(
                        "lengths[" + i + "]", lengths[i], "0.." + most + ", the keys of the pages of an item");
            }
        }
    }
}
