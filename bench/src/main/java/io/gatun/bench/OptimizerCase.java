package io.gatun.bench;

import io.gatun.DType;
import io.gatun.ops.Optimizer;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * A step of an optimizer on one tensor.
 *
 * @param kind of optimizer
 * @param count of parameters
 * @param threads that may work
 */
public record OptimizerCase(Kind kind, long count, int threads) {
    /** Parameters of a case: 256 MiB of f32, more than any cache. */
    static final long COUNT = 64L << 20;

    private static final int PIECE_BYTES = 256;

    /**
     * A rule on some kind of state.
     *
     * @param rule of the step
     * @param state how it keeps its state
     * @param dtype of parameters and gradients
     * @param learningRate that moves the parameters of {@link OptimizerData} by about a thousandth a step
     * @param weightDecay decoupled, of ADAM
     */
    public record Kind(Rule rule, State state, DType dtype, float learningRate, float weightDecay) {
        Kind(Rule rule, State state, float learningRate) {
            this(rule, state, DType.F32, learningRate, 0);
        }

        /** {@code adam8bit}, {@code adam32bit}, {@code adamw8bit}, {@code adamfp8}. */
        String name() {
            String suffix = switch (state) {
                case F32 -> "32bit";
                case DYNAMIC8 -> "8bit";
                case FP8 -> "fp8";
                case DYNAMIC4 -> "4bit";
            };
            return rule.name().toLowerCase(Locale.ROOT) + (weightDecay > 0 ? "w" : "") + suffix;
        }

        /** How many numbers of state each parameter has. */
        int states() {
            return switch (rule) {
                case ADAM, LAMB -> 2;
                case ADEMAMIX -> 3;
                case MOMENTUM, LARS, RMSPROP, ADAGRAD, LION -> 1;
            };
        }

        /** Of one number of state, its part of the scale included. */
        double stateBytes() {
            return switch (state) {
                case F32 -> 4;
                case DYNAMIC8, FP8 -> 1 + 4.0 / block();
                case DYNAMIC4 -> 0.5 + 4.0 / block();
            };
        }

        /** Whether the step needs norms of the whole tensor, and so reads all of it before it changes anything. */
        boolean needsNorms() {
            return rule == Rule.LAMB || rule == Rule.LARS;
        }

        /** Of the mean of gradients; of squares of a rule that keeps nothing else; or the momentum. */
        public float beta1() {
            return rule == Rule.RMSPROP ? 0.99f : 0.9f;
        }

        /** Of the mean of squares; of LION's mean. */
        public float beta2() {
            return rule == Rule.LION ? 0.99f : 0.999f;
        }

        /** Beside the root of squares. */
        public float epsilon() {
            return rule == Rule.ADAGRAD ? 1e-10f : 1e-8f;
        }

        /** Elements of a block of state, if it has blocks. */
        int block() {
            return state == State.DYNAMIC4 ? 128 : 256;
        }
    }

    /** What is to be reached on, measured by {@code --quick}, too. */
    static final List<Kind> MAIN = List.of(
            new Kind(Rule.ADAM, State.DYNAMIC8, 1e-3f),
            new Kind(Rule.ADAM, State.F32, 1e-3f),
            new Kind(Rule.LION, State.F32, 1e-3f),
            new Kind(Rule.MOMENTUM, State.DYNAMIC8, 0.1f),
            new Kind(Rule.LION, State.DYNAMIC8, 1e-3f));

    private static final List<Kind> OTHERS = List.of(
            new Kind(Rule.ADAM, State.DYNAMIC8, DType.BF16, 1e-3f, 0.01f),
            new Kind(Rule.ADAM, State.FP8, 1e-3f),
            new Kind(Rule.ADAM, State.DYNAMIC4, 1e-3f),
            new Kind(Rule.ADEMAMIX, State.DYNAMIC8, 1e-3f),
            new Kind(Rule.LAMB, State.DYNAMIC8, 0.1f),
            new Kind(Rule.RMSPROP, State.DYNAMIC8, 1e-4f),
            new Kind(Rule.ADAGRAD, State.DYNAMIC8, 1e-3f));

    /** {@code <rule><state> <parameters> <dtype> t=<threads>}: {@code adam8bit 64Mi f32 t=2}. */
    public String name() {
        String parameters = count % (1 << 20) == 0 ? (count >> 20) + "Mi" : Long.toString(count);
        return kind.name() + " " + parameters + " " + kind.dtype.name().toLowerCase(Locale.ROOT) + " t=" + threads;
    }

    /** Betas and epsilon are the rules' defaults. */
    Optimizer.Options options() {
        return Optimizer.Options.of(kind.rule)
                .withLearningRate(kind.learningRate)
                .withWeightDecay(kind.weightDecay)
                .withThreads(threads);
    }

    /** What a step must read at least. */
    double bytesRead() {
        double once = 2.0 * valueBytes() + kind.states() * kind.stateBytes();
        return count * (kind.needsNorms() ? 2 * once : once);
    }

    /** What it must write. */
    double bytesWritten() {
        return count * (valueBytes() + kind.states() * kind.stateBytes());
    }

    private int valueBytes() {
        return kind.dtype.bits() / Byte.SIZE;
    }

    /** The shortest time for these bytes, of loops that do nothing but move them. */
    double limitSeconds(Limits limits) {
        int parameters = switch (kind.state) {
            case F32 -> PIECE_BYTES / Float.BYTES;
            case DYNAMIC8, FP8 -> PIECE_BYTES;
            case DYNAMIC4 -> 2 * PIECE_BYTES;
        }; // of a piece of state
        int value = parameters * valueBytes() / PIECE_BYTES;
        List<Integer> changed = new ArrayList<>(List.of(value));
        for (int i = 0; i < kind.states(); i++) {
            changed.add(1);
        }
        double stepBytes = bytesRead() + bytesWritten();
        double norms = 0;
        if (kind.needsNorms()) {
            List<Integer> all = new ArrayList<>(changed);
            all.add(value);
            double bytes = bytesRead() / 2;
            norms = bytes / limits.updatedPerSecondNow(new Limits.Update(List.of(), all), threads);
            stepBytes -= bytes;
        }
        return norms + stepBytes / limits.updatedPerSecondNow(new Limits.Update(changed, List.of(value)), threads);
    }

    /** The main ones, or all, on each number of threads. */
    static List<OptimizerCase> all(boolean mainOnly, List<Integer> threadCounts) {
        return Stream.concat(MAIN.stream(), mainOnly ? Stream.of() : OTHERS.stream())
                .flatMap(kind -> threadCounts.stream().map(threads -> new OptimizerCase(kind, COUNT, threads)))
                .toList();
    }
}
