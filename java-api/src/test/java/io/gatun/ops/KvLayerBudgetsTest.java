package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvLayerBudgetsTest {
    private static final KvLayerBudgets BUDGETS = new KvLayerBudgets(new KvBudget(2, 3));

    private final Random random = new Random(22);

    /** Positive scores of 2 heads, the more uneven the larger the exponent. */
    private Tensor layer(int length, double exponent) {
        float[] scores = new float[2 * length];
        for (int n = 0; n < scores.length; n++) {
            scores[n] = (float) Math.pow(random.source.nextDouble(), exponent);
        }
        return Tensor.of(scores, 2, length);
    }

    private static double share(Tensor layer, long budget) {
        return KvBudget.share(layer, BUDGETS.always().keep(layer, budget));
    }

    /** How many tokens of a layer have a share p of its scores. */
    private static long count(Tensor layer, double p) {
        return BUDGETS.always().keepShare(layer, p).length;
    }

    /** The paper's bisection of a share for all layers, until what it costs is within the total. */
    @Test
    void prefixIsTheSameShareOfAllLayers() {
        for (int round = 0; round < 30; round++) {
            List<Tensor> layers = new ArrayList<>();
            for (int l = 0; l < 5; l++) {
                layers.add(layer(random.between(1, 60), random.between(1, 12)));
            }
            long all = layers.stream().mapToLong(t -> t.shape().size(1)).sum();
            long least = layers.stream()
                    .mapToLong(t -> Math.min(5, t.shape().size(1)))
                    .sum();
            long total = random.between((int) least, (int) all + 5);
            long[] budgets = BUDGETS.prefix(layers, total);
            assertEquals(Math.min(total, all), Arrays.stream(budgets).sum());
            double low = 0;
            double high = 1;
            for (int n = 0; n < 60; n++) {
                double middle = (low + high) / 2;
                long cost = layers.stream().mapToLong(t -> count(t, middle)).sum();
                if (cost <= total) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            for (int l = 0; l < budgets.length; l++) {
                assertTrue(budgets[l] >= count(layers.get(l), low), "layer " + l);
                assertTrue(total >= all || budgets[l] <= count(layers.get(l), high), "layer " + l);
            }
        }
    }

    /** A layer with its attention on few tokens gives room to one that needs more: the worst one keeps more. */
    @Test
    void prefixServesTheWorstLayer() {
        List<Tensor> layers = List.of(layer(200, 30), layer(200, 1), layer(200, 8));
        long[] budgets = BUDGETS.prefix(layers, 150);
        assertTrue(budgets[0] < budgets[2] && budgets[2] < budgets[1], Arrays.toString(budgets));
        double worst = IntStream.range(0, 3)
                .mapToDouble(l -> share(layers.get(l), budgets[l]))
                .min()
                .getAsDouble();
        double equal = layers.stream().mapToDouble(t -> share(t, 50)).min().getAsDouble();
        assertTrue(worst > 1.5 * equal, worst + " against " + equal);
    }

    /** By its definition: how many of the largest scores outside the ends a layer has. */
    @Test
    void dynamicCountsTheLargestOfAllLayers() {
        for (int round = 0; round < 30; round++) {
            List<Tensor> layers = new ArrayList<>();
            List<Float> all = new ArrayList<>();
            int length = random.between(20, 40);
            for (int l = 0; l < 4; l++) {
                layers.add(layer(length, random.between(1, 9)));
                for (int h = 0; h < 2; h++) {
                    for (int j = 2; j < length - 3; j++) {
                        all.add(layers.get(l).getFloat(h, j));
                    }
                }
            }
            int free = random.between(1, 4 * (length - 5));
            all.sort((a, b) -> Float.compare(b, a));
            float limit = all.get(2 * free - 1);
            double[] counts = new double[4];
            for (int l = 0; l < 4; l++) {
                for (int h = 0; h < 2; h++) {
                    for (int j = 2; j < length - 3; j++) {
                        counts[l] += layers.get(l).getFloat(h, j) >= limit ? 1 : 0;
                    }
                }
            }
            long[] budgets = BUDGETS.dynamic(layers, 20 + free, length);
            assertEquals(20 + free, Arrays.stream(budgets).sum());
            for (int l = 0; l < 4; l++) {
                // 2 heads share what was counted; rounded parts are handed out one by one.
                assertEquals(5 + counts[l] / 2, budgets[l], 2, "layer " + l + " of " + Arrays.toString(counts));
            }
            long[] capped = BUDGETS.dynamic(layers, 20 + free, 12);
            assertEquals(Math.min(20 + free, 4 * 12), Arrays.stream(capped).sum());
            assertTrue(Arrays.stream(capped).max().getAsLong() <= 12);
        }
    }

    /** As layers come, budgets of those before only shrink and always add up; in the end they are in proportion. */
    @Test
    void cascadeOnlyShrinks() {
        for (int round = 0; round < 50; round++) {
            int layers = random.between(1, 12);
            double[] preferences = new double[layers];
            long[] lengths = new long[layers];
            for (int l = 0; l < layers; l++) {
                preferences[l] = Math.pow(random.source.nextDouble(), 3);
                lengths[l] = random.between(1, 100);
            }
            long total = random.between(5 * layers, 300);
            long[] before = {};
            for (int count = 1; count <= layers; count++) {
                long[] some = Arrays.copyOf(lengths, count);
                long[] budgets = BUDGETS.cascade(Arrays.copyOf(preferences, count), some, total);
                assertEquals(
                        Math.min(total, Arrays.stream(some).sum()),
                        Arrays.stream(budgets).sum());
                for (int l = 0; l < count; l++) {
                    assertTrue(budgets[l] <= lengths[l] && budgets[l] >= Math.min(5, lengths[l]));
                    assertTrue(l >= before.length || budgets[l] <= before[l], "layer " + l + " grew");
                }
                before = budgets;
            }
        }
        long[] lengths = {1000, 1000, 1000};
        assertArrayEquals(
                new long[] {5 + 100, 5 + 300, 5 + 200}, BUDGETS.cascade(new double[] {1, 3, 2}, lengths, 615));
        assertArrayEquals(new long[] {5, 5, 605}, BUDGETS.cascade(new double[] {0, 0, 1e-9}, lengths, 615));
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor four = Tensor.of(new float[] {1, 2, 3, 4}, 4);
        return new Refusals(() -> true)
                .add("too little", "total", "3", "at least 4", () -> BUDGETS.prefix(List.of(four), 3))
                .add("too little", "total", "3", "at least 4", () -> BUDGETS.dynamic(List.of(four), 3, 10))
                .add(
                        "negative",
                        "layers[1], token",
                        "-1",
                        "finite",
                        () -> BUDGETS.prefix(List.of(four, Tensor.of(new float[] {-1}, 1)), 100))
                .add(
                        "heads",
                        "layers[1]",
                        "2 heads",
                        "1, as the first",
                        () -> BUDGETS.dynamic(List.of(four, four.reshape(2, 2)), 100, 10))
                .add(
                        "lengths",
                        "lengths",
                        "1 numbers",
                        "2, as preferences",
                        () -> BUDGETS.cascade(new double[2], new long[1], 10))
                .add(
                        "preference",
                        "preferences[0]",
                        "NaN",
                        "finite",
                        () -> BUDGETS.cascade(new double[] {Double.NaN}, new long[1], 10))
                .missing("always", () -> new KvLayerBudgets(null))
                .missing("layers", () -> BUDGETS.prefix(null, 1))
                .tests();
    }
}
