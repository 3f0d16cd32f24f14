package io.gatun.bench;

/**
 * What {@code gatun_qmatmul} must give, in long and double: activations quantized to 8 bits as it defines, exact sums of
 * integers, or f32 products in the precise mode. The bound of an output is 2^-23 (roundings + 8) sum |terms|, with a
 * rounding for each piece of at most 512 integers of a group, in the precise mode for each product.
 */
final class QMatmulOracle {
    private static final double U = 0x1p-23;
    private static final int PIECE = 512;
    private static final float SMALLEST_SCALE = 0x1p-120f;

    private final QMatmulCase problem;
    private final QMatmulData data;

    QMatmulOracle(QMatmulCase problem, QMatmulData data) {
        this.problem = problem;
        this.data = data;
    }

    double value(long m, long n) {
        return sum(m, n, false);
    }

    double bound(long m, long n) {
        long group = problem.groupSize();
        long roundings = problem.precise() ? problem.depth() : problem.groups() * Math.ceilDiv(group, PIECE);
        return (roundings + 8) * U * sum(m, n, true);
    }

    private double sum(long m, long n, boolean magnitudes) {
        int depth = Math.toIntExact(problem.depth());
        int group = Math.toIntExact(problem.groupSize());
        int row = Math.toIntExact(m * depth);
        int step = problem.activations().equals("i8group") ? group : depth;
        double sum = 0;
        float scale = 0;
        for (int begin = 0; begin < depth; begin += group) {
            int end = Math.min(depth, begin + group);
            if (begin % step == 0) {
                scale = problem.precise() ? 1 : largest(row + begin, row + Math.min(depth, begin + step)) / 127;
            }
            double weightScale = data.scales[Math.toIntExact(n * problem.groups()) + begin / group];
            double groupSum = 0;
            for (int k = begin; k < end; k++) {
                double term = activation(data.x[row + k], scale) * weight(n, k);
                groupSum += magnitudes ? Math.abs(term) : term;
            }
            sum += groupSum * scale * weightScale;
        }
        return sum;
    }

    private float largest(int begin, int end) {
        float amax = 0;
        for (int i = begin; i < end; i++) {
            amax = Math.max(amax, Math.abs(data.x[i]));
        }
        return amax;
    }

    private double activation(float x, float scale) {
        if (problem.precise()) {
            return x;
        }
        return scale < SMALLEST_SCALE ? 0 : Math.rint((double) (x * (1 / scale)));
    }

    private int weight(long n, int k) {
        int code = data.codes[Math.toIntExact(n * problem.depth() + k)];
        return problem.isInt4() ? code - 8 : code;
    }
}
