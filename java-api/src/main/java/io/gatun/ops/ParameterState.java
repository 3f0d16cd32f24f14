package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_gradient_norm;
import static io.gatun.bindings.c.gatun_h.gatun_optimizer_explain;
import static io.gatun.bindings.c.gatun_h.gatun_optimizer_step;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_optimizer_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.LongStream;

/** A parameter with its state, and the native calls on both. */
final class ParameterState {
    private static final long EXPLAIN_BYTES = 1024;
    /** Steps are i32 in files. */
    static final long MOST_STEPS = Integer.MAX_VALUE;

    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_optimizer_params::layout);
    private static final ThreadLocal<MemorySegment> SUM = ThreadLocal.withInitial(() -> {
        NativeLibrary.load();
        return Arena.ofAuto().allocate(JAVA_DOUBLE);
    });

    private final Parameter parameter;
    private final String argument;
    private final OptimizerNumbers options;
    private final State format;
    private final int block;
    private final long seed;
    private final Tensor state1;
    private final Tensor scales1;
    private final Tensor state2;
    private final Tensor scales2;
    private long steps;

    private ParameterState(Arena arena, Parameter parameter, Options options, State state, int index) {
        this.parameter = parameter;
        this.options = options.numbers();
        argument = argument(parameter);
        boolean small = parameter.value().shape().elements() < this.options.min8bitSize;
        format = small || parameter.fullPrecisionState() ? State.F32 : state;
        block = this.options.blockSize(format);
        seed = mix(this.options.seed + index);
        Rule rule = options.rule();
        long rows = rule == Rule.ADEMAMIX ? 2 : 0;
        state1 = codes(arena, rows);
        scales1 = scales(arena, rows);
        state2 = rule.hasTwoStates() ? codes(arena, 0) : null;
        scales2 = rule.hasTwoStates() ? scales(arena, 0) : null;
    }

    private static String argument(Parameter parameter) {
        return "parameter " + Check.quote(parameter.name());
    }

    /** Checks that parameters can be trained together, then allocates the state of each. */
    static List<ParameterState> allocate(Arena arena, Options options, State state, List<Parameter> parameters) {
        if (parameters.isEmpty()) {
            throw Check.invalid("parameters", "none", "one or more");
        }
        Set<String> names = new HashSet<>();
        for (int i = 0; i < parameters.size(); i++) {
            Parameter parameter = parameters.get(i);
            Check.present("parameters[" + i + "]", parameter);
            Check.reachable(argument(parameter), ".value", parameter.value().pointer());
            Check.reachable(
                    argument(parameter), ".gradient", parameter.gradient().pointer());
            if (!names.add(parameter.name())) {
                throw Check.invalid(
                        "parameters[" + i + "]",
                        "the name " + Check.quote(parameter.name()) + " again",
                        "each name once");
            }
        }
        checkDisjoint(parameters);
        List<ParameterState> states = new ArrayList<>();
        for (Parameter parameter : parameters) {
            states.add(new ParameterState(arena, parameter, options, state, states.size()));
        }
        return List.copyOf(states);
    }

    private static void checkDisjoint(List<Parameter> parameters) {
        record Part(String name, Tensor tensor) {}
        List<Part> parts = new ArrayList<>();
        for (Parameter parameter : parameters) {
            parts.add(new Part(argument(parameter) + ".value", parameter.value()));
            parts.add(new Part(argument(parameter) + ".gradient", parameter.gradient()));
        }
        parts.removeIf(part -> part.tensor.byteSize() == 0);
        parts.sort(Comparator.comparingLong(part -> part.tensor.address()));
        for (int i = 1; i < parts.size(); i++) {
            // All before the predecessor end where it begins; no two devices have the same addresses.
            Check.disjoint(parts.get(i).name, parts.get(i).tensor, parts.get(i - 1).name, parts.get(i - 1).tensor);
        }
    }

    private Tensor codes(Arena arena, long rows) {
        long[] shape = parameter.value().shape().toArray();
        DType dtype = switch (format) {
            case F32 -> DType.F32;
            case DYNAMIC8, DYNAMIC4 -> DType.U8;
            case FP8 -> DType.F8E4M3;
        };
        if (format == State.DYNAMIC4) {
            shape = new long[] {Math.ceilDiv(count(), 2)};
        }
        Tensor codes = device().allocate(arena, dtype, withRows(rows, shape));
        Native.preferHugePages(codes);
        return codes;
    }

    private Tensor scales(Arena arena, long rows) {
        return block == 0 ? null : device().allocate(arena, DType.F32, withRows(rows, Math.ceilDiv(count(), block)));
    }

    private static long[] withRows(long rows, long... shape) {
        return rows == 0
                ? shape
                : LongStream.concat(LongStream.of(rows), LongStream.of(shape)).toArray();
    }

    /** What value, gradient and state belong to. */
    Device device() {
        return parameter.value().device();
    }

    long count() {
        return parameter.value().shape().elements();
    }

    String name() {
        return parameter.name();
    }

    Rule rule() {
        return options.rule;
    }

    State format() {
        return format;
    }

    int block() {
        return block;
    }

    /** Whether state 1 is kept in codes of a map. */
    boolean hasCodes() {
        return format == State.DYNAMIC8 || format == State.DYNAMIC4;
    }

    long steps() {
        return steps;
    }

    void steps(long count) {
        steps = count;
    }

    long bytes() {
        return bytes(state1) + bytes(scales1) + bytes(state2) + bytes(scales2);
    }

    private static long bytes(Tensor part) {
        return part == null ? 0 : part.byteSize();
    }

    /** State by suffix of its names in files. */
    Map<String, Tensor> parts() {
        Map<String, Tensor> parts = new LinkedHashMap<>();
        put(parts, 1, state1, scales1);
        if (state2 != null) {
            put(parts, 2, state2, scales2);
        }
        parts.put(".step", Tensor.of(new int[] {(int) steps}));
        return parts;
    }

    private void put(Map<String, Tensor> parts, int number, Tensor codes, Tensor scales) {
        parts.put(".state" + number, codes);
        if (scales != null) {
            parts.put(".absmax" + number, scales);
        }
        if (format == State.DYNAMIC8) {
            parts.put(".qmap" + number, OptimizerFile.map(number));
        }
    }

    /** Refuses memory that this thread cannot use. */
    void check() {
        Check.reachable(argument, ".value", parameter.value().pointer());
        Check.reachable(argument, ".gradient", parameter.gradient().pointer());
        checkReachable(".state1", state1);
        checkReachable(".absmax1", scales1);
        checkReachable(".state2", state2);
        checkReachable(".absmax2", scales2);
    }

    void checkSteps() {
        if (steps >= MOST_STEPS) {
            throw Check.invalid(argument, steps + " steps before this one", "fewer than " + MOST_STEPS);
        }
    }

    private void checkReachable(String part, Tensor tensor) {
        if (tensor != null) {
            Check.reachable(argument, part, tensor.pointer());
        }
    }

    void checkGradientWritable() {
        Check.writable(argument + ".gradient", parameter.gradient());
    }

    void zeroGradient() {
        if (device() != Device.CPU) {
            CudaCall.clear(parameter.gradient());
            return;
        }
        parameter.gradient().segment().fill((byte) 0);
    }

    /** Of all gradients, the sums of each added up in order. */
    static double sumOfSquares(List<ParameterState> states) {
        double sum = 0;
        for (int i = 0, end; i < states.size(); i = end) {
            Device device = states.get(i).device();
            end = i + 1;
            if (device == Device.CPU) {
                sum += states.get(i).sumOfSquares();
                continue;
            }
            while (end < states.size() && states.get(end).device() == device) {
                end++;
            }
            List<Parameter> there = states.subList(i, end).stream()
                    .map(state -> state.parameter)
                    .toList();
            for (double one : CudaOptimizer.sumsOfSquares(there)) {
                sum += one;
            }
        }
        return sum;
    }

    private double sumOfSquares() {
        Tensor gradient = parameter.gradient();
        MemorySegment sum = SUM.get();
        try {
            Native.check(
                    gatun_gradient_norm(gradient.dtype().code(), count(), gradient.segment(), options.threads, sum));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
        return sum.get(JAVA_DOUBLE, 0);
    }

    void step(float learningRate, float gradientScale) {
        MemorySegment params = params(learningRate, gradientScale);
        if (device() != Device.CPU) {
            CudaOptimizer.step(params, parameter, state1, scales1, state2, scales2);
            steps++;
            return;
        }
        try {
            Native.check(gatun_optimizer_step(
                    params,
                    parameter.value().segment(),
                    parameter.gradient().segment(),
                    state1.segment(),
                    Native.segment(scales1),
                    Native.segment(state2),
                    Native.segment(scales2)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
        steps++;
    }

    String explain(float learningRate) {
        MemorySegment params = params(learningRate, 1);
        String kernel = device() == Device.CPU
                ? Native.text(EXPLAIN_BYTES, text -> gatun_optimizer_explain(params, text, EXPLAIN_BYTES))
                : CudaOptimizer.explain(params, parameter);
        return parameter + (isStochastic() ? ", rounded stochastically: " : ": ") + kernel;
    }

    private boolean isStochastic() {
        return options.stochastic && parameter.value().dtype() == DType.BF16;
    }

    private MemorySegment params(float learningRate, float gradientScale) {
        long step = steps + 1;
        MemorySegment params = PARAMS.get();
        gatun_optimizer_params.rule(params, options.rule.number);
        gatun_optimizer_params.p_dtype(params, parameter.value().dtype().code());
        gatun_optimizer_params.state(params, format.ordinal());
        gatun_optimizer_params.rounding(params, isStochastic() ? 1 : 0);
        gatun_optimizer_params.raw_gradient(params, options.bitsandbytesGradient && format != State.F32 ? 1 : 0);
        gatun_optimizer_params.threads(params, options.threads);
        gatun_optimizer_params.learning_rate(params, learningRate);
        gatun_optimizer_params.beta1(params, options.beta1);
        gatun_optimizer_params.beta2(params, options.beta2);
        gatun_optimizer_params.beta3(params, options.beta3(step));
        gatun_optimizer_params.alpha(params, options.alpha(step));
        gatun_optimizer_params.epsilon(params, options.epsilon);
        gatun_optimizer_params.weight_decay(params, options.weightDecay);
        gatun_optimizer_params.gradient_scale(params, gradientScale);
        gatun_optimizer_params.max_update_norm(params, options.maxUpdateNorm);
        gatun_optimizer_params.step(params, step);
        gatun_optimizer_params.count(params, count());
        gatun_optimizer_params.block(params, block);
        gatun_optimizer_params.seed(params, isStochastic() ? mix(seed + step) : 0);
        return params;
    }

    /** The finalizer of SplittableRandom (Steele et al. 2014): seeds of neighbours have nothing in common. */
    private static long mix(long value) {
        long z = value + 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }
}
