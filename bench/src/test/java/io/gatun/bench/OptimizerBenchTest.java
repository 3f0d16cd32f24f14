package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.OptimizerCase.Kind;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OptimizerBenchTest {
    /** State is quantized from 4096 on; the last block is shorter than others. */
    private static final long COUNT = 20 * 256 + 77;

    private static final Kind ADAM8 = new Kind(Rule.ADAM, State.DYNAMIC8, 1e-3f);

    private static List<Kind> kinds() {
        return OptimizerCase.all(false, List.of(1)).stream()
                .map(OptimizerCase::kind)
                .toList();
    }

    @Test
    void everyCaseHasItsName() {
        List<String> names = OptimizerCase.all(false, List.of(1, 2)).stream()
                .map(OptimizerCase::name)
                .toList();
        assertEquals(names.size(), new HashSet<>(names).size());
        assertTrue(names.containsAll(List.of(
                "adam8bit 64Mi f32 t=2",
                "adam32bit 64Mi f32 t=1",
                "lion32bit 64Mi f32 t=2",
                "momentum8bit 64Mi f32 t=1",
                "adamw8bit 64Mi bf16 t=2",
                "adamfp8 64Mi f32 t=1",
                "adam4bit 64Mi f32 t=2",
                "lamb8bit 64Mi f32 t=1")));
        assertEquals(
                "adam8bit adam32bit lion32bit momentum8bit lion8bit",
                String.join(
                        " ",
                        OptimizerCase.all(true, List.of(1)).stream()
                                .map(problem -> problem.kind().name())
                                .toList()));
        assertEquals("adam8bit 5197 f32 t=1", new OptimizerCase(ADAM8, COUNT, 1).name());
    }

    @Test
    void bytesAreThoseThatAStepMustMove() {
        Map<String, Double> wanted = Map.of(
                "adam32bit", 28.0,
                "lion32bit", 20.0,
                "adam8bit", 12 + 4 * (1 + 1 / 64.0),
                "momentum8bit", 12 + 2 * (1 + 1 / 64.0),
                "adamw8bit", 6 + 4 * (1 + 1 / 64.0),
                "adamfp8", 12 + 4 * (1 + 1 / 64.0),
                "adam4bit", 12 + 4 * (0.5 + 1 / 32.0),
                "ademamix8bit", 12 + 6 * (1 + 1 / 64.0),
                "lamb8bit", 20 + 6 * (1 + 1 / 64.0));
        Map<String, Double> bytes = new java.util.HashMap<>();
        for (Kind kind : kinds()) {
            OptimizerCase problem = new OptimizerCase(kind, 1000, 1);
            bytes.put(kind.name(), (problem.bytesRead() + problem.bytesWritten()) / 1000);
        }
        wanted.forEach((name, each) -> assertEquals(each, bytes.get(name), 1e-12, name));
    }

    /** What is asked of the limits, and that all bytes are counted once. */
    @Test
    void limitsMoveTheSameBytesInPlace() {
        Map<String, List<String>> wanted = Map.of(
                "adam32bit", List.of("1+1+1 in place, 1 read"),
                "lion32bit", List.of("1+1 in place, 1 read"),
                "adam8bit", List.of("4+1+1 in place, 4 read"),
                "adamw8bit", List.of("2+1+1 in place, 2 read"),
                "adam4bit", List.of("8+1+1 in place, 8 read"),
                "ademamix8bit", List.of("4+1+1+1 in place, 4 read"),
                "lamb8bit", List.of("4+1+1+4 read", "4+1+1 in place, 4 read"));
        for (Kind kind : kinds()) {
            OptimizerCase problem = new OptimizerCase(kind, 1000, 2);
            List<String> asked = new ArrayList<>();
            double seconds = problem.limitSeconds(new Limits() {
                @Override
                public double perSecond(Kind kind, String tier, int threads) {
                    throw new AssertionError(kind);
                }

                @Override
                public double updatedPerSecondNow(Update update, int threads) {
                    assertEquals(2, threads);
                    asked.add(update.toString());
                    return 1000;
                }
            });
            assertEquals(problem.bytesRead() + problem.bytesWritten(), seconds * 1000, 1e-6, kind.name());
            assertEquals(wanted.getOrDefault(kind.name(), asked), asked, kind.name());
        }
    }

    @Test
    void ourStepsAreRightOnEveryKindOfState() throws Exception {
        for (Kind kind : kinds()) {
            for (int threads : List.of(1, 2)) {
                OptimizerCase problem = new OptimizerCase(kind, COUNT, threads);
                try (Contender contender = OptimizerContender.of(problem)) {
                    double error = new OptimizerVerifier(problem).relError(contender);
                    assertTrue(
                            kind.state() == State.F32 ? error < 1e-5 : error > 1e-5 && error < 0.3,
                            problem.name() + ": " + error);
                    assertTrue(contender.kernel().matches("optimizer_\\w+"), contender.kernel());
                }
            }
        }
    }

    @Test
    void stepsThatAreWrongAreRefused() throws Exception {
        for (Kind kind : kinds()) {
            OptimizerCase problem = new OptimizerCase(kind, COUNT, 1);
            float[] right = new float[(int) COUNT];
            try (Contender contender = OptimizerContender.of(problem)) {
                contender.output(0, right);
            }
            OptimizerVerifier verifier = new OptimizerVerifier(problem);
            verifier.relError("right", right);
            float[] slow = right.clone();
            float[] shifted = right.clone();
            for (int i = 0; i < COUNT; i++) {
                double before = OptimizerData.parameter(i);
                slow[i] = (float) (before + 0.995 * (right[i] - before));
                shifted[i] = right[Math.min(i + 1, (int) COUNT - 1)];
            }
            float[] missing = right.clone();
            missing[(int) COUNT - 1] = Float.NaN;
            for (float[] wrong : List.of(slow, shifted, missing)) {
                assertThrows(OutputCheck.WrongOutput.class, () -> verifier.relError("wrong", wrong), kind.name());
            }
        }
    }

    /** State that is kept in another format is seen. */
    @Test
    void stateOfAnotherKindIsRefused() throws Exception {
        for (State state : State.values()) {
            for (State other : State.values()) {
                float[] values = new float[(int) COUNT];
                OptimizerCase made = new OptimizerCase(new Kind(Rule.ADAM, state, 1e-3f), COUNT, 1);
                try (Contender contender = OptimizerContender.of(made)) {
                    contender.output(0, values);
                }
                OptimizerVerifier verifier =
                        new OptimizerVerifier(new OptimizerCase(new Kind(Rule.ADAM, other, 1e-3f), COUNT, 1));
                if (state == other) {
                    verifier.relError("right", values);
                } else {
                    assertThrows(
                            OutputCheck.WrongOutput.class,
                            () -> verifier.relError("wrong", values),
                            state + " for " + other);
                }
            }
        }
    }

    /** A peer with another rule is measured by that rule; one that is wrong, or fails, is left out. */
    @Test
    void casesAreMeasuredBesidePeers(@TempDir Path folder) throws Exception {
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        Session session = new Session(
                new Arguments("optimizer", true, 1, null, Map.of()),
                (kind, tier, threads) -> 1e9,
                new Rounds(5, 1, 1),
                folder,
                new Table(new PrintStream(new ByteArrayOutputStream(), true)),
                new Progress(new PrintStream(said, true), false));
        session.begin("optimizer", List.of());
        OptimizerCase lion = new OptimizerCase(new Kind(Rule.LION, State.F32, 1e-3f), COUNT, 1);
        OptimizerCase momentum = new OptimizerCase(new Kind(Rule.MOMENTUM, State.F32, 0.1f), COUNT, 1);
        OptimizerBench.compare(
                session,
                lion,
                List.of(
                        peer("none", Optional.empty(), momentum),
                        peer("other", Optional.of(momentum), momentum),
                        peer("wrong", Optional.of(lion), momentum),
                        peer("broken", Optional.of(lion), null)));
        List<Result> results = Records.read(folder, "optimizer");
        assertEquals(
                List.of("gatun", "other"),
                results.stream().map(result -> result.impl().split(" ")[0]).toList());
        Result ours = results.getFirst();
        assertEquals(COUNT * 20e-9 / ours.seconds() * 100, ours.percentOfLimit(), 1e-6);
        assertEquals(results.get(1).seconds() / ours.seconds(), ours.ratioToBestPeer(), 1e-9);
        assertTrue(said.toString().contains("LEFT OUT of lion32bit 5197 f32 t=1: wrong 1 is wrong: "), said::toString);
        assertTrue(said.toString().contains("LEFT OUT of lion32bit 5197 f32 t=1: broken: "), said::toString);
    }

    @Test
    void rulesThatStandForOthersAreNamed() {
        OptimizerCase lion = new OptimizerCase(new Kind(Rule.LION, State.DYNAMIC8, 1e-3f), COUNT, 1);
        OptimizerCase momentum = new OptimizerCase(new Kind(Rule.MOMENTUM, State.F32, 0.1f), COUNT, 1);
        List<OptimizerPeer> peers =
                List.of(peer("a", Optional.of(momentum), momentum), peer("b", Optional.empty(), momentum));
        assertEquals(" (a has momentum for lion)", OptimizerBench.substitutes(List.of(momentum, lion, lion), peers));
        assertEquals("", OptimizerBench.substitutes(List.of(momentum), peers));
    }

    private static OptimizerPeer peer(String name, Optional<OptimizerCase> nearest, OptimizerCase made) {
        return new OptimizerPeer() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public String version() {
                return "1";
            }

            @Override
            public Optional<OptimizerCase> nearest(OptimizerCase problem) {
                return nearest;
            }

            @Override
            public Contender prepare(OptimizerCase problem) {
                OptimizerContender steps = OptimizerContender.of(made);
                return new FakeContender(name + " 1", steps::run, y -> steps.output(0, y));
            }
        };
    }

    /** Of the library: a loop that writes a stream as well moves more bytes than it reads. */
    @Test
    void theLibraryMeasuresUpdates() {
        LimitsLibrary library = new LimitsLibrary();
        for (Limits.Update update :
                List.of(new Limits.Update(List.of(4, 1, 1), List.of(4)), new Limits.Update(List.of(), List.of(1, 1)))) {
            double rate = library.best(update, 1, 0.01);
            assertTrue(rate > 1e8 && rate < 1e13, update + ": " + rate);
        }
        assertThrows(
                IllegalStateException.class, () -> library.best(new Limits.Update(List.of(0), List.of(1)), 1, 0.01));
    }
}
