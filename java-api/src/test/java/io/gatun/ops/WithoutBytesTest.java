package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.NmWeights.Dense;
import io.gatun.ops.Prune.Regrow;
import io.gatun.ops.Prune.Score;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.Timeout.ThreadMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Matrices without elements may have any number of rows: nothing walks them. A native loop can't be interrupted, so a test
 * that walks goes on in a thread of its own.
 */
@Timeout(value = 20, threadMode = ThreadMode.SEPARATE_THREAD)
class WithoutBytesTest {
    private static final long HUGE = 1L << 62;
    /** The most that a packed matrix may have; a row of the canonical form may have 2^60 bytes. */
    private static final long MOST_PACKED = 1L << 52;

    private static final Sparsity.Nm PATTERN = Sparsity.nm(2, 4);

    private final Tensor rows = f32(HUGE, 0);
    private final Tensor columns = f32(0, MOST_PACKED);

    private static Tensor f32(long... shape) {
        return Tensor.allocate(DType.F32, shape);
    }

    static Stream<Sparsity> patterns() {
        return PruneTest.patterns();
    }

    @ParameterizedTest
    @MethodSource("patterns")
    void pruning(Sparsity pattern) {
        for (Tensor w : List.of(rows, columns)) {
            for (Score score : List.of(Score.magnitude(), Score.lamp(), Score.given(w))) {
                assertEquals(0, Prune.run(w, score, pattern).count());
            }
        }
    }

    @Test
    void pruningOfOtherKinds() {
        for (Tensor w : List.of(rows, columns)) {
            assertEquals(w.shape(), Prune.scores(w, Score.lamp()).shape());
            assertEquals(
                    0, Prune.run(w, Score.magnitude(), Sparsity.transposable()).count());
            for (SparseTensor kept : List.of(
                    Prune.compress(w, Score.magnitude(), PATTERN),
                    Prune.compress(w, Score.magnitude(), Sparsity.transposable()))) {
                assertEquals(w.shape(), kept.shape());
            }
        }
        assertArrayEquals(new double[2], Prune.lampSparsities(List.of(rows, columns), 1));
        Mask mask = Mask.allocate(HUGE, 0);
        Prune.regrow(rows, ActivationStats.of(0), mask, Regrow.DEFAULT);
        Prune.regrow(rows, ActivationStats.of(0), mask, Regrow.DEFAULT.withGroups(PATTERN));
        ActivationStats stats = ActivationStats.of(0);
        stats.observe(rows);
        assertEquals(HUGE, stats.rows());
    }

    @Test
    void masks() {
        for (Tensor w : List.of(rows, columns)) {
            Mask mask = Mask.of(w);
            assertEquals(w.shape(), mask.shape());
            assertEquals(0, Mask.wrap(mask.bits(), mask.depth()).count());
            assertEquals(w.shape(), mask.apply(w).shape());
            mask.apply(w, w);
            assertEquals(w.shape(), mask.toTensor(DType.F32).shape());
        }
    }

    @Test
    void compression() {
        for (Tensor w : List.of(rows, columns)) {
            for (Sparsity.Nm pattern :
                    List.of(PATTERN, Sparsity.nm(3, 32), Sparsity.nm(1, 2).withVector(64))) {
                for (SparseTensor kept :
                        List.of(SparseTensor.compress(w, pattern), SparseTensor.compress(w, Mask.of(w), pattern))) {
                    kept.check();
                    assertEquals(w.shape(), kept.decompress().shape());
                    assertEquals(w.shape(), kept.mask().shape());
                    assertEquals(0, kept.byteSize());
                    assertTrue(kept.explain().startsWith("nm_format"), kept.explain());
                }
            }
        }
    }

    @Test
    void codes() {
        QuantSpec spec = QuantSpec.int4Asymmetric(16);
        QuantizedTensor dense = new QuantizedTensor(
                spec,
                Tensor.allocate(DType.U4, 0, MOST_PACKED),
                Tensor.allocate(spec.scales(), 0, MOST_PACKED / 16),
                Tensor.allocate(DType.U8, 0, MOST_PACKED / 16));
        SparseTensor kept = SparseTensor.compress(dense, Mask.allocate(0, MOST_PACKED), PATTERN);
        kept.check();
        assertEquals(dense.shape(), kept.decompressCodes().shape());
        assertEquals(dense.shape(), NmMatmul.pack(kept).unpack().shape());
    }

    @Test
    void sparseTensorCores() {
        SparseTensor kept = SparseTensor.compress(rows, Sparsity.nm(1, 2));
        Tensor metadata = kept.toSm80();
        assertEquals(Shape.of(0), metadata.shape());
        SparseTensor.fromSm80(kept.values(), metadata).check();
    }

    private static NmWeights packed(long columns, long depth, Dense dense) {
        return NmMatmul.pack(SparseTensor.compress(f32(columns, depth), PATTERN), dense);
    }

    @Test
    void packing() {
        for (Dense dense : List.of(Dense.NEVER, Dense.ifFaster())) {
            for (NmWeights packed : List.of(packed(MOST_PACKED, 0, dense), packed(0, MOST_PACKED, dense))) {
                SparseTensor unpacked = NmWeights.wrap(packed.segment()).unpack();
                assertEquals(Shape.of(packed.rows(), packed.depth()), unpacked.shape());
                assertTrue(packed.segment().byteSize() < 1 << 20, packed + " " + packed.segment());
            }
        }
    }

    @Test
    void products() {
        QMatmul.Options gelu = QMatmul.Options.DEFAULT.withActivation(QMatmul.Activation.GELU);
        for (Dense dense : List.of(Dense.NEVER, Dense.ifFaster())) {
            NmMatmul.run(f32(0, 0), packed(MOST_PACKED, 0, dense), f32(0, MOST_PACKED), gelu);
            NmMatmul.run(f32(0, MOST_PACKED), packed(0, MOST_PACKED, dense), f32(0, 0), gelu);
            NmWeights none = packed(0, 0, dense);
            NmMatmul.run(rows, none, f32(HUGE, 0), gelu.withResidual(f32(HUGE, 0)));
            assertTrue(NmMatmul.explain(rows, none, f32(HUGE, 0), gelu).contains("nm_matmul"));
        }
    }

    @Test
    void gradients() {
        SparseTensor wide = SparseTensor.compress(rows, PATTERN);
        SparseTensor deep = SparseTensor.compress(columns, PATTERN);
        SparseTensor none = SparseTensor.compress(f32(0, 0), PATTERN);
        for (boolean added : new boolean[] {false, true}) {
            NmBackward.Options options = NmBackward.Options.DEFAULT.withAccumulate(added);
            // dy [rows, columns of y], w, x [rows, depth]
            gradients(f32(0, HUGE), wide, f32(0, 0), options);
            gradients(f32(0, 0), deep, columns, options);
            gradients(f32(HUGE, 0), none, f32(HUGE, 0), options);
        }
    }

    private static void gradients(Tensor dy, SparseTensor w, Tensor x, NmBackward.Options options) {
        NmBackward.x(dy, w, x, options);
        Tensor dvalues = f32(w.values().shape().toArray());
        NmBackward.values(dy, x, w, dvalues, options);
        for (float decay : new float[] {0, 0.5f}) {
            NmBackward.dense(dy, x, w, decay, f32(w.shape().toArray()), options);
        }
    }

    /** Blocks of A and B have elements where S has none, so huge ones are refused. */
    @Test
    void armor() {
        for (Tensor w : List.of(rows, columns)) {
            String message = assertThrows(
                            IllegalArgumentException.class, () -> Armor.fit(w, null, PATTERN, 1L << 31, 3))
                    .getMessage();
            assertTrue(message.startsWith("block: given 2147483648 on a diagonal of "), message);
        }
        Armor.Weights none = Armor.fit(f32(0, 0), null, PATTERN, 64, 1_000_000).pack();
        Armor.run(rows, none, f32(HUGE, 0), QMatmul.Options.DEFAULT);
    }
}
