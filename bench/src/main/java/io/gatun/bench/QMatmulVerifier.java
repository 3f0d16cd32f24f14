package io.gatun.bench;

import java.util.Arrays;

/** Checks what contenders compute for a case: all against double, ours against its own algorithm, too. */
final class QMatmulVerifier implements Session.Verifier {
    private final OutputCheck check;
    private final OutputCheck.Expected algorithm;
    private final OutputCheck.Expected bound;
    private final float[] y;

    /** For outputs [rows, columns] with their values in double, and those of our algorithm with their bounds. */
    QMatmulVerifier(
            long rows,
            long columns,
            OutputCheck.Expected exact,
            OutputCheck.Expected algorithm,
            OutputCheck.Expected bound) {
        check = new OutputCheck(rows, columns, exact);
        this.algorithm = algorithm;
        this.bound = bound;
        y = new float[Math.toIntExact(rows * columns)];
    }

    static QMatmulVerifier of(QMatmulCase problem, QMatmulData data) {
        QMatmulOracle oracle = new QMatmulOracle(problem, data);
        return new QMatmulVerifier(problem.rows(), problem.columns(), data::expected, oracle::value, oracle::bound);
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        Arrays.fill(y, Float.NaN); // so that an output that is not written is a wrong one
        contender.output(y);
        double error = check.relError(contender.impl(), y);
        if (contender.impl().startsWith(Result.OURS)) {
            check.checkWithin(contender.impl(), y, algorithm, bound);
        }
        return error;
    }
}
