package io.gatun.bench;

import java.util.stream.IntStream;

/** Checks every weight that pruning leaves: what is kept is as it was, anything else is 0. */
final class NmPruneVerifier implements Session.Verifier {
    private final NmPruneCase problem;
    private final float[] weights;

    NmPruneVerifier(NmPruneCase problem, float[] weights) {
        this.problem = problem;
        this.weights = weights;
    }

    /** An implementation is exact or wrong. */
    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        float[] pruned = OutputCheck.outputOf(contender, weights.length);
        int depth = Math.toIntExact(problem.depth());
        int wrong = IntStream.range(0, weights.length / depth)
                .parallel()
                .flatMap(row -> IntStream.range(row * depth, (row + 1) * depth)
                        .filter(i -> pruned[i] != (problem.keeps(weights, row, i - row * depth) ? weights[i] : 0)))
                .min()
                .orElse(-1);
        if (wrong >= 0) {
            throw new OutputCheck.WrongOutput(String.format(
                    "%s is wrong: weight [%d][%d], which is %s, becomes %s",
                    contender.impl(), wrong / depth, wrong % depth, weights[wrong], pruned[wrong]));
        }
        return 0;
    }
}
