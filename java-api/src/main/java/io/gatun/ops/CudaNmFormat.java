package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_compress;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_decompress;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_prune;

import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Prune.Score;
import java.lang.foreign.MemorySegment;

/** {@link SparseTensor} and {@link Prune} on an NVIDIA GPU, of arguments that are checked. */
final class CudaNmFormat {
    private static final long EXPLAIN_BYTES = 1024;

    private CudaNmFormat() {}

    /** Waits for the work, to know whether a group keeps too much. */
    static void compress(MemorySegment format, Tensor dense, Mask mask, SparseTensor out) {
        DeviceStream stream = dense.device().stream();
        long[] faults = CudaCall.found(
                stream,
                2,
                0,
                workspace -> gatun_cuda_nm_compress(
                        format,
                        dense.pointer(),
                        mask == null ? MemorySegment.NULL : mask.bits().pointer(),
                        Native.pointer(out.zeroPoints()),
                        out.values().pointer(),
                        out.indices().pointer(),
                        workspace.pointer(),
                        stream.handle()));
        if (faults[0] >= 0) {
            Sparsity.Nm pattern = out.pattern();
            long groups = Math.ceilDiv(out.depth(), pattern.m());
            long row = faults[0] / groups * pattern.vector();
            long group = faults[0] % groups;
            String rows = pattern.vector() == 1
                    ? "row " + row + " with more than " + pattern.n() + " weights"
                    : "rows from " + row + " on that differ, or have more than " + pattern.n() + " weights";
            throw Check.invalid(
                    mask == null ? "dense" : "mask",
                    rows + " in group " + group + " (depth " + group * pattern.m() + " on)",
                    pattern.toString());
        }
    }

    static void decompress(MemorySegment format, SparseTensor sparse, Tensor dense) {
        DeviceStream stream = dense.device().stream();
        CudaCall.queue(
                stream,
                () -> gatun_cuda_nm_decompress(
                        format,
                        sparse.values().pointer(),
                        sparse.indices().pointer(),
                        Native.pointer(sparse.zeroPoints()),
                        dense.pointer(),
                        stream.handle()));
    }

    /** Waits for the work, to know whether a score is refused. */
    static void prune(MemorySegment format, MemorySegment params, Tensor weights, Score score, SparseTensor out) {
        DeviceStream stream = weights.device().stream();
        Tensor norms = score.kind() == Score.Kind.WANDA ? score.tensor() : null;
        Tensor scores = score.kind() == Score.Kind.GIVEN ? score.tensor() : null;
        long[] faults = CudaCall.found(
                stream,
                2,
                0,
                workspace -> gatun_cuda_nm_prune(
                        format,
                        params,
                        weights.pointer(),
                        Native.pointer(norms),
                        Native.pointer(scores),
                        out.values().pointer(),
                        out.indices().pointer(),
                        workspace.pointer(),
                        stream.handle()));
        if (faults[1] >= 0) {
            throw Check.invalid(
                    (scores == null ? "weights[" : "scores[") + faults[1] / out.depth() + "][" + faults[1] % out.depth()
                            + "]",
                    "a score that is NaN, or infinite where scores add up",
                    "numbers");
        }
    }

    static String explain(MemorySegment format, Device device) {
        return Native.cudaText(
                EXPLAIN_BYTES, text -> gatun_cuda_nm_explain(format, device.index(), text, EXPLAIN_BYTES));
    }
}
