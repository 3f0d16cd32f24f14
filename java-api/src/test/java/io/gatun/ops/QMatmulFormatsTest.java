package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every format goes into the product, in every mode that it takes. */
class QMatmulFormatsTest {
    private static final int[] COLUMNS = {1, 5, 16, 33};

    static Stream<QuantSpec> specs() {
        Stream<QuantSpec> integers = Formats.integers(32).filter(spec -> spec.rule() == QuantSpec.ScaleRule.DEFAULT);
        return Stream.of(
                        integers,
                        Stream.of(
                                QuantSpec.int8(16).withScaleRule(QuantSpec.ScaleRule.FULL_RANGE),
                                QuantSpec.int4Asymmetric(17).withFloatZeroPoints(),
                                QuantSpec.int8().perTensor(),
                                QuantSpec.int4Asymmetric().perTensor(),
                                QuantSpec.int2(0).withScales(DType.F32)),
                        Formats.floats8(),
                        Formats.microscaling()
                                .filter(spec -> spec.rule() == QuantSpec.ScaleRule.DEFAULT
                                        || spec.rule() == QuantSpec.ScaleRule.EVEN),
                        Formats.books(),
                        Formats.gguf())
                .flatMap(all -> all);
    }

    /** Weights of a shape in a format; depth a multiple of what the format's blocks need. */
    private static QuantizedTensor weights(Random random, QuantSpec spec, int columns, int depth) {
        return spec.gguf() != null
                ? GgufTest.random(random, spec.gguf(), columns, depth)
                : Quantize.run(Tensor.of(random.normal(columns * depth, 0.3), columns, depth), spec);
    }

    private static int[] depths(QuantSpec spec) {
        if (spec.gguf() != null) {
            return new int[] {0, spec.gguf().elements(), 3 * spec.gguf().elements()};
        }
        if (!spec.blocks().flat() || spec.group() == 0) {
            return new int[] {0, 1, 31, 32, 97, 128, 259, 1031};
        }
        return new int[] {0, (int) spec.group(), 3 * (int) spec.group()};
    }

    private static void check(Tensor x, QuantizedTensor weights, DType yType, Options options) {
        PackedWeights w = QMatmul.pack(weights);
        Guarded y = Guarded.matrix(yType, x.shape().size(0), w.rows());
        String context = x.describe() + " x " + w + " -> " + yType + " " + options.mode() + " " + options.activation();
        Expected expected = QMatmulOracle.of(x, weights, options);
        QMatmul.run(x, w, y.tensor, options);
        expected.assertMatches(y.tensor, context);
        assertTrue(y.unchangedOutside(0, w.rows()), context);
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void agreesWithTheOracle(QuantSpec spec) {
        Random random = new Random(91);
        for (int depth : depths(spec)) {
            if (!Formats.fits(spec, depth)) {
                continue;
            }
            for (int columns : COLUMNS) {
                QuantizedTensor w = weights(random, spec, columns, depth);
                List<Mode> modes = QMatmul.pack(w).modes();
                for (Mode mode : modes) {
                    for (int rows : new int[] {1, 3, 9}) {
                        DType yType = random.of(DType.F32, DType.BF16);
                        Tensor x = Tensor.of(
                                random.of(DType.F32, DType.BF16), random.normal(rows * depth, 1), rows, depth);
                        Options options = Options.DEFAULT.withMode(mode).withActivation(random.of(Activation.values()));
                        if (random.chance(0.5)) {
                            options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
                        }
                        check(x, w, yType, options);
                    }
                }
                check(Tensor.of(random.normal(depth, 1), 1, depth), w, DType.F32, Options.DEFAULT);
            }
        }
    }

    /** The modes that weights do not take are refused by name. */
    @ParameterizedTest
    @MethodSource("specs")
    void refusesOtherModes(QuantSpec spec) {
        int depth = spec.gguf() != null ? spec.gguf().elements() : 4 * Math.max(16, (int) spec.group());
        PackedWeights w = QMatmul.pack(weights(new Random(92), spec, 3, depth));
        Set<Mode> others = EnumSet.allOf(Mode.class);
        others.remove(Mode.AUTO);
        w.modes().forEach(others::remove);
        Guarded y = Guarded.matrix(DType.F32, 1, 3);
        for (Mode mode : others) {
            String message = assertThrows(
                            UnsupportedOperationException.class,
                            () -> QMatmul.run(
                                    Tensor.allocate(DType.F32, 1, depth), w, y.tensor, Options.DEFAULT.withMode(mode)))
                    .getMessage();
            assertEquals("options.mode: given " + mode + "; allowed: AUTO, " + w.modes(), message);
        }
        assertTrue(y.unchanged());
    }

    /** What is packed comes back: codes, scales and zero points as they were, by rows where blocks were flat. */
    @ParameterizedTest
    @MethodSource("specs")
    void unpackIsTheInverseOfPack(QuantSpec spec) {
        Random random = new Random(93);
        for (int depth : depths(spec)) {
            if (!Formats.fits(spec, depth)) {
                continue;
            }
            for (int columns : new int[] {0, 1, 7, 40}) {
                QuantizedTensor w = weights(random, spec, columns, depth);
                PackedWeights packed = PackedWeights.wrap(QMatmul.pack(w).segment());
                QuantizedTensor back = packed.unpack();
                assertEquals(QMatmul.pack(w).spec(), packed.spec());
                assertEquals(packed.spec(), back.spec());
                if (!spec.blocks().flat() && !spec.nested()) {
                    QuantizeTest.assertSameBytes(w.codes(), back.codes());
                    if (w.scales() != null) {
                        QuantizeTest.assertSameBytes(w.scales(), back.scales());
                    }
                    if (w.zeroPoints() != null) {
                        QuantizeTest.assertSameBytes(w.zeroPoints(), back.zeroPoints());
                    }
                }
                assertArrayEquals(
                        QuantizeTest.bits(Decoder.values(w, DType.F32).toFloatArray()),
                        QuantizeTest.bits(Decoder.values(back, DType.F32).toFloatArray()),
                        w.toString());
                QuantizeTest.assertSameBytes(
                        Tensor.wrap(packed.segment(), DType.U8, packed.segment().byteSize()),
                        Tensor.wrap(
                                QMatmul.pack(back).segment(),
                                DType.U8,
                                packed.segment().byteSize()));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void doesNotDependOnHowWorkIsSplit(QuantSpec spec) {
        Random random = new Random(94);
        int depth = spec.gguf() != null ? 768 : spec.blocks().flat() && spec.group() > 0 ? 3 * (int) spec.group() : 515;
        int columns = 67;
        int rows = 13;
        PackedWeights w = QMatmul.pack(weights(random, spec, columns, depth));
        Tensor x = Tensor.of(random.normal(rows * depth, 1), rows, depth);
        for (Mode mode : w.modes()) {
            Options options = Options.DEFAULT.withMode(mode);
            Tensor one = Tensor.allocate(DType.F32, rows, columns);
            QMatmul.run(x, w, one, options.withThreads(1));
            Tensor many = Tensor.allocate(DType.F32, rows, columns);
            QMatmul.run(x, w, many, options.withThreads(7));
            QuantizeTest.assertSameBytes(one, many);
            Tensor ranges = Tensor.allocate(DType.F32, rows, columns);
            for (int begin = 0, end; begin < columns; begin = end) {
                end = Math.min(columns, begin + random.between(1, 20));
                QMatmul.run(x, w, ranges, options.withColumns(begin, end));
            }
            QuantizeTest.assertSameBytes(one, ranges);
            for (int m = 0; m < rows; m += 5) {
                Tensor part = Tensor.allocate(DType.F32, Math.min(5, rows - m), columns);
                QMatmul.run(x.slice(0, m, Math.min(rows, m + 5)), w, part, options);
                QuantizeTest.assertSameBytes(one.slice(0, m, Math.min(rows, m + 5)), part);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void notFiniteRowsBecomeNaNAndLeaveOthersAlone(QuantSpec spec) {
        Random random = new Random(95);
        int depth = spec.gguf() != null ? 256 : spec.blocks().flat() && spec.group() > 0 ? (int) spec.group() : 128;
        QuantizedTensor w = weights(random, spec, 19, depth);
        float[] x = random.normal(4 * depth, 1);
        x[random.between(0, depth - 1)] = Float.NaN;
        x[2 * depth + random.between(0, depth - 1)] = random.of(Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY);
        for (Mode mode : QMatmul.pack(w).modes()) {
            check(Tensor.of(x, 4, depth), w, DType.F32, Options.DEFAULT.withMode(mode));
        }
    }

    /** Rows of 8-bit floats: scales of the tensor, of rows, and of the weights' groups. */
    @Test
    @Tag("tier")
    void multipliesQuantizedRows() {
        Random random = new Random(96);
        List<QuantSpec> kinds = List.of(
                QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128),
                QuantSpec.fp8(DType.F8E5M2),
                QuantSpec.fp8(DType.F8E4M3).perTensor(),
                QuantSpec.mxfp6(DType.F6E3M2),
                QuantSpec.nf4(64).withGroup(64));
        for (QuantSpec kind : kinds) {
            for (int[] shape : new int[][] {{1, 1, 128}, {5, 33, 300}, {17, 40, 1031}}) {
                QuantizedTensor w = weights(random, kind, shape[1], shape[2]);
                PackedWeights packed = QMatmul.pack(w);
                for (DType dtype : List.of(DType.F8E4M3, DType.F8E5M2)) {
                    QuantSpec rows = QuantSpec.fp8(dtype);
                    for (QuantSpec spec : List.of(rows, rows.perTensor(), rows.withGroup(kind.group()))) {
                        Tensor values = Tensor.of(random.normal(shape[0] * shape[2], 1), shape[0], shape[2]);
                        QuantizedTensor x = Quantize.run(values, spec);
                        for (DType yType : List.of(DType.F32, DType.BF16)) {
                            Guarded y = Guarded.matrix(yType, shape[0], shape[1]);
                            Options options = Options.DEFAULT
                                    .withBias(Tensor.of(random.normal(shape[1], 1), shape[1]))
                                    .withActivation(Activation.SILU);
                            Expected expected = QMatmulOracle.of(x, w, options);
                            QMatmul.run(x, packed, y.tensor, options);
                            expected.assertMatches(y.tensor, x + " x " + packed + " -> " + yType);
                            assertTrue(y.unchangedOutside(0, shape[1]));
                        }
                    }
                }
            }
        }
    }

    /** Rows of int8 codes: scales of rows, and of the weights' groups; a code of -128 makes a row NaN. */
    @Test
    @Tag("tier")
    void multipliesInt8Rows() {
        Random random = new Random(98);
        for (QuantSpec kind : List.of(
                QuantSpec.int4(32).withScales(DType.F32),
                QuantSpec.int8(64),
                QuantSpec.int4Asymmetric(32),
                QuantSpec.int8())) {
            for (int[] shape : new int[][] {{1, 1, 128}, {5, 33, 300}, {17, 40, 1031}}) {
                QuantizedTensor w = weights(random, kind, shape[1], shape[2]);
                PackedWeights packed = QMatmul.pack(w);
                QuantSpec rows = QuantSpec.int8().withScales(DType.F32);
                for (QuantSpec spec : List.of(rows, rows.withGroup(kind.group()))) {
                    QuantizedTensor x = QuantizedTensor.allocate(spec, shape[0], shape[2]);
                    for (int m = 0; m < shape[0]; m++) {
                        for (int k = 0; k < shape[2]; k++) {
                            int code = m == 3 && k == shape[2] - 1 ? -128 : random.between(-127, 127);
                            x.codes().segment().set(ValueLayout.JAVA_BYTE, (long) m * shape[2] + k, (byte) code);
                        }
                    }
                    x.scales().copyFrom(random.normal((int) x.scales().shape().elements(), 0.01));
                    Guarded y = Guarded.matrix(DType.F32, shape[0], shape[1]);
                    boolean grouped = x.scales().shape().size(1) > 1;
                    Options options = Options.DEFAULT.withMode(grouped ? Mode.INT8_GROUP : Mode.INT8_ROW);
                    Expected expected = QMatmulOracle.of(x, w, options);
                    QMatmul.run(x, packed, y.tensor);
                    expected.assertMatches(y.tensor, x + " x " + packed);
                    assertTrue(y.unchangedOutside(0, shape[1]));
                }
            }
        }
    }

    @Test
    void refusesOtherQuantizedRows() {
        PackedWeights w = QMatmul.pack(
                Tensor.allocate(DType.F32, 3, 256), QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128));
        Guarded y = Guarded.matrix(DType.F32, 2, 3);
        Tensor x = Tensor.allocate(DType.F32, 2, 256);
        for (QuantSpec bad : List.of(
                QuantSpec.int8Asymmetric(),
                QuantSpec.int8(64),
                QuantSpec.nf4(64),
                QuantSpec.gguf(GgufType.Q8_0),
                QuantSpec.mxfp8(DType.F8E4M3),
                QuantSpec.fp8(DType.F8E4M3).withFlatBlocks(64),
                QuantSpec.fp8(DType.F8E4M3).withScales(DType.F16),
                QuantSpec.fp8(DType.F8E4M3).withBlocks(2, 128))) {
            QuantizedTensor rows = QuantizedTensor.allocate(bad, 2, 256);
            String message = assertThrows(IllegalArgumentException.class, () -> QMatmul.run(rows, w, y.tensor))
                    .getMessage();
            assertTrue(message.startsWith("x: given " + bad) && message.contains("QuantSpec.fp8"), message);
        }
        QuantizedTensor other = Quantize.run(x, QuantSpec.fp8(DType.F8E4M3).withGroup(64));
        String message = assertThrows(IllegalArgumentException.class, () -> QMatmul.run(other, w, y.tensor))
                .getMessage();
        assertTrue(message.contains("x_group"), message);
        PackedWeights integers = QMatmul.pack(Tensor.allocate(DType.F32, 3, 256), QuantSpec.int8());
        QuantizedTensor good = Quantize.run(x, QuantSpec.fp8(DType.F8E4M3));
        message = assertThrows(UnsupportedOperationException.class, () -> QMatmul.run(good, integers, y.tensor))
                .getMessage();
        assertEquals(
                "w: given " + integers.spec() + " with x in f8e4m3; allowed: weights that take the mode BF16", message);
        message = assertThrows(
                        IllegalArgumentException.class,
                        () -> QMatmul.run(good, w, y.tensor, Options.DEFAULT.withMode(Mode.PRECISE)))
                .getMessage();
        assertEquals("options.mode: given PRECISE with x in f8e4m3; allowed: BF16 or AUTO", message);
        QuantizedTensor codes = Quantize.run(x, QuantSpec.int8());
        message = assertThrows(UnsupportedOperationException.class, () -> QMatmul.run(codes, w, y.tensor))
                .getMessage();
        assertEquals("w: given " + w.spec() + " with x in i8; allowed: weights that take the mode INT8_ROW", message);
        QuantizedTensor groups = Quantize.run(x, QuantSpec.int8(64).withScales(DType.F32));
        message = assertThrows(IllegalArgumentException.class, () -> QMatmul.run(groups, integers, y.tensor))
                .getMessage();
        assertTrue(message.contains("x_group = 64") && message.contains("256"), message);
        assertTrue(y.unchanged());
    }

    /** Blocks that end in the middle of a row: in groups that fit both, or not at all. */
    @Test
    void flatBlocksBecomeGroups() {
        Random random = new Random(97);
        QuantizedTensor wide = Quantize.run(Tensor.of(random.normal(6 * 96, 1), 6, 96), QuantSpec.nf4(64));
        assertEquals(32, QMatmul.pack(wide).spec().group());
        check(Tensor.of(random.normal(3 * 96, 1), 3, 96), wide, DType.F32, Options.DEFAULT);
        QuantizedTensor odd = Quantize.run(
                Tensor.of(random.normal(5 * 33, 1), 5, 33), QuantSpec.int4().perTensor());
        check(Tensor.of(random.normal(3 * 33, 1), 3, 33), odd, DType.F32, Options.DEFAULT);
        QuantizedTensor two = Quantize.run(Tensor.of(random.normal(4 * 35, 1), 4, 35), QuantSpec.nf4(70));
        check(Tensor.of(random.normal(3 * 35, 1), 3, 35), two, DType.F32, Options.DEFAULT);
        QuantizedTensor cut = Quantize.run(Tensor.of(random.normal(6 * 100, 1), 6, 100), QuantSpec.nf4(64));
        String message = assertThrows(UnsupportedOperationException.class, () -> QMatmul.pack(cut))
                .getMessage();
        assertTrue(message.contains("weights") && message.contains("64") && message.contains("100"), message);
        assertTrue(message.contains("withGroup"), message);
        QuantizedTensor one = Quantize.run(Tensor.of(random.normal(100, 1), 1, 100), QuantSpec.nf4(64));
        check(Tensor.of(random.normal(3 * 100, 1), 3, 100), one, DType.F32, Options.DEFAULT);
    }

    @Test
    void stacksMixFormats() {
        Random random = new Random(98);
        int depth = 256;
        List<List<QuantSpec>> stacks = List.of(
                List.of(QuantSpec.int4(32), QuantSpec.gguf(GgufType.Q4_K), QuantSpec.mxfp4()),
                List.of(QuantSpec.nf4(64), QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 64), QuantSpec.dynamic8(64)));
        for (List<QuantSpec> specs : stacks) {
            List<QuantizedTensor> weights =
                    specs.stream().map(spec -> weights(random, spec, 20, depth)).toList();
            PackedStack stack = PackedStack.pack(weights);
            Tensor x = Tensor.of(random.normal(5 * depth, 1), 5, depth);
            Tensor y = Tensor.allocate(DType.F32, 5, stack.columns());
            QMatmul.run(x, stack, y);
            for (int i = 0; i < 3; i++) {
                QMatmulOracle.of(x, weights.get(i), Options.DEFAULT)
                        .assertMatches(
                                y.slice(1, 20L * i, 20L * i + 20).contiguous(),
                                specs.get(i).toString());
            }
            Tensor grouped = Tensor.allocate(DType.F32, 5, 20);
            QMatmul.runGrouped(x, new long[] {2, 0, 3}, stack, grouped);
            QMatmulOracle.of(x.slice(0, 2, 5), weights.get(2), Options.DEFAULT)
                    .assertMatches(grouped.slice(0, 2, 5), specs.get(2).toString());
        }
        List<PackedWeights> mixed = List.of(
                QMatmul.pack(weights(random, QuantSpec.int4(64), 4, depth)),
                QMatmul.pack(weights(random, QuantSpec.nf4(64), 4, depth)));
        String message = assertThrows(IllegalArgumentException.class, () -> PackedStack.of(mixed))
                .getMessage();
        assertTrue(message.startsWith("weights[1]: given nf4 u4 group 64"), message);
        assertTrue(message.contains("INT8_ROW"), message);
    }

    @ParameterizedTest
    @MethodSource("specs")
    @Tag("tier")
    void explainsItsKernel(QuantSpec spec) {
        int depth = spec.gguf() != null ? 256 : 4 * Math.max(16, (int) spec.group());
        PackedWeights w = QMatmul.pack(weights(new Random(99), spec, 8, depth));
        Tensor x = Tensor.allocate(DType.F32, 4, depth);
        Tensor y = Tensor.allocate(DType.F32, 4, 8);
        for (Mode mode : w.modes()) {
            String text = QMatmul.explain(x, w, y, Options.DEFAULT.withMode(mode));
            assertTrue(text.startsWith("qmatmul_"), text);
            assertTrue(text.contains(" on tier " + Gatun.tier() + "\n"), text);
        }
    }
}
