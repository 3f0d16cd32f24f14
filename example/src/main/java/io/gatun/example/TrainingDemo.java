package io.gatun.example;

import io.gatun.Gatun;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Trains a classifier with 32-bit and with 8-bit state and draws the losses of both. */
final class TrainingDemo {
    static final List<Rule> RULES = List.of(Rule.ADAM, Rule.LION, Rule.MOMENTUM);

    private static final List<Integer> LAYERS = List.of(256, 256);
    private static final int STEPS = 1000;
    private static final int QUICK_STEPS = 300;
    private static final int LOSSES = 41;
    private static final long SEED = 1;
    private static final String PICTURE = "training.png";

    /** A rule with both kinds of state. */
    record Pair(Rule rule, Training.Outcome full, Training.Outcome eightBits) {
        /** 1 is the same loss. */
        double lossRatio() {
            return eightBits.last().loss() / full.last().loss();
        }
    }

    private TrainingDemo() {}

    /** Trains, prints the numbers and writes the picture beside the jar or classes of this demo. */
    static void run(boolean quick) throws IOException {
        run(new Training(LAYERS, quick ? QUICK_STEPS : STEPS), folder().resolve(PICTURE));
    }

    /** The same to a file. */
    static void run(Training training, Path picture) throws IOException {
        Progress progress = new Progress();
        Mixture.Sample test = Training.testPoints();
        progress.phase("training " + 2 * RULES.size() + " times");
        List<Pair> pairs = train(training, test);
        progress.done();
        System.out.print(text(training, test, pairs));
        Optional<String> whyNot = LossChart.write(pairs, training.steps(), test.bestLoss(), picture);
        System.out.println(whyNot.map(reason -> "no picture: this JVM finds no fonts. Install fontconfig and a font (on"
                        + " Debian and Ubuntu: fontconfig, fonts-dejavu-core) and run again. It said: " + reason)
                .orElse("picture: " + picture));
    }

    /** Each training on one thread, as many at once as there are threads: what comes of it does not depend on that. */
    static List<Pair> train(Training training, Mixture.Sample test) {
        try (ExecutorService threads = Executors.newFixedThreadPool(Gatun.threads())) {
            List<Future<Training.Outcome>> outcomes = new ArrayList<>();
            for (Rule rule : RULES) {
                for (State state : List.of(State.F32, State.DYNAMIC8)) {
                    outcomes.add(threads.submit(() -> training.run(rule, state, SEED, LOSSES, test)));
                }
            }
            List<Pair> pairs = new ArrayList<>();
            for (int i = 0; i < RULES.size(); i++) {
                pairs.add(new Pair(
                        RULES.get(i),
                        outcomes.get(2 * i).get(),
                        outcomes.get(2 * i + 1).get()));
            }
            return pairs;
        } catch (ExecutionException e) {
            throw new IllegalStateException("a training failed", e.getCause());
        } catch (InterruptedException e) {
            throw new IllegalStateException("interrupted while it trains", e);
        }
    }

    private static String text(Training training, Mixture.Sample test, List<Pair> pairs) {
        StringBuilder text = new StringBuilder();
        text.append(format(
                """
                An MLP %s learns %d classes of made-up points, each class a mixture of two normal distributions.
                Gatun %s, CPU tier %s: %d steps of %d fresh points each, seed %d.
                Weights of 4096 numbers or more have 8-bit state in the 8-bit runs, others 32-bit state.
                Tested on %d other points, where the best possible classifier has a loss of %.4f.
                In the long run the best possible classifier has %.2f %% errors.
                """,
                training.network(SEED),
                Mixture.CLASSES,
                Gatun.version(),
                Gatun.tier(),
                training.steps(),
                Training.BATCH,
                SEED,
                test.size(),
                test.bestLoss(),
                100 * Mixture.bayesError()));
        text.append(format(
                "%n%-10s%8s%18s%12s%14s%20s%n",
                "rule", "state", "bytes of state", "test loss", "test errors", "loss, 8 / 32 bits"));
        for (Pair pair : pairs) {
            text.append(row(name(pair.rule()), "32 bits", pair.full(), ""));
            text.append(row("", "8 bits", pair.eightBits(), format("%20.4f", pair.lossRatio())));
        }
        return text.append(format("%n")).toString();
    }

    private static String row(String rule, String state, Training.Outcome outcome, String lossRatio) {
        return format(
                "%-10s%8s%18d%12.4f%12.2f %%%s%n",
                rule,
                state,
                outcome.stateBytes(),
                outcome.last().loss(),
                100 * outcome.last().error(),
                lossRatio);
    }

    /** {@code adam}. */
    static String name(Rule rule) {
        return rule.name().toLowerCase(Locale.ROOT);
    }

    private static Path folder() {
        try {
            return Path.of(TrainingDemo.class
                            .getProtectionDomain()
                            .getCodeSource()
                            .getLocation()
                            .toURI())
                    .toAbsolutePath()
                    .getParent();
        } catch (URISyntaxException e) {
            throw new UncheckedIOException(new IOException(e));
        }
    }

    private static String format(String pattern, Object... arguments) {
        return String.format(Locale.ROOT, pattern, arguments);
    }
}
