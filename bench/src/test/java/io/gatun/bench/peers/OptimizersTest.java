package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.OptimizerCase;
import io.gatun.bench.OptimizerCase.Kind;
import io.gatun.bench.OptimizerData;
import io.gatun.bench.OptimizerPeer;
import io.gatun.ops.Optimizer;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import io.gatun.ops.Parameter;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Where there are libraries of all peers. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class OptimizersTest {
    private static final int COUNT = 70_003;
    private static final int STEPS = 5;

    private static OptimizerCase problem(Rule rule, State state, int threads) {
        return new OptimizerCase(new Kind(rule, state, DType.F32, 1e-3f, 0), COUNT, threads);
    }

    /** Every peer's parameters after some steps are ours. */
    @Test
    void stepsAreOurs() {
        List<String> missing = new ArrayList<>();
        List<OptimizerPeer> peers = Peers.optimizers(missing::add);
        assertEquals(List.of(), missing);
        for (OptimizerPeer peer : peers) {
            assertEquals("libtorch 2.13.0", peer.name() + " " + peer.version());
            Map<Rule, Rule> computed = new EnumMap<>(Rule.class);
            for (Rule rule : Rule.values()) {
                for (int threads : List.of(1, 2)) {
                    peer.nearest(problem(rule, State.DYNAMIC8, threads)).ifPresent(own -> {
                        assertEquals(State.F32, own.kind().state());
                        assertEquals(threads, own.threads());
                        check(peer, own);
                        computed.put(rule, own.kind().rule());
                    });
                }
            }
            assertEquals(
                    Map.of(
                            Rule.ADAM, Rule.ADAM,
                            Rule.MOMENTUM, Rule.MOMENTUM,
                            Rule.LION, Rule.MOMENTUM,
                            Rule.ADAGRAD, Rule.ADAGRAD),
                    computed);
        }
    }

    private static void check(OptimizerPeer peer, OptimizerCase own) {
        Tensor p = Tensor.allocate(DType.F32, COUNT);
        Tensor g = Tensor.allocate(DType.F32, COUNT);
        OptimizerData.fillParameters(p);
        OptimizerData.fillGradients(g, 1);
        float[] before = p.toFloatArray();
        Optimizer.Options options = Optimizer.Options.of(own.kind().rule())
                .withLearningRate(own.kind().learningRate());
        Optimizer ours = Optimizer.of(options, State.F32, Parameter.of("p", p, g));
        ours.step();
        OptimizerData.fillGradients(g, 2);
        float[] theirs = new float[COUNT];
        try (Contender contender = peer.prepare(own)) {
            for (int step = 2; step <= STEPS; step++) {
                ours.step();
                if (step < STEPS) {
                    contender.run();
                }
            }
            contender.output(0, theirs);
            assertTrue(contender.kernel().startsWith("_fused_"), contender.kernel());
        }
        float[] values = p.toFloatArray();
        for (int i = 0; i < COUNT; i++) {
            double way = Math.abs(values[i] - before[i]);
            // Both round numbers up to 1/16 each step, and the update itself.
            double most = STEPS * (2 * 0x1p-29 + way * 0x1p-22);
            assertTrue(
                    Math.abs(values[i] - theirs[i]) <= most,
                    own.name() + " [" + i + "]: " + values[i] + ", " + theirs[i]);
        }
    }
}
