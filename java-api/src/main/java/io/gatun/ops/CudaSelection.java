package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_budgets;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_choose;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_lines_workspace_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_scores;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_select;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_select_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_select_workspace_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_selected;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_attention_selected_workspace_bytes;

import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Native;
import io.gatun.ops.Attention.Options;
import java.lang.foreign.MemorySegment;

/** {@link Selection} on an NVIDIA GPU, of arguments that are checked; {@code own} is its struct. */
final class CudaSelection {
    private static final long EXPLAIN_BYTES = 2048;

    private CudaSelection() {}

    private static long workspaceBytes(MemorySegment params, MemorySegment own, Options options, int device) {
        int ragged = CudaAttention.ragged(options);
        return CudaCall.bytes(size -> gatun_cuda_attention_select_workspace_bytes(params, own, ragged, device, size));
    }

    static void select(
            MemorySegment params,
            MemorySegment own,
            Selection selection,
            Tensor q,
            Tensor k,
            Options options,
            Tensor map) {
        DeviceStream stream = q.device().stream();
        long bytes = workspaceBytes(params, own, options, q.device().index());
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_select(
                        params,
                        own,
                        Native.pointer(selection.budgets()),
                        q.pointer(),
                        k.pointer(),
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        Native.pointer(selection.lseBefore()),
                        map.pointer(),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    static void scores(
            MemorySegment params,
            MemorySegment own,
            Selection selection,
            Tensor q,
            Tensor k,
            Options options,
            Tensor scores) {
        DeviceStream stream = q.device().stream();
        long bytes = workspaceBytes(params, own, options, q.device().index());
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_scores(
                        params,
                        own,
                        q.pointer(),
                        k.pointer(),
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        Native.pointer(selection.lseBefore()),
                        scores.pointer(),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    static void choose(
            MemorySegment params, MemorySegment own, Selection selection, Options options, Tensor scores, Tensor map) {
        DeviceStream stream = scores.device().stream();
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_choose(
                        params,
                        own,
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        scores.pointer(),
                        Native.pointer(selection.budgets()),
                        map.pointer(),
                        stream.handle()));
    }

    static void budgets(MemorySegment params, MemorySegment own, Tensor q, Tensor k, Options options, Tensor budgets) {
        DeviceStream stream = q.device().stream();
        int device = q.device().index();
        int ragged = CudaAttention.ragged(options);
        long bytes =
                CudaCall.bytes(size -> gatun_cuda_attention_lines_workspace_bytes(params, own, ragged, device, size));
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_budgets(
                        params,
                        own,
                        q.pointer(),
                        k.pointer(),
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        budgets.pointer(),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    /** Chooses, and attends to what is chosen. */
    static void attend(
            MemorySegment params, MemorySegment own, Tensor q, Tensor k, Tensor v, Tensor out, Options options) {
        Selection selection = options.selection();
        DeviceStream stream = q.device().stream();
        int device = q.device().index();
        int ragged = CudaAttention.ragged(options);
        long bytes = CudaCall.bytes(
                size -> gatun_cuda_attention_selected_workspace_bytes(params, own, ragged, device, size));
        CudaCall.queue(
                stream,
                () -> gatun_cuda_attention_selected(
                        params,
                        own,
                        Native.pointer(selection.budgets()),
                        q.pointer(),
                        k.pointer(),
                        Native.pointer(v),
                        SelectionCall.queries(options),
                        SelectionCall.keys(options),
                        Native.pointer(options.slopes()),
                        Native.pointer(options.sinks()),
                        Native.pointer(options.correction()),
                        Native.pointer(selection.lseBefore()),
                        Native.pointer(out),
                        Native.pointer(options.lse()),
                        Native.pointer(selection.density()),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    static String explain(MemorySegment params, MemorySegment own, Tensor q, Options options) {
        int device = q.device().index();
        int ragged = CudaAttention.ragged(options);
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_attention_select_explain(params, own, ragged, device, text, EXPLAIN_BYTES));
    }
}
