package io.gatun.bench;

import io.gatun.Tensor;
import io.gatun.bench.OptimizerCase.Kind;
import io.gatun.ops.CodeBook;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.DoubleUnaryOperator;
import java.util.function.ObjDoubleConsumer;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/** Parameters after {@link #STEPS} steps on {@link OptimizerData}, in double from the rules, of some whole blocks. */
final class OptimizerOracle {
    /** Two, so that state of one step has a part in the next one. */
    static final int STEPS = 2;

    // Of ADEMAMIX.
    private static final double BETA3 = 0.9999f;
    private static final double ALPHA = 5;

    /** More than f32 can be off after two steps: 2^-24 a rounding. */
    private static final double F32_ERROR = 1e-6;

    private static final int BLOCKS = 16;
    private static final long CHUNK = 1 << 16;

    private static final double[] STATE4 = {
        -0.8875, -0.6625, -0.4375, -0.2125, -0.0775, -0.0325, -0.0055, 0, 0.0055, 0.0325, 0.0775, 0.2125, 0.4375,
        0.6625, 0.8875, 1
    };

    private final Kind kind;
    private final long count;
    private final long[] indices;
    private final double[] trust = new double[STEPS + 1]; // factors of the learning rate, by step

    OptimizerOracle(OptimizerCase problem) {
        kind = problem.kind();
        count = problem.count();
        indices = sample(count, kind.block());
        Arrays.fill(trust, 1);
        for (int step = 1; step <= STEPS && kind.needsNorms(); step++) {
            trust[step] = trustAt(step);
        }
    }

    /** The first block, the last, which may be shorter, and some between them. */
    private static long[] sample(long count, int block) {
        long last = Math.ceilDiv(count, block) - 1;
        SplittableRandom random = new SplittableRandom(6);
        return LongStream.concat(
                        LongStream.of(0, last),
                        LongStream.generate(() -> random.nextLong(last + 1)).limit(BLOCKS - 2))
                .sorted()
                .distinct()
                .flatMap(i -> LongStream.range(i * block, Math.min(count, (i + 1) * block)))
                .toArray();
    }

    /** The indices of all that follows. */
    long[] indices() {
        return indices.clone();
    }

    /** Parameters before the first step. */
    double[] before() {
        return LongStream.of(indices).mapToDouble(OptimizerData::parameter).toArray();
    }

    /** Parameters of whom neither state nor parameters are rounded between steps. */
    double[] exact() {
        return parameters(false);
    }

    /** Parameters where both are rounded to what they are kept in; NaN where f32 and double may round apart. */
    double[] rounded() {
        return parameters(true);
    }

    private double[] parameters(boolean rounded) {
        Element[] elements = LongStream.of(indices).mapToObj(Element::new).toArray(Element[]::new);
        for (int step = 1; step <= STEPS; step++) {
            for (Element element : elements) {
                element.step(step);
            }
            if (rounded) {
                round(elements);
            }
        }
        return Arrays.stream(elements)
                .mapToDouble(element -> element.undecided ? Double.NaN : element.p)
                .toArray();
    }

    /** A parameter with its state. */
    private final class Element {
        private final long index;
        private double p;
        private boolean undecided;
        private double mean;
        private double slowMean;
        private double squares;

        Element(long index) {
            this.index = index;
            p = OptimizerData.parameter(index);
        }

        void step(int step) {
            double rate = kind.learningRate();
            double wd = kind.weightDecay();
            boolean coupled = !isDecoupled(kind.rule());
            double update = update(step, OptimizerData.gradient(step, index) + (coupled ? wd * p : 0));
            p -= rate * trust[step] * update;
            p *= coupled ? 1 : 1 - rate * wd;
        }

        /** Changes the state; what the learning rate multiplies. */
        double update(int step, double g) {
            double b1 = kind.beta1();
            double b2 = kind.beta2();
            double epsilon = kind.epsilon();
            switch (kind.rule()) {
                case ADAM, LAMB, ADEMAMIX -> {
                    mean = b1 * mean + (1 - b1) * g;
                    squares = b2 * squares + (1 - b2) * g * g;
                    double first = mean / (1 - Math.pow(b1, step));
                    if (kind.rule() == Rule.ADEMAMIX) {
                        slowMean = BETA3 * slowMean + (1 - BETA3) * g;
                        first += ALPHA * slowMean;
                    }
                    return first / (Math.sqrt(squares) / Math.sqrt(1 - Math.pow(b2, step)) + epsilon);
                }
                case MOMENTUM, LARS -> {
                    mean = step == 1 ? g : b1 * mean + g;
                    return mean;
                }
                case RMSPROP -> {
                    squares = b1 * squares + (1 - b1) * g * g;
                    return g / (Math.sqrt(squares) + epsilon);
                }
                case ADAGRAD -> {
                    squares += g * g;
                    return g / (Math.sqrt(squares) + epsilon);
                }
                case LION -> {
                    double sign = Math.signum(b1 * mean + (1 - b1) * g);
                    mean = b2 * mean + (1 - b2) * g;
                    return sign;
                }
            }
            throw new AssertionError(kind.rule());
        }
    }

    private static boolean isDecoupled(Rule rule) {
        return switch (rule) {
            case ADAM, LAMB, ADEMAMIX, LION -> true;
            case MOMENTUM, LARS, RMSPROP, ADAGRAD -> false;
        };
    }

    /** min(1, ||p|| / ||update||) of all elements, whose state is not rounded: 64 Mi roundings leave a norm as it is. */
    private double trustAt(int step) {
        double[] sums = LongStream.range(0, Math.ceilDiv(count, CHUNK))
                .parallel()
                .mapToObj(chunk -> {
                    double[] sum = new double[2];
                    for (long i = chunk * CHUNK; i < Math.min(count, (chunk + 1) * CHUNK); i++) {
                        Element element = new Element(i);
                        for (int before = 1; before < step; before++) {
                            element.step(before);
                        }
                        double update = element.update(step, OptimizerData.gradient(step, i));
                        sum[0] += element.p * element.p;
                        sum[1] += update * update;
                    }
                    return sum;
                })
                .reduce(new double[2], (a, b) -> new double[] {a[0] + b[0], a[1] + b[1]});
        return Math.min(1, Math.sqrt(sums[0] / sums[1]));
    }

    private void round(Element[] elements) {
        for (Element element : elements) {
            element.p = decide(element, element.p, this::keepParameter);
        }
        if (kind.state() == State.F32) {
            return;
        }
        // Squares of rules that keep nothing else are state 1, whose book is signed.
        double[] signed = book(kind.state(), false);
        double[] ofSquares = book(kind.state(), kind.states() > 1);
        for (int begin = 0; begin < elements.length; begin += kind.block()) {
            List<Element> block = List.of(elements).subList(begin, Math.min(elements.length, begin + kind.block()));
            keep(block, signed, element -> element.mean, (element, value) -> element.mean = value);
            keep(block, signed, element -> element.slowMean, (element, value) -> element.slowMean = value);
            keep(block, ofSquares, element -> element.squares, (element, value) -> element.squares = value);
        }
    }

    private double keepParameter(double p) {
        return Tensor.of(kind.dtype(), new float[] {(float) p}, 1).getFloat(0);
    }

    /** A block of state becomes the values of its codes. */
    private static void keep(
            List<Element> block, double[] book, ToDoubleFunction<Element> state, ObjDoubleConsumer<Element> setState) {
        double largest = block.stream().mapToDouble(state).map(Math::abs).max().orElse(0);
        if (largest > 0) {
            double scale = (float) (largest / book[book.length - 1]);
            for (Element element : block) {
                double kept = decide(element, state.applyAsDouble(element), x -> scale * nearest(book, x / scale));
                setState.accept(element, kept);
            }
        }
    }

    /** Rounds, and notes whether what is a little smaller or larger would become the same. */
    private static double decide(Element element, double x, DoubleUnaryOperator rounding) {
        double rounded = rounding.applyAsDouble(x);
        double apart =
                Math.abs(rounding.applyAsDouble(x * (1 + F32_ERROR)) - rounding.applyAsDouble(x * (1 - F32_ERROR)));
        element.undecided |= apart > 4 * F32_ERROR * Math.abs(x);
        return rounded;
    }

    private static double nearest(double[] book, double x) {
        double best = book[0];
        for (double value : book) {
            best = Math.abs(value - x) < Math.abs(best - x) ? value : best;
        }
        return best;
    }

    /** Ascending. */
    private static double[] book(State state, boolean unsigned) {
        return switch (state) {
            case F32 -> throw new IllegalArgumentException("f32 state has no codes");
            case DYNAMIC8 -> {
                float[] values = (unsigned ? CodeBook.DYNAMIC_UNSIGNED : CodeBook.DYNAMIC).values();
                yield IntStream.range(0, values.length)
                        .mapToDouble(i -> values[i])
                        .toArray();
            }
            case FP8 ->
                IntStream.rangeClosed(-126, 126)
                        .mapToDouble(OptimizerOracle::e4m3)
                        .toArray();
            case DYNAMIC4 ->
                unsigned
                        ? IntStream.rangeClosed(1, 16)
                                .mapToDouble(i -> i / 16.0)
                                .toArray()
                        : STATE4.clone();
        };
    }

    /** Of a sign and seven bits: four of an exponent, three of a fraction. */
    private static double e4m3(int bits) {
        int exponent = Math.abs(bits) >> 3;
        int fraction = Math.abs(bits) & 7;
        double magnitude = exponent == 0 ? Math.scalb(fraction, -9) : Math.scalb(8.0 + fraction, exponent - 10);
        return bits < 0 ? -magnitude : magnitude;
    }
}
