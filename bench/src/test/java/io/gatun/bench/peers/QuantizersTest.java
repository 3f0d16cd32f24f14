package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.QuantizeCase;
import io.gatun.bench.QuantizePeer;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Where there are libraries of all peers. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class QuantizersTest {
    private static final int ROWS = 37;
    private static final int DEPTH = 96;

    /** Values are those of our codes; codes are the nearest ones by our scales. */
    @Test
    void outputsAreRight() throws Exception {
        List<String> missing = new ArrayList<>();
        List<QuantizePeer> peers = Peers.quantizers(missing::add);
        assertEquals(List.of(), missing);
        Tensor x = Tensor.allocate(DType.F32, ROWS, DEPTH);
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < ROWS * DEPTH; i++) {
            x.setFloat((float) random.nextGaussian(), i / DEPTH, i % DEPTH);
        }
        TreeSet<String> able = new TreeSet<>();
        for (QuantizeCase problem :
                QuantizeCase.of(List.of("int8 row", "int8 g32", "int4 g32", "q8_0"), List.of(1, 2))) {
            for (QuantizePeer peer : peers) {
                try (Contender contender = peer.prepare(problem, x)) {
                    if (contender != null) {
                        check(contender, problem, x);
                        able.add(problem.format().name());
                    }
                }
            }
        }
        assertEquals(List.of("int8 g32", "int8 row"), List.copyOf(able));
    }

    private static void check(Contender contender, QuantizeCase problem, Tensor x) {
        QuantizedTensor ours = Quantize.run(x, problem.spec());
        float[] wanted = Quantize.dequantize(ours, DType.F32).toFloatArray();
        float[] values = new float[ROWS * DEPTH];
        contender.output(0, values);
        String what = contender.impl() + " (" + contender.kernel() + ") on " + problem.name();
        if (!problem.quantize()) {
            assertArrayEquals(wanted, values, what);
            return;
        }
        int group = DEPTH / (int) ours.scales().shape().size(1);
        for (int i = 0; i < values.length; i++) {
            float scale = ours.scales().getFloat(i / DEPTH, i % DEPTH / group);
            // Codes end at 127: a scale that was rounded down leaves the largest value a little farther away.
            double error = Math.abs(values[i] - x.getFloat(i / DEPTH, i % DEPTH));
            assertTrue(error <= 0.57 * scale, what + " [" + i + "]: " + error / scale + " steps");
        }
    }
}
