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
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class QMatmulTest {
    private static final List<DType> TYPES = List.of(DType.F32, DType.BF16);
    private static final List<Mode> INTEGER_MODES = List.of(Mode.AUTO, Mode.INT8_ROW, Mode.INT8_GROUP, Mode.PRECISE);
    private static final int[] SIZES = {0, 1, 2, 5, 16, 17, 33};
    private static final int[] DEPTHS = {0, 1, 16, 31, 32, 33, 127, 128, 129, 513, 1031};

    static Stream<QuantSpec> specs() {
        return QuantizeTest.specs();
    }

    private static boolean fits(QuantSpec spec, int depth) {
        return spec.group() == 0 || spec.group() <= depth;
    }

    /** Runs a call and compares it with the oracle; y lies between guards. */
    private static void check(Tensor x, QuantizedTensor weights, DType yType, Options options) {
        PackedWeights w = QMatmul.pack(weights);
        Guarded y = Guarded.matrix(yType, x.shape().size(0), w.rows());
        String context = x.describe() + " x " + w + " -> " + yType + " " + options.mode() + " " + options.activation()
                + (options.bias() == null ? "" : " bias") + (options.residual() == null ? "" : " residual");
        Expected expected = QMatmulOracle.of(x, weights, options);
        QMatmul.run(x, w, y.tensor, options);
        expected.assertMatches(y.tensor, context);
        assertTrue(y.unchangedOutside(0, w.rows()), context);
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void agreesWithTheOracle(QuantSpec spec) {
        Random random = new Random(21);
        for (int depth : DEPTHS) {
            if (!fits(spec, depth)) {
                continue;
            }
            for (int columns : SIZES) {
                QuantizedTensor w = Quantize.run(Tensor.of(random.normal(columns * depth, 0.3), columns, depth), spec);
                for (int rows : new int[] {0, 1, 3, 9}) {
                    DType xType = random.of(DType.F32, DType.BF16);
                    DType yType = random.of(DType.F32, DType.BF16);
                    Tensor x = Tensor.of(xType, random.normal(rows * depth, 1), rows, depth);
                    Options options = Options.DEFAULT
                            .withMode(random.of(Mode.AUTO, Mode.INT8_ROW, Mode.INT8_GROUP, Mode.PRECISE))
                            .withActivation(random.of(Activation.values()));
                    if (random.chance(0.5)) {
                        options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
                    }
                    if (random.chance(0.5)) {
                        options =
                                options.withResidual(Tensor.of(yType, random.normal(rows * columns, 1), rows, columns));
                    }
                    check(x, w, yType, options);
                }
            }
        }
    }

    /** Every combination of types, mode, activation, bias and residual, on shapes around one tile. */
    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void combinesItsOptions(Mode mode) {
        Random random = new Random(22);
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4(32), QuantSpec.int4Asymmetric(17))) {
            for (int[] shape : new int[][] {{1, 17, 70}, {5, 31, 97}}) {
                int rows = shape[0];
                int columns = shape[1];
                int depth = shape[2];
                QuantizedTensor w = Quantize.run(Tensor.of(random.normal(columns * depth, 1), columns, depth), spec);
                for (DType xType : TYPES) {
                    Tensor x = Tensor.of(xType, random.normal(rows * depth, 1), rows, depth);
                    for (DType yType : TYPES) {
                        for (Activation activation : Activation.values()) {
                            for (int extras = 0; extras < 4; extras++) {
                                Tensor bias = extras % 2 == 0 ? null : Tensor.of(random.normal(columns, 1), columns);
                                Tensor residual = extras < 2
                                        ? null
                                        : Tensor.of(yType, random.normal(rows * columns, 1), rows, columns);
                                Options options = Options.DEFAULT.withMode(mode).withActivation(activation);
                                check(x, w, yType, options.withBias(bias).withResidual(residual));
                            }
                        }
                    }
                }
            }
        }
    }

    /** Scales that are powers of two make every step exact: results are compared with ==. */
    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void isExactOnIntegers(QuantSpec spec) {
        Random random = new Random(23);
        for (int depth : new int[] {1, 7, 32, 129, 257, 700}) {
            if (!fits(spec, depth)) {
                continue;
            }
            for (int rows : new int[] {1, 4, 7}) {
                int columns = random.between(1, 40);
                QuantizedTensor w = QMatmulOracle.exactWeights(random.source, spec, columns, depth);
                float[] x = random.integers(rows * depth, -15, 15);
                int step = (int) spec.groupOf(depth);
                for (int r = 0; r < rows; r++) {
                    for (int k = 0; k < depth; k += step) {
                        x[r * depth + k] = random.chance(0.5) ? 127 : -127; // amax / 127 = 1 in every row and group
                    }
                }
                Options options = Options.DEFAULT
                        .withBias(Tensor.of(random.integers(columns, -100, 100), columns))
                        .withResidual(Tensor.of(random.integers(rows * columns, -100, 100), rows, columns));
                for (Mode mode : INTEGER_MODES) {
                    Tensor in = Tensor.of(x, rows, depth);
                    Tensor y = Tensor.allocate(DType.F32, rows, columns);
                    Expected expected = QMatmulOracle.of(in, w, options.withMode(mode));
                    QMatmul.run(in, QMatmul.pack(w), y, options.withMode(mode));
                    for (int i = 0; i < rows * columns; i++) {
                        assertEquals(expected.values()[i], y.getFloat(i / columns, i % columns), spec + " " + mode);
                    }
                }
            }
        }
    }

    @Test
    void unpackIsTheInverseOfPack() {
        Random random = new Random(24);
        specs().forEach(spec -> {
            for (int columns : SIZES) {
                for (int depth : DEPTHS) {
                    if (fits(spec, depth)) {
                        QuantizedTensor w =
                                Quantize.run(Tensor.of(random.normal(columns * depth, 1), columns, depth), spec);
                        PackedWeights packed = QMatmul.pack(w);
                        QuantizedTensor unpacked =
                                PackedWeights.wrap(packed.segment()).unpack();
                        assertEquals(w.rows(), packed.rows());
                        assertEquals(w.depth(), packed.depth());
                        QuantizeTest.assertSameBytes(w.codes(), unpacked.codes());
                        QuantizeTest.assertSameBytes(w.scales(), unpacked.scales());
                        assertEquals(spec.hasZeroPoints(), unpacked.zeroPoints() != null);
                        if (spec.hasZeroPoints()) {
                            QuantizeTest.assertSameBytes(w.zeroPoints(), unpacked.zeroPoints());
                        }
                    }
                }
            }
        });
    }

    @Test
    void aGroupOfTheWholeRowReadsAsNone() {
        PackedWeights packed = QMatmul.pack(Tensor.allocate(DType.F32, 3, 32), QuantSpec.int4(32));
        QuantSpec perRow = QuantSpec.int4().withScales(DType.F16);
        assertEquals(perRow, packed.spec());
        assertEquals(perRow, PackedWeights.wrap(packed.segment()).spec());
        assertEquals(perRow, packed.unpack().spec());
    }

    @Test
    void packedWeightsMayLieInsideALargerBuffer() {
        QuantizedTensor weights =
                Quantize.run(Tensor.of(new Random(30).normal(30 * 64, 1), 30, 64), QuantSpec.int4(32));
        MemorySegment packed = QMatmul.pack(weights).segment();
        MemorySegment file = Arena.ofAuto().allocate(packed.byteSize() + 100);
        file.asSlice(7).copyFrom(packed);
        PackedWeights inside = PackedWeights.wrap(file.asSlice(7));
        assertEquals(packed.byteSize(), inside.segment().byteSize());
        Tensor x = Tensor.of(new Random(30).normal(3 * 64, 1), 3, 64);
        Tensor y = Tensor.allocate(DType.F32, 3, 30);
        QMatmul.run(x, inside, y);
        QMatmulOracle.of(x, weights, Options.DEFAULT).assertMatches(y, "inside a larger buffer");
    }

    /** Threads, ranges of columns and the number of rows change no bit. */
    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void doesNotDependOnHowWorkIsSplit(Mode mode) {
        Random random = new Random(25);
        int rows = 67;
        int columns = 259;
        int depth = 515;
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4Asymmetric(32))) {
            PackedWeights w = QMatmul.pack(Tensor.of(random.normal(columns * depth, 1), columns, depth), spec);
            Tensor x = Tensor.of(random.normal(rows * depth, 1), rows, depth);
            Options options = Options.DEFAULT
                    .withMode(mode)
                    .withActivation(Activation.GELU)
                    .withBias(Tensor.of(random.normal(columns, 1), columns));
            Tensor one = Tensor.allocate(DType.F32, rows, columns);
            QMatmul.run(x, w, one, options.withThreads(1));
            for (int threads = 2; threads <= 8; threads++) {
                Tensor many = Tensor.allocate(DType.F32, rows, columns);
                String text = QMatmul.explain(x, w, many, options.withThreads(threads));
                assertTrue(text.endsWith(" on " + threads + " threads"), text);
                QMatmul.run(x, w, many, options.withThreads(threads));
                QuantizeTest.assertSameBytes(one, many);
            }
            Tensor ranges = Tensor.allocate(DType.F32, rows, columns);
            for (int begin = 0, end; begin < columns; begin = end) {
                end = Math.min(columns, begin + random.between(0, 20));
                QMatmul.run(x, w, ranges, options.withColumns(begin, end));
            }
            QuantizeTest.assertSameBytes(one, ranges);
            for (int begin = 0, end; begin < rows; begin = end) {
                end = Math.min(rows, begin + random.between(1, 9));
                Tensor part = Tensor.allocate(DType.F32, end - begin, columns);
                QMatmul.run(x.slice(0, begin, end), w, part, options);
                QuantizeTest.assertSameBytes(one.slice(0, begin, end), part);
            }
        }
    }

    @Test
    void writesOnlyItsColumnsAndOnlyItsRows() {
        Random random = new Random(26);
        QuantizedTensor weights = Quantize.run(Tensor.of(random.normal(50 * 40, 1), 50, 40), QuantSpec.int8());
        PackedWeights w = QMatmul.pack(weights);
        Guarded x = Guarded.matrix(Arena.ofAuto(), DType.F32, 6, 40, 47, 3).fill(random.normal(240, 1));
        Guarded residual =
                Guarded.matrix(Arena.ofAuto(), DType.BF16, 6, 50, 51, 1).fill(random.normal(300, 1));
        Options options = Options.DEFAULT.withResidual(residual.tensor);
        for (int[] range : new int[][] {{0, 50}, {0, 0}, {50, 50}, {3, 4}, {15, 33}}) {
            Guarded y = Guarded.matrix(Arena.ofAuto(), DType.BF16, 6, 50, 60, 5);
            QMatmul.run(x.tensor, w, y.tensor, options.withColumns(range[0], range[1]));
            assertTrue(y.unchangedOutside(range[0], range[1]));
            QMatmulOracle.of(x.tensor, weights, options)
                    .assertMatches(y.tensor, range[0], range[1], "columns " + range[0] + ".." + range[1]);
        }
        assertTrue(x.unchanged() && residual.unchanged());
    }

    @Test
    void addsTheResidualInPlace() {
        Random random = new Random(27);
        QuantizedTensor weights = Quantize.run(Tensor.of(random.normal(30 * 64, 1), 30, 64), QuantSpec.int4(32));
        Tensor x = Tensor.of(random.normal(5 * 64, 1), 5, 64);
        Tensor y = Tensor.of(random.normal(5 * 30, 1), 5, 30);
        Options options = Options.DEFAULT.withResidual(y).withActivation(Activation.SILU);
        Expected expected = QMatmulOracle.of(x, weights, options);
        QMatmul.run(x, QMatmul.pack(weights), y, options);
        expected.assertMatches(y, "in place");
    }

    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void notFiniteRowsBecomeNaNAndLeaveOthersAlone(Mode mode) {
        Random random = new Random(28);
        for (QuantSpec spec : List.of(QuantSpec.int8(), QuantSpec.int4Asymmetric(16), QuantSpec.int8Asymmetric())) {
            for (int rows : new int[] {1, 6}) {
                QuantizedTensor w = Quantize.run(Tensor.of(random.normal(35 * 70, 1), 35, 70), spec);
                float[] values = random.normal(rows * 70, 1);
                for (int r = 0; r < rows; r += 2) {
                    values[r * 70 + random.between(0, 69)] =
                            random.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY);
                }
                for (Activation activation : Activation.values()) {
                    for (DType xType : TYPES) {
                        Options options = Options.DEFAULT.withMode(mode).withActivation(activation);
                        check(Tensor.of(xType, values, rows, 70), w, random.of(DType.F32, DType.BF16), options);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"BF16", "F16"},
            mode = EnumSource.Mode.EXCLUDE)
    @Tag("tier")
    void takesExtremeValues(Mode mode) {
        int depth = 96;
        float[] values = new float[7 * depth];
        for (int k = 0; k < depth; k++) {
            values[k] = 0;
            values[depth + k] = Float.MIN_VALUE * (k + 1);
            values[2 * depth + k] = 0x1p-114f * (k - 40);
            values[3 * depth + k] = 1e30f * (k % 7 - 3);
            values[4 * depth + k] = k == 5 ? 1e20f : 1e-20f;
            values[5 * depth + k] = -0f;
            values[6 * depth + k] = k < 48 ? 0 : 1;
        }
        QuantizedTensor w =
                Quantize.run(Tensor.of(new Random(29).normal(20 * depth, 1), 20, depth), QuantSpec.int4(32));
        check(Tensor.of(values, 7, depth), w, DType.F32, Options.DEFAULT.withMode(mode));
    }

    @Test
    void activationsAreAccurateOverTheirWholeRange() {
        // depth 0: y = activation(bias).
        int count = 4001;
        float[] v = new float[count];
        for (int i = 0; i < count; i++) {
            v[i] = (i - 2000) / 2000f * (i % 3 == 0 ? 120 : i % 3 == 1 ? 6 : 0.01f);
        }
        QuantizedTensor w = QuantizedTensor.allocate(QuantSpec.int8(), count, 0);
        Tensor x = Tensor.allocate(DType.F32, 1, 0);
        for (Activation activation : Activation.values()) {
            check(x, w, DType.F32, Options.DEFAULT.withBias(Tensor.of(v, count)).withActivation(activation));
        }
    }

    @Test
    @Tag("tier")
    void explainsItsKernel() {
        Tensor x = Tensor.allocate(DType.F32, 4, 64);
        PackedWeights w = QMatmul.pack(Tensor.allocate(DType.F32, 8, 64), QuantSpec.int4(32));
        Tensor y = Tensor.allocate(DType.F32, 4, 8);
        for (Mode mode : INTEGER_MODES) {
            String text = QMatmul.explain(x, w, y, Options.DEFAULT.withMode(mode));
            String kernel = mode == Mode.PRECISE ? "qmatmul_f32_u4_f32_" : "qmatmul_i8_u4_f32_";
            assertTrue(text.startsWith(kernel), text);
            assertTrue(text.contains(" on tier " + Gatun.tier() + "\n"), text);
            assertTrue(text.endsWith(" on 1 thread"), text);
        }
    }
}
