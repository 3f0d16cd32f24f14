package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_dequantize;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_quantize;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_quantize_explain;
import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_quantize_workspace_bytes;

import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;

/** {@link Quantize} on an NVIDIA GPU, of arguments that are checked. */
final class CudaQuantize {
    private static final long EXPLAIN_BYTES = 1024;

    private CudaQuantize() {}

    static void run(Tensor x, QuantizedTensor out, Quantize.Options options) {
        QuantSpec spec = out.spec();
        checkFormat("out", spec, x.device());
        if (spec.hasTensorScale() && spec.rule() != QuantSpec.ScaleRule.GIVEN) {
            throw unsupported("out", spec, x.device());
        }
        MemorySegment params = QuantizeCall.forward(x, out, options);
        long bytes = CudaCall.bytes(size -> gatun_cuda_quantize_workspace_bytes(params, size));
        DeviceStream stream = x.device().stream();
        long[] faults = CudaCall.found(
                stream,
                2,
                bytes,
                workspace -> gatun_cuda_quantize(
                        params,
                        x.pointer(),
                        QuantizeCall.book(out),
                        Native.pointer(options.roundUp()),
                        out.codes().pointer(),
                        out.scales().pointer(),
                        Native.pointer(out.zeroPoints()),
                        workspace.pointer(),
                        CudaCall.own(workspace, 2),
                        bytes,
                        stream.handle()));
        refuse(faults[0], faults[1], x, out);
    }

    /** The first value or block that could not be quantized, if there is one. */
    private static void refuse(long value, long block, Tensor x, QuantizedTensor out) {
        if (value >= 0) {
            long depth = out.spec().blocks().flat()
                    ? x.shape().elements()
                    : x.shape().size(1);
            throw Check.invalid("x[" + value / depth + "][" + value % depth + "]", "NaN or infinity", "finite values");
        }
        if (block >= 0) {
            long groups = out.scales().shape().size(1);
            boolean given = out.spec().rule() == QuantSpec.ScaleRule.GIVEN;
            throw Check.invalid(
                    "out.scales[" + block / groups + "][" + block % groups + "]",
                    given ? "a scale or a zero point that is NaN or infinite" : "values whose scale overflows",
                    given
                            ? "finite ones"
                            : "values whose scale fits " + out.spec().scales());
        }
    }

    static void dequantize(QuantizedTensor quantized, Tensor out) {
        checkFormat("quantized", quantized.spec(), out.device());
        MemorySegment params = QuantizeCall.inverse(quantized, out, 0);
        DeviceStream stream = out.device().stream();
        CudaCall.queue(
                stream,
                () -> gatun_cuda_dequantize(
                        params,
                        QuantizeCall.book(quantized),
                        quantized.codes().pointer(),
                        quantized.scales().pointer(),
                        Native.pointer(quantized.zeroPoints()),
                        out.pointer(),
                        stream.handle()));
    }

    static String explain(Tensor x, QuantSpec spec) {
        checkFormat("spec", spec, x.device());
        MemorySegment params = QuantizeCall.forward(x, spec);
        return Native.cudaText(
                EXPLAIN_BYTES,
                text -> gatun_cuda_quantize_explain(params, x.device().index(), text, EXPLAIN_BYTES));
    }

    private static void checkFormat(String argument, QuantSpec spec, Device device) {
        if (spec.gguf() != null || spec.nested()) {
            throw unsupported(argument, spec, device);
        }
    }

    private static UnsupportedOperationException unsupported(String argument, QuantSpec spec, Device device) {
        return Check.unsupported(
                argument,
                spec + " on " + device,
                "neither GGUF nor nested scales, nor making a scale of the whole tensor there; quantize on the CPU");
    }
}
