package io.gatun.bench;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_h;
import io.gatun.bindings.c.gatun_qmatmul_params;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Group;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * {@code ./gatun bench heap}: arrays of the heap in a product of one row by int8 weights [side, side], by one thread. What
 * copying them costs, and what a garbage collection has to wait for where the kernel gets the arrays themselves.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class HeapCallBenchmark {
    /** Apart, since it needs the library that packing weights has loaded. */
    private static final class Critical {
        static final MethodHandle QMATMUL = Linker.nativeLinker()
                .downcallHandle(
                        gatun_h.gatun_qmatmul$address(),
                        gatun_h.gatun_qmatmul$descriptor(),
                        Linker.Option.critical(true));
    }

    @Param({"64", "256", "512", "1024", "2048", "4096", "8192"})
    private int side;

    private final Arena arena = Arena.ofShared();
    private float[] x;
    private float[] y;
    private MemorySegment xCopy;
    private MemorySegment yCopy;
    private PackedWeights weights;
    private MemorySegment params;

    @Setup
    public void prepare() throws Throwable {
        Random random = new Random(1);
        float[] values = new float[side * side];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        weights = QMatmul.pack(Tensor.of(values, side, side), QuantSpec.int8());
        x = new float[side];
        y = new float[side];
        for (int i = 0; i < side; i++) {
            x[i] = (float) random.nextGaussian();
        }
        xCopy = arena.allocate(JAVA_FLOAT, side);
        yCopy = arena.allocate(JAVA_FLOAT, side);

        params = gatun_qmatmul_params.allocate(arena);
        gatun_qmatmul_params.struct_size(params, (int) params.byteSize());
        gatun_qmatmul_params.x_dtype(params, DType.F32.code());
        gatun_qmatmul_params.y_dtype(params, DType.F32.code());
        gatun_qmatmul_params.threads(params, 1);
        gatun_qmatmul_params.rows(params, 1);
        gatun_qmatmul_params.columns(params, side);
        gatun_qmatmul_params.depth(params, side);
        gatun_qmatmul_params.x_row_stride(params, side);
        gatun_qmatmul_params.y_row_stride(params, side);
        gatun_qmatmul_params.column_end(params, side);
        int status = copied();
        float copied = y[side - 1];
        y[side - 1] = Float.NaN;
        if (status != 0 || critical() != 0 || y[side - 1] != copied) {
            throw new IllegalStateException("y = " + y[side - 1] + " and " + copied);
        }
    }

    /** The arrays themselves; safepoints wait until the call returns. */
    @Benchmark
    public int critical() throws Throwable {
        return (int) Critical.QMATMUL.invokeExact(
                params,
                MemorySegment.ofArray(x),
                weights.segment(),
                weights.segment().byteSize(),
                MemorySegment.NULL,
                MemorySegment.NULL,
                MemorySegment.ofArray(y));
    }

    /** By way of native memory. */
    @Benchmark
    public int copied() {
        MemorySegment.copy(x, 0, xCopy, JAVA_FLOAT, 0, side);
        int status = gatun_h.gatun_qmatmul(
                params,
                xCopy,
                weights.segment(),
                weights.segment().byteSize(),
                MemorySegment.NULL,
                MemorySegment.NULL,
                yCopy);
        MemorySegment.copy(yCopy, JAVA_FLOAT, 0, y, 0, side);
        return status;
    }

    @Benchmark
    @Group("beside_critical")
    public int calls() throws Throwable {
        return critical();
    }

    /** As a garbage collection does, stops all threads: how long that takes beside a thread that calls. */
    @Benchmark
    @Group("beside_critical")
    public Map<Thread, StackTraceElement[]> safepoint() {
        return Thread.getAllStackTraces();
    }

    @Benchmark
    @Group("beside_copied")
    public int copyingCalls() {
        return copied();
    }

    /** As {@link #safepoint}, where arrays are copied. */
    @Benchmark
    @Group("beside_copied")
    public Map<Thread, StackTraceElement[]> copyingSafepoint() {
        return Thread.getAllStackTraces();
    }
}
