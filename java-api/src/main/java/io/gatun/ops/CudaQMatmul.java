package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_qmatmul;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_qmatmul_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_qmatmul_pack;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_qmatmul_packed_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_qmatmul_workspace_bytes;

import io.gatun.DType;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** {@link QMatmul} on an NVIDIA GPU, of arguments that are checked. */
final class CudaQMatmul {
    private static final long EXPLAIN_BYTES = 2048;

    private CudaQMatmul() {}

    /** Waits for the work, to know whether there was a number that it refuses. */
    static PackedWeights pack(QuantizedTensor weights, Arena target) {
        Nibbles.checkOrder("weights", weights);
        QuantSpec spec = weights.spec();
        if (spec.gguf() != null || spec.nested() || spec.blocks().flat()) {
            throw Check.unsupported(
                    "weights",
                    spec + " on " + weights.device(),
                    "plain blocks of rows; or PackedWeights.to from the CPU");
        }
        MemorySegment header = CudaCall.kept(PackedHeader.write(weights));
        long bytes = CudaCall.bytes(size -> gatun_cuda_qmatmul_packed_bytes(header, size));
        Tensor packed = weights.device().allocate(target, DType.U8, bytes);
        DeviceStream stream = weights.device().stream();
        long[] faults = CudaCall.found(
                stream,
                2,
                0,
                workspace -> gatun_cuda_qmatmul_pack(
                        header,
                        weights.codes().pointer(),
                        QuantizeCall.book(weights),
                        weights.scales().pointer(),
                        Native.pointer(weights.zeroPoints()),
                        packed.pointer(),
                        bytes,
                        workspace.pointer(),
                        stream.handle()));
        refuse(faults[0], faults[1], weights);
        return new PackedWeights(packed, header, weights);
    }

    /** The first code or block that {@code gatun_qmatmul_pack} would refuse, if there is one. */
    private static void refuse(long code, long block, QuantizedTensor weights) {
        if (block >= 0) {
            long groups = weights.scales().shape().size(1);
            throw Check.invalid(
                    "weights.scales[" + block / groups + "][" + block % groups + "]",
                    "a scale, or its zero point, that is NaN, infinite or too large",
                    "finite numbers up to 2^64, zero points among the codes");
        }
        if (code >= 0) {
            throw Check.invalid(
                    "weights.codes[" + code / weights.depth() + "][" + code % weights.depth() + "]",
                    "NaN or infinity",
                    "finite values");
        }
    }

    static void run(MemorySegment params, Tensor x, PackedWeights w, Tensor y, QMatmul.Options options) {
        DeviceStream stream = x.device().stream();
        long bytes = CudaCall.bytes(size -> gatun_cuda_qmatmul_workspace_bytes(
                params, w.header(), x.device().index(), size));
        CudaCall.queue(
                stream,
                () -> gatun_cuda_qmatmul(
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

    static String explain(MemorySegment params, PackedWeights w) {
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_qmatmul_explain(
                        params, w.header(), w.device().index(), text, EXPLAIN_BYTES));
    }
}
