package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer;
import io.gatun.ops.Parameter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Gatun through its public API. A call is a step; the output are the parameters, [1, count]. */
final class OptimizerContender extends RotatingContender {
    private final Arena arena;
    private final Tensor p;
    private final Optimizer optimizer;

    private OptimizerContender(Arena arena, Tensor p, Optimizer optimizer) {
        super(
                Result.OURS + " " + Gatun.version(),
                kernel(optimizer),
                "a step through the Java API; " + optimizer.stateBytes() + " bytes of state",
                1);
        this.arena = arena;
        this.p = p;
        this.optimizer = optimizer;
    }

    /** As {@link OptimizerPeer#prepare} says. */
    static OptimizerContender of(OptimizerCase problem) {
        Arena arena = Arena.ofShared();
        Tensor p = OptimizerData.allocate(arena, problem.kind().dtype(), problem.count());
        Tensor g = OptimizerData.allocate(arena, problem.kind().dtype(), problem.count());
        OptimizerData.fillParameters(p);
        OptimizerData.fillGradients(g, 1);
        Optimizer optimizer =
                Optimizer.of(arena, problem.options(), problem.kind().state(), List.of(Parameter.of("p", p, g)));
        optimizer.step();
        OptimizerData.fillGradients(g, 2);
        return new OptimizerContender(arena, p, optimizer);
    }

    /** The line of a parameter starts with what it is; after that, the name of its kernel. */
    private static String kernel(Optimizer optimizer) {
        String line = optimizer.explain().lines().skip(1).findFirst().orElseThrow();
        return line.split(": ", 3)[1];
    }

    @Override
    protected void call(int copy) {
        optimizer.step();
    }

    @Override
    protected void result(float[] out) {
        MemorySegment values = p.dtype() == DType.F32 ? p.segment() : MemorySegment.ofArray(p.toFloatArray());
        MemorySegment.copy(values, 0, MemorySegment.ofArray(out), 0, values.byteSize());
    }

    @Override
    public void close() {
        arena.close();
    }
}
