package io.gatun.ops;

import static io.gatun.ops.RandomArguments.FLAWED;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spec;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Random calls of the product with one weight, and random bytes as packed weights. */
class RandomQMatmulTest {
    @Test
    void qmatmul() {
        RandomCalls.run("qmatmul", RandomQMatmulTest::qmatmulCall);
    }

    private static Call qmatmulCall(Random random) {
        int rows = random.between(0, 9);
        int columns = random.between(0, 24);
        int depth = random.between(0, 100);
        QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec(random, depth), columns, depth);
        PackedWeights w = QMatmul.pack(weights);
        DType xType = random.of(DType.F32, DType.BF16);
        DType yType = random.of(DType.F32, DType.BF16);
        Tensor x = withFreeStrides(
                random, guarded(random, xType, rows, depth).fill(random.normal(rows * depth, 1)).tensor);
        Guarded out = guarded(random, yType, rows, columns).fill(random.normal(rows * columns, 1));
        Tensor y = withFreeStrides(random, out.tensor);
        int begin = random.chance(0.5) ? 0 : random.between(0, columns);
        int end = random.chance(0.5) ? columns : random.between(begin, columns);
        Options options = Options.DEFAULT
                .withMode(random.of(Mode.values()))
                .withActivation(random.of(Activation.values()))
                .withThreads(random.between(0, 3))
                .withColumns(begin, end);
        if (random.chance(0.5)) {
            options = options.withBias(Tensor.of(random.normal(columns, 1), columns));
        }
        if (random.chance(0.5)) {
            options = options.withResidual(
                    random.chance(0.3)
                            ? y
                            : guarded(random, yType, rows, columns).fill(random.normal(rows * columns, 1)).tensor);
        }
        String what = x.describe() + " " + w + " " + y.describe() + " " + options.mode() + " " + options.activation();
        boolean flawed = random.chance(FLAWED);
        if (flawed) {
            int flaw = random.between(0, 9);
            what += " flaw " + flaw;
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.F16, DType.I8, DType.I32);
                case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> options = options.withColumns(begin, columns + 1L + random.between(0, 9));
                case 4 ->
                    options = options.withBias(random.of(
                            Tensor.allocate(DType.F32, columns + 1),
                            Tensor.allocate(DType.BF16, columns),
                            Unreachable.closed(DType.F32, columns),
                            Unreachable.foreign(DType.F32, columns)));
                case 5 ->
                    options = options.withResidual(random.of(
                            Tensor.allocate(yType, rows + 1, columns),
                            Tensor.allocate(yType == DType.F32 ? DType.BF16 : DType.F32, rows, columns),
                            Unreachable.closed(yType, rows, columns)));
                case 6 ->
                    x = Tensor.wrap(
                            Arena.ofAuto().allocate(4096, 4),
                            xType,
                            Shape.of(rows + 2, depth + 2),
                            random.of(0L, 1L),
                            1);
                case 7 -> {
                    Tensor both = Tensor.allocate(yType, 2, Math.max(16, depth + columns));
                    weights = QMatmulOracle.exactWeights(random.source, QuantSpec.int8(), 3, 16);
                    w = QMatmul.pack(weights);
                    x = both.slice(1, 0, 16);
                    y = both.slice(1, 13, 16);
                    options = Options.DEFAULT;
                }
                case 8 -> w = null;
                default -> options = null;
            }
        }
        Tensor input = x;
        Tensor output = y;
        PackedWeights packed = w;
        Options chosen = options;
        String context = what;
        Expected expected = flawed ? null : QMatmulOracle.of(x, weights, options);
        return new Call(
                context,
                !flawed,
                () -> QMatmul.run(input, packed, output, chosen),
                () -> {
                    expected.assertMatches(output, begin, end, context);
                    assertTrue(out.unchangedOutside(begin, end), context);
                },
                out::unchanged);
    }

    /** Any bytes as packed weights, or packed weights with flipped bytes in the header: refused, or as described. */
    @Test
    void packedBuffers() {
        RandomCalls.run("packed buffers", random -> {
            int columns = random.between(1, 24);
            int depth = random.between(1, 100);
            QuantizedTensor weights = QMatmulOracle.exactWeights(random.source, spec(random, depth), columns, depth);
            MemorySegment good = QMatmul.pack(weights).segment();
            MemorySegment bytes = Arena.ofAuto().allocate(good.byteSize(), 64).copyFrom(good);
            String what = weights + "";
            Outcome right = Outcome.ACCEPTED;
            MemorySegment given = bytes;
            switch (random.between(0, 5)) {
                case 0 -> {
                    given = bytes.asSlice(0, random.source.nextLong(good.byteSize()));
                    what += " in " + given.byteSize() + " bytes";
                    right = Outcome.REFUSED;
                }
                case 1, 2, 3 -> {
                    int at = random.between(0, 63);
                    int bit = random.between(0, 7);
                    what += " bit " + bit + " of byte " + at + " flipped";
                    bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (bytes.get(ValueLayout.JAVA_BYTE, at) ^ 1 << bit));
                    right = Outcome.EITHER;
                }
                default -> {}
            }
            MemorySegment buffer = given;
            String context = what;
            boolean same = right == Outcome.ACCEPTED;
            return new Call(
                    context,
                    right,
                    () -> PackedWeights.wrap(buffer),
                    () -> {
                        PackedWeights packed = PackedWeights.wrap(buffer);
                        QuantizedTensor unpacked = packed.unpack();
                        if (same) {
                            QuantizeTest.assertSameBytes(weights.codes(), unpacked.codes());
                        }
                        assertRuns(packed, unpacked, random, context);
                    },
                    () -> true);
        });
    }

    /** The product with weights that a changed header describes: right if {@link QMatmul#pack} would take them. */
    private static void assertRuns(PackedWeights packed, QuantizedTensor weights, Random random, String context) {
        int depth = (int) packed.depth();
        int columns = (int) packed.rows();
        Tensor x = Tensor.of(random.normal(2 * depth, 1), 2, depth);
        Guarded y = Guarded.matrix(DType.F32, 2, columns);
        Options options = Options.DEFAULT.withMode(random.of(Mode.values()));
        QMatmul.run(x, packed, y.tensor, options);
        assertTrue(y.unchangedOutside(0, columns), context);
        boolean moderate = true;
        for (float scale : weights.scales().toFloatArray()) {
            moderate &= scale == 0 || Math.abs(scale) > 1e-20f && Math.abs(scale) < 1e20f;
        }
        if (moderate && isPackable(weights)) {
            QMatmulOracle.of(x, weights, options).assertMatches(y.tensor, context + " " + options.mode());
        }
    }

    private static boolean isPackable(QuantizedTensor weights) {
        try {
            QMatmul.pack(weights);
            return true;
        } catch (IllegalArgumentException e) {
            return false;
        }
    }
}
