package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PackedStackTest {
    /** Weights side by side or below each other are right, by the oracle, and have the bits of single calls. */
    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void agreesWithTheOracleAndWithSingleCalls(Mode mode) {
        Random random = new Random(51);
        for (int i = 0; i < 60; i++) {
            int depth = random.of(0, 1, 31, 64, 130, 600);
            long group = depth > 16 && random.chance(0.5) ? random.between(16, depth) : 0;
            int count = random.between(1, 5);
            int each = random.of(0, 1, 17, 64, 70);
            boolean grouped = random.chance(0.5);
            List<QuantizedTensor> weights = new ArrayList<>();
            for (int w = 0; w < count; w++) {
                int columns = grouped ? each : random.of(0, 1, 17, 64, 70);
                weights.add(quantized(random, columns, depth, group));
            }
            PackedStack stack = PackedStack.pack(weights);
            Products products = grouped
                    ? Products.below(random, weights, depth, each)
                    : Products.besides(random, weights, depth, (int) stack.columns());
            products.check(random, stack, mode);
        }
    }

    private static QuantizedTensor quantized(Random random, int columns, int depth, long group) {
        QuantSpec spec = random.of(
                        QuantSpec.int8(group),
                        QuantSpec.int8Asymmetric(group),
                        QuantSpec.int4(group),
                        QuantSpec.int4Asymmetric(group))
                .withScales(random.of(DType.F32, DType.F16));
        return Quantize.run(Tensor.of(random.normal(columns * depth, 0.3), columns, depth), spec);
    }

    /** The query, key and value projections of a layer, as the documentation has them. */
    @Test
    void projectsQueryKeyAndValueAtOnce() {
        Random random = new Random(52);
        PackedWeights query = QMatmul.pack(Tensor.of(random.normal(96 * 64, 1), 96, 64), QuantSpec.int4(32));
        PackedWeights key = QMatmul.pack(Tensor.of(random.normal(32 * 64, 1), 32, 64), QuantSpec.int4(32));
        PackedWeights value = QMatmul.pack(Tensor.of(random.normal(32 * 64, 1), 32, 64), QuantSpec.int8(32));
        Tensor x = Tensor.of(random.normal(7 * 64, 1), 7, 64);

        PackedStack qkv = PackedStack.of(List.of(query, key, value));
        Tensor y = Tensor.allocate(DType.F32, 7, qkv.columns());
        QMatmul.run(x, qkv, y);

        Tensor keys = Tensor.allocate(DType.F32, 7, 32);
        QMatmul.run(x, key, keys);
        QuantizeTest.assertSameBytes(keys, y.slice(1, 96, 128).contiguous());
        Tensor values = Tensor.allocate(DType.F32, 7, 32);
        QMatmul.run(x, value, values);
        QuantizeTest.assertSameBytes(values, y.slice(1, 128, 160).contiguous());
    }

    @Test
    void holdsItsWeights() {
        Random random = new Random(53);
        List<QuantizedTensor> weights =
                List.of(quantized(random, 5, 48, 16), quantized(random, 0, 48, 16), quantized(random, 70, 48, 16));
        List<PackedWeights> packed = weights.stream().map(QMatmul::pack).toList();
        PackedStack stack = PackedStack.pack(weights);
        assertEquals(3, stack.size());
        assertEquals(75, stack.columns());
        assertEquals(48, stack.depth());
        assertEquals("stack of 3, [75, 48]", stack.toString());
        assertTrue(stack.segment().isReadOnly());
        assertEquals(-1, stack.segment().mismatch(PackedStack.of(packed).segment()));
        MemorySegment file = Arena.ofAuto().allocate(stack.segment().byteSize() + 100);
        file.asSlice(7).copyFrom(stack.segment());
        PackedStack inside = PackedStack.wrap(file.asSlice(7), 3);
        assertEquals(stack.segment().byteSize(), inside.segment().byteSize());
        for (int i = 0; i < 3; i++) {
            assertEquals(-1, inside.get(i).segment().mismatch(packed.get(i).segment()));
            assertEquals(weights.get(i).spec(), inside.get(i).spec());
            QuantizeTest.assertSameBytes(
                    weights.get(i).codes(), inside.get(i).unpack().codes());
        }
        try (Arena arena = Arena.ofConfined()) {
            assertTrue(PackedStack.of(packed, arena).segment().scope() == arena.scope());
            assertTrue(PackedStack.pack(weights, arena).segment().scope() == arena.scope());
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void manyExpertsWithFewRows(Mode mode) {
        Random random = new Random(54);
        int experts = 128;
        List<QuantizedTensor> weights = new ArrayList<>();
        for (int i = 0; i < experts; i++) {
            weights.add(quantized(random, 40, 64, 32));
        }
        PackedStack stack = PackedStack.pack(weights);
        for (int tokens : new int[] {8, 100, 700}) {
            long[] rows = new long[experts];
            for (int i = 0; i < tokens; i++) {
                rows[random.between(0, experts - 1)]++;
            }
            Tensor x = Tensor.of(random.normal(tokens * 64, 1), tokens, 64);
            Options options =
                    Options.DEFAULT.withMode(mode).withBias(Tensor.of(random.normal(experts * 40, 1), experts, 40));
            Tensor expected = Tensor.allocate(DType.F32, tokens, 40);
            int first = 0;
            for (int i = 0; i < experts; first += (int) rows[i++]) {
                QMatmul.run(
                        x.slice(0, first, first + rows[i]),
                        stack.get(i),
                        expected.slice(0, first, first + rows[i]),
                        options.withBias(options.bias().slice(0, i, i + 1).reshape(40)));
            }
            for (int threads = 1; threads <= 4; threads++) {
                Tensor y = Tensor.allocate(DType.F32, tokens, 40);
                QMatmul.runGrouped(x, rows, stack, y, options.withThreads(threads));
                QuantizeTest.assertSameBytes(expected, y);
            }
        }
    }

    @Test
    @Tag("tier")
    void explainsItsKernels() {
        Random random = new Random(55);
        PackedStack stack = PackedStack.pack(List.of(
                Quantize.run(Tensor.of(random.normal(64 * 64, 1), 64, 64), QuantSpec.int4(32)),
                Quantize.run(Tensor.of(random.normal(64 * 64, 1), 64, 64), QuantSpec.int8(32))));
        Tensor x = Tensor.allocate(DType.F32, 6, 64);
        String concat = QMatmul.explain(x, stack, Tensor.allocate(DType.F32, 6, 128), Options.DEFAULT);
        Tensor y = Tensor.allocate(DType.F32, 6, 64);
        String grouped = QMatmul.explainGrouped(x, new long[] {6, 0}, stack, y, Options.DEFAULT);
        for (String text : List.of(concat, grouped)) {
            for (String part : List.of("qmatmul_i8_u4_f32_", "qmatmul_i8_u8_f32_", " on tier " + Gatun.tier() + "\n")) {
                assertTrue(text.contains(part), text);
            }
            assertTrue(text.endsWith(" on 1 thread"), text);
        }
        assertTrue(concat.contains(" 2 of 2 weights, 2 panels "), concat);
        assertTrue(grouped.contains(" 1 of 2 weights, 1 panels "), grouped);
    }

    /** What one call computes, and the same weight by weight. */
    private record Products(Tensor x, Guarded y, Options options, long[] rows, List<Product> each) {
        private record Product(QuantizedTensor weights, Tensor x, Tensor y, Options options) {}

        static Products besides(Random random, List<QuantizedTensor> weights, int depth, int columns) {
            int rows = random.of(0, 1, 3, 9, 40);
            Products all = draw(random, rows, depth, columns, new long[] {columns}, null);
            int begin = 0;
            for (QuantizedTensor w : weights) {
                int end = begin + (int) w.rows();
                all.add(w, all.x, all.y.tensor.slice(1, begin, end), bias(all.options, 0, begin, end), 1, begin, end);
                begin = end;
            }
            return all;
        }

        static Products below(Random random, List<QuantizedTensor> weights, int depth, int columns) {
            long[] rows = new long[weights.size()];
            Arrays.setAll(rows, i -> random.of(0, 0, 1, 2, 7, 33));
            int sum = (int) Arrays.stream(rows).sum();
            Products all = draw(random, sum, depth, columns, new long[] {rows.length, columns}, rows);
            int begin = 0;
            for (int i = 0; i < rows.length; i++) {
                int end = begin + (int) rows[i];
                Tensor bias = all.options.bias();
                Tensor own = bias == null ? null : bias.slice(0, i, i + 1).reshape(columns);
                all.add(
                        weights.get(i),
                        all.x.slice(0, begin, end),
                        all.y.tensor.slice(0, begin, end),
                        own,
                        0,
                        begin,
                        end);
                begin = end;
            }
            return all;
        }

        private static Tensor bias(Options options, int axis, long begin, long end) {
            return options.bias() == null ? null : options.bias().slice(axis, begin, end);
        }

        private static Products draw(
                Random random, int rows, int depth, int columns, long[] biasShape, long[] groupRows) {
            DType yType = random.of(DType.F32, DType.BF16);
            Options options = Options.DEFAULT
                    .withActivation(random.of(Activation.values()))
                    .withThreads(random.between(0, 3));
            if (random.chance(0.5)) {
                int size = (int) Arrays.stream(biasShape).reduce(1, (a, b) -> a * b);
                options = options.withBias(Tensor.of(random.normal(size, 1), biasShape));
            }
            if (random.chance(0.5)) {
                options = options.withResidual(Tensor.of(yType, random.normal(rows * columns, 1), rows, columns));
            }
            DType xType = random.of(DType.F32, DType.BF16);
            return new Products(
                    Tensor.of(xType, random.normal(rows * depth, 1), rows, depth),
                    Guarded.matrix(Arena.ofAuto(), yType, rows, columns, columns + random.between(0, 5), 1),
                    options,
                    groupRows,
                    new ArrayList<>());
        }

        private void add(QuantizedTensor w, Tensor rows, Tensor part, Tensor bias, int axis, long begin, long end) {
            Tensor residual =
                    options.residual() == null ? null : options.residual().slice(axis, begin, end);
            each.add(new Product(w, rows, part, options.withBias(bias).withResidual(residual)));
        }

        void check(Random random, PackedStack stack, Mode mode) {
            Tensor out = y.tensor;
            long columns = out.shape().size(1);
            long begin = random.chance(0.5) ? 0 : random.between(0, (int) columns);
            long end = random.chance(0.5) ? columns : random.between((int) begin, (int) columns);
            Options together = options.withMode(mode).withColumns(begin, end);
            if (rows == null) {
                QMatmul.run(x, stack, out, together);
            } else {
                QMatmul.runGrouped(x, rows, stack, out, together);
            }
            String context =
                    stack + " rows " + Arrays.toString(rows) + " " + together.mode() + " " + begin + ".." + end;
            assertTrue(y.unchangedOutside(begin, end), context);
            long first = 0;
            for (Product one : each) {
                long size = one.y.shape().size(1);
                long from = Math.clamp(begin - first, 0, size);
                long to = Math.clamp(end - first, 0, size);
                Options own = one.options.withMode(mode);
                QMatmulOracle.of(one.x, one.weights, own).assertMatches(one.y, from, to, context);
                Tensor alone = Tensor.allocate(out.dtype(), one.x.shape().size(0), size);
                QMatmul.run(one.x, QMatmul.pack(one.weights), alone, own);
                QuantizeTest.assertSameBytes(
                        alone.slice(1, from, to).contiguous(),
                        one.y.slice(1, from, to).contiguous());
                first += rows == null ? size : 0;
            }
        }
    }
}
