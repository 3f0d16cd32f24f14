package io.gatun.ops;

import static io.gatun.ops.RandomArguments.spoiled;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Score;
import io.gatun.ops.RandomArguments.Buffer;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Random calls of pruning, of products with sparse weights, and random bytes as indices and as packed weights. */
class RandomSparseTest {
    @Test
    void nmMatmul() {
        RandomCalls.run("nm_matmul", random -> new Product(random).call());
    }

    @Test
    void prune() {
        RandomCalls.run("prune", random -> new Pruning(random).call());
    }

    /** Any bytes as indices: refused, or those of a sparse tensor. */
    @Test
    void indices() {
        RandomCalls.run("indices", random -> {
            Sparsity.Nm pattern = NmOracle.randomPattern(random);
            int rows = random.between(0, 6);
            int depth = random.between(0, 70);
            SparseTensor good = NmOracle.random(random, pattern, DType.F32, rows, depth);
            Tensor indices =
                    Tensor.allocate(pattern.indexType(), good.indices().shape().toArray());
            indices.segment().copyFrom(good.indices().segment());
            if (random.chance(0.7) && indices.segment().byteSize() > 0) {
                flipAnyBit(random, indices.segment());
            }
            SparseTensor given = new SparseTensor(pattern, good.shape(), good.values(), indices, null, null, null);
            boolean valid = isValid(given);
            String context = given + (valid ? " valid" : " invalid");
            return new Call(
                    context,
                    valid,
                    given::check,
                    () -> {
                        assertArrayEquals(
                                NmOracle.values(given), given.decompress().toFloatArray(), context);
                        assertArrayEquals(NmOracle.mask(given), NmOracle.bits(given.mask()), context);
                        SparseTensor back = NmMatmul.pack(given).unpack();
                        assertArrayEquals(NmOracle.indices(given), NmOracle.indices(back), context);
                    },
                    () -> true);
        });
    }

    private static void flipAnyBit(Random random, MemorySegment bytes) {
        long at = random.source.nextLong(bytes.byteSize());
        bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (bytes.get(ValueLayout.JAVA_BYTE, at) ^ 1 << random.between(0, 7)));
    }

    private static boolean isValid(SparseTensor sparse) {
        Sparsity.Nm pattern = sparse.pattern();
        for (int[] row : NmOracle.indices(sparse)) {
            for (int i = 0; i < row.length; i++) {
                boolean ascends = i % pattern.n() == 0 || row[i] > row[i - 1];
                if (row[i] >= pattern.m() || !ascends) {
                    return false;
                }
            }
        }
        return NmOracle.unusedBitsAreZero(sparse.indices());
    }

    /** Packed weights, whole, truncated, or with a flipped bit in the header: refused, or as described. */
    @Test
    void packedBuffers() {
        RandomCalls.run("packed sparse buffers", random -> {
            int columns = random.between(1, 24);
            int depth = random.between(1, 100);
            Sparsity.Nm pattern = NmOracle.randomPattern(random);
            SparseTensor weights = weights(random, pattern, columns, depth);
            Buffer given = Buffer.of(random, NmMatmul.pack(weights).segment());
            String context = weights + given.what();
            return new Call(
                    context,
                    given.right(),
                    () -> NmWeights.wrap(given.bytes()),
                    () -> {
                        NmWeights packed = NmWeights.wrap(given.bytes());
                        if (given.right() == Outcome.ACCEPTED) {
                            QuantizeTest.assertSameBytes(
                                    weights.indices(), packed.unpack().indices());
                        }
                        Tensor x = Tensor.of(random.normal((int) (2 * packed.depth()), 1), 2, packed.depth());
                        Guarded y = Guarded.matrix(DType.F32, 2, packed.rows());
                        NmMatmul.run(x, packed, y.tensor);
                        assertTrue(y.unchangedOutside(0, packed.rows()), context);
                    },
                    () -> true);
        });
    }

    private static SparseTensor weights(Random random, Sparsity.Nm pattern, int columns, int depth) {
        List<Object> values = NmMatmulTest.values(depth, pattern.m());
        return NmMatmulOracle.exactWeights(
                random, pattern, values.get(random.between(0, values.size() - 1)), columns, depth);
    }

    private static final class Product extends RandomMatmul {
        private final SparseTensor sparse =
                weights(random, NmOracle.randomPattern(random), random.between(0, 24), random.between(0, 100));
        private NmWeights w = NmMatmul.pack(
                sparse, random.of(NmWeights.Dense.NEVER, NmWeights.Dense.ifFaster(), NmWeights.Dense.ifFasterFor(1)));

        Product(Random random) {
            super(random);
            draw(random.between(0, 9), (int) sparse.depth(), (int) sparse.rows(), w.modes(), -1);
        }

        @Override
        String describe() {
            return x.describe() + " " + w + " " + y.describe() + " " + options.mode() + " " + options.activation();
        }

        @Override
        int lastFlaw() {
            return LAST_FLAW_OF_MATRICES + 1;
        }

        @Override
        void spoil(int flaw) {
            if (flaw <= LAST_FLAW_OF_MATRICES) {
                spoilMatrices(flaw, 1);
            } else {
                w = random.chance(0.3)
                        ? null
                        : NmMatmul.pack(NmOracle.random(random, sparse.pattern(), DType.F32, columns, depth + 4));
            }
        }

        @Override
        void run() {
            NmMatmul.run(x, w, y, options);
        }

        @Override
        Consumer<String> expected() {
            Expected values = NmMatmulOracle.of(x, sparse, options);
            return context -> {
                values.assertMatches(y, begin, end, context);
                assertTrue(out.unchangedOutside(begin, end), context);
            };
        }
    }

    private static final class Pruning extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 70);
        private final Sparsity pattern = pattern(random);
        private Tensor w;
        private Score score;
        private Mask mask = Mask.allocate(rows, depth);
        private final byte[] before = mask.bits().segment().toArray(ValueLayout.JAVA_BYTE);
        private final Mask given = mask;
        private int threads = random.between(0, 3);

        Pruning(Random random) {
            super(random);
            w = PruneTest.weights(random, random.of(DType.F32, DType.F16, DType.BF16), rows, depth);
            score = PruneTest.score(random, random.of(Score.Kind.values()), rows, depth);
        }

        private static Sparsity pattern(Random random) {
            double sparsity = random.of(0.0, 0.5, 1.0, random.source.nextDouble());
            return switch (random.between(0, 5)) {
                case 0 -> Sparsity.unstructured(sparsity);
                case 1 -> Sparsity.perRow(sparsity);
                case 2 -> Sparsity.rows(sparsity);
                case 3 -> Sparsity.columns(sparsity);
                case 4 -> Sparsity.blocks(random.between(1, 9), random.between(1, 40), sparsity);
                default -> NmOracle.randomPattern(random);
            };
        }

        @Override
        String describe() {
            return w.describe() + " " + score + " " + pattern + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 5;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> {
                    w = spoiled(random, w, DType.I8, DType.U8, DType.I32);
                    score = Score.magnitude();
                }
                case 1 -> threads = random.of(-1, 1025, Integer.MIN_VALUE);
                case 2 -> mask = random.of(Mask.allocate(rows + 1, depth), Mask.allocate(rows, depth + 1), null);
                case 3 ->
                    score = random.of(
                            Score.wanda(Unreachable.closed(DType.F32, depth)),
                            Score.wanda(Tensor.allocate(DType.F32, depth + 1)),
                            Score.given(Unreachable.foreign(DType.F32, rows, depth)),
                            Score.given(Tensor.allocate(DType.F32, rows, depth + 1)),
                            null);
                case 4 -> mask = Mask.wrap(Unreachable.readOnly(mask.bits()), depth);
                default -> {
                    w = Tensor.allocate(DType.F32, rows + 2, depth + 2).slice(1, 0, depth + 1);
                    score = Score.magnitude();
                    mask = Mask.allocate(rows + 2, depth + 1);
                }
            }
        }

        @Override
        void run() {
            Prune.run(w, score, pattern, mask, threads);
        }

        @Override
        Consumer<String> expected() {
            boolean[] kept = PruneOracle.of(w, score).keep(pattern);
            return context -> assertArrayEquals(kept, NmOracle.bits(mask), context);
        }

        @Override
        boolean unchanged() {
            return Arrays.equals(before, given.bits().segment().toArray(ValueLayout.JAVA_BYTE));
        }
    }
}
