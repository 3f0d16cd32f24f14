package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Score;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@link Prune#compress(Tensor, Score, SparseTensor, int)}. */
class PruneIntoTest {
    private static Tensor random(DType dtype, long rows, long depth) {
        SplittableRandom random = new SplittableRandom(rows + depth);
        float[] values = new float[Math.toIntExact(rows * depth)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(dtype, values, rows, depth);
    }

    private static SparseTensor allocate(Sparsity.Nm pattern, DType dtype, long rows, long depth) {
        return SparseTensor.allocate(Device.CPU, pattern, null, dtype, rows, depth);
    }

    @ParameterizedTest
    @CsvSource({"2, 4, 1, F32, 7, 64", "1, 8, 1, BF16, 7, 61", "3, 32, 2, F16, 5, 100", "1, 2, 1, F32, 0, 64"})
    void givesTheSameAsInNewMemory(int n, int m, int vector, DType dtype, long rows, long depth) {
        Sparsity.Nm pattern = new Sparsity.Nm(n, m, vector);
        Tensor weights = random(dtype, rows, depth);
        SparseTensor out = allocate(pattern, dtype, rows, depth);
        for (int threads : new int[] {1, 2, 0}) {
            out.values().segment().fill((byte) 0x55);
            out.indices().segment().fill((byte) 0x55);
            Prune.compress(weights, Score.magnitude(), out, threads);
            SparseTensor expected = Prune.compress(weights, Score.magnitude(), pattern);
            assertArrayEquals(bytes(expected.values()), bytes(out.values()));
            assertArrayEquals(bytes(expected.indices()), bytes(out.indices()));
        }
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    private static void refused(String message, Tensor weights, SparseTensor out) {
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> Prune.compress(weights, Score.magnitude(), out, 1));
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }

    @Test
    void refusesWhatDoesNotFit() {
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Tensor weights = random(DType.F32, 4, 64);
        refused(
                "out: given sparse[4, 60] 2:4 f32; allowed: shape [4, 64]",
                weights,
                allocate(pattern, DType.F32, 4, 60));
        refused(
                "out: given sparse[4, 64] 2:4 bf16; allowed: values of f32",
                weights,
                allocate(pattern, DType.BF16, 4, 64));
        SparseTensor right = allocate(pattern, DType.F32, 4, 64);
        SparseTensor inWeights = new SparseTensor(
                pattern, Shape.of(4, 64), weights.reshape(8, 32).slice(0, 4, 8), right.indices(), null, null, null);
        refused("out.values: given ", weights, inWeights);
        SparseTensor constant = new SparseTensor(
                pattern,
                Shape.of(4, 64),
                Tensor.wrap(right.values().segment().asReadOnly(), DType.F32, 4, 32),
                right.indices(),
                null,
                null,
                null);
        refused("out.values: given ", weights, constant);
        assertEquals(0, right.values().getFloat(0, 0), "nothing was written");
        assertThrows(NullPointerException.class, () -> Prune.compress(weights, null, right, 1));
        assertThrows(NullPointerException.class, () -> Prune.compress(null, Score.magnitude(), right, 1));
        assertThrows(
                NullPointerException.class, () -> Prune.compress(weights, Score.magnitude(), (SparseTensor) null, 1));
    }

    @Test
    void refusesMemoryThatIsGone() {
        Tensor weights = random(DType.F32, 4, 64);
        SparseTensor right = allocate(Sparsity.nm(2, 4), DType.F32, 4, 64);
        SparseTensor out;
        try (Arena arena = Arena.ofConfined()) {
            Tensor values = Tensor.allocate(arena, DType.F32, 4, 32);
            out = new SparseTensor(right.pattern(), right.shape(), values, right.indices(), null, null, null);
        }
        assertThrows(IllegalStateException.class, () -> Prune.compress(weights, Score.magnitude(), out, 1));
    }
}
