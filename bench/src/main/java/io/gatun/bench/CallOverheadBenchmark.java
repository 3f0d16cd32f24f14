package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_h;
import io.gatun.bindings.c.gatun_qmatmul_params;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** What a call from Java costs beside its work: the smallest multiplication, 1 x 1 x 1, with memory of a shared arena. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class CallOverheadBenchmark {
    private final Arena arena = Arena.ofShared();
    private final QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(1);
    private Tensor x;
    private Tensor y;
    private PackedWeights weights;
    private MemorySegment params;

    /** The same operands for both ways. */
    @Setup
    public void prepare() {
        x = Tensor.allocate(arena, DType.F32, 1, 1).copyFrom(new float[] {1});
        y = Tensor.allocate(arena, DType.F32, 1, 1);
        PackedWeights packed = QMatmul.pack(Tensor.of(new float[] {1}, 1, 1), QuantSpec.int8());
        MemorySegment segment = arena.allocate(packed.segment().byteSize(), 64);
        weights = PackedWeights.wrap(segment.copyFrom(packed.segment()));

        params = gatun_qmatmul_params.allocate(arena);
        gatun_qmatmul_params.struct_size(params, (int) params.byteSize());
        gatun_qmatmul_params.x_dtype(params, DType.F32.code());
        gatun_qmatmul_params.y_dtype(params, DType.F32.code());
        gatun_qmatmul_params.threads(params, options.threads());
        gatun_qmatmul_params.rows(params, 1);
        gatun_qmatmul_params.columns(params, 1);
        gatun_qmatmul_params.depth(params, 1);
        gatun_qmatmul_params.x_row_stride(params, 1);
        gatun_qmatmul_params.y_row_stride(params, 1);
        gatun_qmatmul_params.column_end(params, 1);
        if (rawDowncall() != 0 || y.getFloat(0, 0) != 1) {
            throw new IllegalStateException("the raw downcall failed: y = " + y.getFloat(0, 0));
        }
    }

    /** A function that returns a number that it knows. */
    @Benchmark
    public int noOperation() {
        return gatun_h.gatun_tier();
    }

    /** The generated method of the C function, which checks nothing. */
    @Benchmark
    public int rawDowncall() {
        return gatun_h.gatun_qmatmul(
                params,
                x.segment(),
                weights.segment(),
                weights.segment().byteSize(),
                MemorySegment.NULL,
                MemorySegment.NULL,
                y.segment());
    }

    /** The public API. */
    @Benchmark
    public void publicApi() {
        QMatmul.run(x, weights, y, options);
    }
}
