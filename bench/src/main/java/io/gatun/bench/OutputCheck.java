package io.gatun.bench;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Compares sampled outputs of a matrix [rows, columns] with what they must be: the corners, outputs of the first and
 * last row and column, and others anywhere; all of them, if they are few.
 */
final class OutputCheck {
    /** How many outputs are sampled. */
    static final int SAMPLES = 2048;

    private static final int EDGE_SAMPLES = SAMPLES / 8;

    /**
     * Activations of 8 bits are wrong by half a step at most, 0.2 to 2 % of the outputs' root mean square with 8 sigma
     * outliers; another output's value differs by about 140 %.
     */
    private static final double MAX_RELATIVE_DEVIATION = 0.15;

    /** What output [m][n] must be. */
    interface Expected {
        double at(long m, long n);
    }

    /** An output that is wrong. */
    static final class WrongOutput extends Exception {
        private static final long serialVersionUID = 1;

        WrongOutput(String message) {
            super(message);
        }
    }

    private final long columns;
    private final long[] indices;
    private final double[] expected;
    private final double rootMeanSquare;

    /** What a contender gives with the first copy of its weights; NaN where it gives nothing. */
    static float[] outputOf(Contender contender, long count) {
        float[] values = new float[Math.toIntExact(count)];
        Arrays.fill(values, Float.NaN);
        contender.output(0, values);
        return values;
    }

    /** Computes what is expected, once for all contenders of a case. */
    OutputCheck(long rows, long columns, Expected exact) {
        this(columns, indices(rows, columns), exact);
    }

    /** The same for these indices m * columns + n, in ascending order. */
    OutputCheck(long columns, long[] indices, Expected exact) {
        this.columns = columns;
        this.indices = indices;
        expected = at(exact);
        rootMeanSquare = Math.sqrt(IntStream.range(0, expected.length)
                .mapToDouble(i -> expected[i] * expected[i])
                .average()
                .orElse(0));
    }

    /** The sampled indices m * columns + n, in ascending order. */
    static long[] indices(long rows, long columns) {
        long outputs = rows * columns;
        if (outputs <= SAMPLES) {
            return LongStream.range(0, outputs).toArray();
        }
        RandomGenerator random = new SplittableRandom(4);
        LongStream edges = IntStream.rangeClosed(0, EDGE_SAMPLES).boxed().mapMultiToLong((i, sink) -> {
            long row = (rows - 1) * i / EDGE_SAMPLES;
            long column = (columns - 1) * i / EDGE_SAMPLES;
            sink.accept(column);
            sink.accept((rows - 1) * columns + column);
            sink.accept(row * columns);
            sink.accept(row * columns + columns - 1);
        });
        LongStream others = LongStream.generate(() -> random.nextLong(outputs));
        return LongStream.concat(edges, others)
                .distinct()
                .limit(SAMPLES)
                .sorted()
                .toArray();
    }

    private double[] at(Expected values) {
        return LongStream.of(indices)
                .parallel()
                .mapToDouble(i -> values.at(i / columns, i % columns))
                .toArray();
    }

    /**
     * ||y - expected||_2 / ||expected||_2.
     *
     * @throws WrongOutput if an output differs by more than 8-bit activations explain
     */
    double relError(String impl, float[] y) throws WrongOutput {
        double squares = 0;
        for (int i = 0; i < indices.length; i++) {
            double deviation = y[Math.toIntExact(indices[i])] - expected[i];
            refuseUnless(Math.abs(deviation) <= MAX_RELATIVE_DEVIATION * rootMeanSquare, impl, y, i, expected[i]);
            squares += deviation * deviation;
        }
        return rootMeanSquare == 0 ? 0 : Math.sqrt(squares / indices.length) / rootMeanSquare;
    }

    /**
     * The same where the error is known beforehand.
     *
     * @throws WrongOutput if it is larger
     */
    double relErrorUpTo(double most, String impl, float[] y) throws WrongOutput {
        double error = relError(impl, y);
        if (!(error <= most)) {
            throw new WrongOutput(String.format("%s is wrong: its error is %.5f, at most %.5f", impl, error, most));
        }
        return error;
    }

    /**
     * Compares with an algorithm's own result, which is known within a bound for each output.
     *
     * @throws WrongOutput if an output is out of its bound
     */
    void checkWithin(String impl, float[] y, Expected algorithm, Expected bound) throws WrongOutput {
        double[] values = at(algorithm);
        double[] bounds = at(bound);
        for (int i = 0; i < indices.length; i++) {
            double deviation = Math.abs(y[Math.toIntExact(indices[i])] - values[i]);
            refuseUnless(deviation <= bounds[i], impl, y, i, values[i]);
        }
    }

    /** NaN is no pass: every comparison with it is false. */
    private void refuseUnless(boolean right, String impl, float[] y, int i, double wanted) throws WrongOutput {
        if (!right) {
            throw new WrongOutput(String.format(
                    "%s is wrong: output [%d][%d] is %s, expected %s",
                    impl, indices[i] / columns, indices[i] % columns, y[Math.toIntExact(indices[i])], wanted));
        }
    }
}
