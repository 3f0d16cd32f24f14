package io.gatun.ops;

import static io.gatun.ops.RandomArguments.FLAWED;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spec;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Random calls of the products with several weights, and random bytes as stacks. */
class RandomStackTest {
    @Test
    void concat() {
        RandomCalls.run("qmatmul side by side", random -> new Draw(random, false).call(random));
    }

    @Test
    void grouped() {
        RandomCalls.run("qmatmul by rows", random -> new Draw(random, true).call(random));
    }

    private static List<QuantizedTensor> weights(Random random, int count, int depth, int each) {
        QuantSpec spec = spec(random, depth);
        List<QuantizedTensor> weights = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int columns = each >= 0 ? each : random.between(0, 12);
            weights.add(QMatmulOracle.exactWeights(random.source, spec, columns, depth));
        }
        return weights;
    }

    /** The arguments of one call, with weights for groups of rows or side by side. */
    private static final class Draw {
        final boolean grouped;
        final int depth;
        final List<QuantizedTensor> weights;
        final int columns;
        final Guarded out;
        final int begin;
        final int end;
        PackedStack stack;
        long[] rows;
        Tensor x;
        Tensor y;
        Options options;

        Draw(Random random, boolean grouped) {
            this.grouped = grouped;
            depth = random.between(0, 70);
            int count = random.between(1, 4);
            int each = grouped ? random.between(0, 12) : -1;
            weights = weights(random, count, depth, each);
            stack = PackedStack.pack(weights);
            columns = grouped ? each : (int) stack.columns();
            int sum = random.between(0, 9);
            if (grouped) {
                rows = new long[count];
                Arrays.setAll(rows, i -> random.between(0, 4));
                sum = (int) Arrays.stream(rows).sum();
            }
            DType xType = random.of(DType.F32, DType.BF16);
            DType yType = random.of(DType.F32, DType.BF16);
            x = withFreeStrides(random, guarded(random, xType, sum, depth).fill(random.normal(sum * depth, 1)).tensor);
            out = guarded(random, yType, sum, columns).fill(random.normal(sum * columns, 1));
            y = withFreeStrides(random, out.tensor);
            begin = random.chance(0.5) ? 0 : random.between(0, columns);
            end = random.chance(0.5) ? columns : random.between(begin, columns);
            options = Options.DEFAULT
                    .withMode(random.of(Mode.values()))
                    .withActivation(random.of(Activation.values()))
                    .withThreads(random.between(0, 3))
                    .withColumns(begin, end);
            if (random.chance(0.5)) {
                options = options.withBias(
                        grouped
                                ? Tensor.of(random.normal(count * columns, 1), count, columns)
                                : Tensor.of(random.normal(columns, 1), columns));
            }
            if (random.chance(0.5)) {
                options = options.withResidual(
                        random.chance(0.3)
                                ? y
                                : guarded(random, yType, sum, columns).fill(random.normal(sum * columns, 1)).tensor);
            }
        }

        Call call(Random random) {
            String what = x.describe() + " " + stack + " " + y.describe() + " " + Arrays.toString(rows) + " "
                    + options.mode() + " " + options.activation();
            boolean flawed = random.chance(FLAWED);
            List<Expected> expected = flawed ? List.of() : expected();
            if (flawed) {
                what += " flaw " + spoil(random);
            }
            String context = what;
            return new Call(context, !flawed, this::run, () -> verify(expected, context), out::unchanged);
        }

        private void run() {
            if (grouped) {
                QMatmul.runGrouped(x, rows, stack, y, options);
            } else {
                QMatmul.run(x, stack, y, options);
            }
        }

        /** The flaw: one argument that no call may take. */
        private int spoil(Random random) {
            int flaw = random.between(0, grouped ? 11 : 7);
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.F16, DType.I8, DType.I32);
                case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> options = options.withColumns(begin, columns + 1L + random.between(0, 9));
                case 4 ->
                    options = options.withBias(random.of(
                            Tensor.allocate(DType.F32, columns + 1),
                            Tensor.allocate(DType.F32, stack.size() + 1, columns),
                            Unreachable.closed(DType.F32, columns),
                            Unreachable.foreign(DType.F32, stack.size(), columns)));
                case 5 ->
                    options = options.withResidual(random.of(
                            Tensor.allocate(y.dtype(), y.shape().size(0) + 1, columns),
                            Tensor.allocate(
                                    y.dtype() == DType.F32 ? DType.BF16 : DType.F32,
                                    y.shape().size(0),
                                    columns),
                            Unreachable.closed(y.dtype(), y.shape().size(0), columns)));
                case 6 -> stack = random.chance(0.3) ? null : other(random);
                case 7 -> options = null;
                case 8 -> rows[random.between(0, rows.length - 1)] += random.of(-5L, 1L, 1L << 40, Long.MAX_VALUE);
                case 9 -> rows = Arrays.copyOf(rows, rows.length + random.of(-1, 1));
                case 10 -> rows = null;
                default -> Arrays.fill(rows, Long.MAX_VALUE);
            }
            return flaw;
        }

        /** A stack of another depth, wrapped over this one's, or that its owner has overwritten. */
        private PackedStack other(Random random) {
            PackedStack deeper = PackedStack.pack(weights(random, stack.size(), depth + 100, columns));
            if (random.chance(0.5)) {
                return deeper;
            }
            long bytes = Math.max(stack.segment().byteSize(), deeper.segment().byteSize());
            MemorySegment memory = Arena.ofAuto().allocate(bytes, 64);
            memory.copyFrom(stack.segment());
            PackedStack wrapped = PackedStack.wrap(memory, stack.size());
            memory.copyFrom(deeper.segment());
            return wrapped;
        }

        private List<Expected> expected() {
            List<Expected> all = new ArrayList<>();
            for (int i = 0, first = 0; i < weights.size(); i++) {
                QuantizedTensor w = weights.get(i);
                int size = (int) (grouped ? rows[i] : w.rows());
                int last = first + size;
                Tensor bias = options.bias();
                if (bias != null) {
                    bias = grouped ? bias.slice(0, i, i + 1).reshape(columns) : bias.slice(0, first, last);
                }
                Tensor residual = options.residual();
                if (residual != null) {
                    residual = residual.slice(grouped ? 0 : 1, first, last);
                }
                all.add(QMatmulOracle.of(
                        grouped ? x.slice(0, first, last) : x,
                        w,
                        options.withBias(bias).withResidual(residual)));
                first = last;
            }
            return all;
        }

        private void verify(List<Expected> expected, String context) {
            assertTrue(out.unchangedOutside(begin, end), context);
            for (int i = 0, first = 0; i < expected.size(); i++) {
                int size = (int) (grouped ? rows[i] : weights.get(i).rows());
                Tensor part = y.slice(grouped ? 0 : 1, first, first + size);
                int from = grouped ? begin : Math.clamp(begin - first, 0, size);
                int to = grouped ? end : Math.clamp(end - first, 0, size);
                expected.get(i).assertMatches(part, from, to, context + " weights " + i);
                first += size;
            }
        }
    }

    /** Stacks cut short, with flipped bytes in a header, or as they are: refused, or as they were. */
    @Test
    void stacks() {
        RandomCalls.run("stacks", random -> {
            int depth = random.between(1, 70);
            List<QuantizedTensor> weights = weights(random, random.between(1, 4), depth, -1);
            PackedStack good = PackedStack.pack(weights);
            long bytes = good.segment().byteSize();
            MemorySegment copy = Arena.ofAuto().allocate(bytes, 64).copyFrom(good.segment());
            int count = good.size();
            Outcome right = Outcome.ACCEPTED;
            String what = good.toString();
            switch (random.between(0, 5)) {
                case 0 -> {
                    copy = copy.asSlice(0, random.source.nextLong(bytes));
                    right = Outcome.REFUSED;
                    what += " in " + copy.byteSize() + " bytes";
                }
                case 1 -> {
                    count = random.of(0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, count + 1);
                    right = Outcome.REFUSED;
                    what += " as " + count;
                }
                case 2, 3 -> {
                    int which = random.between(0, count - 1);
                    long at =
                            good.get(which).segment().address() - good.segment().address() + random.between(0, 63);
                    int bit = random.between(0, 7);
                    copy.set(ValueLayout.JAVA_BYTE, at, (byte) (copy.get(ValueLayout.JAVA_BYTE, at) ^ 1 << bit));
                    right = Outcome.EITHER;
                    what += " bit " + bit + " of byte " + at + " flipped";
                }
                default -> {}
            }
            MemorySegment given = copy;
            int number = count;
            String context = what;
            boolean same = right == Outcome.ACCEPTED;
            return new Call(
                    context,
                    right,
                    () -> PackedStack.wrap(given, number),
                    () -> {
                        PackedStack stack = PackedStack.wrap(given, number);
                        if (stack.depth() == depth && stack.columns() < 100) { // weights of no columns have any depth
                            Guarded y = Guarded.matrix(DType.F32, 2, stack.columns());
                            QMatmul.run(Tensor.of(random.normal(2 * depth, 1), 2, depth), stack, y.tensor);
                            assertTrue(y.unchangedOutside(0, stack.columns()), context);
                        }
                        for (int i = 0; i < number && same; i++) {
                            QuantizeTest.assertSameBytes(
                                    weights.get(i).codes(),
                                    stack.get(i).unpack().codes());
                        }
                    },
                    () -> true);
        });
    }
}
