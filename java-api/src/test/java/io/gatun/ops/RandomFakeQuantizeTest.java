package io.gatun.ops;

import static io.gatun.ops.RandomArguments.spoiled;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** At least 10,000 random calls, forward and backward, about half of them invalid by one flaw drawn at random. */
class RandomFakeQuantizeTest {
    @Test
    void fakeQuantize() {
        RandomCalls.run("fake quantize", random -> new Fake(random).call());
    }

    private static final class Fake extends RandomCall {
        private final RandomBlocks grid = RandomBlocks.of(random, random.between(1, 9), random.between(1, 60));
        private final DType dtype = RandomBlocks.floats(random);
        private final int lowest = random.between(-20, 0);
        private final FakeQuantize fake = new FakeQuantize(
                grid.blocks(), lowest, random.between(lowest + 1, 20), random.of(1f, 0.25f), random.between(0, 3));
        private final int gap = grid.blocks().flat() ? 0 : random.between(0, 5);
        private final Guarded outY = matrix(grid.blocks().flat() ? 0 : random.between(0, 5));
        private final Guarded outDx = matrix(grid.blocks().flat() ? 0 : random.between(0, 5));
        private final Guarded outDs = Guarded.matrix(DType.F32, grid.down(), grid.across());
        private Tensor x = matrix(gap).fill(random.normal(grid.rows() * grid.columns(), 5)).tensor;
        private Tensor dy = matrix(gap).fill(random.normal(grid.rows() * grid.columns(), 1)).tensor;
        private Tensor scales;
        private Tensor y = outY.tensor;
        private Tensor dx = outDx.tensor;
        private Tensor ds = outDs.tensor;
        private final boolean backward = random.chance(0.5);

        Fake(Random random) {
            super(random);
            float[] steps = new float[grid.down() * grid.across()];
            for (int i = 0; i < steps.length; i++) {
                steps[i] = random.between(1, 400) * 0.01f;
            }
            scales = Tensor.of(steps, grid.down(), grid.across());
        }

        private Guarded matrix(int between) {
            return Guarded.matrix(Arena.ofAuto(), dtype, grid.rows(), grid.columns(), grid.columns() + between, 3);
        }

        @Override
        String describe() {
            return fake + (backward ? " backward " : " forward ") + x.describe();
        }

        @Override
        int lastFlaw() {
            return 5;
        }

        @Override
        void spoil(int flaw) {
            switch (flaw) {
                case 0 -> x = spoiled(random, x, DType.I8, DType.U8, DType.I32);
                case 1 -> {
                    if (backward) {
                        dx = spoiled(random, dx, DType.I8, DType.U8, DType.I32);
                    } else {
                        y = spoiled(random, y, DType.I8, DType.U8, DType.I32);
                    }
                }
                case 2 -> {
                    y = Unreachable.readOnly(y);
                    ds = Unreachable.readOnly(ds);
                }
                case 3 -> {
                    float bad = random.of(0f, -1f, Float.NaN, Float.POSITIVE_INFINITY);
                    scales.setFloat(bad, random.between(0, grid.down() - 1), random.between(0, grid.across() - 1));
                }
                case 4 -> scales = spoiled(random, scales, DType.F16, DType.BF16, DType.I32);
                default -> {
                    dy = spoiled(random, dy, DType.I8, DType.U8, DType.I32);
                    y = null;
                }
            }
        }

        @Override
        void run() {
            if (backward) {
                fake.backward(x, scales, dy, dx, ds);
            } else {
                fake.forward(x, scales, y);
            }
        }

        @Override
        Consumer<String> expected() {
            return backward ? this::checkBackward : this::checkForward;
        }

        private float scaleOf(int r, int k) {
            int block = grid.blockOf(r, k);
            return scales.getFloat(block / grid.across(), block % grid.across());
        }

        private void checkForward(String context) {
            for (int r = 0; r < grid.rows(); r++) {
                for (int k = 0; k < grid.columns(); k++) {
                    float scale = scaleOf(r, k);
                    double code = Math.clamp(Math.rint(x.getFloat(r, k) / scale), fake.lowest(), fake.highest());
                    float wanted = Decoder.rounded((float) code * scale, dtype);
                    assertEquals(wanted + 0f, y.getFloat(r, k) + 0f, "[" + r + ", " + k + "]: " + context);
                }
            }
            assertTrue(outY.unchangedOutside(0, grid.columns()), context);
        }

        private void checkBackward(String context) {
            double[] sums = new double[grid.down() * grid.across()];
            double[] sizes = new double[sums.length];
            for (int r = 0; r < grid.rows(); r++) {
                for (int k = 0; k < grid.columns(); k++) {
                    float v = x.getFloat(r, k) / scaleOf(r, k);
                    boolean inside = v > fake.lowest() && v < fake.highest();
                    float gradient = dy.getFloat(r, k);
                    assertEquals(inside ? gradient + 0f : 0, dx.getFloat(r, k) + 0f, "dx " + r + ", " + k + context);
                    double factor =
                            inside ? (float) Math.rint(v) - v : v <= fake.lowest() ? fake.lowest() : fake.highest();
                    sums[grid.blockOf(r, k)] += gradient * factor;
                    sizes[grid.blockOf(r, k)] += Math.abs(gradient * factor);
                }
            }
            for (int i = 0; i < sums.length; i++) {
                double wanted = sums[i] * fake.gradientScale();
                double bound = Math.ulp((float) wanted) / 2.0 + 1e-13 * sizes[i];
                assertEquals(wanted, ds.getFloat(i / grid.across(), i % grid.across()), bound, "ds " + i + context);
            }
            assertTrue(outDx.unchangedOutside(0, grid.columns()), context);
            assertTrue(outDs.unchangedOutside(0, grid.across()), context);
        }

        @Override
        boolean unchanged() {
            return outY.unchanged() && outDx.unchanged() && outDs.unchanged();
        }
    }
}
