package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** 10,000 random optimizers of up to three parameters: made, stepped, loaded, about half of them with a flaw. */
class RandomOptimizerTest {
    @Test
    void optimizer() {
        RandomCalls.run("optimizer", random -> new Step(random).call());
    }

    private static final class Step extends RandomCall {
        private final Rule rule = random.of(Rule.values());
        private final State state = random.of(State.values());
        private final Options options = options();
        private final List<Parameter> parameters = new ArrayList<>();
        private final List<Guarded> memory = new ArrayList<>();
        private final Optimizer optimizer;
        private final float scale = random.of(1f, 0.5f, -0.25f, 0.001f, 1024f);
        private Runnable call;
        private final Map<String, byte[]> before = new LinkedHashMap<>();

        Step(Random random) {
            super(random);
            for (int i = random.between(1, 3); i > 0; i--) {
                draw("p" + i);
            }
            optimizer = Optimizer.of(options, state, parameters.toArray(Parameter[]::new));
            optimizer.learningRate(random.of(0f, 1e-3f, 0.1f, 2f));
            for (int i = random.between(0, 2); i > 0; i--) {
                drawGradients(false);
                optimizer.step();
            }
            drawGradients(true);
            memory.forEach(Guarded::snapshot);
            optimizer.state().forEach((name, tensor) -> before.put(name, bytes(tensor)));
            call = () -> optimizer.step(scale);
        }

        private static byte[] bytes(Tensor tensor) {
            return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
        }

        private Options options() {
            Options drawn = random.chance(0.5) ? OptimizerTest.unusual(rule) : Options.of(rule);
            drawn = drawn.withThreads(random.between(0, 3)).withMin8bitSize(random.between(0, 400));
            if (random.chance(0.3)) {
                drawn = drawn.withBlockSize(128 * random.between(0, 16));
            }
            if (random.chance(0.3)) {
                drawn = drawn.withStochasticRounding(random.seed);
            }
            if (random.chance(0.3)) {
                drawn = drawn.withMaxUpdateNorm(random.of(0f, 0.01f, 1f, 100f));
            }
            if (random.chance(0.5) && (rule == Rule.RMSPROP || rule == Rule.ADAGRAD)) {
                drawn = drawn.withBitsandbytesGradient(true);
            }
            return drawn;
        }

        /** At any address that is aligned to elements, between bytes that must stay. */
        private void draw(String name) {
            DType dtype = random.of(DType.F32, DType.F16, DType.BF16);
            int count = random.of(random.between(0, 40), random.between(100, 700));
            Guarded value = Guarded.matrix(Arena.ofAuto(), dtype, 1, count, count, random.between(0, 9));
            Guarded gradient = Guarded.matrix(Arena.ofAuto(), dtype, 1, count, count, random.between(0, 9));
            value.fill(random.normal(count, random.of(1e-3, 1.0, 100.0)));
            memory.add(value);
            memory.add(gradient);
            Parameter parameter = Parameter.of(name, value.tensor, gradient.tensor);
            parameters.add(random.chance(0.1) ? parameter.withFullPrecisionState() : parameter);
        }

        private void drawGradients(boolean withBad) {
            for (Parameter parameter : parameters) {
                int count = (int) parameter.value().shape().elements();
                parameter.gradient().copyFrom(random.normal(count, random.of(1e-6, 0.01, 1.0, 100.0)));
                if (withBad && count > 0 && random.chance(0.1)) {
                    float bad = random.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY);
                    parameter.gradient().setFloat(bad, 0, random.between(0, count - 1));
                }
            }
        }

        @Override
        String describe() {
            return options + " " + state + " " + parameters + " scale " + scale;
        }

        @Override
        int lastFlaw() {
            return 6;
        }

        @Override
        void spoil(int flaw) {
            Parameter some = parameters.get(random.between(0, parameters.size() - 1));
            long[] shape = some.value().shape().toArray();
            DType dtype = some.value().dtype();
            switch (flaw) {
                case 0 -> call = () -> optimizer.step(random.of(Float.NaN, Float.POSITIVE_INFINITY));
                case 1 -> call = () -> optimizer.stepClipped(random.of(0f, -1f, Float.NaN));
                case 2 -> call = () -> optimizer.stepClipped(1, random.of(0f, -1f, Float.NaN, Float.POSITIVE_INFINITY));
                case 3 -> {
                    Tensor unreachable = RandomArguments.elsewhere(random, some.value());
                    call = () -> Optimizer.of(options, state, Parameter.of("other", unreachable));
                }
                case 4 -> {
                    Tensor other = random.of(
                            Tensor.allocate(dtype, shape[0], shape[1] + 1),
                            Tensor.allocate(DType.I8, shape),
                            Tensor.allocate(dtype, shape[1] + 2));
                    call = () -> Parameter.of("other", some.value(), other);
                }
                case 5 -> {
                    Parameter[] twice = {some, random.of(some, null)};
                    call = () -> Optimizer.of(options, state, twice);
                }
                default -> {
                    Map<String, Tensor> tensors = new LinkedHashMap<>(optimizer.state());
                    List<String> names = List.copyOf(tensors.keySet());
                    String name = random.of(names.toArray(String[]::new));
                    switch (random.between(0, 3)) {
                        case 0 -> tensors.remove(name);
                        case 1 -> tensors.put(name, Tensor.allocate(DType.BF16, 3));
                        case 2 -> tensors.put(name + "x", tensors.get(name));
                        default -> tensors.put(name, Unreachable.closed(DType.F32, 3));
                    }
                    call = () -> optimizer.load(tensors);
                }
            }
        }

        @Override
        void run() {
            call.run();
        }

        @Override
        Consumer<String> expected() {
            List<OptimizerOracle> oracles = parameters.stream()
                    .map(parameter -> new OptimizerOracle(optimizer, parameter, options, scale))
                    .toList();
            return context -> {
                for (OptimizerOracle oracle : oracles) {
                    oracle.check(context);
                }
                for (int i = 0; i < memory.size(); i++) {
                    Guarded written = memory.get(i);
                    boolean isValue = i % 2 == 0;
                    long end = isValue ? written.tensor.shape().size(1) : 0;
                    assertEquals(true, written.unchangedOutside(0, end), context);
                }
            };
        }

        @Override
        boolean unchanged() {
            optimizer.state().forEach((name, tensor) -> assertArrayEquals(before.get(name), bytes(tensor), name));
            return memory.stream().allMatch(Guarded::unchanged);
        }
    }
}
