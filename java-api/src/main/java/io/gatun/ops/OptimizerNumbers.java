package io.gatun.ops;

import io.gatun.internal.Check;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.Set;

/** What {@link Optimizer.Options} hold, which alone change it, before anyone sees them. */
final class OptimizerNumbers {
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
    long min8bitSize = 4096;
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

    /** Refuses what the rule does not have. */
    void only(Set<Rule> rules, String argument, Object given) {
        if (!rules.contains(rule)) {
            throw Check.invalid(argument, given + " with " + rule, "with " + rules);
        }
    }

    static void notNegative(String argument, float given) {
        if (!(given >= 0 && given <= Float.MAX_VALUE)) {
            throw Check.invalid(argument, given, "finite numbers >= 0");
        }
    }

    static void fraction(String argument, float given) {
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
        return rule + " learning rate " + learningRate + ", betas " + beta1 + " " + beta2 + ", epsilon " + epsilon
                + ", weight decay " + weightDecay;
    }
}
