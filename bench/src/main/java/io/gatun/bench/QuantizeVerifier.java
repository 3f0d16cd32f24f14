package io.gatun.bench;

import io.gatun.Tensor;
import java.lang.foreign.ValueLayout;

/** Checks that sampled values of codes are as near to what was quantized as the format allows, and no nearer. */
final class QuantizeVerifier implements Session.Verifier {
    /** Of the error of 2048 samples: four times its standard deviation where the errors are evenly spread. */
    private static final double TOLERANCE = 0.1;

    private final QuantizeCase problem;
    private final Tensor x;
    private final long[] indices;

    QuantizeVerifier(QuantizeCase problem, Tensor x) {
        this.problem = problem;
        this.x = x;
        indices = OutputCheck.indices(QuantizeCase.ROWS, QuantizeCase.DEPTH);
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        return relError(contender.impl(), OutputCheck.outputOf(contender, problem.values()));
    }

    double relError(String impl, float[] values) throws OutputCheck.WrongOutput {
        double squares = 0;
        double all = 0;
        for (long i : indices) {
            double wanted = x.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
            double deviation = values[Math.toIntExact(i)] - wanted;
            squares += deviation * deviation;
            all += wanted * wanted;
        }
        double error = Math.sqrt(squares / all);
        double expected = problem.format().error();
        if (!(Math.abs(error - expected) <= TOLERANCE * expected)) {
            throw new OutputCheck.WrongOutput(String.format(
                    "%s is wrong: its error is %.4f of the values, %s has %.4f",
                    impl, error, problem.name(), expected));
        }
        return error;
    }
}
