package io.gatun.bench;

import java.util.Arrays;

/** Checks what contenders compute for a case: all against double, ours against its own algorithm, too. */
final class QMatmulVerifier implements Session.Verifier {
    private final OutputCheck check;
    private final QMatmulOracle oracle;
    private final float[] y;

    QMatmulVerifier(QMatmulCase problem, QMatmulData data) {
        check = new OutputCheck(problem.rows(), problem.columns(), data::expected);
        oracle = new QMatmulOracle(problem, data);
        y = new float[Math.toIntExact(problem.rows() * problem.columns())];
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        Arrays.fill(y, Float.NaN); // so that an output that is not written is a wrong one
        contender.output(y);
        double error = check.relError(contender.impl(), y);
        if (contender.impl().startsWith(Result.OURS)) {
            check.checkWithin(contender.impl(), y, oracle::value, oracle::bound);
        }
        return error;
    }
}
