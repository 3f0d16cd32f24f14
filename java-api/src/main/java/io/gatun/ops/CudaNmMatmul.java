package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_matmul;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_matmul_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_matmul_workspace_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_pack;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_nm_packed_bytes;

import io.gatun.DType;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** {@link NmMatmul} on an NVIDIA GPU, of arguments that are checked. */
final class CudaNmMatmul {
    private static final long EXPLAIN_BYTES = 2048;

    private CudaNmMatmul() {}

    /** Waits for the work, to know whether there was a number that it refuses. */
    static NmWeights pack(SparseTensor weights, Arena target) {
        MemorySegment header = CudaCall.kept(NmWeights.header(weights, NmWeights.Dense.NEVER));
        long bytes = CudaCall.bytes(size -> gatun_cuda_nm_packed_bytes(header, size));
        Tensor packed = weights.device().allocate(target, DType.U8, bytes);
        DeviceStream stream = weights.device().stream();
        long[] faults = CudaCall.found(
                stream,
                3,
                0,
                workspace -> gatun_cuda_nm_pack(
                        header,
                        weights.values().pointer(),
                        weights.indices().pointer(),
                        Native.pointer(weights.scales()),
                        Native.pointer(weights.zeroPoints()),
                        packed.pointer(),
                        bytes,
                        workspace.pointer(),
                        stream.handle()));
        refuse("values", faults[0], weights.values(), "NaN or infinity", "finite values");
        refuse(
                "indices",
                faults[1],
                weights.indices(),
                "an index that is too large, or not above the one before",
                "ascending ones below " + weights.pattern().m() + " in each group");
        refuse(
                "scales",
                faults[2],
                weights.scales(),
                "a scale that is NaN or infinite, or a zero point above 15",
                "finite scales, zero points 0..15");
        return new NmWeights(packed, header, weights);
    }

    /** The first number that {@code gatun_nm_pack} would refuse, if there is one. */
    private static void refuse(String part, long index, Tensor tensor, String given, String allowed) {
        if (index >= 0) {
            long columns = tensor.shape().size(1);
            throw Check.invalid(
                    "weights." + part + "[" + index / columns + "][" + index % columns + "]", given, allowed);
        }
    }

    static void run(MemorySegment params, Tensor x, NmWeights w, Tensor y, QMatmul.Options options) {
        DeviceStream stream = x.device().stream();
        long bytes = CudaCall.bytes(size -> gatun_cuda_nm_matmul_workspace_bytes(
                params, w.header(), x.device().index(), size));
        CudaCall.queue(
                stream,
                () -> gatun_cuda_nm_matmul(
                        params,
                        w.header(),
                        x.pointer(),
                        w.packed().pointer(),
                        w.packed().byteSize(),
                        Native.pointer(options.bias()),
                        Native.pointer(options.residual()),
                        y.pointer(),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    static String explain(MemorySegment params, NmWeights w) {
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_nm_matmul_explain(
                        params, w.header(), w.device().index(), text, EXPLAIN_BYTES));
    }
}
