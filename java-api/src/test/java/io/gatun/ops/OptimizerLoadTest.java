package io.gatun.ops;

import static io.gatun.ops.OptimizerTest.drawGradient;
import static io.gatun.ops.OptimizerTest.parameter;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** State that {@link Optimizer#load(Map)} refuses, with nothing changed then. */
class OptimizerLoadTest {
    private static void refusedUnchanged(Optimizer optimizer, Map<String, Tensor> tensors, String message) {
        Map<String, byte[]> before = new LinkedHashMap<>();
        optimizer
                .state()
                .forEach((key, tensor) -> before.put(key, tensor.segment().toArray(ValueLayout.JAVA_BYTE)));
        String given = assertThrows(RuntimeException.class, () -> optimizer.load(tensors))
                .getMessage();
        assertEquals(message, given);
        optimizer
                .state()
                .forEach((key, tensor) ->
                        assertArrayEquals(before.get(key), tensor.segment().toArray(ValueLayout.JAVA_BYTE), key));
    }

    /** Copied one after the other, an exchange would lose the first of them. */
    @Test
    void ownStateUnderOtherNamesIsRefused() {
        Parameter a = parameter(new Random(104), "a", DType.F32, 40);
        Parameter b = parameter(new Random(105), "b", DType.F32, 40);
        Parameter empty = parameter(new Random(106), "empty", DType.F32, 0);
        Optimizer lion = Optimizer.of(Options.of(Rule.LION), State.F32, a, empty, b);
        drawGradient(new Random(107), a);
        drawGradient(new Random(108), b);
        lion.step();
        Map<String, Tensor> own = lion.state();
        Map<String, Tensor> exchanged = new LinkedHashMap<>(own);
        exchanged.put("a.state1", own.get("b.state1"));
        exchanged.put("b.state1", own.get("a.state1"));
        String allowed = "; allowed: memory of its own, or where it goes";
        refusedUnchanged(
                lion,
                exchanged,
                "tensor 'a.state1': given memory that overlaps the optimizer's own 'b.state1'" + allowed);
        exchanged.put("a.state1", own.get("a.state1"));
        refusedUnchanged(
                lion,
                exchanged,
                "tensor 'b.state1': given memory that overlaps the optimizer's own 'a.state1'" + allowed);
        lion.load(own);
        exchanged.put("b.state1", own.get("a.state1").to(DType.F32));
        lion.load(exchanged);
        assertArrayEquals(
                own.get("a.state1").toFloatArray(), own.get("b.state1").toFloatArray());
    }

    /** All memory side by side. */
    private record Adjacent(Arena arena, SegmentAllocator slices) implements Arena {
        @Override
        public MemorySegment allocate(long bytes, long alignment) {
            return slices.allocate(bytes, alignment);
        }

        @Override
        public MemorySegment.Scope scope() {
            return arena.scope();
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    /** One element of a neighbour is enough, and elements of the place it goes to are none. */
    @Test
    void partsOfOwnStateAreRefused() {
        MemorySegment memory = Arena.ofAuto().allocate(256, 64);
        Arena arena = new Adjacent(Arena.ofAuto(), SegmentAllocator.slicingAllocator(memory));
        Parameter a = parameter(new Random(109), "a", DType.F32, 16);
        Parameter b = parameter(new Random(110), "b", DType.F32, 16);
        Parameter c = parameter(new Random(111), "c", DType.F32, 16);
        Optimizer lion = Optimizer.of(arena, Options.of(Rule.LION), State.F32, List.of(a, b, c));
        Map<String, Tensor> own = lion.state();
        assertEquals(memory.asSlice(64, 64), own.get("b.state1").segment());
        for (int at = 0; at <= 192; at += 4) {
            for (int i = 0; i < 64; i++) {
                memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, i);
            }
            Map<String, Tensor> shifted = new LinkedHashMap<>(own);
            shifted.put("b.state1", Tensor.wrap(memory.asSlice(at, 64), DType.F32, 16));
            String other = at > 64 && at < 192 ? "c" : at < 64 ? "a" : null;
            if (other == null) {
                lion.load(shifted);
                assertEquals(at / 4 + 15, own.get("b.state1").getFloat(15));
            } else {
                refusedUnchanged(
                        lion,
                        shifted,
                        "tensor 'b.state1': given memory that overlaps the optimizer's own '" + other
                                + ".state1'; allowed: memory of its own, or where it goes");
            }
        }
    }

    private static DynamicTest refused(String name, Rule rule, State state, String message, Change change) {
        return DynamicTest.dynamicTest(name, () -> {
            Parameter w = parameter(new Random(97), "w", DType.F32, 300);
            Options options = Options.of(rule).withMin8bitSize(0);
            Optimizer optimizer = Optimizer.of(options, state, w);
            drawGradient(new Random(98), w);
            optimizer.step();
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            optimizer.state().forEach((key, tensor) -> tensors.put(key, tensor.to(tensor.dtype())));
            optimizer.step();
            change.on(tensors);
            refusedUnchanged(optimizer, tensors, message);
        });
    }

    private interface Change {
        void on(Map<String, Tensor> tensors);
    }

    private static Change put(String name, Tensor tensor) {
        return tensors -> tensors.put(name, tensor);
    }

    private static Change poke(String name, float value, long... index) {
        return tensors -> tensors.get(name).setFloat(value, index);
    }

    @TestFactory
    Stream<DynamicTest> badState() {
        State f32 = State.F32;
        State dynamic8 = State.DYNAMIC8;
        return Stream.of(
                refused(
                        "missing codes",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.state2': given none; allowed: u8[300]",
                        tensors -> tensors.remove("w.state2")),
                refused(
                        "missing scales",
                        Rule.RMSPROP,
                        dynamic8,
                        "tensor 'w.absmax1': given none; allowed: f32[2]",
                        tensors -> tensors.remove("w.absmax1")),
                refused(
                        "missing map",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.qmap2': given none; allowed: f32[256]",
                        tensors -> tensors.remove("w.qmap2")),
                refused(
                        "missing step",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.step': given none; allowed: i32[], the number of steps",
                        tensors -> tensors.remove("w.step")),
                refused(
                        "another rule's",
                        Rule.LION,
                        f32,
                        "tensor 'w.state2': given F32[300]; allowed: names of state of the optimizer's parameters",
                        put("w.state2", Tensor.allocate(DType.F32, 300))),
                refused(
                        "another parameter's",
                        Rule.LION,
                        f32,
                        "tensor 'v\\u000a.state1': given F32[1]; allowed: names of state of the optimizer's parameters",
                        put("v\n.state1", Tensor.allocate(DType.F32, 1))),
                refused(
                        "shape",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.state1': given U8[3, 100]; allowed: u8[300]",
                        put("w.state1", Tensor.allocate(DType.U8, 3, 100))),
                refused(
                        "type",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.state1': given F32[300]; allowed: u8[300]",
                        put("w.state1", Tensor.allocate(DType.F32, 300))),
                refused(
                        "blocks",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.absmax2': given F32[1]; allowed: f32[2], as blocks have 256 (Options.withBlockSize)",
                        put("w.absmax2", Tensor.allocate(DType.F32, 1))),
                refused(
                        "half codes",
                        Rule.ADAM,
                        State.DYNAMIC4,
                        "tensor 'w.state1': given U8[300]; allowed: u8[150]",
                        put("w.state1", Tensor.allocate(DType.U8, 300))),
                refused(
                        "map",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.qmap1': given -0.0 at 127; allowed: 0.0, bit for bit",
                        poke("w.qmap1", -0f, 127)),
                refused(
                        "map of the other state",
                        Rule.LION,
                        dynamic8,
                        "tensor 'w.qmap1': given 0.0 at 0; allowed: -0.99296874, bit for bit",
                        put("w.qmap1", Tensor.of(CodeBook.DYNAMIC_UNSIGNED.values(), 256))),
                refused(
                        "scale NaN",
                        Rule.ADAM,
                        dynamic8,
                        "tensor 'w.absmax2': given NaN at 1; allowed: finite numbers >= 0",
                        poke("w.absmax2", Float.NaN, 1)),
                refused(
                        "scale infinite",
                        Rule.ADAM,
                        State.FP8,
                        "tensor 'w.absmax1': given Infinity at 0; allowed: finite numbers >= 0",
                        poke("w.absmax1", Float.POSITIVE_INFINITY, 0)),
                refused(
                        "scale negative",
                        Rule.LION,
                        State.DYNAMIC4,
                        "tensor 'w.absmax1': given -1.0 at 2; allowed: finite numbers >= 0",
                        poke("w.absmax1", -1, 2)),
                refused(
                        "state NaN",
                        Rule.MOMENTUM,
                        f32,
                        "tensor 'w.state1': given NaN at 299; allowed: finite numbers",
                        poke("w.state1", Float.NaN, 299)),
                refused(
                        "square negative",
                        Rule.ADAM,
                        f32,
                        "tensor 'w.state2': given -1.0 at 7; allowed: finite numbers >= 0",
                        poke("w.state2", -1, 7)),
                refused(
                        "only square negative",
                        Rule.ADAGRAD,
                        f32,
                        "tensor 'w.state1': given -1.0 at 7; allowed: finite numbers >= 0",
                        poke("w.state1", -1, 7)),
                refused(
                        "FP8 NaN",
                        Rule.LION,
                        State.FP8,
                        "tensor 'w.state1': given NaN at 3; allowed: numbers",
                        poke("w.state1", Float.NaN, 3)),
                refused(
                        "FP8 square negative",
                        Rule.ADEMAMIX,
                        State.FP8,
                        "tensor 'w.state2': given -2.0 at 4; allowed: numbers >= 0",
                        poke("w.state2", -2, 4)),
                refused(
                        "code of a negative square",
                        Rule.RMSPROP,
                        dynamic8,
                        "tensor 'w.state1': given code 126 at 299; allowed: codes of numbers >= 0, from 127",
                        poke("w.state1", 126, 299)),
                refused(
                        "half code of a negative square",
                        Rule.ADAGRAD,
                        State.DYNAMIC4,
                        "tensor 'w.state1': given code 6 at 1; allowed: codes of numbers >= 0, from 7",
                        poke("w.state1", 0xf6, 0)),
                refused(
                        "step of no type",
                        Rule.ADAM,
                        f32,
                        "tensor 'w.step': given U8[]; allowed: i32[], i64[] or f32[], a whole number 0..2147483647",
                        put("w.step", Tensor.of(DType.U8, new byte[] {1}))),
                refused(
                        "half a step",
                        Rule.ADAM,
                        f32,
                        "tensor 'w.step': given F32[] 1.5; allowed: i32[], i64[] or f32[], a whole number 0..2147483647",
                        put("w.step", Tensor.of(new float[] {1.5f}))),
                refused(
                        "negative step",
                        Rule.ADAM,
                        f32,
                        "tensor 'w.step': given I32[] -3; allowed: i32[], i64[] or f32[], a whole number 0..2147483647",
                        put("w.step", Tensor.of(new int[] {-3}))),
                refused(
                        "two steps",
                        Rule.ADAM,
                        f32,
                        "tensor 'w.step': given I32[2]; allowed: i32[], i64[] or f32[], a whole number 0..2147483647",
                        put("w.step", Tensor.of(new int[] {3, 3}, 2))),
                refused(
                        "closed memory",
                        Rule.LION,
                        f32,
                        "tensor 'w.state1': given memory of a closed arena; allowed: memory whose arena stays open during the call",
                        put("w.state1", Unreachable.closed(DType.F32, 300))),
                refused(
                        "a view with gaps",
                        Rule.LION,
                        f32,
                        "tensor 'w.state1': given f32[300] strides [2]; allowed: a contiguous tensor (see Tensor.contiguous)",
                        put("w.state1", Refusals.view(Refusals.f32(600), Shape.of(300), 2))),
                refused(
                        "null",
                        Rule.LION,
                        f32,
                        "tensor 'w.state1': given null; allowed: a value",
                        tensors -> tensors.put("w.state1", null)));
    }

    /** Zero blocks have codes of any value, and codes of squares that are 0 are fine. */
    @Test
    void codesOfZeroBlocksAreFree() {
        Parameter w = parameter(new Random(99), "w", DType.F32, 300);
        Optimizer optimizer = Optimizer.of(Options.of(Rule.RMSPROP).withMin8bitSize(0), State.DYNAMIC8, w);
        optimizer.load(optimizer.state());
        Map<String, Tensor> state = optimizer.state();
        state.get("w.absmax1").setFloat(1, 0);
        for (int i = 0; i < 256; i++) {
            state.get("w.state1").setFloat(127, i);
        }
        optimizer.load(state);
        assertEquals(0, optimizer.stepCount());
    }
}
