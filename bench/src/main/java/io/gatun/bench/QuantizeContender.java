package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Gatun through its public API: values to codes, or codes to values. The output of both are the values of the codes. */
final class QuantizeContender extends RotatingContender {
    private final QuantizeCase problem;
    private final Tensor x;
    private final Arena arena = Arena.ofShared();
    private final QuantizedTensor codes;
    private final Tensor values;
    private final Quantize.Options options;

    QuantizeContender(QuantizeCase problem, Tensor x) {
        super(
                Result.OURS + " " + Gatun.version(),
                Quantize.explain(x, problem.format().spec()).split(":", 2)[0],
                problem.quantize() ? "scales and codes, through the Java API" : "values, through the Java API",
                1);
        this.problem = problem;
        this.x = x;
        codes = QuantizedTensor.allocate(arena, problem.format().spec(), QuantizeCase.ROWS, QuantizeCase.DEPTH);
        values = Tensor.allocate(arena, DType.F32, QuantizeCase.ROWS, QuantizeCase.DEPTH);
        options = Quantize.Options.DEFAULT.withThreads(problem.threads());
        Quantize.run(x, codes);
        Quantize.dequantize(codes, values); // pages are there before anything is timed
    }

    @Override
    protected void call(int copy) {
        if (problem.quantize()) {
            Quantize.run(x, codes, options);
        } else {
            Quantize.dequantize(codes, values, problem.threads());
        }
    }

    @Override
    protected void result(float[] out) {
        if (problem.quantize()) {
            Quantize.dequantize(codes, values);
        }
        MemorySegment.copy(
                values.segment(),
                0,
                MemorySegment.ofArray(out),
                0,
                values.segment().byteSize());
    }

    @Override
    public void close() {
        arena.close();
    }
}
