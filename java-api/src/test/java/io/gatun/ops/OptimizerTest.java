package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_h;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class OptimizerTest {
    private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};

    static Parameter parameter(Random random, String name, DType dtype, long... shape) {
        Tensor value = Tensor.allocate(dtype, shape);
        int count = (int) value.shape().elements();
        value.copyFrom(random.normal(count, 1));
        return Parameter.of(name, value);
    }

    static void drawGradient(Random random, Parameter parameter) {
        int count = (int) parameter.value().shape().elements();
        parameter.gradient().copyFrom(random.normal(count, random.of(0.01, 1.0, 30.0)));
    }

    /** All options that the rule has, none as by default. */
    static Options unusual(Rule rule) {
        Options options =
                Options.of(rule).withLearningRate(0.03f).withWeightDecay(0.1f).withMin8bitSize(0);
        return switch (rule) {
            case ADAM, LAMB -> options.withBetas(0.8f, 0.95f).withEpsilon(1e-5f);
            case ADEMAMIX ->
                options.withBetas(0.8f, 0.95f).withSlowMean(3, 0.99f).withSchedule(4, 3);
            case MOMENTUM, LARS -> options.withMomentum(0.7f);
            case RMSPROP -> options.withDecay(0.8f).withEpsilon(1e-3f);
            case ADAGRAD -> options.withEpsilon(1e-3f);
            case LION -> options.withBetas(0.7f, 0.8f);
        };
    }

    @ParameterizedTest
    @EnumSource(Rule.class)
    @Tag("tier")
    void agreesWithTheOracle(Rule rule) {
        Random random = new Random(51);
        for (State state : State.values()) {
            for (DType dtype : TYPES) {
                for (int count : new int[] {0, 1, 2, 15, 127, 128, 129, 256, 300, 1031}) {
                    Options options = unusual(rule).withThreads(random.between(0, 2));
                    Parameter parameter = parameter(random, "w", dtype, count);
                    Optimizer optimizer = Optimizer.of(options, state, parameter);
                    for (int step = 1; step <= 6; step++) {
                        drawGradient(random, parameter);
                        float scale = random.of(1f, 0.25f, 0.1f);
                        OptimizerOracle oracle = new OptimizerOracle(optimizer, parameter, options, scale);
                        optimizer.step(scale);
                        oracle.check(rule + " " + state + " " + dtype + "[" + count + "] step " + step);
                    }
                }
            }
        }
    }

    /** NaN, infinities, and squares that are too large. */
    @ParameterizedTest
    @EnumSource(Rule.class)
    @Tag("tier")
    void badGradientsLeaveTheirElements(Rule rule) {
        Random random = new Random(52);
        for (State state : State.values()) {
            Options options = unusual(rule);
            Parameter parameter = parameter(random, "w", DType.F32, 700);
            Optimizer optimizer = Optimizer.of(options, state, parameter);
            for (int step = 1; step <= 3; step++) {
                drawGradient(random, parameter);
                for (float bad :
                        new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 3e38f, -1e30f}) {
                    parameter.gradient().setFloat(bad, random.between(0, 699));
                }
                OptimizerOracle oracle = new OptimizerOracle(optimizer, parameter, options, 1);
                optimizer.step();
                oracle.check(rule + " " + state + " step " + step);
            }
        }
    }

    /** Also with the quirk; f32 state has none. */
    @Test
    void rawGradients() {
        Random random = new Random(53);
        for (Rule rule : List.of(Rule.RMSPROP, Rule.ADAGRAD)) {
            for (State state : State.values()) {
                Options options = unusual(rule).withBitsandbytesGradient(true);
                Parameter parameter = parameter(random, "w", DType.F32, 300);
                Optimizer optimizer = Optimizer.of(options, state, parameter);
                for (int step = 1; step <= 3; step++) {
                    drawGradient(random, parameter);
                    OptimizerOracle oracle = new OptimizerOracle(optimizer, parameter, options, 0.5f);
                    optimizer.step(0.5f);
                    oracle.check(rule + " " + state + " step " + step);
                }
            }
        }
    }

    @Test
    void enumsHaveTheNumbersOfC() {
        assertEquals(gatun_h.GATUN_ADAM(), Rule.ADAM.number);
        assertEquals(gatun_h.GATUN_ADEMAMIX(), Rule.ADEMAMIX.number);
        assertEquals(gatun_h.GATUN_MOMENTUM(), Rule.MOMENTUM.number);
        assertEquals(gatun_h.GATUN_RMSPROP(), Rule.RMSPROP.number);
        assertEquals(gatun_h.GATUN_ADAGRAD(), Rule.ADAGRAD.number);
        assertEquals(gatun_h.GATUN_LION(), Rule.LION.number);
        assertEquals(gatun_h.GATUN_ADAM(), Rule.LAMB.number);
        assertEquals(gatun_h.GATUN_MOMENTUM(), Rule.LARS.number);
        assertEquals(gatun_h.GATUN_STATE_F32(), State.F32.ordinal());
        assertEquals(gatun_h.GATUN_STATE_DYNAMIC8(), State.DYNAMIC8.ordinal());
        assertEquals(gatun_h.GATUN_STATE_F8E4M3(), State.FP8.ordinal());
        assertEquals(gatun_h.GATUN_STATE_DYNAMIC4(), State.DYNAMIC4.ordinal());
        assertEquals(gatun_h.GATUN_PARAMETER_NEAREST(), 0);
        assertEquals(gatun_h.GATUN_PARAMETER_STOCHASTIC(), 1);
    }
}
