package io.gatun.ops;

import static io.gatun.ops.OptimizerTest.drawGradient;
import static io.gatun.ops.OptimizerTest.parameter;
import static io.gatun.ops.OptimizerTest.unusual;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The oracle sees a wrong value, code or scale, and a step with other numbers. */
class OptimizerOracleTest {
    private static final int AT = 7;

    private final Random random = new Random(110);

    /** After two right steps, a third with something else than what the oracle is told. */
    private OptimizerOracle stepped(Optimizer optimizer, Parameter w, Options options, float told, float done) {
        for (int step = 0; step < 2; step++) {
            drawGradient(random, w);
            optimizer.step();
        }
        w.gradient().copyFrom(random.normal(300, 1));
        OptimizerOracle oracle = new OptimizerOracle(optimizer, w, options, told);
        optimizer.step(done);
        return oracle;
    }

    private static void refuses(OptimizerOracle oracle, String context) {
        assertThrows(AssertionError.class, () -> oracle.check(context), context);
    }

    private static void tamper(OptimizerOracle oracle, String context, Runnable wrong, Runnable right) {
        oracle.check(context);
        wrong.run();
        refuses(oracle, context);
        right.run();
        oracle.check(context);
    }

    private static void times(Tensor tensor, double factor) {
        float value = tensor.segment()
                .getAtIndex(ValueLayout.JAVA_FLOAT, AT % tensor.shape().elements());
        tensor.segment().setAtIndex(ValueLayout.JAVA_FLOAT, AT % tensor.shape().elements(), (float) (value * factor));
    }

    @ParameterizedTest
    @EnumSource(Rule.class)
    void wrongNumbersAreSeen(Rule rule) {
        for (State state : State.values()) {
            // Without limits of updates, whose norms are known less exactly.
            Options options = unusual(rule).withMaxUpdateNorm(0);
            Parameter w = parameter(random, "w", DType.F32, 300);
            Optimizer optimizer = Optimizer.of(options, state, w);
            OptimizerOracle oracle = stepped(optimizer, w, options, 1, 1);
            String context = rule + " " + state;
            float value = w.value().getFloat(AT);
            tamper(
                    oracle,
                    context + " value",
                    () -> times(w.value(), 1 + 0x1p-17),
                    () -> w.value().setFloat(value, AT));
            Map<String, Tensor> tensors = optimizer.state();
            for (String number : new String[] {"1", "2"}) {
                Tensor codes = tensors.get("w.state" + number);
                if (codes == null) {
                    continue;
                }
                byte[] kept = codes.segment().toArray(ValueLayout.JAVA_BYTE);
                Runnable wrong = codes.dtype() == DType.F32 ? () -> times(codes, 1 + 0x1p-17) : () -> nextCode(codes);
                tamper(
                        oracle,
                        context + " state " + number,
                        wrong,
                        () -> codes.segment().copyFrom(MemorySegment.ofArray(kept)));
                Tensor scales = tensors.get("w.absmax" + number);
                if (scales != null) {
                    byte[] keptScales = scales.segment().toArray(ValueLayout.JAVA_BYTE);
                    tamper(
                            oracle,
                            context + " scale " + number,
                            () -> times(scales, 1 + 0x1p-17),
                            () -> scales.segment().copyFrom(MemorySegment.ofArray(keptScales)));
                }
            }
        }
    }

    /** Every code of a byte becomes another one. */
    private static void nextCode(Tensor codes) {
        int code = codes.segment().get(ValueLayout.JAVA_BYTE, AT) & 0xff;
        codes.segment().set(ValueLayout.JAVA_BYTE, AT, (byte) (code ^ 0x11));
    }

    @ParameterizedTest
    @EnumSource(Rule.class)
    void anotherStepIsSeen(Rule rule) {
        Options told = unusual(rule);
        Options[] others = {
            told.withWeightDecay(0.1001f),
            Options.of(rule).withWeightDecay(0.1f).withMin8bitSize(0)
        };
        for (Options done : others) {
            Parameter w = parameter(random, "w", DType.F32, 300);
            Optimizer optimizer = Optimizer.of(done, State.F32, w);
            optimizer.learningRate(0.03f);
            refuses(stepped(optimizer, w, told, 1, 1), rule + " " + done);
        }
        Parameter w = parameter(random, "w", DType.F32, 300);
        refuses(stepped(Optimizer.of(told, State.F32, w), w, told, 1, 0.999f), rule + " scale");
    }
}
