package io.gatun.ops;

import static io.gatun.ops.OptimizerStepTest.assertSame;
import static io.gatun.ops.OptimizerTest.drawGradient;
import static io.gatun.ops.OptimizerTest.parameter;
import static io.gatun.ops.OptimizerTest.unusual;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.files.MalformedFileException;
import io.gatun.files.Safetensors;
import io.gatun.files.SafetensorsTensor;
import io.gatun.files.SafetensorsType;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class OptimizerFileTest {
    @TempDir
    Path folder;

    /** Half the steps, a file, the other half by a new optimizer: all bits are those of one that went on. */
    @ParameterizedTest
    @EnumSource(Rule.class)
    void goesOnFromAFile(Rule rule) throws IOException {
        for (State state : State.values()) {
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                String context = rule + " " + state + " " + dtype + " ";
                Options options = unusual(rule).withStochasticRounding(5).withMin8bitSize(200);
                Parameter through = parameter(new Random(91), "layer.w", dtype, 3, 333);
                Parameter small = parameter(new Random(92), "layer.b", dtype, 33);
                Optimizer first = Optimizer.of(options, state, through, small);
                Random random = new Random(93);
                for (int step = 0; step < 5; step++) {
                    drawGradient(random, through);
                    drawGradient(random, small);
                    first.step();
                }
                Path file = folder.resolve("state.safetensors");
                first.save(file);
                Parameter resumed = Parameter.of("layer.w", copy(through.value()));
                Parameter resumedSmall = Parameter.of("layer.b", copy(small.value()));
                Optimizer second = Optimizer.of(options, state, resumed, resumedSmall);
                second.load(file);
                Optimizer third = Optimizer.of(options, state, resumed, resumedSmall);
                third.load(first.state());
                assertSame(first, through, third, resumed, context);
                assertEquals(5, second.stepCount());
                for (int step = 0; step < 3; step++) {
                    drawGradient(random, through);
                    drawGradient(random, small);
                    resumed.gradient().segment().copyFrom(through.gradient().segment());
                    resumedSmall.gradient().segment().copyFrom(small.gradient().segment());
                    first.step();
                    second.step();
                    assertSame(first, through, second, resumed, context);
                    assertSame(first, small, second, resumedSmall, context);
                }
            }
        }
    }

    private static Tensor copy(Tensor tensor) {
        return tensor.to(tensor.dtype());
    }

    /** What bitsandbytes' Adam8bit has after a step: codes, scales, both maps, the step. */
    private Map<String, Tensor> checkpoint(int count, int block) {
        Random random = new Random(94);
        int blocks = Math.ceilDiv(count, block);
        byte[] codes1 = new byte[count];
        byte[] codes2 = new byte[count];
        random.source.nextBytes(codes1);
        random.source.nextBytes(codes2);
        float[] scales1 = random.normal(blocks, 0.01);
        float[] scales2 = random.normal(blocks, 1e-4);
        for (int i = 0; i < blocks; i++) {
            scales1[i] = Math.abs(scales1[i]);
            scales2[i] = Math.abs(scales2[i]);
        }
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("w.state1", Tensor.of(DType.U8, codes1, 4, count / 4));
        tensors.put("w.state2", Tensor.of(DType.U8, codes2, 4, count / 4));
        tensors.put("w.absmax1", Tensor.of(scales1, blocks));
        tensors.put("w.absmax2", Tensor.of(scales2, blocks));
        tensors.put("w.qmap1", Tensor.of(CodeBook.DYNAMIC.values(), 256));
        tensors.put("w.qmap2", Tensor.of(CodeBook.DYNAMIC_UNSIGNED.values(), 256));
        return tensors;
    }

    private Path write(Map<String, Tensor> tensors, SafetensorsTensor... more) throws IOException {
        Path file = folder.resolve("checkpoint.safetensors");
        Safetensors.write(
                file,
                Map.of("format", "pt"),
                Stream.concat(
                                Stream.of(more),
                                tensors.entrySet().stream()
                                        .map(entry -> SafetensorsTensor.of(entry.getKey(), entry.getValue())))
                        .toList());
        return file;
    }

    /** With the step as torch keeps it, i64, and blocks of today and of before 0.44. */
    @Test
    void readsCheckpointsOfBitsandbytes() throws IOException {
        for (int block : new int[] {256, 2048}) {
            Map<String, Tensor> checkpoint = checkpoint(4 * 1500, block);
            MemorySegment step = Arena.ofAuto().allocate(8);
            step.set(ValueLayout.JAVA_LONG, 0, 100);
            Path file = write(checkpoint, new SafetensorsTensor("w.step", SafetensorsType.I64, Shape.of(), step));
            Parameter w = parameter(new Random(95), "w", DType.F16, 4, 1500);
            Options options = Options.of(Rule.ADAM).withBlockSize(block == 256 ? 0 : block);
            Optimizer adam = Optimizer.adam8bit(options, w);
            adam.load(file);
            assertEquals(100, adam.stepCount());
            checkpoint.forEach((name, tensor) -> assertEquals(
                    -1, tensor.segment().mismatch(adam.state().get(name).segment()), name));
            // The number after which it goes on counts: bias corrections are those of step 101.
            drawGradient(new Random(96), w);
            OptimizerOracle oracle = new OptimizerOracle(adam, w, options, 1);
            adam.step();
            oracle.check("block " + block);
            assertEquals(101, adam.stepCount());
        }
    }

    /** A parameter of small size has f32 state there, and steps may be f32, as torch's own optimizers keep them. */
    @Test
    void readsF32State() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("b.state1", Tensor.of(new float[] {1, -2, 0}, 3));
        tensors.put("b.state2", Tensor.of(new float[] {1, 2, 0}, 3));
        tensors.put("b.step", Tensor.of(new float[] {7}, 1));
        Optimizer adam = Optimizer.adam8bit(Parameter.of("b", Tensor.allocate(DType.BF16, 3)));
        adam.load(write(tensors));
        assertEquals(7, adam.stepCount());
        assertArrayEquals(new float[] {1, -2, 0}, adam.state().get("b.state1").toFloatArray());
    }

    /** Each parameter goes on from its own step. */
    @Test
    void stepsMayDiffer() {
        Parameter a = Parameter.of("a", Tensor.allocate(DType.F32, 1));
        Parameter b = Parameter.of("b", Tensor.allocate(DType.F32, 1));
        Optimizer adam = Optimizer.adam(a, b);
        Map<String, Tensor> state = new LinkedHashMap<>(adam.state());
        state.put("a.step", Tensor.of(new int[] {3}));
        state.put("b.step", Tensor.of(new int[] {9}));
        adam.load(state);
        assertEquals(9, adam.stepCount());
        adam.step();
        assertEquals(4, adam.state().get("a.step").getInt());
        assertEquals(10, adam.state().get("b.step").getInt());
        state.put("b.step", Tensor.of(new int[] {Integer.MAX_VALUE}));
        adam.load(state);
        assertEquals(
                "parameter 'b': given 2147483647 steps before this one; allowed: fewer than 2147483647",
                assertThrows(IllegalArgumentException.class, adam::step).getMessage());
        assertEquals(3, adam.state().get("a.step").getInt());
    }

    /** Of LAMB and LARS, and of versions that clipped by percentiles: kept for every parameter, and not part of the state. */
    @Test
    void normsOfBitsandbytesAreLeftOut() throws IOException {
        for (Rule rule : List.of(Rule.LAMB, Rule.LARS)) {
            Parameter w = parameter(new Random(102), "w", DType.F32, 500);
            Optimizer first = Optimizer.of(Options.of(rule), State.DYNAMIC8, w);
            drawGradient(new Random(103), w);
            first.step();
            Map<String, Tensor> tensors = new LinkedHashMap<>(first.state());
            tensors.put("w.unorm_vec", Tensor.of(new float[] {Float.NaN}, 1));
            tensors.put("w.gnorm_vec", Tensor.allocate(DType.F32, 100));
            Optimizer second = Optimizer.of(Options.of(rule), State.DYNAMIC8, w);
            second.load(write(tensors));
            assertSame(first, w, second, w, rule.toString());
            assertEquals(first.state().keySet(), second.state().keySet());
            tensors.put("v.unorm_vec", Tensor.allocate(DType.F32, 1));
            assertEquals(
                    "tensor 'v.unorm_vec': given F32[1]; allowed: names of state of the optimizer's parameters",
                    assertThrows(IllegalArgumentException.class, () -> second.load(tensors))
                            .getMessage());
        }
    }

    @Test
    void filesOfOtherOptionsAreRefused() throws IOException {
        Path file = folder.resolve("lars.safetensors");
        Parameter w = parameter(new Random(100), "w", DType.F32, 200);
        Options lars = Options.of(Rule.LARS).withMin8bitSize(0);
        Optimizer.of(lars, State.DYNAMIC8, w).save(file);
        Optimizer.of(lars, State.DYNAMIC8, w).load(file);
        Optimizer momentum = Optimizer.of(Options.of(Rule.MOMENTUM).withMin8bitSize(0), State.DYNAMIC8, w);
        assertEquals(
                file + ": gatun.rule: given 'LARS'; allowed: MOMENTUM, as options say",
                assertThrows(IllegalArgumentException.class, () -> momentum.load(file))
                        .getMessage());
        Optimizer wide = Optimizer.of(lars.withBlockSize(512), State.DYNAMIC8, w);
        assertEquals(
                file + ": gatun.block: given '256'; allowed: 512, as options say",
                assertThrows(IllegalArgumentException.class, () -> wide.load(file))
                        .getMessage());
        Optimizer other = Optimizer.of(lars, State.DYNAMIC8, parameter(new Random(100), "v", DType.F32, 200));
        assertEquals(
                file + ": tensor 'v.state1': given none; allowed: u8[200]",
                assertThrows(IllegalArgumentException.class, () -> other.load(file))
                        .getMessage());
    }

    /** By name, before any tensor is looked at; old files do not tell. */
    @Test
    void filesOfOtherStateAreRefused() throws IOException {
        Path file = folder.resolve("fp8.safetensors");
        Parameter w = parameter(new Random(104), "w", DType.F32, 200);
        Options options = Options.of(Rule.ADAM).withMin8bitSize(0);
        Optimizer first = Optimizer.of(options, State.FP8, w);
        drawGradient(new Random(105), w);
        first.step();
        first.save(file);
        for (State state : List.of(State.F32, State.DYNAMIC8, State.DYNAMIC4)) {
            Optimizer other = Optimizer.of(options, state, w);
            assertEquals(
                    file + ": gatun.state: given 'FP8'; allowed: " + state + ", as this optimizer has",
                    assertThrows(IllegalArgumentException.class, () -> other.load(file))
                            .getMessage());
        }
        Path old = folder.resolve("old.safetensors");
        try (Arena arena = Arena.ofConfined()) {
            Safetensors saved = Safetensors.open(file, arena);
            Map<String, String> metadata = new LinkedHashMap<>(saved.metadata());
            assertEquals("FP8", metadata.remove("gatun.state"));
            Safetensors.write(old, metadata, saved.tensors().values());
        }
        Optimizer second = Optimizer.of(options, State.FP8, w);
        second.load(old);
        assertSame(first, w, second, w, "old file");
    }

    /** Whatever the file holds. */
    @Test
    void closedStateIsRefusedFirst() throws IOException {
        Path file = folder.resolve("other.safetensors");
        Parameter w = parameter(new Random(106), "w", DType.F32, 200);
        Options options = Options.of(Rule.ADAM).withMin8bitSize(0);
        Optimizer.of(options.withBlockSize(512), State.DYNAMIC8, w).save(file);
        Optimizer closed;
        try (Arena arena = Arena.ofConfined()) {
            closed = Optimizer.of(arena, options, State.DYNAMIC8, List.of(w));
        }
        for (Executable call : List.<Executable>of(() -> closed.load(file), () -> closed.save(file))) {
            assertEquals(
                    "parameter 'w'.state1: given memory of a closed arena; allowed: memory whose arena stays open during"
                            + " the call",
                    assertThrows(IllegalStateException.class, call).getMessage());
        }
    }

    @Test
    void filesThatAreNone() throws IOException {
        Optimizer adam = Optimizer.adam(parameter(new Random(101), "w", DType.F32, 20));
        assertThrows(NoSuchFileException.class, () -> adam.load(folder.resolve("none")));
        Path file = folder.resolve("text");
        Files.writeString(file, "this is a text, no tensors");
        assertTrue(assertThrows(MalformedFileException.class, () -> adam.load(file))
                .getMessage()
                .startsWith(file + ": header, length at byte 0"));
        assertThrows(
                NoSuchFileException.class,
                () -> adam.save(folder.resolve("none").resolve("state")));
    }
}
