package io.gatun.bench;

import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;

/**
 * The input of a case with sparse weights, the same for everybody: those of the dense case, whose weights are 0 where none is
 * kept, and which are kept. The same sizes give the same numbers.
 */
final class NmMatmulData {
    /** Few rows read all weights once, so they must come from memory: a rotation is larger than any cache. */
    private static final long ROTATION_BYTES = 512L << 20;

    private static final long ROWS_BOUND_BY_MEMORY = 16;

    /**
     * As dense implementations get it. Values f32 and bf16 are codes of 8 bits times a power of two, so that both types
     * hold them exactly.
     */
    final QMatmulData dense;

    /** [N, K] bits, a row in whole bytes: weight k of row n is kept if bit k % 8 of byte k / 8 is 1. */
    final byte[] mask;

    /** Copies of the sparse weights; dense ones, which are larger, have fewer. */
    final int copies;

    private final NmMatmulCase problem;

    /** The input of a case; takes the weights of another one if they are the same. */
    NmMatmulData(NmMatmulCase problem, NmMatmulData other) {
        this.problem = problem;
        QMatmulCase all = problem.dense();
        float[] x = QMatmulData.activations(all);
        copies = copies(problem, problem.weightBytes());
        boolean same = other != null && sameWeights(problem, other.problem);
        mask = same ? other.mask : mask(problem);
        byte[] codes = same ? other.dense.codes : codes(all, mask);
        float[] scales = same ? other.dense.scales : scales(all);
        dense = new QMatmulData(all, x, codes, scales, copies(problem, all.weightBytes()));
    }

    private static int copies(NmMatmulCase problem, long bytes) {
        return problem.rows() > ROWS_BOUND_BY_MEMORY ? 1 : Math.toIntExact(Math.ceilDiv(ROTATION_BYTES, bytes));
    }

    private static boolean sameWeights(NmMatmulCase a, NmMatmulCase b) {
        return a.withRows(1).withThreads(1).equals(b.withRows(1).withThreads(1));
    }

    /** Bytes of a row of the mask. */
    static int maskBytes(long depth) {
        return Math.toIntExact(Math.ceilDiv(depth, Byte.SIZE));
    }

    /** Any n positions of each m with the same probability. */
    private static byte[] mask(NmMatmulCase problem) {
        int rowBytes = maskBytes(problem.depth());
        byte[] mask = new byte[Math.toIntExact(problem.columns() * rowBytes)];
        IntStream.range(0, Math.toIntExact(problem.columns())).parallel().forEach(row -> {
            RandomGenerator random = new SplittableRandom(row);
            int need = 0;
            for (int k = 0; k < problem.depth(); k++) {
                int inGroup = k % problem.m();
                long size = Math.min(problem.m(), problem.depth() - k + inGroup);
                if (inGroup == 0) {
                    need = (int) Math.min(problem.n(), size);
                }
                if (random.nextInt((int) size - inGroup) < need) {
                    mask[row * rowBytes + k / Byte.SIZE] |= (byte) (1 << k % Byte.SIZE);
                    need--;
                }
            }
        });
        return mask;
    }

    /** Whether weight k of row n is kept. */
    boolean isKept(int n, int k) {
        return isKept(mask, problem.depth(), n, k);
    }

    private static boolean isKept(byte[] mask, long depth, int n, int k) {
        return (mask[n * maskBytes(depth) + k / Byte.SIZE] >> k % Byte.SIZE & 1) == 1;
    }

    private static byte[] codes(QMatmulCase all, byte[] mask) {
        byte[] codes = QMatmulData.codes(all);
        byte zero = (byte) (all.isInt4() ? 8 : 0);
        int depth = Math.toIntExact(all.depth());
        IntStream.range(0, codes.length / depth).parallel().forEach(row -> {
            for (int k = 0; k < depth; k++) {
                if (!isKept(mask, depth, row, k)) {
                    codes[row * depth + k] = zero;
                }
            }
        });
        return codes;
    }

    private static float[] scales(QMatmulCase all) {
        float[] scales = QMatmulData.scales(all);
        if (!all.activations().equals("i8row")) {
            for (int i = 0; i < scales.length; i++) {
                scales[i] = Math.scalb(1f, Math.getExponent(scales[i]));
            }
        }
        return scales;
    }
}
