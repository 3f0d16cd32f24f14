package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.Prune.Score;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class LampSparsitiesTest {
    private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};
    private static final double[] SPARSITIES = {0, 0.01, 0.3, 0.5, 0.83, 0.99, 1};

    /** A weight of a layer with its score. */
    private record Scored(int layer, int index, float score) {}

    /** Of the definition: w^2 over the sum of all squares that are not smaller. */
    private static List<Scored> scores(List<Tensor> layers) {
        List<Scored> all = new ArrayList<>();
        for (int layer = 0; layer < layers.size(); layer++) {
            float[] w = layers.get(layer).toFloatArray();
            for (int i = 0; i < w.length; i++) {
                double square = (double) w[i] * w[i];
                double sum = 0;
                for (float other : w) {
                    sum += (double) other * other >= square ? (double) other * other : 0;
                }
                all.add(new Scored(layer, i, square == 0 ? 0 : (float) (square / sum)));
            }
        }
        return all;
    }

    /** Prunes the lowest scores of all layers, one by one. */
    private static boolean[][] kept(List<Tensor> layers, double sparsity) {
        List<Scored> all = scores(layers);
        all.sort(Comparator.comparingDouble(Scored::score)
                .thenComparing(Comparator.comparingInt(Scored::layer).reversed())
                .thenComparing(Comparator.comparingInt(Scored::index).reversed()));
        boolean[][] kept = new boolean[layers.size()][];
        for (int i = 0; i < kept.length; i++) {
            kept[i] = new boolean[(int) layers.get(i).shape().elements()];
            Arrays.fill(kept[i], true);
        }
        for (Scored weight : all.subList(0, (int) Math.round(all.size() * sparsity))) {
            kept[weight.layer][weight.index] = false;
        }
        return kept;
    }

    @Test
    void byHand() {
        // Scores 1/5 and 1, 9/25 and 1, 1/2 and 1/2.
        List<Tensor> layers =
                List.of(Tensor.of(new float[] {-1, 2}, 1, 2), Tensor.of(new float[] {4, -3}, 2, 1), ones(1, 2));
        assertArrayEquals(new double[] {0.5, 0, 0}, Prune.lampSparsities(layers, 1 / 6.0));
        assertArrayEquals(new double[] {0.5, 0.5, 0}, Prune.lampSparsities(layers, 2 / 6.0));
        assertArrayEquals(new double[] {0.5, 0.5, 0.5}, Prune.lampSparsities(layers, 3 / 6.0));
        assertArrayEquals(new double[] {0.5, 0.5, 1}, Prune.lampSparsities(layers, 4 / 6.0));
        assertArrayEquals(new double[] {0.5, 1, 1}, Prune.lampSparsities(layers, 5 / 6.0));
    }

    private static Tensor ones(int rows, int depth) {
        float[] ones = new float[rows * depth];
        Arrays.fill(ones, 1);
        return Tensor.of(ones, rows, depth);
    }

    /** Layers of any sizes and scales; integers have many equal scores. */
    @Test
    void pruneTheLowestScoresOfAllLayers() {
        for (int seed = 160; seed < 180; seed++) {
            Random random = new Random(seed);
            List<Tensor> layers = new ArrayList<>();
            for (int count = random.between(1, 5); count > 0; count--) {
                int rows = random.between(0, 9);
                int depth = random.between(0, 40);
                int size = rows * depth;
                float[] values = random.chance(0.5)
                        ? random.integers(size, -6, 6)
                        : random.normal(size, random.of(1e-3, 1.0, 1e3));
                layers.add(Tensor.of(random.of(TYPES), values, rows, depth));
            }
            for (double sparsity : SPARSITIES) {
                double[] shares = Prune.lampSparsities(layers, sparsity);
                boolean[][] kept = kept(layers, sparsity);
                assertEquals(layers.size(), shares.length);
                for (int i = 0; i < shares.length; i++) {
                    Mask mask = Prune.run(layers.get(i), Score.lamp(), Sparsity.unstructured(shares[i]));
                    assertArrayEquals(
                            kept[i], NmOracle.bits(mask), "seed " + seed + ", sparsity " + sparsity + ", layer " + i);
                }
            }
        }
    }

    @Test
    void layersWithoutWeightsHaveNoShare() {
        assertArrayEquals(new double[0], Prune.lampSparsities(List.of(), 0.5));
        List<Tensor> layers = List.of(Tensor.allocate(DType.F32, 0, 8), ones(2, 2), Tensor.allocate(DType.F32, 1, 0));
        assertArrayEquals(new double[] {0, 0.5, 0}, Prune.lampSparsities(layers, 0.5));
        assertArrayEquals(new double[] {0, 1, 0}, Prune.lampSparsities(layers, 1));
    }

    /** Other scores than those counted before: an exception says so, whichever time they are read. */
    @Test
    void weightsThatChangeMeanwhile() {
        float[][] others = {
            {Float.NaN, 1, 1, 1}, {-1, 1, 1, 1}, {2, 1, 1, 1}, {0, 0, 0, 0}, {1, 1, 1, 1}, {0.5f, 0.5f, 0.5f, 0.5f}
        };
        for (float[] other : others) {
            for (int readings = 1; readings < 3; readings++) {
                int last = readings;
                int[] calls = new int[1];
                GatunException thrown = assertThrows(
                        GatunException.class,
                        () -> LampShares.of(
                                List.of(ones(1, 4)),
                                0.75,
                                (arena, layer) -> Tensor.of(
                                        calls[0]++ < last ? new float[] {0.1f, 0.2f, 0.3f, 0.4f} : other, 1, 4)),
                        Arrays.toString(other));
                assertTrue(thrown.getMessage().startsWith("weights: "), thrown.getMessage());
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> refusals() {
        Tensor good = ones(4, 8);
        Tensor nan = ones(4, 8);
        nan.setFloat(Float.NaN, 2, 3);
        Tensor infinite = ones(4, 8);
        infinite.setFloat(Float.NEGATIVE_INFINITY, 2, 3);
        return new Refusals(() -> true)
                .add("below 0", "sparsity", "-0.1", "0..1", () -> Prune.lampSparsities(List.of(good), -0.1))
                .add("above 1", "sparsity", "1.5", "0..1", () -> Prune.lampSparsities(List.of(), 1.5))
                .add("no number", "sparsity", "NaN", "0..1", () -> Prune.lampSparsities(List.of(good), Double.NaN))
                .add("dtype", "weights[1]", "i32", "f32", () -> of(good, Tensor.allocate(DType.I32, 4, 8)))
                .add("rank", "weights[1]", "[32]", "[any, any]", () -> of(good, good.reshape(32)))
                .add("strided", "weights[0]", "strides", "contiguous", () -> of(good.slice(1, 0, 4), good))
                .add("NaN", "weights[1]: ", "[2][3]", "NaN", () -> of(good, nan))
                .add("infinity", "weights[1]: ", "[2][3]", "infinity", () -> of(good, infinite))
                .missing("weights", () -> Prune.lampSparsities(null, 0.5))
                .missing("weights[1]", () -> of(good, null))
                .unreachable("weights[0]", DType.F32, new long[] {4, 8}, bad -> of(bad, good))
                .tests();
    }

    private static void of(Tensor first, Tensor second) {
        Prune.lampSparsities(Arrays.asList(first, second), 0.5);
    }
}
