package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static io.gatun.cuda.Refusals.assertStarts;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import io.gatun.ops.Parameter;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The same steps on the device and on the CPU give the same bytes. */
class OptimizerOnDeviceTest {
    private static final long ELEMENTS = 700;

    private static Tensor random(long seed, DType dtype) {
        return QuantizeOnDeviceTest.random(seed, dtype, ELEMENTS);
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.to(Device.CPU).segment().toArray(ValueLayout.JAVA_BYTE);
    }

    /** Two optimizers of the same parameter. */
    private record Pair(Parameter host, Parameter there, Optimizer one, Optimizer other) {
        static Pair of(DType dtype, Options options, State state) {
            Parameter host = Parameter.of("w", random(1, dtype));
            Parameter there = Parameter.of("w", random(1, dtype).to(DEVICE));
            return new Pair(host, there, Optimizer.of(options, state, host), Optimizer.of(options, state, there));
        }

        void gradients(long seed) {
            Tensor gradient = random(seed, host.value().dtype());
            host.gradient().segment().copyFrom(gradient.segment());
            DEVICE.copy(gradient, there.gradient());
        }

        void step(long seed) {
            gradients(seed);
            one.step(0.5f);
            other.step(0.5f);
        }

        void assertSameBytes() {
            assertArrayEquals(bytes(host.value()), bytes(there.value()), "values");
            assertEquals(one.state().keySet(), other.state().keySet());
            one.state()
                    .forEach((name, tensor) ->
                            assertArrayEquals(bytes(tensor), bytes(other.state().get(name)), name));
            assertEquals(one.stateBytes(), other.stateBytes());
        }
    }

    @ParameterizedTest
    @EnumSource
    void givesTheSameBytes(Rule rule) {
        int turn = rule.ordinal();
        for (State state : State.values()) {
            DType dtype = List.of(DType.F32, DType.BF16, DType.F16).get(turn++ % 3);
            Options options =
                    Options.of(rule).withMin8bitSize(0).withWeightDecay(0.01f).withStochasticRounding(7);
            if (turn % 2 == 0) {
                options = options.withMaxUpdateNorm(0.01f);
            }
            Pair pair = Pair.of(dtype, options, state);
            assertSame(DEVICE, pair.there.gradient().device());
            pair.step(2);
            pair.step(3);
            pair.assertSameBytes();
            assertSame(DEVICE, pair.other.state().get("w.state1").device());
            assertEquals(2, pair.other.stepCount());
        }
    }

    @Test
    void clipsByTheSameNorm() {
        Pair pair = Pair.of(DType.F32, Options.of(Rule.ADAM), State.F32);
        pair.gradients(5);
        assertEquals(pair.one.gradientNorm(), pair.other.gradientNorm());
        assertTrue(pair.one.stepClipped(0.1f, 2));
        assertTrue(pair.other.stepClipped(0.1f, 2));
        pair.assertSameBytes();
        Tensor bad = random(5, DType.F32);
        bad.setFloat(Float.NaN, 13);
        DEVICE.copy(bad, pair.there.gradient());
        assertFalse(pair.other.stepClipped(1));
        pair.assertSameBytes();
        pair.other.zeroGradients();
        assertArrayEquals(new float[(int) ELEMENTS], pair.there.gradient().toFloatArray());
        assertEquals(0, pair.other.gradientNorm());
    }

    /** On whichever device each is. */
    @Test
    void takesSeveralParameters() {
        Parameter first = Parameter.of("first", random(1, DType.F32).to(DEVICE));
        Parameter second = Parameter.of("second", random(2, DType.BF16).to(DEVICE));
        Parameter third = Parameter.of("third", random(3, DType.F32));
        Optimizer lion = Optimizer.lion8bit(first, second, third);
        DEVICE.copy(random(4, DType.F32), first.gradient());
        DEVICE.copy(random(5, DType.BF16), second.gradient());
        third.gradient().segment().copyFrom(random(6, DType.F32).segment());
        double squares = 0;
        for (Tensor gradient : List.of(first.gradient(), second.gradient(), third.gradient())) {
            for (float g : gradient.toFloatArray()) {
                squares += (double) g * g;
            }
        }
        assertEquals(Math.sqrt(squares), lion.gradientNorm(), 1e-5 * Math.sqrt(squares));
        lion.step();
        assertFalse(List.of(bytes(first.value())).contains(bytes(random(1, DType.F32))));
    }

    @Test
    void stateIsSavedAndLoaded(@TempDir Path folder) throws Exception {
        Options options = Options.of(Rule.ADAM).withMin8bitSize(0);
        Pair pair = Pair.of(DType.F32, options, State.DYNAMIC8);
        pair.step(2);
        Path file = folder.resolve("state.safetensors");
        pair.other.save(file);
        Pair loaded = Pair.of(DType.F32, options, State.DYNAMIC8);
        DEVICE.copy(pair.there.value(), loaded.there.value());
        loaded.other.load(file);
        loaded.gradients(9);
        loaded.other.step();
        pair.gradients(9);
        pair.other.step();
        assertArrayEquals(bytes(pair.there.value()), bytes(loaded.there.value()));
        // From one device to the other.
        loaded.one.load(pair.other.state());
        loaded.other.load(pair.other.state());
        pair.other.state().forEach((name, tensor) -> {
            assertArrayEquals(bytes(tensor), bytes(loaded.one.state().get(name)), name);
            assertArrayEquals(bytes(tensor), bytes(loaded.other.state().get(name)), name);
        });
    }

    @Test
    void refusesOtherDevicesAndClosedMemory() {
        Tensor value = random(1, DType.F32).to(DEVICE);
        assertElsewhere("gradient", Device.CPU, DEVICE, () -> Parameter.of("w", value, random(2, DType.F32)));
        Optimizer optimizer;
        try (Arena arena = Arena.ofConfined()) {
            optimizer = Optimizer.of(arena, Options.of(Rule.ADAM), State.F32, List.of(Parameter.of("w", value)));
        }
        assertStarts(
                IllegalStateException.class, "parameter 'w'.state1: given memory of a closed arena", optimizer::step);
        assertArrayEquals(bytes(random(1, DType.F32)), bytes(value));
    }

    @Test
    void explains() {
        Optimizer adam = Optimizer.adam8bit(Parameter.of("w", DEVICE.allocate(DType.BF16, 64, 128)));
        assertTrue(adam.explain().contains("\nw bf16[64, 128]: optimizer_"), adam::explain);
    }
}
