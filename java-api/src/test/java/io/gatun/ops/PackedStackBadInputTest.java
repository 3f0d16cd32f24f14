package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class PackedStackBadInputTest {
    private static final int ROWS = 4;
    private static final int EACH = 6;
    private static final int DEPTH = 40;
    private static final long[] GROUPS = {3, 1};

    private final PackedStack stack = stackOf(EACH, EACH);
    private final PackedStack uneven = stackOf(EACH, EACH + 1);
    private final Tensor x = Tensor.of(new Random(61).normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final Guarded wide = Guarded.matrix(DType.F32, ROWS, 2 * EACH);
    private final Guarded narrow = Guarded.matrix(DType.F32, ROWS, EACH);
    private final Tensor y = wide.tensor;
    private final Tensor z = narrow.tensor;

    private static QuantizedTensor weights(int columns, int depth) {
        return Quantize.run(Tensor.of(new Random(62).normal(columns * depth, 1), columns, depth), QuantSpec.int4(16));
    }

    private static PackedStack stackOf(int... columns) {
        return PackedStack.pack(
                Arrays.stream(columns).mapToObj(c -> weights(c, DEPTH)).toList());
    }

    private Refusals refusals() {
        return new Refusals(() -> wide.unchanged() && narrow.unchanged());
    }

    @TestFactory
    Stream<DynamicTest> sideBySide() {
        Options none = Options.DEFAULT;
        MemorySegment copy = Arena.ofAuto().allocate(stack.segment().byteSize(), 64);
        PackedStack writable = PackedStack.wrap(copy.copyFrom(stack.segment()), 2);
        long second = stack.get(1).segment().address() - stack.segment().address();
        Tensor inSecond = Tensor.wrap(copy.asSlice(second + 64), DType.F32, 1, 2 * EACH);
        return refusals()
                .add("x depth", "x", "[4, 39]", "[any, 40]", () -> QMatmul.run(f32(ROWS, 39), stack, y))
                .add("y columns", "y", "[4, 6]", "[4, 12]", () -> QMatmul.run(x, stack, z))
                .add("y rows", "y", "[3, 12]", "[4, 12]", () -> QMatmul.run(x, stack, f32(3, 12)))
                .add("y read-only", "y", "read-only", "writable", () -> QMatmul.run(x, stack, Unreachable.readOnly(y)))
                .add("y in x", "y", "overlaps x", "of its own", () -> QMatmul.run(x, stack, x.slice(1, 28, 40)))
                .add(
                        "y in the second weights",
                        "y",
                        "overlaps stack",
                        "of its own",
                        () -> QMatmul.run(x.slice(0, 0, 1), writable, inSecond))
                .add("bias", "bias", "[6]", "[12]", () -> QMatmul.run(x, stack, y, none.withBias(f32(EACH))))
                .add("bias matrix", "bias", "[2, 6]", "[12]", () -> QMatmul.run(x, stack, y, none.withBias(f32(2, 6))))
                .add("columns", "columns", "7..13", "0..12", () -> QMatmul.run(x, stack, y, none.withColumns(7, 13)))
                .missing("x", () -> QMatmul.run(null, stack, y))
                .missing("stack", () -> QMatmul.run(x, (PackedStack) null, y))
                .missing("y", () -> QMatmul.run(x, stack, null))
                .missing("options", () -> QMatmul.run(x, stack, y, null))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> QMatmul.run(bad, stack, y))
                .unreachable("y", DType.F32, new long[] {ROWS, 2 * EACH}, bad -> QMatmul.run(x, stack, bad))
                .tests();
    }

    private void grouped(long... rows) {
        QMatmul.runGrouped(x, rows, stack, z);
    }

    @TestFactory
    Stream<DynamicTest> byRows() {
        Options none = Options.DEFAULT;
        Tensor both = f32(ROWS, EACH);
        return refusals()
                .add("negative", "rows[1]", "-1", "0..3", () -> grouped(1, -1))
                .add("too many", "rows[0]", "5", "0..4", () -> grouped(5, -1))
                .add("too many together", "rows[1]", "3", "0..2", () -> grouped(2, 3))
                .add("too few", "rows", "all but 1", "all rows of x [4, 40]", () -> grouped(2, 1))
                .add("overflow", "rows[0]", "" + Long.MAX_VALUE, "0..4", () -> grouped(Long.MAX_VALUE, Long.MAX_VALUE))
                .add("fewer groups", "rows", "1 groups", "2, one for each", () -> grouped(4))
                .add("more groups", "rows", "3 groups", "2, one for each", () -> grouped(4, 0, 0))
                .add("no groups", "rows", "0 groups", "2, one for each", () -> grouped())
                .add("uneven", "stack", "[13, 40]", "equal columns", () -> QMatmul.runGrouped(x, GROUPS, uneven, z))
                .add("y columns", "y", "[4, 12]", "[4, 6]", () -> QMatmul.runGrouped(x, GROUPS, stack, y))
                .add(
                        "bias vector",
                        "bias",
                        "[12]",
                        "[2, 6]",
                        () -> QMatmul.runGrouped(x, GROUPS, stack, z, none.withBias(f32(12))))
                .add(
                        "bias strided",
                        "bias",
                        "strides [1, 2]",
                        "contiguous",
                        () -> QMatmul.runGrouped(
                                x, GROUPS, stack, z, none.withBias(f32(EACH, 2).transpose())))
                .add(
                        "bias in y",
                        "y",
                        "overlaps bias",
                        "of its own",
                        () -> QMatmul.runGrouped(x, GROUPS, stack, both, none.withBias(both.slice(0, 2, 4))))
                .missing("rows", () -> QMatmul.runGrouped(x, null, stack, z))
                .missing("stack", () -> QMatmul.runGrouped(x, GROUPS, null, z))
                .missing("x", () -> QMatmul.runGrouped(null, GROUPS, stack, z))
                .missing("y", () -> QMatmul.runGrouped(x, GROUPS, stack, null))
                .missing("options", () -> QMatmul.runGrouped(x, GROUPS, stack, z, null))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> QMatmul.runGrouped(bad, GROUPS, stack, z))
                .unreachable(
                        "bias",
                        DType.F32,
                        new long[] {2, EACH},
                        bad -> QMatmul.runGrouped(x, GROUPS, stack, z, none.withBias(bad)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> construction() {
        QuantizedTensor six = weights(EACH, DEPTH);
        PackedWeights packed = QMatmul.pack(six);
        QuantizedTensor deeper = weights(EACH, DEPTH + 8);
        QuantizedTensor perRow = Quantize.run(f32(EACH, DEPTH), QuantSpec.int4());
        QuantizedTensor nan = QuantizedTensor.allocate(QuantSpec.int4(16), EACH, DEPTH);
        nan.scales().setFloat(Float.NaN, 5, 2);
        MemorySegment whole = stack.segment();
        long bytes = whole.byteSize();
        long second = stack.get(1).segment().address() - whole.address();
        MemorySegment broken = Arena.ofAuto().allocate(bytes, 64).copyFrom(whole);
        broken.set(ValueLayout.JAVA_BYTE, second, (byte) 0);
        MemorySegment mixed = Arena.ofAuto().allocate(second + 100_000, 64).copyFrom(whole);
        mixed.asSlice(second).copyFrom(QMatmul.pack(deeper).segment());
        Arena closed = Arena.ofConfined();
        PackedStack gone = PackedStack.of(List.of(packed), closed);
        closed.close();
        return refusals()
                .add("none", "weights", "none", "at least one", () -> PackedStack.of(List.of()))
                .add("none to pack", "weights", "none", "at least one", () -> PackedStack.pack(List.of()))
                .missing("weights", () -> PackedStack.of(null))
                .missing("weights[1]", () -> PackedStack.of(Arrays.asList(packed, null)))
                .missing("weights[0]", () -> PackedStack.pack(Arrays.asList((QuantizedTensor) null)))
                .missing("arena", () -> PackedStack.of(List.of(packed), null))
                .missing("packed", () -> PackedStack.wrap(null, 1))
                .add(
                        "other depth",
                        "weights[1]",
                        "depth 48",
                        "weights[0], 40",
                        () -> PackedStack.of(List.of(packed, QMatmul.pack(deeper))))
                .add("other group", "weights[1]", "group 40", "40 and 16", () -> PackedStack.pack(List.of(six, perRow)))
                .add(
                        "NaN scale",
                        "weights[1]: scales[5][2]",
                        "NaN",
                        "finite",
                        () -> PackedStack.pack(List.of(six, nan)))
                .add("count 0", "count", "0", "1..", () -> PackedStack.wrap(whole, 0))
                .add("count -1", "count", "-1", "1..", () -> PackedStack.wrap(whole, -1))
                .add("one more", "packed[2]", "0", "64", () -> PackedStack.wrap(whole, 3))
                .add("many more", "packed[2]", "0", "64", () -> PackedStack.wrap(whole, Integer.MAX_VALUE))
                .add("truncated", "packed[1]", "", "need", () -> PackedStack.wrap(whole.asSlice(0, bytes - 1), 2))
                .add("second broken", "packed[1]", "starts with", "", () -> PackedStack.wrap(broken, 2))
                .add("second deeper", "packed[1]", "depth 48", "packed[0], 40", () -> PackedStack.wrap(mixed, 2))
                .add(
                        "on the heap",
                        "packed",
                        "heap",
                        "native",
                        () -> PackedStack.wrap(MemorySegment.ofArray(new byte[1000]), 1))
                .add(
                        IllegalStateException.class,
                        "closed",
                        "stack",
                        "closed arena",
                        "stays open",
                        () -> QMatmul.run(x, gone, z))
                .add(
                        IllegalStateException.class,
                        "wrap closed",
                        "packed",
                        "closed arena",
                        "stays open",
                        () -> PackedStack.wrap(gone.segment(), 1))
                .add(IndexOutOfBoundsException.class, "get", "index", "2", "0..1", () -> stack.get(2))
                .tests();
    }

    /** Whoever owns wrapped memory may write to it; a call then refuses it instead of following it out of x and y. */
    @TestFactory
    Stream<DynamicTest> stacksThatChangedAfterTheyWereWrapped() {
        PackedStack wider = overwritten(stackOf(EACH, EACH + 3));
        PackedStack swapped = overwritten(stackOf(EACH - 2, EACH + 2)); // the same columns together
        PackedStack larger = overwritten(stackOf(EACH, EACH + 5000));
        PackedStack deeper = overwritten(PackedStack.of(List.of(QMatmul.pack(weights(EACH, DEPTH + 24)))));
        return refusals()
                .add("wider", "params.columns", "12", "15", () -> QMatmul.run(x, wider, y))
                .add("larger", "packed[1]", "holds", "need", () -> QMatmul.run(x, larger, y))
                .add("deeper", "packed[1]", "", "", () -> QMatmul.run(x, deeper, y))
                .add("grouped wider", "packed[1]", "9", "6", () -> QMatmul.runGrouped(x, GROUPS, wider, z))
                .add("grouped swapped", "packed[1]", "8", "4", () -> QMatmul.runGrouped(x, GROUPS, swapped, z))
                .add("grouped larger", "packed[1]", "holds", "need", () -> QMatmul.runGrouped(x, GROUPS, larger, z))
                .tests();
    }

    private PackedStack overwritten(PackedStack other) {
        MemorySegment memory = Arena.ofAuto().allocate(stack.segment().byteSize() + 10_000, 64);
        PackedStack wrapped = PackedStack.wrap(memory.copyFrom(stack.segment()), 2);
        long fits = Math.min(memory.byteSize(), other.segment().byteSize());
        memory.asSlice(0, fits).copyFrom(other.segment().asSlice(0, fits));
        return wrapped;
    }

    /** Headers, and the numbers of rows, that change during calls make wrong numbers or a refusal, never a crash. */
    @Test
    void changesDuringCallsAreSafe() throws InterruptedException {
        MemorySegment memory = Arena.global().allocate(stack.segment().byteSize(), 64);
        PackedStack wrapped = PackedStack.wrap(memory.copyFrom(stack.segment()), 2);
        PackedStack other = stackOf(EACH - 2, EACH + 2);
        byte[][] states = {
            stack.segment().toArray(ValueLayout.JAVA_BYTE), other.segment().toArray(ValueLayout.JAVA_BYTE)
        };
        long[] rows = GROUPS.clone();
        Thread writer = new Thread(() -> {
            Random random = new Random(63);
            while (!Thread.currentThread().isInterrupted()) {
                byte[] state = states[random.between(0, 1)];
                int size = (int) Math.min(state.length, memory.byteSize());
                MemorySegment.copy(state, 0, memory, ValueLayout.JAVA_BYTE, 0, size);
                rows[0] = random.of(0L, 1L, 3L, -7L, 1L << 40);
            }
        });
        writer.start();
        int refused = 0;
        for (int i = 0; i < 20_000; i++) {
            try {
                if (i % 2 == 0) {
                    QMatmul.run(x, wrapped, y);
                } else {
                    QMatmul.runGrouped(x, rows, wrapped, z);
                }
            } catch (IllegalArgumentException e) {
                refused++;
            }
        }
        writer.interrupt();
        writer.join();
        assertTrue(wide.unchangedOutside(0, 2 * EACH) && narrow.unchangedOutside(0, EACH));
        assertTrue(refused > 0);
    }

    /** The rows that are checked are those that are used: no other number reaches the checks of C. */
    @Test
    void rowsAreReadOnce() throws InterruptedException {
        long[] rows = GROUPS.clone();
        Thread writer = new Thread(() -> {
            Random random = new Random(64);
            while (!Thread.currentThread().isInterrupted()) {
                rows[0] = random.of(GROUPS[0], -7L);
            }
        });
        writer.start();
        int refused = 0;
        try {
            for (int i = 0; i < 20_000 || refused == 0 || refused == i; i++) { // both happen once the writer runs
                try {
                    grouped(rows);
                } catch (IllegalArgumentException e) {
                    assertEquals("rows[0]: given -7; allowed: 0..4, what is left of x", e.getMessage());
                    refused++;
                }
            }
        } finally {
            writer.interrupt();
            writer.join();
        }
    }
}
