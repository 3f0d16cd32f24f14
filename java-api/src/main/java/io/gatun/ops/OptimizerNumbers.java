package io.gatun.ops;

import io.gatun.internal.Check;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.EnumSet;
import java.util.Set;

/** What {@link Optimizer.Options} hold, which alone change it, before anyone sees them. */
final class OptimizerNumbers {
    private static final Set<Rule> MOMENTA = EnumSet.of(Rule.MOMENTUM, Rule.LARS);
    private static final Set<Rule> BETAS = EnumSet.of(Rule.ADAM, Rule.ADEMAMIX, Rule.LION, Rule.LAMB);
    private static final Set<Rule> DECAYS = EnumSet.of(Rule.RMSPROP);
    private static final Set<Rule> SQUARES = EnumSet.of(Rule.RMSPROP, Rule.ADAGRAD);
    private static final Set<Rule> SLOW_MEANS = EnumSet.of(Rule.ADEMAMIX);
    private static final Set<Rule> EPSILONS = EnumSet.complementOf(EnumSet.of(Rule.MOMENTUM, Rule.LARS, Rule.LION));
    private static final long MIN_8BIT_SIZE = 4096;

    final Rule rule;
    float learningRate;
    float beta1;
    float beta2;
    float beta3 = 0.9999f;
    float alpha = 5;
    int alphaSteps;
    int beta3Steps;
    float epsilon;
    float weightDecay;
    float maxUpdateNorm;
    int blockSize;
    long min8bitSize = MIN_8BIT_SIZE;
    boolean stochastic;
    long seed;
    boolean bitsandbytesGradient;
    int threads;

    /** The defaults of a rule. */
    OptimizerNumbers(Rule rule) {
        this.rule = rule;
        learningRate = rule.learningRate;
        beta1 = rule.beta1;
        beta2 = rule.beta2;
        epsilon = rule.epsilon;
        weightDecay = rule == Rule.ADEMAMIX ? 0.01f : 0;
        maxUpdateNorm = rule == Rule.LAMB ? 1 : rule == Rule.LARS ? 0.02f : 0;
    }

    void betas(float first, float second) {
        only(BETAS, "betas", first + ", " + second);
        fraction("beta1", first);
        fraction("beta2", second);
        beta1 = first;
        beta2 = second;
    }

    void momentum(float momentum) {
        only(MOMENTA, "momentum", momentum);
        fraction("momentum", momentum);
        beta1 = momentum;
    }

    void decay(float decay) {
        only(DECAYS, "decay", decay);
        fraction("decay", decay);
        beta1 = decay;
    }

    void epsilon(float least) {
        only(EPSILONS, "epsilon", least);
        notNegative("epsilon", least);
        epsilon = least;
    }

    void slowMean(float factor, float beta) {
        only(SLOW_MEANS, "alpha", factor);
        notNegative("alpha", factor);
        fraction("beta3", beta);
        alpha = factor;
        beta3 = beta;
    }

    void schedule(int stepsOfAlpha, int stepsOfBeta3) {
        only(SLOW_MEANS, "alphaSteps", stepsOfAlpha);
        Check.range("alphaSteps", stepsOfAlpha, 0, Integer.MAX_VALUE);
        Check.range("beta3Steps", stepsOfBeta3, 0, Integer.MAX_VALUE);
        alphaSteps = stepsOfAlpha;
        beta3Steps = stepsOfBeta3;
    }

    void bitsandbytesGradient(boolean asThere) {
        only(SQUARES, "bitsandbytesGradient", asThere);
        bitsandbytesGradient = asThere;
    }

    /** Refuses what the rule does not have. */
    private void only(Set<Rule> rules, String argument, Object given) {
        if (!rules.contains(rule)) {
            throw Check.invalid(argument, given + " with " + rule, "with " + rules);
        }
    }

    static void notNegative(String argument, float given) {
        if (!(given >= 0 && given <= Float.MAX_VALUE)) {
            throw Check.invalid(argument, given, "finite numbers >= 0");
        }
    }

    private static void fraction(String argument, float given) {
        if (!(given >= 0 && given < 1)) {
            throw Check.invalid(argument, given, "0 <= " + argument + " < 1");
        }
    }

    OptimizerNumbers copy() {
        OptimizerNumbers copy = new OptimizerNumbers(rule);
        copy.learningRate = learningRate;
        copy.beta1 = beta1;
        copy.beta2 = beta2;
        copy.beta3 = beta3;
        copy.alpha = alpha;
        copy.alphaSteps = alphaSteps;
        copy.beta3Steps = beta3Steps;
        copy.epsilon = epsilon;
        copy.weightDecay = weightDecay;
        copy.maxUpdateNorm = maxUpdateNorm;
        copy.blockSize = blockSize;
        copy.min8bitSize = min8bitSize;
        copy.stochastic = stochastic;
        copy.seed = seed;
        copy.bitsandbytesGradient = bitsandbytesGradient;
        copy.threads = threads;
        return copy;
    }

    /** Elements of a block of such state; 0 without blocks. */
    int blockSize(State state) {
        return state == State.F32 || blockSize == 0 ? state.block : blockSize;
    }

    /** Alpha grows in proportion to the step, up to the last of its schedule. */
    float alpha(long step) {
        return step < alphaSteps ? (float) ((double) alpha * step / alphaSteps) : alpha;
    }

    /** 1 / log(beta3), nearly its half-life, grows from 1 / log(beta1) likewise. */
    float beta3(long step) {
        if (step >= beta3Steps) {
            return beta3;
        }
        double part = (double) step / beta3Steps;
        double inverse = (1 - part) / Math.log(beta1) + part / Math.log(beta3);
        return Math.min((float) Math.exp(1 / inverse), beta3);
    }

    @Override
    public String toString() {
        return text(learningRate);
    }

    /** The same with the learning rate of the next step. */
    String text(float rate) {
        StringBuilder text = new StringBuilder(rule + " learning rate " + rate);
        add(text, "betas", beta1 + " " + beta2, BETAS.contains(rule));
        add(text, "momentum", beta1, MOMENTA.contains(rule));
        add(text, "decay", beta1, DECAYS.contains(rule));
        add(text, "alpha", alpha, SLOW_MEANS.contains(rule));
        add(text, "over steps", alphaSteps, alphaSteps > 0);
        add(text, "beta3", beta3, SLOW_MEANS.contains(rule));
        add(text, "over steps", beta3Steps, beta3Steps > 0);
        add(text, "epsilon", epsilon, EPSILONS.contains(rule));
        add(text, "weight decay", weightDecay, true);
        add(text, "max update norm", maxUpdateNorm, maxUpdateNorm > 0);
        add(text, "block", blockSize, blockSize > 0);
        add(text, "min 8-bit size", min8bitSize, min8bitSize != MIN_8BIT_SIZE);
        add(text, "stochastic rounding with seed", seed, stochastic);
        add(text, "gradient of", "bitsandbytes", bitsandbytesGradient);
        add(text, "threads", threads, threads > 0);
        return text.toString();
    }

    private static void add(StringBuilder text, String name, Object value, boolean there) {
        if (there) {
            text.append(", ").append(name).append(' ').append(value);
        }
    }
}
