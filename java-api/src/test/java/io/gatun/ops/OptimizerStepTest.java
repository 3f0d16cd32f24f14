package io.gatun.ops;

import static io.gatun.ops.OptimizerTest.drawGradient;
import static io.gatun.ops.OptimizerTest.parameter;
import static io.gatun.ops.OptimizerTest.unusual;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What an optimizer does around the steps of its parameters. */
class OptimizerStepTest {
    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    /** Values and state of two optimizers are the same, bit for bit. */
    static void assertSame(Optimizer a, Parameter pa, Optimizer b, Parameter pb, String context) {
        assertArrayEquals(bytes(pa.value()), bytes(pb.value()), context);
        Map<String, Tensor> other = b.state();
        a.state().forEach((name, tensor) -> assertArrayEquals(bytes(tensor), bytes(other.get(name)), context + name));
        assertEquals(a.state().keySet(), other.keySet());
    }

    private static void copyGradient(Parameter from, Parameter to) {
        to.gradient().segment().copyFrom(from.gradient().segment());
    }

    @ParameterizedTest
    @EnumSource(Rule.class)
    void threadsDoNotMatter(Rule rule) {
        for (State state : State.values()) {
            Parameter[] parameters = new Parameter[4];
            Optimizer[] optimizers = new Optimizer[4];
            for (int i = 0; i < 4; i++) {
                parameters[i] = parameter(new Random(61), "w", DType.BF16, 50_003);
                Options options =
                        unusual(rule).withThreads(new int[] {1, 2, 3, 8}[i]).withStochasticRounding(9);
                optimizers[i] = Optimizer.of(options, state, parameters[i]);
            }
            Random random = new Random(62);
            for (int step = 0; step < 2; step++) {
                drawGradient(random, parameters[0]);
                for (int i = 0; i < 4; i++) {
                    if (i > 0) {
                        copyGradient(parameters[0], parameters[i]);
                    }
                    optimizers[i].step();
                    assertEquals(optimizers[0].gradientNorm(), optimizers[i].gradientNorm());
                    assertSame(optimizers[0], parameters[0], optimizers[i], parameters[i], rule + " " + state);
                }
            }
        }
    }

    @Test
    void normIsThatOfAllGradients() {
        Parameter a = Parameter.of("a", Tensor.allocate(DType.F32, 2));
        Parameter b = Parameter.of("b", Tensor.allocate(DType.BF16, 3, 5));
        Parameter c = Parameter.of("c", Tensor.allocate(DType.F16, 0));
        Optimizer optimizer = Optimizer.adam(a, b, c);
        assertEquals(0, optimizer.gradientNorm());
        a.gradient().copyFrom(new float[] {3, 0});
        b.gradient().setFloat(-4, 2, 4);
        assertEquals(5, optimizer.gradientNorm());
        b.gradient().setFloat(Float.NaN, 0, 0);
        assertFalse(Double.isFinite(optimizer.gradientNorm()));
        b.gradient().setFloat(Float.NEGATIVE_INFINITY, 0, 0);
        assertFalse(Double.isFinite(optimizer.gradientNorm()));
    }

    /** Gradients 3 and 4 times 8 have norm 40; without the loss scale of 8, 5. */
    @Test
    void clipsAfterUnscaling() {
        for (float maxNorm : new float[] {1, 4.9999f, 5, 5.0001f, Float.POSITIVE_INFINITY}) {
            Parameter w = Parameter.of("w", Tensor.allocate(DType.F32, 2));
            w.gradient().copyFrom(new float[] {24, -32});
            Optimizer momentum = Optimizer.of(Options.of(Rule.MOMENTUM).withLearningRate(1), State.F32, w);
            assertTrue(momentum.stepClipped(maxNorm, 8));
            double factor = Math.min(1, maxNorm / 5.0);
            assertArrayEquals(
                    new float[] {(float) (-3 * factor), (float) (4 * factor)},
                    w.value().toFloatArray(),
                    1e-6f);
            assertArrayEquals(new float[] {24, -32}, w.gradient().toFloatArray());
            assertEquals(1, momentum.stepCount());
        }
    }

    @Test
    void skipsStepsWhoseNormIsNotFinite() {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            Random random = new Random(63);
            Parameter a = parameter(random, "a", DType.F16, 5000);
            Parameter b = parameter(random, "b", DType.F16, 5000);
            Optimizer adam = Optimizer.adam8bit(a, b);
            drawGradient(random, a);
            drawGradient(random, b);
            assertTrue(adam.stepClipped(1));
            List<byte[]> before = new ArrayList<>();
            adam.state().values().forEach(tensor -> before.add(bytes(tensor)));
            byte[] values = bytes(a.value());
            b.gradient().setFloat(bad, 4321);
            assertFalse(adam.stepClipped(1, 1024));
            assertFalse(adam.stepClipped(Float.POSITIVE_INFINITY));
            assertEquals(1, adam.stepCount());
            assertArrayEquals(values, bytes(a.value()));
            int i = 0;
            for (Tensor tensor : adam.state().values()) {
                assertArrayEquals(before.get(i++), bytes(tensor));
            }
        }
    }

    /** Gradients times a loss scale, and the step that divides by it, are gradients and a plain step. */
    @Test
    void unscalesInTheStep() {
        for (Rule rule : Rule.values()) {
            Parameter plain = parameter(new Random(64), "w", DType.F32, 6000);
            Parameter scaled = parameter(new Random(64), "w", DType.F32, 6000);
            Optimizer a = Optimizer.of(unusual(rule), State.DYNAMIC8, plain);
            Optimizer b = Optimizer.of(unusual(rule), State.DYNAMIC8, scaled);
            Random random = new Random(65);
            for (int step = 0; step < 3; step++) {
                drawGradient(random, plain);
                float[] gradients = plain.gradient().toFloatArray();
                for (int i = 0; i < gradients.length; i++) {
                    gradients[i] *= 4096;
                }
                scaled.gradient().copyFrom(gradients);
                a.step();
                b.step(1f / 4096);
                assertSame(a, plain, b, scaled, rule.name());
            }
        }
    }

    @Test
    void learningRateChangesFromStepToStep() {
        Parameter w = Parameter.of("w", Tensor.allocate(DType.F32, 1));
        w.gradient().setFloat(1, 0);
        Optimizer momentum = Optimizer.of(Options.of(Rule.MOMENTUM).withMomentum(0), State.F32, w);
        assertEquals(0.01f, momentum.learningRate());
        momentum.learningRate(0.5f);
        momentum.step();
        assertEquals(-0.5f, w.value().getFloat(0));
        momentum.learningRate(0.25f);
        momentum.step();
        assertEquals(0.25f, momentum.learningRate());
        assertEquals(-0.75f, w.value().getFloat(0));
        assertEquals(2, momentum.stepCount());
    }

    /** Of the paper's figure: T = 4, betas 0.5 and 0.9375, half-lives 1 and 10.74, so nearly in proportion to t. */
    @Test
    void schedulesOfTheSlowMean() {
        OptimizerNumbers numbers = Options.of(Rule.ADEMAMIX)
                .withBetas(0.5f, 0.999f)
                .withSlowMean(8, 0.9375f)
                .withSchedule(4, 5)
                .numbers();
        assertArrayEquals(new float[] {2, 4, 6, 8, 8}, new float[] {
            numbers.alpha(1), numbers.alpha(2), numbers.alpha(3), numbers.alpha(4), numbers.alpha(1000)
        });
        double first = 1 / Math.log(0.5);
        double last = 1 / Math.log(0.9375);
        for (int t = 1; t < 5; t++) {
            assertEquals(first + (last - first) * t / 5, 1 / Math.log(numbers.beta3(t)), 1e-5);
        }
        assertEquals(0.9375f, numbers.beta3(5));
        assertEquals(0.9375f, numbers.beta3(1L << 40));
        for (float[] betas : new float[][] {{0, 0}, {0, 0.9f}, {0.9f, 0}, {0.99f, 0.9f}, {0.9f, 0.9f}}) {
            OptimizerNumbers edge = Options.of(Rule.ADEMAMIX)
                    .withBetas(betas[0], 0.999f)
                    .withSlowMean(1, betas[1])
                    .withSchedule(0, 3)
                    .numbers();
            for (int t = 1; t < 5; t++) {
                assertTrue(edge.beta3(t) >= 0 && edge.beta3(t) <= betas[1], () -> betas[0] + " " + betas[1]);
            }
        }
        OptimizerNumbers constant = Options.of(Rule.ADEMAMIX).numbers();
        assertEquals(5, constant.alpha(1));
        assertEquals(0.9999f, constant.beta3(1));
    }

    /** Updates of a quarter of a place arrive one time in four, with other elements each step. */
    @Test
    void stochasticRoundingKeepsSmallUpdates() {
        int count = 8192;
        float[] ones = new float[count];
        Arrays.fill(ones, 1);
        Parameter nearest = Parameter.of("w", Tensor.of(DType.BF16, ones, count));
        Parameter random = Parameter.of("w", Tensor.of(DType.BF16, ones, count));
        // Between 1 and 2 bf16 has places of 2^-7.
        Options options = Options.of(Rule.MOMENTUM).withMomentum(0).withLearningRate(0x1p-9f);
        Optimizer a = Optimizer.of(options, State.F32, nearest);
        Optimizer b = Optimizer.of(options.withStochasticRounding(7), State.F32, random);
        Optimizer same =
                Optimizer.of(options.withStochasticRounding(7), State.F32, parameter(new Random(1), "w", DType.F32, 9));
        for (int i = 0; i < count; i++) {
            nearest.gradient().setFloat(-1, i);
            random.gradient().setFloat(-1, i);
        }
        a.step();
        b.step();
        same.step(); // f32, which has no stochastic rounding
        assertArrayEquals(ones, nearest.value().toFloatArray());
        float[] once = random.value().toFloatArray();
        int moved = 0;
        for (float value : once) {
            assertTrue(value == 1 || value == 1 + 0x1p-7f);
            moved += value > 1 ? 1 : 0;
        }
        assertEquals(count / 4.0, moved, 5 * Math.sqrt(count * 3 / 16.0));
        random.value().copyFrom(ones);
        b.step();
        assertFalse(Arrays.equals(once, random.value().toFloatArray()));
    }

    @Test
    void zeroesGradients() {
        Random random = new Random(66);
        Parameter a = parameter(random, "a", DType.F32, 7, 3);
        Parameter b = parameter(random, "b", DType.BF16, 5);
        drawGradient(random, a);
        drawGradient(random, b);
        Optimizer adam = Optimizer.adam(a, b);
        adam.zeroGradients();
        assertArrayEquals(new float[21], a.gradient().toFloatArray());
        assertArrayEquals(new float[5], b.gradient().toFloatArray());
        assertEquals(0, adam.gradientNorm());
    }

    @Test
    void smallAndFullPrecisionParametersKeepF32State() {
        Random random = new Random(67);
        Parameter small = parameter(random, "small", DType.F32, 4095);
        Parameter large = parameter(random, "large", DType.F32, 64, 64);
        Parameter embedding =
                parameter(random, "embedding", DType.BF16, 100, 64).withFullPrecisionState();
        Optimizer adam = Optimizer.adam8bit(small, large, embedding);
        Map<String, Tensor> state = adam.state();
        assertEquals("f32[4095]", state.get("small.state1").describe());
        assertEquals("u8[64, 64]", state.get("large.state1").describe());
        assertEquals("u8[64, 64]", state.get("large.state2").describe());
        assertEquals("f32[16]", state.get("large.absmax1").describe());
        assertEquals("f32[256]", state.get("large.qmap2").describe());
        assertEquals("f32[100, 64]", state.get("embedding.state2").describe());
        assertNull(state.get("embedding.absmax2"));
        assertEquals(2 * 4 * 4095 + 2 * (4096 + 64) + 2 * 4 * 6400, adam.stateBytes());
        assertEquals(
                "u8[2, 3]",
                Optimizer.of(
                                Options.of(Rule.ADEMAMIX).withMin8bitSize(0),
                                State.DYNAMIC4,
                                parameter(random, "w", DType.F32, 5))
                        .state()
                        .get("w.state1")
                        .describe());
        assertEquals(
                "f8e4m3[2, 5]",
                Optimizer.of(
                                Options.of(Rule.ADEMAMIX).withMin8bitSize(0),
                                State.FP8,
                                parameter(random, "w", DType.F32, 5))
                        .state()
                        .get("w.state1")
                        .describe());
    }

    /** LAMB and LARS are ADAM and MOMENTUM with their limits. */
    @Test
    void limitsOfUpdates() {
        Parameter lamb = parameter(new Random(68), "w", DType.F32, 4500);
        Parameter adam = parameter(new Random(68), "w", DType.F32, 4500);
        Optimizer a = Optimizer.of(Options.of(Rule.LAMB), State.F32, lamb);
        Optimizer b = Optimizer.of(Options.of(Rule.ADAM).withMaxUpdateNorm(1), State.F32, adam);
        drawGradient(new Random(69), lamb);
        copyGradient(lamb, adam);
        a.step();
        b.step();
        assertSame(a, lamb, b, adam, "lamb");
        Parameter lars = parameter(new Random(70), "w", DType.F32, 3);
        lars.value().copyFrom(new float[] {3, 0, 4});
        lars.gradient().copyFrom(new float[] {0, 500, 0});
        Optimizer.of(Options.of(Rule.LARS).withLearningRate(1), State.F32, lars).step();
        // The update, of norm 500, keeps to 0.02 of 5.
        assertArrayEquals(new float[] {3, -0.1f, 4}, lars.value().toFloatArray(), 1e-6f);
    }

    @Test
    void defaultsAreThoseOfBitsandbytes() {
        assertEquals(
                "ADAM learning rate 0.001, betas 0.9 0.999, epsilon 1.0E-8, weight decay 0.0",
                Options.of(Rule.ADAM).toString());
        assertEquals(
                "ADEMAMIX learning rate 0.001, betas 0.9 0.999, alpha 5.0, beta3 0.9999, epsilon 1.0E-8,"
                        + " weight decay 0.01",
                Options.of(Rule.ADEMAMIX).toString());
        assertEquals(
                "LION learning rate 1.0E-4, betas 0.9 0.99, weight decay 0.0",
                Options.of(Rule.LION).toString());
        assertEquals(
                "RMSPROP learning rate 0.01, decay 0.99, epsilon 1.0E-8, weight decay 0.0",
                Options.of(Rule.RMSPROP).toString());
        assertEquals(
                "ADAGRAD learning rate 0.01, epsilon 1.0E-10, weight decay 0.0",
                Options.of(Rule.ADAGRAD).toString());
        assertEquals(
                "LAMB learning rate 0.001, betas 0.9 0.999, epsilon 1.0E-8, weight decay 0.0, max update norm 1.0",
                Options.of(Rule.LAMB).toString());
        assertEquals(Rule.LION, Options.of(Rule.LION).rule());
    }

    /** A factor that f32 cannot hold makes gradients 0; the step counts. */
    @Test
    void factorsOfClippingBelowF32() {
        Parameter w = Parameter.of("w", Tensor.of(new float[] {1, 2}, 2));
        w.gradient().copyFrom(new float[] {3e38f, 1});
        Optimizer momentum = Optimizer.of(Options.of(Rule.MOMENTUM), State.F32, w);
        assertTrue(momentum.stepClipped(Float.MIN_VALUE));
        assertArrayEquals(new float[] {1, 2}, w.value().toFloatArray());
        assertArrayEquals(new float[2], momentum.state().get("w.state1").toFloatArray());
        assertEquals(1, momentum.stepCount());
    }

    @Test
    void withoutEpsilonZerosAreDividedByZeros() {
        Parameter w = Parameter.of("w", Tensor.of(new float[] {1, 2}, 2));
        w.gradient().copyFrom(new float[] {0, 1});
        Optimizer.of(Options.of(Rule.ADAM).withEpsilon(0).withLearningRate(0.5f), State.F32, w)
                .step();
        assertArrayEquals(new float[] {Float.NaN, 1.5f}, w.value().toFloatArray(), 1e-6f);
    }

    @Test
    void optionsTellTheirNumbers() {
        assertEquals(
                "MOMENTUM learning rate 0.01, momentum 0.9, weight decay 0.0",
                Options.of(Rule.MOMENTUM).toString());
        assertEquals(
                "LARS learning rate 0.03, momentum 0.7, weight decay 0.1, max update norm 0.02, min 8-bit size 0,"
                        + " threads 2",
                unusual(Rule.LARS).withThreads(2).toString());
        assertEquals(
                "ADEMAMIX learning rate 0.03, betas 0.8 0.95, alpha 3.0, over steps 4, beta3 0.99, over steps 3,"
                        + " epsilon 1.0E-8, weight decay 0.1, max update norm 2.0, block 512, min 8-bit size 0,"
                        + " stochastic rounding with seed 0",
                unusual(Rule.ADEMAMIX)
                        .withMaxUpdateNorm(2)
                        .withBlockSize(512)
                        .withStochasticRounding(0)
                        .toString());
        assertEquals(
                "RMSPROP learning rate 0.03, decay 0.8, epsilon 0.001, weight decay 0.1, min 8-bit size 0,"
                        + " gradient of bitsandbytes",
                unusual(Rule.RMSPROP).withBitsandbytesGradient(true).toString());
    }

    /** Both that of the next step, not that of the options. */
    @Test
    void tellsTheLearningRateOfTheNextStep() {
        Optimizer adam = Optimizer.adam(parameter(new Random(72), "w", DType.F32, 9));
        adam.learningRate(0.25f);
        assertEquals(
                "ADAM learning rate 0.25, betas 0.9 0.999, epsilon 1.0E-8, weight decay 0.0; F32, 72 bytes of state;"
                        + " parameters: 1",
                adam.toString());
        assertTrue(adam.explain().startsWith(adam + "\nw f32[9]: optimizer_"), adam.explain());
    }

    /** Of bf16 parameters alone, and if asked to. */
    @Test
    void tellsWhatIsRoundedStochastically() {
        Random random = new Random(73);
        Parameter[] parameters = {
            parameter(random, "a", DType.BF16, 9),
            parameter(random, "b", DType.F16, 9),
            parameter(random, "c", DType.F32, 9)
        };
        Options options = Options.of(Rule.ADAM);
        String text = Optimizer.of(options.withStochasticRounding(7), State.FP8, parameters)
                .explain();
        assertTrue(text.contains("\na bf16[9], rounded stochastically: optimizer_"), text);
        assertTrue(text.contains("\nb f16[9]: optimizer_"), text);
        assertTrue(text.contains("\nc f32[9]: optimizer_"), text);
        assertTrue(Optimizer.of(options, State.FP8, parameters).explain().contains("\na bf16[9]: optimizer_"));
    }

    @Test
    void explainsItself() {
        Random random = new Random(71);
        Optimizer lion = Optimizer.lion8bit(
                parameter(random, "first", DType.BF16, 80, 80), parameter(random, "second", DType.F32, 9));
        String text = lion.explain();
        for (String part : List.of(
                "LION learning rate 1.0E-4",
                "DYNAMIC8, " + lion.stateBytes() + " bytes of state; parameters: 2",
                "\nfirst bf16[80, 80]: optimizer_",
                "\nsecond f32[9]: optimizer_")) {
            assertTrue(text.contains(part), text);
        }
        assertNotEquals(
                text,
                Optimizer.momentum8bit(parameter(random, "first", DType.BF16, 80, 80))
                        .explain());
    }

    @Test
    void stateInAnArena() {
        Parameter w = parameter(new Random(72), "w", DType.F32, 5000);
        Tensor state;
        try (Arena arena = Arena.ofConfined()) {
            Optimizer adam = Optimizer.of(arena, Options.of(Rule.ADAM), State.DYNAMIC8, List.of(w));
            adam.step();
            state = adam.state().get("w.state1");
        }
        assertFalse(state.segment().scope().isAlive());
    }

    @Test
    void eightAtOnceAreAsEightInARow() throws InterruptedException {
        int many = 8;
        Parameter[] alone = new Parameter[many];
        Parameter[] together = new Parameter[many];
        AtomicReference<Throwable> failure = new AtomicReference<>();
        CountDownLatch start = new CountDownLatch(many);
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < many; i++) {
            int own = i;
            threads.add(new Thread(() -> {
                try {
                    start.countDown();
                    start.await();
                    together[own] = train(own);
                } catch (Throwable e) {
                    failure.set(e);
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) {
            thread.join();
        }
        assertNull(failure.get());
        for (int i = 0; i < many; i++) {
            alone[i] = train(i);
            assertArrayEquals(bytes(alone[i].value()), bytes(together[i].value()), "optimizer " + i);
        }
    }

    private static Parameter train(int own) {
        Random random = new Random(80 + own);
        Parameter w = parameter(random, "w", DType.F32, 20_000 + own);
        Rule rule = Rule.values()[own % Rule.values().length];
        Optimizer optimizer = Optimizer.of(unusual(rule).withThreads(own % 3), State.values()[own % 4], w);
        for (int step = 0; step < 20; step++) {
            drawGradient(random, w);
            optimizer.stepClipped(1);
        }
        return w;
    }
}
