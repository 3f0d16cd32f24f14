package io.gatun.bench;

import java.util.HashMap;
import java.util.Map;

/**
 * Checks sampled blocks of parameters after two steps: against steps in double whose state is rounded as it is kept. The
 * error of a record is that against steps whose state is not, in parts of the way that the parameters went.
 */
final class OptimizerVerifier implements Session.Verifier {
    /** f32 steps round parameters by 2^-29 at most, twice, and these go about 2^-10. */
    private static final double ROUNDING = 1e-5;

    /** Norms are of all parameters, those among them that may be rounded either way. */
    private static final double NORMS = 1e-4;

    /** How many parameters may be rounded either way. */
    private static final double UNDECIDED = 0.05;

    private final OptimizerCase problem;
    private final Map<String, OptimizerCase> problems = new HashMap<>();
    private final Map<OptimizerCase, OptimizerOracle> oracles = new HashMap<>();

    OptimizerVerifier(OptimizerCase problem) {
        this.problem = problem;
    }

    /** Tells what an implementation computes in the place of the case. */
    void put(Contender contender, OptimizerCase own) {
        problems.put(contender.impl(), own);
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        return relError(contender.impl(), OutputCheck.outputOf(contender, problem.count()));
    }

    double relError(String impl, float[] values) throws OutputCheck.WrongOutput {
        OptimizerCase own = problems.getOrDefault(impl, problem);
        OptimizerOracle oracle = oracles.computeIfAbsent(own, OptimizerOracle::new);
        double error = distance(oracle, values, oracle.rounded());
        double most = own.kind().needsNorms() ? NORMS : ROUNDING;
        if (!(error <= most)) {
            throw new OutputCheck.WrongOutput(String.format(
                    "%s is wrong: after %d steps its parameters are off by %.2g of the way that they went, at most %.2g",
                    impl, OptimizerOracle.STEPS, error, most));
        }
        return distance(oracle, values, oracle.exact());
    }

    /** ||p - expected|| / ||expected - p before||, of what is expected for certain. */
    private static double distance(OptimizerOracle oracle, float[] values, double[] expected) {
        long[] indices = oracle.indices();
        double[] before = oracle.before();
        double deviation = 0;
        double way = 0;
        int undecided = 0;
        for (int i = 0; i < indices.length; i++) {
            if (Double.isNaN(expected[i])) {
                undecided++;
                continue;
            }
            deviation += Math.pow(values[Math.toIntExact(indices[i])] - expected[i], 2);
            way += Math.pow(expected[i] - before[i], 2);
        }
        if (undecided > UNDECIDED * indices.length) {
            throw new IllegalStateException(undecided + " of " + indices.length + " sampled parameters are undecided");
        }
        return Math.sqrt(deviation / way);
    }
}
