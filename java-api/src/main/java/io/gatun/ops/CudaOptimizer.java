package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_gradient_norm;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_gradient_norm_workspace_bytes;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_optimizer_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_optimizer_step;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_optimizer_workspace_bytes;
import static io.gatun.bindings.c.gatun_h.GATUN_OK;

import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** {@link Optimizer} on an NVIDIA GPU, of arguments that are checked. */
final class CudaOptimizer {
    private static final long EXPLAIN_BYTES = 1024;

    private CudaOptimizer() {}

    static void step(
            MemorySegment params, Parameter parameter, Tensor state1, Tensor scales1, Tensor state2, Tensor scales2) {
        DeviceStream stream = parameter.value().device().stream();
        long bytes = CudaCall.bytes(size -> gatun_cuda_optimizer_workspace_bytes(params, size));
        CudaCall.queue(
                stream,
                () -> gatun_cuda_optimizer_step(
                        params,
                        parameter.value().pointer(),
                        parameter.gradient().pointer(),
                        state1.pointer(),
                        Native.pointer(scales1),
                        Native.pointer(state2),
                        Native.pointer(scales2),
                        CudaCall.workspace(stream, bytes),
                        bytes,
                        stream.handle()));
    }

    /** Of the gradients of parameters on one device, each; waits for all of them at once. */
    static double[] sumsOfSquares(List<Parameter> parameters) {
        int count = parameters.size();
        long most = 0;
        for (Parameter parameter : parameters) {
            most = Math.max(most, workspaceBytes(parameter.gradient()));
        }
        long bytes = most;
        DeviceStream stream = parameters.getFirst().gradient().device().stream();
        long[] sums = CudaCall.found(stream, count, bytes, workspace -> {
            int status = GATUN_OK();
            for (int i = 0; i < count && status == GATUN_OK(); i++) {
                Tensor gradient = parameters.get(i).gradient();
                status = gatun_cuda_gradient_norm(
                        gradient.dtype().code(),
                        gradient.shape().elements(),
                        gradient.pointer(),
                        workspace
                                .slice(0, i * ValueLayout.JAVA_DOUBLE.byteSize(), workspace.byteSize())
                                .pointer(),
                        CudaCall.own(workspace, count),
                        bytes,
                        stream.handle());
            }
            return status;
        });
        double[] doubles = new double[count];
        for (int i = 0; i < count; i++) {
            doubles[i] = Double.longBitsToDouble(sums[i]);
        }
        return doubles;
    }

    private static long workspaceBytes(Tensor gradient) {
        int dtype = gradient.dtype().code();
        long count = gradient.shape().elements();
        return CudaCall.bytes(size -> gatun_cuda_gradient_norm_workspace_bytes(dtype, count, size));
    }

    static String explain(MemorySegment params, Parameter parameter) {
        int device = parameter.value().device().index();
        return Native.cudaText(
                EXPLAIN_BYTES, text -> gatun_cuda_optimizer_explain(params, device, text, EXPLAIN_BYTES));
    }
}
