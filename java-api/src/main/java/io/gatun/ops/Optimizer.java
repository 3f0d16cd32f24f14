package io.gatun.ops;

import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Trains parameters: fused steps on state in f32 or in blocks of 8 or 4 bits (Dettmers et al. 2022, "8-bit Optimizers via
 * Block-wise Quantization").
 *
 * <pre>
 * Parameter w = Parameter.of("w", weights);
 * Optimizer adam = Optimizer.adam8bit(w);
 * // forward; backward, which writes w.gradient()
 * adam.step();
 * </pre>
 *
 * <p>A step reads state, applies the rule in f32 and writes parameters and state in one pass over memory; new state is
 * quantized from its unrounded values. Results do not depend on the number of threads, bit for bit. An element whose
 * gradient is NaN or infinite, or finite with a square beyond f32 where the rule keeps squares, keeps its value, and its
 * state becomes 0.
 *
 * <p>{@link State#DYNAMIC8} has the layout of bitsandbytes (blocks of 256 since its version 0.44, of 2048 before), so
 * checkpoints load and save both ways. Steps differ in rounding, and: a mean below 0 by at most 2^-60 of its block's largest
 * magnitude becomes 0 here, the code next to 0 there; {@link Rule#LAMB} and {@link Rule#LARS} limit updates here with state
 * of any kind, there with f32 state alone; for RMSPROP and ADAGRAD see {@link Options#withBitsandbytesGradient}.
 *
 * <p>State is on the device of its parameter, and the same bytes on each. On a GPU steps return before their work is
 * done, as products do (see {@link QMatmul}), and make a few small objects; {@link #gradientNorm} and {@link
 * #stepClipped(float)} wait.
 *
 * <p>An optimizer is used by one thread at a time, any number of them at once. A call with bad input changes nothing.
 */
public final class Optimizer {
    /**
     * How gradients g move parameters p at step t, with learning rate lr and weight decay wd. LAMB and LARS limit the
     * norm of an update by that of the parameter. Weight decay is 0 by default unless a rule says otherwise.
     */
    public enum Rule {
        /**
         * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon); p *= 1
         * - lr wd. With weight decay, AdamW. State m and v. Defaults: learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-8.
         */
        ADAM(0, 1e-3f, 0.9f, 0.999f, 1e-8f),
        /**
         * Adam with a second mean n = b3 n + (1 - b3) g: p -= lr (m / (1 - b1^t) + alpha n) / (sqrt(v / (1 - b2^t)) +
         * epsilon), then decay as of ADAM (Pagliardini et al. 2024). State m, n and v. Defaults: learning rate 0.001, betas
         * 0.9, 0.999 and 0.9999 (beta3), alpha 5, epsilon 1e-8, weight decay 0.01.
         */
        ADEMAMIX(1, 1e-3f, 0.9f, 0.999f, 1e-8f),
        /**
         * g += wd p; m = g at first, then momentum m + g; p -= lr m. State m. Defaults: learning rate 0.01, momentum 0.9.
         */
        MOMENTUM(2, 1e-2f, 0.9f, 0, 0),
        /**
         * g += wd p; v = decay v + (1 - decay) g^2; p -= lr g / (sqrt(v) + epsilon). State v. Defaults: learning rate 0.01,
         * decay 0.99, epsilon 1e-8.
         */
        RMSPROP(3, 1e-2f, 0.99f, 0, 1e-8f),
        /**
         * g += wd p; v += g^2; p -= lr g / (sqrt(v) + epsilon). State v. Defaults: learning rate 0.01, epsilon 1e-10.
         */
        ADAGRAD(4, 1e-2f, 0, 0, 1e-10f),
        /**
         * p = p (1 - lr wd) - lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g (Chen et al. 2023). State m. Defaults: learning
         * rate 0.0001, betas 0.9 and 0.99.
         */
        LION(5, 1e-4f, 0.9f, 0.99f, 0),
        /** {@link #ADAM}, defaults too, whose updates are at most as long as the parameter (You et al. 2020). */
        LAMB(0, 1e-3f, 0.9f, 0.999f, 1e-8f),
        /** {@link #MOMENTUM}, defaults too, whose updates have at most 0.02 of the parameter's norm (You et al. 2017). */
        LARS(2, 1e-2f, 0.9f, 0, 0);

        /** The {@code gatun_optimizer_rule}. */
        final int number;

        final float learningRate;
        final float beta1;
        final float beta2;
        final float epsilon;

        Rule(int number, float learningRate, float beta1, float beta2, float epsilon) {
            this.number = number;
            this.learningRate = learningRate;
            this.beta1 = beta1;
            this.beta2 = beta2;
            this.epsilon = epsilon;
        }

        boolean hasTwoStates() {
            return this == ADAM || this == LAMB || this == ADEMAMIX;
        }

        /** Whether state 1 is a mean or sum of squares, which is never negative. */
        boolean keepsSquares() {
            return this == RMSPROP || this == ADAGRAD;
        }
    }

    /** How state is kept; the bytes are those of an element of one state, scales included. */
    public enum State {
        /** 4 bytes. */
        F32(0),
        /**
         * 1.02 bytes: bitsandbytes' dynamic 8-bit maps, blocks of 256. Without AVX-512 VBMI codes are searched for in memory,
         * and a step takes several times as long as with F32 or FP8 (Adam with AVX2: 4.5 ns an element, F32 0.4, FP8 1.2), so
         * prefer FP8 there when time counts.
         */
        DYNAMIC8(256),
        /** 1.02 bytes: E4M3, blocks of 256. */
        FP8(256),
        /** 0.53 bytes: 4-bit maps (Li et al. 2023), blocks of 128. */
        DYNAMIC4(128);

        /** Elements of a block unless options say otherwise; 0 without blocks. */
        final int block;

        State(int block) {
            this.block = block;
        }
    }

    /**
     * A rule and its numbers. Immutable: each {@code with} returns another one. What a rule does not have is refused.
     */
    public static final class Options {
        private final OptimizerNumbers numbers;

        private Options(OptimizerNumbers numbers) {
            this.numbers = numbers;
        }

        /**
         * A rule with the defaults of bitsandbytes; of momentum and LARS, which have none there, learning rate 0.01 and
         * momentum 0.9. Weight decay is 0.01 for AdEMAMix and 0 otherwise, so AdamW's 0.01 is
         * {@code Options.of(ADAM).withWeightDecay(0.01f)}.
         */
        public static Options of(Rule rule) {
            Check.present("rule", rule);
            return new Options(new OptimizerNumbers(rule));
        }

        private Options with(Consumer<OptimizerNumbers> change) {
            OptimizerNumbers changed = numbers.copy();
            change.accept(changed);
            return new Options(changed);
        }

        /** With lr: finite, >= 0; {@link Optimizer#learningRate(float)} changes it from step to step. */
        public Options withLearningRate(float lr) {
            OptimizerNumbers.notNegative("learningRate", lr);
            return with(changed -> changed.learningRate = lr);
        }

        /** With b1 and b2 of ADAM, ADEMAMIX, LION and LAMB, both from 0 on and below 1. */
        public Options withBetas(float beta1, float beta2) {
            return with(changed -> changed.betas(beta1, beta2));
        }

        /** With the momentum of MOMENTUM and LARS, from 0 on and below 1. */
        public Options withMomentum(float momentum) {
            return with(changed -> changed.momentum(momentum));
        }

        /** With the decay of the mean of squares of RMSPROP (alpha elsewhere), from 0 on and below 1. */
        public Options withDecay(float decay) {
            return with(changed -> changed.decay(decay));
        }

        /**
         * With epsilon, finite, >= 0; of all rules but MOMENTUM, LARS and LION. With 0, an element whose gradients were all 0
         * becomes NaN, 0 / 0, as the formula says.
         */
        public Options withEpsilon(float epsilon) {
            return with(changed -> changed.epsilon(epsilon));
        }

        /** With wd, finite, >= 0: decoupled of ADAM, ADEMAMIX, LION and LAMB, otherwise added to gradients. */
        public Options withWeightDecay(float weightDecay) {
            OptimizerNumbers.notNegative("weightDecay", weightDecay);
            return with(changed -> changed.weightDecay = weightDecay);
        }

        /** With alpha, finite, >= 0, and beta3, from 0 on and below 1, of ADEMAMIX. */
        public Options withSlowMean(float alpha, float beta3) {
            return with(changed -> changed.slowMean(alpha, beta3));
        }

        /**
         * With alpha and beta3 of ADEMAMIX growing over steps (T_alpha, T_beta3), 0 for constant ones: alpha from 0 in
         * proportion to t, 1 / log(beta3) from 1 / log(beta1) likewise.
         */
        public Options withSchedule(int alphaSteps, int beta3Steps) {
            return with(changed -> changed.schedule(alphaSteps, beta3Steps));
        }

        /** With updates of at most so many norms of the parameter, finite, >= 0; 0 for no limit. */
        public Options withMaxUpdateNorm(float maxUpdateNorm) {
            OptimizerNumbers.notNegative("maxUpdateNorm", maxUpdateNorm);
            return with(changed -> changed.maxUpdateNorm = maxUpdateNorm);
        }

        /**
         * With blocks of so many elements, a multiple of 128 up to 2048; 0 for 256, of DYNAMIC4 128. 2048 is for state that
         * bitsandbytes saved before its version 0.44.
         */
        public Options withBlockSize(int blockSize) {
            if (blockSize < 0 || blockSize > 2048 || blockSize % 128 != 0) {
                throw Check.invalid("blockSize", blockSize, "0 or a multiple of 128 up to 2048");
            }
            return with(changed -> changed.blockSize = blockSize);
        }

        /** With f32 state for parameters of fewer elements; 4096 by default. */
        public Options withMin8bitSize(long min8bitSize) {
            Check.range("min8bitSize", min8bitSize, 0, Long.MAX_VALUE);
            return with(changed -> changed.min8bitSize = min8bitSize);
        }

        /**
         * With bf16 parameters rounded up or down with a probability in proportion to the distance, so that updates below
         * half a unit in the last place are not lost. bf16 only: f16 and f32 parameters are rounded to nearest as ever, and
         * such updates of f16 are lost. Random bits depend on seed, step, the place of the parameter in the optimizer and the
         * index of the element.
         */
        public Options withStochasticRounding(long seed) {
            return with(changed -> {
                changed.stochastic = true;
                changed.seed = seed;
            });
        }

        /**
         * With the parameter step of bitsandbytes' 8-bit RMSPROP and ADAGRAD, which divides the gradient as it came, neither
         * scaled nor with weight decay. Parameters with f32 state take the correct form, there as here.
         */
        public Options withBitsandbytesGradient(boolean asThere) {
            return with(changed -> changed.bitsandbytesGradient(asThere));
        }

        /** With a number of threads: 0 for all, 1 for only the calling one. Results do not depend on it. */
        public Options withThreads(int threads) {
            Check.threads(threads);
            return with(changed -> changed.threads = threads);
        }

        /** The rule. */
        public Rule rule() {
            return numbers.rule;
        }

        OptimizerNumbers numbers() {
            return numbers;
        }

        /** The rule, all numbers that it has, and what else was set; for a person. */
        @Override
        public String toString() {
            return numbers.toString();
        }
    }

    private final Options options;
    private final State state;
    private final List<ParameterState> parameters;
    private float learningRate;

    private Optimizer(Arena arena, Options options, State state, List<Parameter> parameters) {
        this.options = options;
        this.state = state;
        this.parameters = ParameterState.allocate(arena, options, state, parameters);
        learningRate = options.numbers().learningRate;
    }

    /** Adam on f32 state, with {@link Options#of} its rule. */
    public static Optimizer adam(Parameter... parameters) {
        return of(Options.of(Rule.ADAM), State.F32, parameters);
    }

    /** Adam on 8-bit state, with {@link Options#of} its rule. */
    public static Optimizer adam8bit(Parameter... parameters) {
        return of(Options.of(Rule.ADAM), State.DYNAMIC8, parameters);
    }

    /** Adam on 8-bit state; the rule must be ADAM. */
    public static Optimizer adam8bit(Options options, Parameter... parameters) {
        Check.present("options", options);
        if (options.rule() != Rule.ADAM) {
            throw Check.invalid("options.rule", options.rule(), Rule.ADAM + ", or Optimizer.of");
        }
        return of(options, State.DYNAMIC8, parameters);
    }

    /** Lion on 8-bit state, with {@link Options#of} its rule. */
    public static Optimizer lion8bit(Parameter... parameters) {
        return of(Options.of(Rule.LION), State.DYNAMIC8, parameters);
    }

    /** Momentum on 8-bit state, with {@link Options#of} its rule. */
    public static Optimizer momentum8bit(Parameter... parameters) {
        return of(Options.of(Rule.MOMENTUM), State.DYNAMIC8, parameters);
    }

    /**
     * An optimizer whose state is freed when nothing refers to it any more. Such memory counts against {@code
     * -XX:MaxDirectMemorySize}, by default the size of the heap; that of an arena of one's own does not.
     *
     * @throws IllegalArgumentException if there are no parameters, a name is there twice, or values and gradients overlap
     */
    public static Optimizer of(Options options, State state, Parameter... parameters) {
        Check.present("parameters", parameters);
        return of(Arena.ofAuto(), options, state, Arrays.asList(parameters));
    }

    /** As {@link #of(Options, State, Parameter...)}, with state in memory of an arena. */
    public static Optimizer of(Arena arena, Options options, State state, List<Parameter> parameters) {
        Check.open("arena", arena);
        Check.present("options", options);
        Check.present("state", state);
        Check.present("parameters", parameters);
        return new Optimizer(arena, options, state, parameters);
    }

    /**
     * A step with the gradients as they are. No step allocates once warmed up. O(elements).
     *
     * @throws IllegalStateException if the arena of a tensor is closed; no parameter has changed then, unless another thread
     *     closed it during the step
     * @throws WrongThreadException if it is confined to another thread; no parameter has changed then
     */
    public void step() {
        step(1);
    }

    /** A step with gradients times a finite number, usually 1 / loss scale; gradients stay as they are. */
    public void step(float gradientScale) {
        if (!Float.isFinite(gradientScale)) {
            throw Check.invalid("gradientScale", gradientScale, "finite numbers");
        }
        check();
        for (int i = 0; i < parameters.size(); i++) {
            parameters.get(i).checkSteps();
        }
        for (int i = 0; i < parameters.size(); i++) {
            parameters.get(i).step(learningRate, gradientScale);
        }
    }

    /** As {@link #stepClipped(float, float)} with loss scale 1. */
    public boolean stepClipped(float maxNorm) {
        return stepClipped(maxNorm, 1);
    }

    /**
     * A step with gradients divided by the loss scale and then, if their norm is larger than {@code maxNorm}, scaled to
     * it; nothing at all if the norm is not finite, when a loss scaler halves its scale. The factor of both is rounded to
     * f32: below about 2^-149 it is 0, and so are the gradients of the step.
     *
     * @param maxNorm above 0; infinity for no clipping
     * @param lossScale above 0, finite, and so its reciprocal
     * @return whether there was a step
     */
    public boolean stepClipped(float maxNorm, float lossScale) {
        if (!(maxNorm > 0)) {
            throw Check.invalid("maxNorm", maxNorm, "numbers > 0");
        }
        if (!(lossScale > 0 && lossScale <= Float.MAX_VALUE && 1 / lossScale <= Float.MAX_VALUE)) {
            throw Check.invalid("lossScale", lossScale, "finite numbers > 0 with a finite reciprocal");
        }
        double norm = gradientNorm() / lossScale;
        if (!(norm <= Double.MAX_VALUE)) {
            return false;
        }
        step((float) ((norm > maxNorm ? maxNorm / norm : 1) / lossScale));
        return true;
    }

    /**
     * The square root of the sum of squares of all gradients as they are, with a relative error below 2^-18; not
     * finite if one is not. It allocates nothing once warmed up.
     */
    public double gradientNorm() {
        check();
        return Math.sqrt(ParameterState.sumOfSquares(parameters));
    }

    /** Writes 0 into all gradients. */
    public void zeroGradients() {
        check();
        for (ParameterState parameter : parameters) {
            parameter.checkGradientWritable();
        }
        for (ParameterState parameter : parameters) {
            parameter.zeroGradient();
        }
    }

    private void check() {
        for (int i = 0; i < parameters.size(); i++) {
            parameters.get(i).check();
        }
    }

    /** The learning rate of the next step. */
    public float learningRate() {
        return learningRate;
    }

    /** Sets the learning rate of the next steps: finite, >= 0. */
    public void learningRate(float lr) {
        OptimizerNumbers.notNegative("learningRate", lr);
        learningRate = lr;
    }

    /** How often parameters were stepped; of loaded state in which they differ, the largest number. */
    public long stepCount() {
        return parameters.stream().mapToLong(ParameterState::steps).max().orElseThrow();
    }

    /** Bytes of the state of all parameters, scales included. */
    public long stateBytes() {
        return parameters.stream().mapToLong(ParameterState::bytes).sum();
    }

    /**
     * State by name, as views: {@code <parameter>.state1}, of the shape of the parameter or, of ADEMAMIX, [2, shape], and
     * likewise {@code .state2}; of quantized state the scales {@code .absmax1} and {@code .absmax2}, f32 [blocks] or [2,
     * blocks]; of DYNAMIC8 the maps {@code .qmap1} and {@code .qmap2}, f32 [256]; and a copy of {@code .step}, i32 [].
     * Codes of DYNAMIC4 are bytes, u8 [ceil(elements / 2)] or [2, ceil(elements / 2)], the first one in the high half.
     */
    public Map<String, Tensor> state() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        for (ParameterState parameter : parameters) {
            parameter.parts().forEach((suffix, tensor) -> all.put(parameter.name() + suffix, tensor));
        }
        return all;
    }

    /**
     * Takes a copy of state as {@link #state} gives it, from any device, and goes on from it bit for bit. Options,
     * learning rate and parameters are the caller's. {@code <parameter>.unorm_vec} and {@code <parameter>.gnorm_vec},
     * norms that checkpoints of bitsandbytes hold besides, are left out.
     *
     * @throws IllegalArgumentException if a tensor is missing, none of ours, misshapen, overlaps state of this optimizer
     *     other than the one it goes to, or holds what state never does: a number that is not finite, a scale or mean of
     *     squares below 0, another map; nothing has changed then
     */
    public void load(Map<String, Tensor> tensors) {
        OptimizerFile.load(tensors, parameters);
    }

    /**
     * Writes {@link #state} into a safetensors file; a file of that name is replaced when the new one is complete. It holds
     * state alone: values of parameters ({@link io.gatun.files.Safetensors#write}), options and learning rate are the
     * caller's to keep.
     *
     * @throws IOException if the file cannot be written
     */
    public void save(Path file) throws IOException {
        check();
        OptimizerFile.save(file, options, state, state());
    }

    /**
     * Takes state from a safetensors file: one of {@link #save}, or one with the tensors of a bitsandbytes optimizer under
     * the names of {@link #state}, the step as i32, i64 or f32. Values of parameters, options and learning rate stay as they
     * are.
     *
     * @throws IllegalArgumentException as {@link #load(Map)} does, and if the file was saved with another rule, state or block
     * @throws IOException if the file cannot be read, or is malformed
     */
    public void load(Path file) throws IOException {
        check();
        OptimizerFile.load(file, options, state, parameters);
    }

    /** What is trained and how, which parameters are rounded stochastically, which kernel each takes and why; for a person. */
    public String explain() {
        StringBuilder text = new StringBuilder(toString());
        for (ParameterState parameter : parameters) {
            text.append('\n').append(parameter.explain(learningRate));
        }
        return text.toString();
    }

    /** Options with the learning rate of the next step, how state is kept, how much of it, and of how many parameters. */
    @Override
    public String toString() {
        return options.numbers().text(learningRate) + "; " + state + ", " + stateBytes()
                + " bytes of state; parameters: " + parameters.size();
    }
}
