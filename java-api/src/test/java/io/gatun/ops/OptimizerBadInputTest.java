package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/** What parameters, options and steps refuse: the whole message, and nothing has changed. */
class OptimizerBadInputTest {
    private static final Options ADAM = Options.of(Rule.ADAM);

    private static DynamicTest refused(String message, Executable call) {
        return refused(IllegalArgumentException.class, message, call);
    }

    private static DynamicTest refused(Class<? extends RuntimeException> type, String message, Executable call) {
        return DynamicTest.dynamicTest(
                message, () -> assertEquals(message, assertThrows(type, call).getMessage()));
    }

    private static DynamicTest missing(String argument, Executable call) {
        return refused(NullPointerException.class, argument + ": given null; allowed: a value", call);
    }

    @TestFactory
    Stream<DynamicTest> parameters() {
        Tensor value = f32(2, 3);
        Tensor strided = Tensor.wrap(f32(12).segment(), DType.F32, Shape.of(2, 3), 4, 1);
        Tensor buffer = f32(10);
        return Stream.of(
                missing("name", () -> Parameter.of(null, value)),
                missing("value", () -> Parameter.of("w", null)),
                missing("value", () -> Parameter.of("w", null, value)),
                missing("gradient", () -> Parameter.of("w", value, null)),
                refused("name: given an empty text; allowed: a name", () -> Parameter.of("", value)),
                refused(
                        "value: given dtype i8; allowed: [f32, f16, bf16]",
                        () -> Parameter.of("w", Tensor.allocate(DType.I8, 4))),
                refused(
                        "value: given f32[2, 3] strides [4, 1]; allowed: a contiguous tensor (see Tensor.contiguous)",
                        () -> Parameter.of("w", strided)),
                refused(
                        "value: given read-only memory; allowed: writable memory",
                        () -> Parameter.of("w", Unreachable.readOnly(value))),
                refused(
                        "gradient: given f32[3, 2]; allowed: f32[2, 3], as the value is",
                        () -> Parameter.of("w", value, f32(3, 2))),
                refused(
                        "gradient: given bf16[2, 3]; allowed: f32[2, 3], as the value is",
                        () -> Parameter.of("w", value, Tensor.allocate(DType.BF16, 2, 3))),
                refused(
                        "gradient: given f32[2, 3] strides [4, 1]; allowed: f32[2, 3], as the value is",
                        () -> Parameter.of("w", value, strided)),
                refused(
                        "gradient: given memory that overlaps value; allowed: memory of its own",
                        () -> Parameter.of("w", buffer.slice(0, 0, 6), buffer.slice(0, 4, 10))),
                refused(
                        "gradient: given memory that overlaps value; allowed: memory of its own",
                        () -> Parameter.of("w", value, value)));
    }

    @TestFactory
    Stream<DynamicTest> options() {
        Options lion = Options.of(Rule.LION);
        Options mix = Options.of(Rule.ADEMAMIX);
        return Stream.of(
                missing("rule", () -> Options.of(null)),
                refused(
                        "learningRate: given NaN; allowed: finite numbers >= 0",
                        () -> ADAM.withLearningRate(Float.NaN)),
                refused("learningRate: given -1.0; allowed: finite numbers >= 0", () -> ADAM.withLearningRate(-1)),
                refused("beta1: given 1.0; allowed: 0 <= beta1 < 1", () -> ADAM.withBetas(1, 0.9f)),
                refused("beta2: given -0.1; allowed: 0 <= beta2 < 1", () -> ADAM.withBetas(0.9f, -0.1f)),
                refused("beta2: given NaN; allowed: 0 <= beta2 < 1", () -> ADAM.withBetas(0.9f, Float.NaN)),
                refused(
                        "betas: given 0.9, 0.9 with MOMENTUM; allowed: with [ADAM, ADEMAMIX, LION, LAMB]",
                        () -> Options.of(Rule.MOMENTUM).withBetas(0.9f, 0.9f)),
                refused("momentum: given 0.9 with ADAM; allowed: with [MOMENTUM, LARS]", () -> ADAM.withMomentum(0.9f)),
                refused(
                        "momentum: given 1.0; allowed: 0 <= momentum < 1",
                        () -> Options.of(Rule.LARS).withMomentum(1)),
                refused(
                        "decay: given 0.9 with ADAGRAD; allowed: with [RMSPROP]",
                        () -> Options.of(Rule.ADAGRAD).withDecay(0.9f)),
                refused(
                        "decay: given 2.0; allowed: 0 <= decay < 1",
                        () -> Options.of(Rule.RMSPROP).withDecay(2)),
                refused(
                        "epsilon: given 0.1 with LION; allowed: with [ADAM, ADEMAMIX, RMSPROP, ADAGRAD, LAMB]",
                        () -> lion.withEpsilon(0.1f)),
                refused("epsilon: given -1.0E-8; allowed: finite numbers >= 0", () -> ADAM.withEpsilon(-1e-8f)),
                refused(
                        "weightDecay: given Infinity; allowed: finite numbers >= 0",
                        () -> lion.withWeightDecay(Float.POSITIVE_INFINITY)),
                refused("alpha: given 5.0 with ADAM; allowed: with [ADEMAMIX]", () -> ADAM.withSlowMean(5, 0.9f)),
                refused("alpha: given -5.0; allowed: finite numbers >= 0", () -> mix.withSlowMean(-5, 0.9f)),
                refused("beta3: given 1.0; allowed: 0 <= beta3 < 1", () -> mix.withSlowMean(5, 1)),
                refused("alphaSteps: given 9 with ADAM; allowed: with [ADEMAMIX]", () -> ADAM.withSchedule(9, 9)),
                refused("alphaSteps: given -1; allowed: 0..2147483647", () -> mix.withSchedule(-1, 0)),
                refused("beta3Steps: given -1; allowed: 0..2147483647", () -> mix.withSchedule(0, -1)),
                refused(
                        "maxUpdateNorm: given NaN; allowed: finite numbers >= 0",
                        () -> ADAM.withMaxUpdateNorm(Float.NaN)),
                refused(
                        "blockSize: given 100; allowed: 0 or a multiple of 128 up to 2048",
                        () -> ADAM.withBlockSize(100)),
                refused(
                        "blockSize: given 4096; allowed: 0 or a multiple of 128 up to 2048",
                        () -> ADAM.withBlockSize(4096)),
                refused(
                        "blockSize: given -128; allowed: 0 or a multiple of 128 up to 2048",
                        () -> ADAM.withBlockSize(-128)),
                refused("min8bitSize: given -1; allowed: 0..9223372036854775807", () -> ADAM.withMin8bitSize(-1)),
                refused(
                        "bitsandbytesGradient: given true with ADAM; allowed: with [RMSPROP, ADAGRAD]",
                        () -> ADAM.withBitsandbytesGradient(true)),
                refused("threads: given 1025; allowed: 0..1024", () -> ADAM.withThreads(1025)));
    }

    private static Arena closed() {
        Arena arena = Arena.ofConfined();
        arena.close();
        return arena;
    }

    private static Arena foreign() throws InterruptedException {
        Arena[] arena = new Arena[1];
        Thread owner = new Thread(() -> arena[0] = Arena.ofConfined());
        owner.start();
        owner.join();
        return arena[0];
    }

    @TestFactory
    Stream<DynamicTest> optimizers() {
        Tensor buffer = f32(100);
        Parameter a = Parameter.of("a", buffer.slice(0, 0, 40));
        Parameter b = Parameter.of("b", buffer.slice(0, 39, 60));
        Parameter gradientInside = Parameter.of("c", f32(10), buffer.slice(0, 5, 15));
        Parameter sharedGradient = Parameter.of("d", f32(40), a.gradient());
        Tensor closed = Unreachable.closed(DType.F32, 5);
        Tensor foreign = Unreachable.foreign(DType.F32, 5);
        String thread = Thread.currentThread().getName();
        return Stream.of(
                missing("options", () -> Optimizer.of(null, State.F32, a)),
                missing("state", () -> Optimizer.of(ADAM, null, a)),
                missing("parameters", () -> Optimizer.of(ADAM, State.F32, (Parameter[]) null)),
                missing("parameters", () -> Optimizer.of(Arena.ofAuto(), ADAM, State.F32, null)),
                missing("parameters[1]", () -> Optimizer.adam(a, null)),
                missing("arena", () -> Optimizer.of(null, ADAM, State.F32, List.of(a))),
                refused(
                        IllegalStateException.class,
                        "arena: given a closed arena; allowed: an open one",
                        () -> Optimizer.of(closed(), ADAM, State.F32, List.of(a))),
                refused(
                        WrongThreadException.class,
                        "arena: given another thread's confined arena, on thread " + thread
                                + "; allowed: this thread's, a shared, an automatic or the global arena",
                        () -> Optimizer.of(foreign(), ADAM, State.F32, List.of(a))),
                missing("options", () -> Optimizer.adam8bit((Options) null, a)),
                refused("parameters: given none; allowed: one or more", () -> Optimizer.adam8bit()),
                refused(
                        "options.rule: given LION; allowed: ADAM, or Optimizer.of",
                        () -> Optimizer.adam8bit(Options.of(Rule.LION), a)),
                refused(
                        "parameters[1]: given the name 'a' again; allowed: each name once",
                        () -> Optimizer.adam(a, Parameter.of("a", f32(3)))),
                refused("parameters[1]: given the name 'a' again; allowed: each name once", () -> Optimizer.adam(a, a)),
                refused(
                        "parameter 'b'.value: given memory that overlaps parameter 'a'.value; allowed: memory of its own",
                        () -> Optimizer.lion8bit(b, a)),
                refused(
                        "parameter 'e'.value: given memory that overlaps parameter 'a'.value; allowed: memory of its own",
                        () -> Optimizer.adam(a, Parameter.of("e", a.value()))),
                refused(
                        "parameter 'c'.gradient: given memory that overlaps parameter 'a'.value; allowed: memory of its own",
                        () -> Optimizer.adam(gradientInside, a)),
                refused(
                        "parameter 'd'.gradient: given memory that overlaps parameter 'a'.gradient; allowed: memory of its own",
                        () -> Optimizer.momentum8bit(a, sharedGradient)),
                refused(
                        IllegalStateException.class,
                        "parameter 'w'.value: given memory of a closed arena; allowed: memory whose arena stays open during the call",
                        () -> Optimizer.adam(Parameter.of("w", closed))),
                refused(
                        WrongThreadException.class,
                        "parameter 'w'.gradient: given memory of another thread's confined arena, on thread " + thread
                                + "; allowed: this thread's, a shared, an automatic or the global arena",
                        () -> Optimizer.adam(Parameter.of("w", f32(5), foreign))));
    }

    /** Values that steps get. */
    @TestFactory
    Stream<DynamicTest> numbers() {
        Parameter w = OptimizerTest.parameter(new Random(1), "w", DType.F32, 5000);
        Optimizer adam = Optimizer.adam8bit(w);
        float[] before = w.value().toFloatArray();
        Stream<DynamicTest> tests = Stream.of(
                refused("gradientScale: given NaN; allowed: finite numbers", () -> adam.step(Float.NaN)),
                refused(
                        "gradientScale: given -Infinity; allowed: finite numbers",
                        () -> adam.step(Float.NEGATIVE_INFINITY)),
                refused("maxNorm: given 0.0; allowed: numbers > 0", () -> adam.stepClipped(0)),
                refused("maxNorm: given NaN; allowed: numbers > 0", () -> adam.stepClipped(Float.NaN)),
                refused(
                        "lossScale: given 0.0; allowed: finite numbers > 0 with a finite reciprocal",
                        () -> adam.stepClipped(1, 0)),
                refused(
                        "lossScale: given 1.4E-45; allowed: finite numbers > 0 with a finite reciprocal",
                        () -> adam.stepClipped(1, Float.MIN_VALUE)),
                refused(
                        "lossScale: given -2.0; allowed: finite numbers > 0 with a finite reciprocal",
                        () -> adam.stepClipped(1, -2)),
                refused(
                        "lossScale: given Infinity; allowed: finite numbers > 0 with a finite reciprocal",
                        () -> adam.stepClipped(1, Float.POSITIVE_INFINITY)),
                refused("learningRate: given -0.1; allowed: finite numbers >= 0", () -> adam.learningRate(-0.1f)),
                missing("tensors", () -> adam.load((Map<String, Tensor>) null)),
                missing("file", () -> adam.load((Path) null)),
                missing("file", () -> adam.save(null)));
        return Stream.concat(tests, Stream.of(DynamicTest.dynamicTest("nothing has changed", () -> {
            assertEquals(Arrays.toString(before), Arrays.toString(w.value().toFloatArray()));
            assertEquals(0, adam.stepCount());
            assertEquals(1e-3f, adam.learningRate());
        })));
    }

    /** The second parameter is no longer there, or another thread's; the first is not stepped either. */
    @Test
    void unreachableTensorsStopAllSteps() throws InterruptedException {
        Random random = new Random(2);
        Parameter first = OptimizerTest.parameter(random, "first", DType.F32, 5000);
        OptimizerTest.drawGradient(random, first);
        float[] before = first.value().toFloatArray();
        String closedMemory =
                ": given memory of a closed arena; allowed: memory whose arena stays open during the call";
        for (String part : List.of(".value", ".gradient", ".state1")) {
            Optimizer adam;
            try (Arena arena = Arena.ofConfined()) {
                Tensor value = Tensor.allocate(part.equals(".value") ? arena : Arena.ofAuto(), DType.F32, 5000);
                Tensor gradient = Tensor.allocate(part.equals(".gradient") ? arena : Arena.ofAuto(), DType.F32, 5000);
                Arena states = part.equals(".state1") ? arena : Arena.ofAuto();
                List<Parameter> parameters = List.of(first, Parameter.of("second", value, gradient));
                adam = Optimizer.of(states, ADAM, State.DYNAMIC8, parameters);
                Consumer<Runnable> refusedElsewhere = call -> {
                    String message =
                            assertThrows(WrongThreadException.class, call::run).getMessage();
                    assertEquals(
                            "parameter '" + (part.equals(".state1") ? "first" : "second") + "'" + part
                                    + ": given memory of another thread's confined arena, on thread other; allowed: this"
                                    + " thread's, a shared, an automatic or the global arena",
                            message);
                };
                Throwable[] failure = new Throwable[1];
                Thread other = new Thread(
                        () -> {
                            try {
                                refusedElsewhere.accept(adam::step);
                                refusedElsewhere.accept(adam::gradientNorm);
                                refusedElsewhere.accept(adam::zeroGradients);
                                refusedElsewhere.accept(() -> adam.stepClipped(1));
                            } catch (Throwable e) {
                                failure[0] = e;
                            }
                        },
                        "other");
                other.start();
                other.join();
                assertEquals(null, failure[0]);
            }
            String name = "parameter '" + (part.equals(".state1") ? "first" : "second") + "'" + part;
            for (Executable call : List.<Executable>of(
                    adam::step, adam::gradientNorm, adam::zeroGradients, () -> adam.stepClipped(1))) {
                assertEquals(
                        name + closedMemory,
                        assertThrows(IllegalStateException.class, call).getMessage());
            }
            assertEquals(Arrays.toString(before), Arrays.toString(first.value().toFloatArray()));
            assertEquals(0, adam.stepCount());
        }
    }

    @Test
    void readOnlyGradientsAreSteppedWithButNotZeroed() {
        Tensor gradient = f32(3);
        gradient.setFloat(1, 2);
        Parameter w = Parameter.of("w", f32(3), Unreachable.readOnly(gradient));
        Parameter v = Parameter.of("v", f32(3));
        v.gradient().setFloat(7, 0);
        Optimizer adam = Optimizer.adam(v, w);
        adam.step();
        assertEquals(-1e-3f, w.value().getFloat(2), 1e-7f);
        assertEquals(
                "parameter 'w'.gradient: given read-only memory; allowed: writable memory",
                assertThrows(IllegalArgumentException.class, adam::zeroGradients)
                        .getMessage());
        assertEquals(7, v.gradient().getFloat(0));
    }
}
