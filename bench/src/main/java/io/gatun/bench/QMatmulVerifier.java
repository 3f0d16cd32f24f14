package io.gatun.bench;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntFunction;

/**
 * Checks what contenders compute for a case, with the first and the last copy of their weights: all against double, ours
 * against its own algorithm, too.
 */
final class QMatmulVerifier implements Session.Verifier {
    private final IntFunction<OutputCheck> checkOf;
    private final Map<Integer, OutputCheck> checks = new HashMap<>();
    private final OutputCheck.Expected algorithm;
    private final OutputCheck.Expected bound;
    private final float[] y;

    /** For outputs [rows, columns] with their values in double by copy, and those of our algorithm with their bounds. */
    QMatmulVerifier(
            long rows,
            long columns,
            IntFunction<OutputCheck.Expected> exact,
            OutputCheck.Expected algorithm,
            OutputCheck.Expected bound) {
        checkOf = copy -> new OutputCheck(rows, columns, exact.apply(copy));
        this.algorithm = algorithm;
        this.bound = bound;
        y = new float[Math.toIntExact(rows * columns)];
    }

    static QMatmulVerifier of(QMatmulCase problem, QMatmulData data) {
        QMatmulOracle oracle = new QMatmulOracle(problem, data);
        return new QMatmulVerifier(
                problem.rows(),
                problem.columns(),
                copy -> (m, n) -> data.expected(copy, m, n),
                oracle::value,
                oracle::bound);
    }

    /** The larger one of both copies' errors. */
    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        int last = contender.copies() - 1;
        double error = relError(contender, 0);
        return last == 0 ? error : Math.max(error, relError(contender, last));
    }

    private double relError(Contender contender, int copy) throws OutputCheck.WrongOutput {
        boolean ours = contender.impl().startsWith(Result.OURS);
        OutputCheck check = checks.computeIfAbsent(ours ? 0 : copy, checkOf::apply);
        Arrays.fill(y, Float.NaN); // so that an output that is not written is a wrong one
        contender.output(copy, y);
        double error = check.relError(contender.impl(), y);
        if (ours) {
            check.checkWithin(contender.impl(), y, algorithm, bound);
        }
        return error;
    }
}
