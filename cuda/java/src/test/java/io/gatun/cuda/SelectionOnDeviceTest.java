package io.gatun.cuda;

import static io.gatun.cuda.Devices.DEVICE;
import static io.gatun.cuda.Refusals.assertElsewhere;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.BlockMask;
import io.gatun.ops.Selection;
import io.gatun.ops.Sequences;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The same selections on the device and on the CPU agree. */
class SelectionOnDeviceTest {
    private static final int LENGTH = 80;

    private final Tensor q = random(1, 1, 4, LENGTH, 16);
    private final Tensor k = random(2, 1, 2, LENGTH, 16);

    private static Tensor random(long seed, long... shape) {
        return QuantizeOnDeviceTest.random(seed, DType.F32, shape);
    }

    private static List<Selection> withScores() {
        return List.of(
                Selection.means().withBlocks(32, 16).withKeepFraction(0.4),
                Selection.antidiagonal().withBlocks(16, 16).withStride(4).withKeepMass(0.6),
                Selection.proxy(2).withBlocks(16, 32).withKeepFraction(0.5));
    }

    @Test
    void masksAreThoseOfTheCpu() {
        for (Selection selection : withScores()) {
            Options options = Options.DEFAULT.withCausal();
            BlockMask expected = selection.select(q, k, options);
            BlockMask actual = selection.select(q.to(DEVICE), k.to(DEVICE), options);
            assertSame(DEVICE, actual.device());
            assertTrue(actual.density() > 0 && actual.density() < 1, actual::toString);
            assertEquals(expected, actual);

            Tensor scores = selection.scores(q, k, options);
            Tensor there = selection.scores(q.to(DEVICE), k.to(DEVICE), options);
            assertArrayEquals(scores.toFloatArray(), there.toFloatArray(), 1e-4f);
            assertEquals(
                    selection.choose(there.to(Device.CPU), q, k, options),
                    selection.choose(there, q.to(DEVICE), k.to(DEVICE), options));
        }
        Selection lines = Selection.verticalSlash(30, 50)
                .withBlocks(16, 16)
                .withLines(3, 4, 1, 2)
                .withLastQueries(8);
        assertEquals(
                lines.select(q, k, Options.DEFAULT.withCausal()),
                lines.select(q.to(DEVICE), k.to(DEVICE), Options.DEFAULT.withCausal()));
    }

    @Test
    void attendsToWhatItChooses() {
        for (Selection selection : withScores()) {
            Tensor density = Tensor.allocate(DType.F32, 1, 4);
            Tensor farDensity = density.to(DEVICE);
            Tensor out = Tensor.allocate(DType.F32, 1, 4, LENGTH, 16);
            Tensor farOut = out.to(DEVICE);
            Attention.run(q, k, k, out, Options.DEFAULT.withCausal().withSelection(selection.withDensity(density)));
            Options there = Options.DEFAULT.withCausal().withSelection(selection.withDensity(farDensity));
            Attention.run(q.to(DEVICE), k.to(DEVICE), k.to(DEVICE), farOut, there);
            assertArrayEquals(out.toFloatArray(), farOut.toFloatArray(), 1e-4f);
            assertArrayEquals(density.toFloatArray(), farDensity.toFloatArray(), 1e-6f);
            // Chosen once, and used before anybody has looked at the mask.
            BlockMask mask = selection.select(q.to(DEVICE), k.to(DEVICE), there);
            Tensor again = DEVICE.allocate(DType.F32, 1, 4, LENGTH, 16);
            Attention.run(
                    q.to(DEVICE),
                    k.to(DEVICE),
                    k.to(DEVICE),
                    again,
                    Options.DEFAULT.withCausal().withMask(mask));
            assertArrayEquals(farOut.toFloatArray(), again.toFloatArray(), 1e-5f);
        }
    }

    @Test
    void takesMassesBudgetsAndSequences() {
        Tensor lse = Tensor.allocate(DType.F32, 1, 4, LENGTH);
        Attention.run(q, k, null, null, Options.DEFAULT.withLse(lse));
        assertEquals(
                Selection.mass(lse).withBlocks(16, 16).withKeepMass(0.5).select(q, k, Options.DEFAULT),
                Selection.mass(lse.to(DEVICE))
                        .withBlocks(16, 16)
                        .withKeepMass(0.5)
                        .select(q.to(DEVICE), k.to(DEVICE), Options.DEFAULT));
        Selection proxy = Selection.proxy(2).withBlocks(16, 16).withLastQueries(8);
        Tensor budgets = proxy.withKeepMass(0.8).budgets(q, k, Options.DEFAULT);
        Tensor there = proxy.withKeepMass(0.8).budgets(q.to(DEVICE), k.to(DEVICE), Options.DEFAULT);
        assertArrayEquals(budgets.toFloatArray(), there.toFloatArray(), 1e-5f);
        assertEquals(
                proxy.withBudgets(budgets).select(q, k, Options.DEFAULT),
                proxy.withBudgets(budgets.to(DEVICE)).select(q.to(DEVICE), k.to(DEVICE), Options.DEFAULT));

        Sequences items = Sequences.of(new int[] {0, 30, LENGTH}, new int[] {0, 30, LENGTH});
        Selection means = Selection.means().withBlocks(16, 16).withKeepFraction(0.5);
        Options ragged = Options.DEFAULT.withCausal().withSequences(items);
        Tensor flat = q.reshape(4, LENGTH, 16);
        assertEquals(
                means.select(flat, flat, ragged),
                means.select(flat.to(DEVICE), flat.to(DEVICE), ragged.withSequences(items.to(DEVICE))));
    }

    @Test
    void refusesOtherDevices() {
        Selection means = Selection.means().withBlocks(16, 16);
        assertElsewhere("k", Device.CPU, DEVICE, () -> means.select(q.to(DEVICE), k, Options.DEFAULT));
        Tensor budgets = Tensor.allocate(DType.F32, 1, 4);
        assertElsewhere(
                "selection.budgets",
                Device.CPU,
                DEVICE,
                () -> means.withBudgets(budgets).select(q.to(DEVICE), k.to(DEVICE), Options.DEFAULT));
        Tensor scores = means.scores(q, k, Options.DEFAULT);
        assertElsewhere(
                "scores", Device.CPU, DEVICE, () -> means.choose(scores, q.to(DEVICE), k.to(DEVICE), Options.DEFAULT));
    }

    @Test
    void explains() {
        Options options = Options.DEFAULT.withSelection(Selection.means());
        Tensor x = q.to(DEVICE);
        String text = Attention.explain(x, x, x, DEVICE.allocate(DType.F32, 1, 4, LENGTH, 16), options);
        assertTrue(text.contains("kernel attention_") && text.contains("MEANS"), text);
    }
}
