package io.gatun.ops;

import static io.gatun.ops.RandomArguments.spec;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/** A random call of {@link QMatmul} in one of its forms. */
final class RandomProduct extends RandomMatmul {
    enum Form {
        ONE_WEIGHT,
        SIDE_BY_SIDE,
        BY_ROWS
    }

    private final boolean grouped;
    private final boolean alone;
    private final QuantSpec spec;
    private final List<QuantizedTensor> weights;
    private PackedWeights one;
    private PackedStack stack;
    private long[] rows;

    RandomProduct(Random random, Form form) {
        super(random);
        alone = form == Form.ONE_WEIGHT;
        grouped = form == Form.BY_ROWS;
        int width = random.between(0, alone ? 100 : 70);
        int count = alone ? 1 : random.between(1, 4);
        int each = alone ? random.between(0, 24) : grouped ? random.between(0, 12) : -1;
        spec = spec(random, width);
        weights = weights(random, spec, count, width, each);
        one = QMatmul.pack(weights.getFirst());
        stack = PackedStack.pack(weights);
        int sum = random.between(0, 9);
        if (grouped) {
            rows = new long[count];
            Arrays.setAll(rows, i -> random.between(0, 4));
            sum = (int) Arrays.stream(rows).sum();
        }
        draw(sum, width, grouped ? each : (int) stack.columns(), one.modes(), grouped ? count : -1);
    }

    /** {@code each}: their columns, or -1 for any. */
    static List<QuantizedTensor> weights(Random random, QuantSpec spec, int count, int depth, int each) {
        List<QuantizedTensor> weights = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int columns = each >= 0 ? each : random.between(0, 12);
            weights.add(QMatmulOracle.exactWeights(random.source, spec, columns, depth));
        }
        return weights;
    }

    @Override
    String describe() {
        return x.describe() + " " + (alone ? one : stack) + " " + y.describe() + " " + Arrays.toString(rows) + " "
                + options.mode() + " " + options.activation();
    }

    @Override
    int lastFlaw() {
        return grouped ? 13 : 9;
    }

    @Override
    void spoil(int flaw) {
        switch (flaw) {
            case 8 -> spoilWeights();
            case 9 -> overlap();
            case 10 -> rows[random.between(0, rows.length - 1)] += random.of(-5L, 1L, 1L << 40, Long.MAX_VALUE);
            case 11 -> rows = Arrays.copyOf(rows, rows.length + random.of(-1, 1));
            case 12 -> rows = null;
            case 13 -> Arrays.fill(rows, Long.MAX_VALUE);
            default -> spoilMatrices(flaw, stack.size());
        }
    }

    /** None, or weights of another depth, or such written over the ones that were wrapped. */
    private void spoilWeights() {
        if (random.chance(0.3)) {
            one = null;
            stack = null;
            return;
        }
        PackedStack good = alone ? PackedStack.of(List.of(one)) : stack;
        PackedStack deeper = PackedStack.pack(weights(random, spec, good.size(), depth + 100, columns));
        if (random.chance(0.5)) {
            stack = deeper;
        } else {
            long bytes = Math.max(good.segment().byteSize(), deeper.segment().byteSize());
            MemorySegment memory = Arena.ofAuto().allocate(bytes, 64);
            memory.copyFrom(good.segment());
            stack = PackedStack.wrap(memory, good.size());
            memory.copyFrom(deeper.segment());
        }
        one = stack.get(0);
    }

    /** Good arguments, but for an output that begins where x has not ended. */
    private void overlap() {
        int each = 16;
        List<QuantizedTensor> square = weights(random, spec.withGroup(0), stack.size(), each, each);
        stack = PackedStack.pack(square);
        one = stack.get(0);
        int wide = grouped ? each : each * stack.size();
        int sum = grouped ? 2 * stack.size() : 2;
        if (grouped) {
            Arrays.fill(rows, 2);
        }
        Tensor both = Tensor.allocate(DType.F32, sum, each + wide);
        x = both.slice(1, 0, each);
        y = both.slice(1, each - 3, each - 3 + wide);
        options = Options.DEFAULT;
    }

    @Override
    void run() {
        if (alone) {
            QMatmul.run(x, one, y, options);
        } else if (grouped) {
            QMatmul.runGrouped(x, rows, stack, y, options);
        } else {
            QMatmul.run(x, stack, y, options);
        }
    }

    /** The products with each of the weights, and where they are in y. */
    @Override
    Consumer<String> expected() {
        List<Expected> all = new ArrayList<>();
        for (int i = 0, first = 0; i < weights.size(); i++) {
            QuantizedTensor w = weights.get(i);
            int last = first + size(i);
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
        return context -> verify(all, context);
    }

    /** Rows of y that weight i has, or columns. */
    private int size(int i) {
        return (int) (grouped ? rows[i] : weights.get(i).rows());
    }

    private void verify(List<Expected> expected, String context) {
        assertTrue(out.unchangedOutside(begin, end), context);
        for (int i = 0, first = 0; i < expected.size(); i++) {
            int size = size(i);
            Tensor part = y.slice(grouped ? 0 : 1, first, first + size);
            int from = grouped ? begin : Math.clamp(begin - first, 0, size);
            int to = grouped ? end : Math.clamp(end - first, 0, size);
            expected.get(i).assertMatches(part, from, to, context + " weights " + i);
            first += size;
        }
    }
}
