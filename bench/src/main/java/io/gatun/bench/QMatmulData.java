package io.gatun.bench;

import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/**
 * The input of a case, the same for everybody: activations, weights as codes and scales, and how many copies of the weights
 * a contender rotates through. The same sizes give the same numbers.
 *
 * <p>Weight w[n][k] of copy c is (codeOf(c, n, k) - 8) scale for int4, codeOf(c, n, k) scale for int8, where scale =
 * scales[n groups + k / group].
 */
public final class QMatmulData {
    /** Few rows read all weights once, so they must come from memory: a rotation is larger than any cache. */
    private static final long ROTATION_BYTES = 512L << 20;

    private static final long ROWS_BOUND_BY_MEMORY = 16;
    private static final int OUTLIER_EVERY = 1009;
    private static final float OUTLIER_SIGMA = 8;

    /** [M, K]: standard normal, one in about a thousand is an outlier of 8 sigma. */
    public final float[] x;

    /** [N, K] of copy 0: int4 0..15, which stands for code - 8; int8 -127..127. */
    public final byte[] codes;

    /** [N, groups]: exact in f16, except those of whole rows of int8. */
    public final float[] scales;

    /** Copies of the weights, for M <= 16 at least 512 MiB together, else 1. */
    public final int copies;

    private final QMatmulCase problem;

    /** The input of a case; takes the weights of another one if they are the same. */
    public QMatmulData(QMatmulCase problem, QMatmulData other) {
        this(problem, other, copies(problem));
    }

    /** The input of a case with that many copies of the weights. */
    public QMatmulData(QMatmulCase problem, int copies) {
        this(problem, null, copies);
    }

    private QMatmulData(QMatmulCase problem, QMatmulData other, int copies) {
        this.problem = problem;
        this.x = activations(problem);
        boolean same = other != null && sameWeights(problem, other.problem);
        this.codes = same ? other.codes : codes(problem);
        this.scales = same ? other.scales : scales(problem);
        this.copies = copies;
    }

    /** The input of a case from what it consists of. */
    QMatmulData(QMatmulCase problem, float[] x, byte[] codes, float[] scales, int copies) {
        this.problem = problem;
        this.x = x;
        this.codes = codes;
        this.scales = scales;
        this.copies = copies;
    }

    private static int copies(QMatmulCase problem) {
        return problem.rows() > ROWS_BOUND_BY_MEMORY
                ? 1
                : Math.toIntExact(Math.ceilDiv(ROTATION_BYTES, problem.weightBytes()));
    }

    /** The input of a case. */
    public QMatmulData(QMatmulCase problem) {
        this(problem, null);
    }

    private static boolean sameWeights(QMatmulCase a, QMatmulCase b) {
        return a.weights().equals(b.weights())
                && a.group() == b.group()
                && a.columns() == b.columns()
                && a.depth() == b.depth();
    }

    /**
     * Code of a weight in a copy. Copies differ from copy 0 in their first weights alone: enough that nobody can take two of
     * them for the same constant.
     */
    public byte codeOf(int copy, long n, long k) {
        byte code = codes[Math.toIntExact(n * problem.depth() + k)];
        if (copy == 0 || n > 0 || k > 3) {
            return code;
        }
        int digit = copy >> 4 * (int) k & 15; // of the copy's number, in base 16
        if (problem.isInt4()) {
            return (byte) (code + digit & 15);
        }
        return (byte) (Math.floorMod(code + 127 + digit, 255) - 127);
    }

    /** Output [m][n] in double, with copy 0 of the weights as they are and x as it is. */
    public double expected(long m, long n) {
        return expected(0, m, n);
    }

    /** The same with another copy. */
    public double expected(int copy, long m, long n) {
        int depth = Math.toIntExact(problem.depth());
        int xRow = Math.toIntExact(m * depth);
        int scaleRow = Math.toIntExact(n * problem.groups());
        int group = Math.toIntExact(problem.groupSize());
        int zero = problem.isInt4() ? 8 : 0;
        double sum = 0;
        for (int k = 0; k < depth; k++) {
            sum += (double) x[xRow + k] * (codeOf(copy, n, k) - zero) * scales[scaleRow + k / group];
        }
        return sum;
    }

    /** Random x. */
    static float[] activations(QMatmulCase problem) {
        RandomGenerator random = new SplittableRandom(1);
        float[] values = new float[Math.toIntExact(problem.rows() * problem.depth())];
        for (int i = 0; i < values.length; i++) {
            boolean outlier = random.nextInt(OUTLIER_EVERY) == 0;
            values[i] = outlier ? random.nextBoolean() ? OUTLIER_SIGMA : -OUTLIER_SIGMA : (float) random.nextGaussian();
        }
        return values;
    }

    /** Random codes. */
    static byte[] codes(QMatmulCase problem) {
        RandomGenerator random = new SplittableRandom(2);
        byte[] values = new byte[Math.toIntExact(problem.columns() * problem.depth())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (byte) (problem.isInt4() ? random.nextInt() >>> 28 : random.nextInt(-127, 128));
        }
        return values;
    }

    /** So that outputs are about 1. */
    static float[] scales(QMatmulCase problem) {
        RandomGenerator random = new SplittableRandom(3);
        double typical = (problem.isInt4() ? 0.2 : 0.0137) / Math.sqrt(problem.depth());
        float[] values = new float[Math.toIntExact(problem.columns() * problem.groups())];
        for (int i = 0; i < values.length; i++) {
            float scale = (float) (typical * random.nextDouble(0.5, 1.5));
            values[i] = problem.isInt4() || problem.group() != 0
                    ? Float.float16ToFloat(Float.floatToFloat16(scale))
                    : scale;
        }
        return values;
    }
}
