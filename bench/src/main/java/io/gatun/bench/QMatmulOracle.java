package io.gatun.bench;

/**
 * What {@code gatun_qmatmul} must give, in long and double: activations quantized to 8 bits as it defines, exact sums of
 * integers, or f32 products in the precise mode; {@code gatun_nm_matmul} gives the same of weights with zeros, and products
 * of values rounded to bf16. The bound of an output is 2^-23 (roundings + 8) sum |terms|, with a rounding for each piece of
 * at most 512 integers of a group, in f32 sums for each product.
 */
final class QMatmulOracle {
    private static final double U = 0x1p-23;
    private static final int PIECE = 512;
    private static final float SMALLEST_SCALE = 0x1p-120f;

    private final QMatmulCase problem;
    private final QMatmulData data;
    private final long products;

    QMatmulOracle(QMatmulCase problem, QMatmulData data) {
        this(problem, data, problem.depth());
    }

    /** The same where an output is the sum of so many products, as pruned weights take no part. */
    QMatmulOracle(QMatmulCase problem, QMatmulData data, long products) {
        this.problem = problem;
        this.data = data;
        this.products = products;
    }

    double value(long m, long n) {
        return sum(m, n, false);
    }

    double bound(long m, long n) {
        long group = problem.groupSize();
        long roundings = isFloat() ? products : problem.groups() * Math.ceilDiv(group, PIECE);
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
                scale = isFloat() ? 1 : largest(row + begin, row + Math.min(depth, begin + step)) / 127;
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
        if (isFloat()) {
            return problem.inBf16() ? toBf16(x) : x;
        }
        return scale < SMALLEST_SCALE ? 0 : Math.rint((double) (x * (1 / scale)));
    }

    private boolean isFloat() {
        return problem.precise() || problem.inBf16();
    }

    /** The nearest multiple of the last of 8 binary digits, half to even. */
    private static double toBf16(float x) {
        double step = Math.scalb(1.0, Math.getExponent(x) - 7);
        return Math.rint(x / step) * step;
    }

    private int weight(long n, int k) {
        int code = data.codes[Math.toIntExact(n * problem.depth() + k)];
        return problem.isInt4() ? code - 8 : code;
    }
}
