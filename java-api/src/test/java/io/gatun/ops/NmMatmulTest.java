package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.NmWeights.Dense;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class NmMatmulTest {
    private static final List<DType> TYPES = List.of(DType.F32, DType.BF16);
    private static final int[][] SHAPES = {
        {0, 3, 8},
        {3, 0, 8},
        {3, 5, 0},
        {1, 1, 1},
        {1, 17, 33},
        {2, 16, 64},
        {5, 33, 70},
        {9, 31, 131},
        {17, 5, 514},
        {65, 19, 96},
        {1, 7, 1100}
    };

    /** What weights are stored as: a type of floats, or a format of codes. */
    static List<Object> values(int depth, int m) {
        List<Object> all = new ArrayList<>(List.of(
                DType.F32, DType.F16, DType.BF16, QuantSpec.int8(), QuantSpec.int4(), QuantSpec.int4Asymmetric()));
        if (depth >= 32) {
            all.add(QuantSpec.int8(32));
            all.add(QuantSpec.int4(32));
            all.add(QuantSpec.int4Asymmetric(32));
        }
        if (depth >= 64 && m <= 16) {
            all.add(QuantSpec.int4(48));
        }
        return all;
    }

    static SparseTensor random(Random random, Sparsity.Nm pattern, Object values, int columns, int depth) {
        return values instanceof QuantSpec spec
                ? NmOracle.random(random, pattern, spec, columns, depth)
                : NmOracle.random(random, pattern, (DType) values, columns, depth);
    }

    static Stream<Sparsity.Nm> patterns() {
        return SparseTensorTest.patterns();
    }

    /** Runs a call and compares it with the oracle; x and y lie between guards, rows apart. */
    private static void check(Random random, Tensor values, SparseTensor sparse, DType yType, Options options) {
        NmWeights w = NmMatmul.pack(sparse);
        long rows = values.shape().size(0);
        long columns = sparse.rows();
        Tensor x = RandomArguments.guarded(random, values.dtype(), (int) rows, (int) sparse.depth())
                .fill(values.toFloatArray())
                .tensor;
        Guarded y = RandomArguments.guarded(random, yType, (int) rows, (int) columns);
        String context = x.describe() + " x " + w + " -> " + yType + " " + options.mode() + " " + options.activation()
                + (options.bias() == null ? "" : " bias") + (options.residual() == null ? "" : " residual");
        Expected expected = NmMatmulOracle.of(x, sparse, options);
        NmMatmul.run(x, w, y.tensor, options);
        expected.assertMatches(y.tensor, context);
        assertTrue(y.unchangedOutside(0, columns), context);
    }

    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void agreesWithTheOracle(Sparsity.Nm pattern) {
        Random random = new Random(121);
        for (int[] shape : SHAPES) {
            int rows = shape[0];
            int columns = shape[1];
            int depth = shape[2];
            for (Object values : values(depth, pattern.m())) {
                SparseTensor w = random(random, pattern, values, columns, depth);
                DType xType = random.of(DType.F32, DType.BF16);
                DType yType = random.of(DType.F32, DType.BF16);
                Tensor x = Tensor.of(xType, random.normal(rows * depth, 1), rows, depth);
                Options options = Options.DEFAULT.withActivation(random.of(Activation.values()));
                if (random.chance(0.5)) {
                    options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
                }
                if (random.chance(0.5)) {
                    options = options.withResidual(Tensor.of(yType, random.normal(rows * columns, 1), rows, columns));
                }
                List<Mode> modes = NmMatmul.pack(w).modes();
                check(random, x, w, yType, options);
                check(random, x, w, yType, options.withMode(modes.get(modes.size() - 1)));
            }
        }
    }

    /** Every combination of types, mode, activation, bias and residual. */
    @Test
    @Tag("tier")
    void combinesItsOptions() {
        Random random = new Random(122);
        int columns = 35;
        int depth = 70;
        for (Object values : List.of(DType.F32, DType.BF16, QuantSpec.int8(), QuantSpec.int4(32))) {
            for (int rows : new int[] {1, 6}) {
                SparseTensor w = random(random, Sparsity.nm(2, 4), values, columns, depth);
                for (Mode mode : NmMatmul.pack(w).modes()) {
                    for (DType xType : TYPES) {
                        Tensor x = Tensor.of(xType, random.normal(rows * depth, 1), rows, depth);
                        for (DType yType : TYPES) {
                            for (Activation activation : Activation.values()) {
                                for (int extras = 0; extras < 4; extras++) {
                                    Tensor bias = Tensor.of(random.normal(columns, 1), columns);
                                    Tensor residual = Tensor.of(yType, random.normal(rows * columns, 1), rows, columns);
                                    Options options = Options.DEFAULT
                                            .withMode(mode)
                                            .withActivation(activation)
                                            .withBias(extras % 2 == 0 ? null : bias)
                                            .withResidual(extras < 2 ? null : residual);
                                    check(random, x, w, yType, options);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /** Small integers make every sum exact: results are compared with ==. */
    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void isExactOnIntegers(Sparsity.Nm pattern) {
        Random random = new Random(123);
        for (int[] shape : SHAPES) {
            int rows = shape[0];
            int columns = shape[1];
            int depth = shape[2];
            float[] integers = random.integers(rows * depth, -15, 15);
            for (int m = 0; m < rows && depth > 0; m++) {
                integers[m * depth] = 127; // amax / 127 = 1 in every row
            }
            Tensor x = Tensor.of(integers, rows, depth);
            for (Object values : values(depth, pattern.m())) {
                SparseTensor sparse = NmMatmulOracle.exactWeights(random, pattern, values, columns, depth);
                NmWeights w = NmMatmul.pack(sparse);
                Options options = Options.DEFAULT
                        .withBias(Tensor.of(random.integers(columns, -100, 100), columns))
                        .withResidual(Tensor.of(random.integers(rows * columns, -100, 100), rows, columns));
                for (Mode mode : w.modes()) {
                    Tensor y = Tensor.allocate(DType.F32, rows, columns);
                    Expected expected = NmMatmulOracle.of(x, sparse, options.withMode(mode));
                    NmMatmul.run(x, w, y, options.withMode(mode));
                    for (int i = 0; i < rows * columns; i++) {
                        assertEquals(
                                expected.values()[i],
                                y.getFloat(i / columns, i % columns),
                                w + " " + mode + " of " + x.describe() + " at " + i);
                    }
                }
            }
        }
    }

    /** Threads, ranges of columns, other rows: nothing changes a bit. */
    @Test
    @Tag("tier")
    void dependsOnNothingElse() {
        Random random = new Random(124);
        int rows = 13;
        int columns = 75;
        int depth = 200;
        Tensor x = Tensor.of(random.normal(rows * depth, 1), rows, depth);
        for (Sparsity.Nm pattern :
                List.of(Sparsity.nm(2, 4), Sparsity.nm(1, 8), Sparsity.nm(5, 16).withVector(3))) {
            for (Object values : values(depth, pattern.m())) {
                NmWeights w = NmMatmul.pack(random(random, pattern, values, columns, depth));
                for (Mode mode : w.modes()) {
                    Options options = Options.DEFAULT.withMode(mode);
                    Tensor y = Tensor.allocate(DType.F32, rows, columns);
                    NmMatmul.run(x, w, y, options.withThreads(1));
                    for (int threads : new int[] {0, 2, 7, 64}) {
                        Tensor other = Tensor.allocate(DType.F32, rows, columns);
                        NmMatmul.run(x, w, other, options.withThreads(threads));
                        QuantizeTest.assertSameBytes(y, other);
                    }
                    Guarded parts = Guarded.matrix(DType.F32, rows, columns);
                    for (int begin = 0, end; begin < columns; begin = end) {
                        end = Math.min(columns, begin + random.between(1, 30));
                        NmMatmul.run(x, w, parts.tensor, options.withColumns(begin, end));
                    }
                    QuantizeTest.assertSameBytes(y, parts.tensor);
                    for (int m : new int[] {0, 5, rows - 1}) {
                        Tensor alone = Tensor.allocate(DType.F32, 1, columns);
                        NmMatmul.run(x.slice(0, m, m + 1), w, alone, options);
                        assertArrayEquals(y.slice(0, m, m + 1).toFloatArray(), alone.toFloatArray(), w + " " + mode);
                    }
                }
            }
        }
    }

    /** NaN and infinity reach the columns that keep their depth; of INT8_ROW, all of their row; no other row. */
    @Test
    @Tag("tier")
    void nanAndInfinityGoWhereTheFormulaTakesThem() {
        Random random = new Random(125);
        int rows = 5;
        int columns = 40;
        int depth = 66;
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            for (Object values : values(depth, 4)) {
                SparseTensor sparse = random(random, Sparsity.nm(2, 4), values, columns, depth);
                NmWeights w = NmMatmul.pack(sparse);
                boolean[] mask = NmOracle.mask(sparse);
                float[] dense = NmOracle.values(sparse);
                Tensor x = Tensor.of(random.normal(rows * depth, 1), rows, depth);
                int k = random.between(0, depth - 1);
                x.setFloat(bad, 2, k);
                for (Mode mode : w.modes()) {
                    Tensor y = Tensor.allocate(DType.F32, rows, columns);
                    NmMatmul.run(x, w, y, Options.DEFAULT.withMode(mode));
                    for (int n = 0; n < columns; n++) {
                        boolean kept = mask[n * depth + k];
                        boolean isNan =
                                mode == Mode.INT8_ROW || kept && (Float.isNaN(bad) || dense[n * depth + k] == 0);
                        String context = w + " " + mode + " column " + n;
                        assertEquals(isNan, Float.isNaN(y.getFloat(2, n)), context);
                        assertEquals(
                                mode != Mode.INT8_ROW && kept && !isNan, Float.isInfinite(y.getFloat(2, n)), context);
                        for (int m : new int[] {0, 1, 3, 4}) {
                            assertTrue(Float.isFinite(y.getFloat(m, n)), context);
                        }
                    }
                }
            }
        }
    }

    // ---- packed weights --------------------------------------------------------------------------------------------

    @ParameterizedTest
    @MethodSource("patterns")
    @Tag("tier")
    void unpacksWhatItPacked(Sparsity.Nm pattern) {
        Random random = new Random(126);
        for (int[] shape : new int[][] {{0, 8}, {5, 0}, {1, 1}, {17, 33}, {40, 70}, {33, 131}}) {
            for (Object values : values(shape[1], pattern.m())) {
                SparseTensor sparse = random(random, pattern, values, shape[0], shape[1]);
                for (Dense dense :
                        List.of(Dense.NEVER, Dense.ifFaster(), Dense.ifFasterFor(1), Dense.ifFasterFor(512))) {
                    NmWeights packed = NmMatmul.pack(sparse, dense);
                    NmWeights wrapped = NmWeights.wrap(packed.segment());
                    assertEquals(packed.toString(), wrapped.toString());
                    assertEquals(packed.report(), wrapped.report());
                    SparseTensorTest.assertSameBytes(sparse, packed.unpack());
                    SparseTensorTest.assertSameBytes(sparse, wrapped.unpack());
                }
            }
        }
    }

    /** Weights of others' memory, at any address, with more behind them. */
    @Test
    void wrapsAnyMemory() {
        Random random = new Random(127);
        SparseTensor sparse = random(random, Sparsity.nm(2, 4), QuantSpec.int4(32), 20, 70);
        NmWeights packed = NmMatmul.pack(sparse);
        MemorySegment memory = Arena.ofAuto().allocate(packed.segment().byteSize() + 100, 64);
        MemorySegment odd = memory.asSlice(3);
        odd.copyFrom(packed.segment());
        NmWeights wrapped = NmWeights.wrap(odd);
        assertEquals(odd, wrapped.segment());
        Tensor x = Tensor.of(random.normal(3 * 70, 1), 3, 70);
        Tensor y = Tensor.allocate(DType.F32, 3, 20);
        Tensor other = Tensor.allocate(DType.F32, 3, 20);
        NmMatmul.run(x, packed, y);
        NmMatmul.run(x, wrapped, other);
        QuantizeTest.assertSameBytes(y, other);
    }

    /** Dense kernels run where the caller allowed them and the report says so, with the same sums. */
    @Test
    @Tag("tier")
    void isDenseOnlyIfAllowed() {
        Random random = new Random(128);
        Tensor x = Tensor.of(random.normal(4 * 96, 1), 4, 96);
        boolean anyDense = false;
        for (Sparsity.Nm pattern : List.of(Sparsity.nm(2, 4), Sparsity.nm(7, 8), Sparsity.nm(32, 32))) {
            for (Object values : values(96, pattern.m())) {
                SparseTensor sparse = random(random, pattern, values, 50, 96);
                NmWeights never = NmMatmul.pack(sparse);
                assertFalse(never.report().dense());
                assertTrue(NmMatmul.explain(x, never, y(), Options.DEFAULT).contains("sparse"));
                for (Dense dense : List.of(Dense.ifFaster(), Dense.ifFasterFor(1), Dense.ifFasterFor(512))) {
                    NmWeights w = NmMatmul.pack(sparse, dense);
                    NmWeights.Report report = w.report();
                    String context = w + ": " + report;
                    if (dense.rows() == 0) {
                        assertEquals(report.slowerForOneRow() && report.slowerForMany(), report.dense(), context);
                    } else if (dense.rows() == 1) {
                        assertEquals(report.slowerForOneRow(), report.dense(), context);
                    }
                    anyDense |= report.dense();
                    for (Mode mode : w.modes()) {
                        Options options = Options.DEFAULT.withMode(mode);
                        Tensor y = y();
                        NmMatmul.run(x, w, y, options);
                        NmMatmulOracle.of(x, sparse, options).assertMatches(y, context + " " + mode);
                        String text = NmMatmul.explain(x, w, y, options);
                        assertTrue(text.contains(report.dense() ? "dense" : "sparse"), text);
                    }
                }
            }
        }
        assertTrue(anyDense, "32:32 is never stored dense");
    }

    private static Tensor y() {
        return Tensor.allocate(DType.F32, 4, 50);
    }

    @Test
    void explainsAndDescribes() {
        SparseTensor sparse = random(new Random(129), Sparsity.nm(1, 4), QuantSpec.int8(32), 24, 64);
        NmWeights w = NmMatmul.pack(sparse);
        assertEquals("packed[24, 64] 1:4 i8 group 32, f16 scales", w.toString());
        assertEquals(List.of(Mode.INT8_ROW, Mode.PRECISE), w.modes());
        assertEquals(Sparsity.nm(1, 4), w.pattern());
        assertEquals(DType.I8, w.values());
        assertEquals(24, w.rows());
        assertEquals(64, w.depth());
        assertTrue(w.segment().isReadOnly());
        Tensor x = Tensor.allocate(DType.F32, 4, 64);
        Tensor y = Tensor.allocate(DType.F32, 4, 24);
        String text = NmMatmul.explain(x, w, y, Options.DEFAULT);
        assertTrue(text.contains("nm_matmul_"), text);
        assertTrue(text.contains(Gatun.tier().toString()) || text.contains("scalar"), text);
        assertFalse(w.report().text().isBlank());
        assertEquals(w.report().text(), w.report().toString());
    }
}
