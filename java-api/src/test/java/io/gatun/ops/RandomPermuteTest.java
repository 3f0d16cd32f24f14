package io.gatun.ops;

import static io.gatun.ops.RandomArguments.elsewhere;
import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** At least 10,000 random calls, about half of them invalid by one flaw drawn at random. */
class RandomPermuteTest {
    @Test
    void permute() {
        RandomCalls.run("packing permute", random -> new Permutation(random).call());
    }

    private static final class Permutation extends RandomCall {
        private final int rows = random.between(0, 9);
        private final int depth = random.between(0, 80);
        private final DType dtype = random.of(DType.F32, DType.F16, DType.BF16, DType.F8E4M3, DType.F8E5M2);
        private final Guarded out = guarded(random, dtype, rows, depth);
        private final int[] order = new int[depth];
        private Tensor x = guarded(random, dtype, rows, depth).fill(random.normal(rows * depth, 1)).tensor;
        private Tensor y = withFreeStrides(random, out.tensor);
        private Tensor permutation;
        private int threads = random.between(0, 3);

        Permutation(Random random) {
            super(random);
            Arrays.setAll(order, j -> random.between(0, depth - 1)); // any places, the same one twice, too
            permutation = Tensor.of(order, depth);
            x = withFreeStrides(random, x);
        }

        @Override
        String describe() {
            return x.describe() + " -> " + y.describe() + " threads " + threads;
        }

        @Override
        int lastFlaw() {
            return 5;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> y = spoiled(random, y, DType.I8, DType.U8, DType.I32);
                case 2 -> y = Unreachable.readOnly(y);
                case 3 -> threads = random.of(-1, 1025, Integer.MIN_VALUE);
                case 4 -> {
                    if (rows * depth > 0) {
                        permutation.setFloat(random.of(-1, depth, 1 << 30), random.between(0, depth - 1));
                    } else {
                        permutation = null;
                    }
                }
                default ->
                    permutation = random.of(
                            Tensor.allocate(DType.I32, depth + 1),
                            Tensor.allocate(DType.F32, depth),
                            elsewhere(random, permutation));
            }
        }

        @Override
        void run() {
            Packing.permute(x, permutation, y, threads);
        }

        @Override
        Consumer<String> expected() {
            return context -> {
                for (int r = 0; r < rows; r++) {
                    for (int j = 0; j < depth; j++) {
                        assertEquals(x.getFloat(r, order[j]), y.getFloat(r, j), context);
                    }
                }
                assertTrue(out.unchangedOutside(0, depth), context);
            };
        }

        @Override
        boolean unchanged() {
            return out.unchanged();
        }
    }
}
