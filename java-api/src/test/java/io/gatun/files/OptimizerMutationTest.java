package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import io.gatun.ops.Parameter;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged files of optimizer state are loaded whole or refused whole; a step on what was loaded gives good state. */
class OptimizerMutationTest {
    private static final int FILES = 3000;

    @TempDir
    Path folder;

    private static List<byte[]> bytes(Optimizer optimizer) {
        List<byte[]> all = new ArrayList<>();
        optimizer.state().values().forEach(tensor -> all.add(tensor.segment().toArray(ValueLayout.JAVA_BYTE)));
        return all;
    }

    @Test
    void loadedOrRefused() throws IOException {
        int loaded = 0;
        for (State state : State.values()) {
            for (Rule rule : List.of(Rule.ADAM, Rule.ADEMAMIX, Rule.RMSPROP)) {
                Parameter w = Parameter.of("w", Tensor.allocate(DType.F32, 20));
                w.gradient().copyFrom(values());
                Optimizer optimizer = Optimizer.of(Options.of(rule).withMin8bitSize(0), state, w);
                optimizer.step();
                Path file = folder.resolve("state.safetensors");
                optimizer.save(file);
                byte[] good = Files.readAllBytes(file);
                SplittableRandom random = new SplittableRandom(2026);
                for (int i = 0; i < FILES / 12; i++) {
                    byte[] damaged = i % 2 == 0 ? Mutations.of(good, random) : withOtherCodes(good, random);
                    loaded += load(optimizer, damaged, file) ? 1 : 0;
                }
            }
        }
        assertTrue(loaded > FILES / 20 && loaded < FILES * 19 / 20, loaded + " of " + FILES + " files loaded");
    }

    /** Codes lie at the end, of f32 state its numbers. */
    private static byte[] withOtherCodes(byte[] file, SplittableRandom random) {
        byte[] damaged = file.clone();
        for (int i = random.nextInt(1, 4); i > 0; i--) {
            damaged[damaged.length - 1 - random.nextInt(40)] = (byte) random.nextInt();
        }
        return damaged;
    }

    private static float[] values() {
        float[] values = new float[20];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.sin(i);
        }
        return values;
    }

    private static boolean load(Optimizer optimizer, byte[] damaged, Path file) throws IOException {
        Files.write(file, damaged);
        List<byte[]> before = bytes(optimizer);
        try {
            optimizer.load(file);
        } catch (IllegalArgumentException | MalformedFileException refused) {
            String message = refused.getMessage();
            assertTrue(message.startsWith(file + ": ") && message.contains("; allowed: "), message);
            List<byte[]> after = bytes(optimizer);
            for (int i = 0; i < after.size(); i++) {
                assertArrayEquals(before.get(i), after.get(i), message);
            }
            return false;
        }
        if (optimizer.stepCount() < Integer.MAX_VALUE) {
            optimizer.step();
        }
        // What a step leaves is state again, whatever it began with.
        optimizer.load(optimizer.state());
        return true;
    }
}
