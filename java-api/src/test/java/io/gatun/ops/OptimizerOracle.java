package io.gatun.ops;

import static io.gatun.ops.Approximate.exactly;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.Map;

/**
 * One step of an optimizer on one parameter, from the rules: new values and state in double with the error that f32 may
 * have, from what parameter and state hold before the step. Quantized state must be as near as its codes allow.
 */
final class OptimizerOracle {
    /** State as rows of numbers: of state 1, one or two (ADEMAMIX), then that of state 2 if there is one. */
    private record Row(StoredState state, int row, Approximate[] values) {}

    private final Optimizer optimizer;
    private final Parameter parameter;
    private final OptimizerNumbers numbers;
    private final double learningRate;
    private final double gradientScale;
    private final long step;
    private final float[] before;
    private final float[] gradients;
    private final Approximate[] after;
    private final Row[] rows;

    /** Looks at everything now, before the step. */
    OptimizerOracle(Optimizer optimizer, Parameter parameter, Options options, float gradientScale) {
        this.optimizer = optimizer;
        this.parameter = parameter;
        this.gradientScale = gradientScale;
        numbers = options.numbers();
        learningRate = optimizer.learningRate();
        before = parameter.value().toFloatArray();
        gradients = parameter.gradient().toFloatArray();
        after = new Approximate[before.length];
        Map<String, Tensor> tensors = optimizer.state();
        step = tensors.get(parameter.name() + ".step").getInt() + 1;
        rows = rows(tensors);
        double[][] old = new double[rows.length][before.length];
        for (int r = 0; r < rows.length; r++) {
            for (int i = 0; i < before.length; i++) {
                old[r][i] = rows[r].state.value(rows[r].row, i);
            }
        }
        double rate = learningRate;
        boolean isApproximate = numbers.maxUpdateNorm > 0;
        if (isApproximate) {
            rate *= trust(old);
        }
        for (int i = 0; i < before.length; i++) {
            step(i, old, isApproximate ? Approximate.within(rate, 0x1p-18) : exactly(rate));
        }
    }

    private Row[] rows(Map<String, Tensor> tensors) {
        StoredState[] states = new StoredState[2];
        int block = 0;
        for (int n = 0; n < 2; n++) {
            Tensor scales = tensors.get(parameter.name() + ".absmax" + (n + 1));
            block = scales == null ? 0 : optimizerBlock(tensors);
            states[n] = StoredState.of(tensors, parameter.name(), n + 1, before.length, block);
        }
        int first = numbers.rule == Rule.ADEMAMIX ? 2 : 1;
        Row[] all = new Row[first + (states[1] == null ? 0 : 1)];
        for (int r = 0; r < all.length; r++) {
            all[r] = new Row(states[r < first ? 0 : 1], r < first ? r : 0, new Approximate[before.length]);
        }
        return all;
    }

    private int optimizerBlock(Map<String, Tensor> tensors) {
        boolean mapped = tensors.containsKey(parameter.name() + ".qmap1");
        boolean bytes = tensors.get(parameter.name() + ".state1").dtype() == DType.U8;
        int usual = bytes && !mapped ? 128 : 256;
        return numbers.blockSize == 0 ? usual : numbers.blockSize;
    }

    /** The gradient that a rule sees. */
    private Approximate gradient(int i) {
        Approximate g = exactly(gradients[i]).times(gradientScale);
        boolean coupled = switch (numbers.rule) {
            case MOMENTUM, LARS, RMSPROP, ADAGRAD -> true;
            default -> false;
        };
        return coupled && numbers.weightDecay != 0 ? g.plus(exactly(before[i]).times(numbers.weightDecay)) : g;
    }

    private static Approximate mean(double decay, double old, Approximate added) {
        return exactly(old).times(decay).plus(added.times(1 - decay));
    }

    /** New state of an element, in the order of the rows. */
    private Approximate[] newState(int i, double[][] old) {
        Approximate g = gradient(i);
        double b1 = numbers.beta1;
        double b2 = numbers.beta2;
        return switch (numbers.rule) {
            case ADAM, LAMB -> new Approximate[] {mean(b1, old[0][i], g), mean(b2, old[1][i], g.times(g))};
            case ADEMAMIX ->
                new Approximate[] {
                    mean(b1, old[0][i], g), mean(slowDecay(), old[1][i], g), mean(b2, old[2][i], g.times(g))
                };
            case MOMENTUM, LARS ->
                new Approximate[] {step == 1 ? g : exactly(old[0][i]).times(b1).plus(g)};
            case RMSPROP -> new Approximate[] {mean(b1, old[0][i], g.times(g))};
            case ADAGRAD -> new Approximate[] {exactly(old[0][i]).plus(g.times(g))};
            case LION -> new Approximate[] {mean(b2, old[0][i], g)};
        };
    }

    /** What the learning rate multiplies. */
    private Approximate update(int i, double[][] old, Approximate[] state) {
        double correction1 = 1 - Math.pow(numbers.beta1, step);
        double correction2 = Math.sqrt(1 - Math.pow(numbers.beta2, step));
        Approximate epsilon = exactly(numbers.epsilon);
        boolean raw = numbers.bitsandbytesGradient && rows[0].state.format != State.F32;
        Approximate divided = raw ? exactly(gradients[i]) : gradient(i);
        return switch (numbers.rule) {
            case ADAM, LAMB -> {
                Approximate root = state[1].root().times(1 / correction2);
                yield state[0].times(1 / correction1).over(root.plus(epsilon));
            }
            case ADEMAMIX -> {
                Approximate root = state[2].root().times(1 / correction2);
                Approximate both = state[0].times(1 / correction1).plus(state[1].times(alpha()));
                yield both.over(root.plus(epsilon));
            }
            case MOMENTUM, LARS -> state[0];
            case RMSPROP, ADAGRAD -> divided.over(state[0].root().plus(epsilon));
            case LION -> mean(numbers.beta1, old[0][i], gradient(i)).sign();
        };
    }

    private double alpha() {
        return numbers.alphaSteps == 0
                ? numbers.alpha
                : Math.min(1.0, (double) step / numbers.alphaSteps) * numbers.alpha;
    }

    /** As in the paper, with beta3 = b at the end: exp(ln b1 ln b / ((1 - t/T) ln b + t/T ln b1)), at most b. */
    private double slowDecay() {
        if (numbers.beta3Steps == 0) {
            return numbers.beta3;
        }
        double part = (double) step / numbers.beta3Steps;
        double first = Math.log(numbers.beta1);
        double last = Math.log(numbers.beta3);
        double decay = Math.exp(first * last / ((1 - part) * last + part * first));
        // Rounded to f32, as 1 - decay is.
        return part >= 1 ? numbers.beta3 : (float) Math.min(decay, numbers.beta3);
    }

    private double trust(double[][] old) {
        double values = 0;
        double updates = 0;
        for (int i = 0; i < before.length; i++) {
            Approximate[] state = newState(i, old);
            values += (double) before[i] * before[i];
            if (isFinite(state)) {
                double update = update(i, old, state).value();
                updates += update * update;
            }
        }
        return values == 0 || updates == 0 ? 1 : Math.min(1, numbers.maxUpdateNorm * Math.sqrt(values / updates));
    }

    private static boolean isFinite(Approximate[] state) {
        for (Approximate number : state) {
            if (!number.isFinite()) {
                return false;
            }
        }
        return true;
    }

    private void step(int i, double[][] old, Approximate rate) {
        Approximate[] state = newState(i, old);
        if (!isFinite(state)) {
            for (Row row : rows) {
                row.values[i] = exactly(0);
            }
            return;
        }
        for (int r = 0; r < rows.length; r++) {
            rows[r].values[i] = state[r];
        }
        Approximate moved = exactly(before[i]);
        Approximate decay = exactly(1 - learningRate * numbers.weightDecay);
        Approximate way = update(i, old, state).times(rate);
        after[i] = switch (numbers.rule) {
            case ADAM, LAMB, ADEMAMIX -> moved.minus(way).times(decay);
            case LION -> moved.times(decay).minus(way);
            default -> moved.minus(way);
        };
    }

    /** Compares with what is there after the step. */
    void check(String context) {
        assertEquals(step, optimizer.state().get(parameter.name() + ".step").getInt(), context);
        float[] given = parameter.value().toFloatArray();
        for (int i = 0; i < given.length; i++) {
            if (!allows(i, given[i])) {
                fail(context + ": value " + i + " is " + given[i] + ", expected " + after[i] + ", was " + before[i]);
            }
        }
        for (Row row : rows) {
            for (int i = 0; i < given.length; i++) {
                checkState(row, i, context);
            }
            if (row.state.format != State.F32) {
                checkScales(row, context);
            }
        }
    }

    private boolean allows(int i, float given) {
        Approximate expected = after[i];
        if (expected == null) {
            return given == before[i];
        }
        double largest = Math.abs(expected.value()) + expected.error();
        boolean tooLarge = parameter.value().dtype() == DType.F16 && largest >= 65520;
        return tooLarge && given == Math.copySign(Double.POSITIVE_INFINITY, expected.value())
                || expected.allows(given, rounding(expected.value()));
    }

    /** The largest error of rounding to the type of the parameter. */
    private double rounding(double value) {
        double unit = switch (parameter.value().dtype()) {
            case BF16 -> Math.ulp((float) value) * 0x1p16;
            case F16 -> Math.max(Math.ulp((float) value) * 0x1p13, 0x1p-24);
            default -> Math.ulp((float) value);
        };
        boolean stochastic = numbers.stochastic && parameter.value().dtype() == DType.BF16;
        return stochastic ? unit : unit / 2;
    }

    private void checkState(Row row, int i, String context) {
        Approximate expected = row.values[i];
        double given = row.state.value(row.row, i);
        if (row.state.format == State.F32) {
            assertTrue(
                    expected.allows(given, 0), () -> context + ": state " + i + " is " + given + ", not " + expected);
            return;
        }
        boolean signed = row.state.format == State.DYNAMIC8 && row.state.first;
        if (signed && row.state.code(row.row, i) == 126 && expected.value() - expected.error() < 0) {
            return; // 0 but for the sign
        }
        // Values this far below the scale may become 0.
        double faint = -0x1p-60 * (signed ? row.state.scale(row.row, i) : 0);
        boolean lostSign = signed && row.state.code(row.row, i) == 127 && expected.value() + expected.error() < faint;
        // The scale is rounded, and so is a value over it.
        double more = row.state.distance(row.row, i, expected.value()) + 4 * 0x1p-24 * Math.abs(expected.value());
        assertTrue(
                !lostSign && expected.allows(given, more + expected.error()),
                () -> context + ": state " + i + " is " + given + ", not " + expected + " +- " + more);
    }

    private void checkScales(Row row, String context) {
        int block = optimizerBlock(optimizer.state());
        for (int begin = 0; begin < before.length; begin += block) {
            double largest = 0;
            double error = 0x1p-149 * row.state.scaled();
            for (int i = begin; i < Math.min(before.length, begin + block); i++) {
                largest = Math.max(largest, Math.abs(row.values[i].value()));
                error = Math.max(error, row.values[i].error());
            }
            double given = row.state.scale(row.row, begin) * row.state.scaled();
            if (!(Math.abs(given - largest) <= error + 2 * 0x1p-24 * largest)) {
                fail(context + ": scale of " + begin + " is " + given + ", not " + largest + " +- " + error);
            }
        }
    }
}
