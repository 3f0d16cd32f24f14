package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_merge;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_workspace_bytes;

import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Native;
import io.gatun.ops.Attention.Options;
import java.lang.foreign.MemorySegment;

/** {@link Attention} on an NVIDIA GPU, of arguments that are checked. */
final class CudaAttention {
    private static final long EXPLAIN_BYTES = 2048;

    private CudaAttention() {}

    static void run(MemorySegment params, Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        if (options.selection() != null) {
            MemorySegment own = SelectionCall.prepare(options.selection(), params, q, k, options);
            CudaSelection.attend(params, own, q, k, v, out, options);
            return;
        }
        DeviceStream stream = q.device().stream();
        long bytes = CudaCall.bytes(size -> gatun_cuda_attention_workspace_bytes(
                params, ragged(options), q.device().index(), size));
        BlockMask.Parts mask = AttentionCall.mask(options);
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention(
                        params,
                        q.pointer(),
                        k.pointer(),
                        Native.pointer(v),
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        Native.pointer(options.slopes()),
                        Native.pointer(options.sinks()),
                        Native.pointer(options.correction()),
                        mask.fullOffsets(),
                        mask.fullBlocks(),
                        mask.partialOffsets(),
                        mask.partialBlocks(),
                        mask.partialBits() == null ? MemorySegment.NULL : mask.partialBits(),
                        Native.pointer(out),
                        Native.pointer(options.lse()),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    static String explain(MemorySegment params, Tensor q, Options options) {
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_attention_explain(
                        params, ragged(options), q.device().index(), text, EXPLAIN_BYTES));
    }

    static int ragged(Options options) {
        return options.sequences() == null ? 0 : 1;
    }

    static void merge(MemorySegment params, Tensor a, Tensor aLse, Tensor b, Tensor bLse, Tensor out, Tensor lse) {
        DeviceStream stream = a.device().stream();
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_merge(
                        params,
                        a.pointer(),
                        aLse.pointer(),
                        b.pointer(),
                        bLse.pointer(),
                        out.pointer(),
                        Native.pointer(lse),
                        stream.handle()));
    }
}
