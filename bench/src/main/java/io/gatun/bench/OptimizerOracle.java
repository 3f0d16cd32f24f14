package io.gatun.bench;

import io.gatun.DType;
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

    private static final double[] STATE4 = {
        -0.8875, -0.6625, -0.4375, -0.2125, -0.0775, -0.0325, -0.0055, 0, 0.0055, 0.0325, 0.0775, 0.2125, 0.4375,
        0.6625, 0.8875, 1
    };

    private final Kind kind;
    private final long count;
    private final long[] indices;

    OptimizerOracle(OptimizerCase problem) {
        kind = problem.kind();
        count = problem.count();
        indices = sample(count, kind.block());
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
        walk(elements, STEPS, trust(rounded), rounded);
        return Arrays.stream(elements)
                .mapToDouble(element -> element.undecided ? Double.NaN : element.p)
                .toArray();
    }

    /** Takes whole blocks through steps. */
    private void walk(Element[] elements, int steps, double[] trust, boolean rounded) {
        for (int step = 1; step <= steps; step++) {
            for (Element element : elements) {
                element.step(step, trust[step]);
            }
            if (rounded) {
                round(elements);
            }
        }
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

        void step(int step, double trust) {
            double rate = kind.learningRate();
            double wd = kind.weightDecay();
            boolean coupled = !isDecoupled(kind.rule());
            double update = update(step, OptimizerData.gradient(step, index) + (coupled ? wd * p : 0));
            p -= rate * trust * update;
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

    /** Factors of the learning rate by step: min(1, ||p|| / ||update||) of the whole tensor for rules with norms. */
    private double[] trust(boolean rounded) {
        double[] trust = new double[STEPS + 1];
        Arrays.fill(trust, 1);
        for (int step = 1; step <= STEPS && kind.needsNorms(); step++) {
            int now = step;
            double[] sums = LongStream.range(0, Math.ceilDiv(count, kind.block()))
                    .parallel()
                    .mapToObj(block -> squares(block, now, trust, rounded))
                    .reduce(new double[2], (a, b) -> new double[] {a[0] + b[0], a[1] + b[1]});
            trust[step] = Math.min(1, Math.sqrt(sums[0] / sums[1]));
        }
        return trust;
    }

    /** Of a block's parameters before a step and of its update. */
    private double[] squares(long block, int step, double[] trust, boolean rounded) {
        long begin = block * kind.block();
        Element[] elements = LongStream.range(begin, Math.min(count, begin + kind.block()))
                .mapToObj(Element::new)
                .toArray(Element[]::new);
        walk(elements, step - 1, trust, rounded);
        double[] sums = new double[2];
        for (Element element : elements) {
            sums[0] += element.p * element.p;
            double update = element.update(step, OptimizerData.gradient(step, element.index));
            sums[1] += update * update;
        }
        return sums;
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
        return kind.dtype() == DType.F32
                ? (float) p
                : Tensor.of(kind.dtype(), new float[] {(float) p}, 1).getFloat(0);
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
        int found = Arrays.binarySearch(book, x);
        int above = Math.min(book.length - 1, found < 0 ? -found - 1 : found);
        int below = Math.max(0, above - 1);
        return book[above] - x < x - book[below] ? book[above] : book[below];
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
