package io.gatun.bench;

/**
 * Pruning of f32 weights by magnitude to the canonical form: values and indices.
 *
 * @param n kept of every m
 * @param m size of a group
 * @param columns rows of the matrix of weights
 * @param depth a multiple of m
 * @param threads that may work
 */
record NmPruneCase(int n, int m, long columns, long depth, int threads) {
    /** {@code prune+compress f32 n:m NxK t=threads}: {@code prune+compress f32 2:4 14336x4096 t=2}. */
    String name() {
        return "prune+compress f32 " + n + ":" + m + " " + columns + "x" + depth + " t=" + threads;
    }

    /** Of the weights. */
    long bytesRead() {
        return columns * depth * Float.BYTES;
    }

    /** Of values and indices. */
    long bytesWritten() {
        return new NmMatmulCase("f32", 0, n, m, columns, depth, 1, threads).weightBytes();
    }

    /** Whether weight k of a row is kept: fewer than n of its group are larger, or as large and before it. */
    boolean keeps(float[] weights, int row, int k) {
        int begin = Math.toIntExact(row * depth) + k / m * m;
        int at = begin + k % m;
        int better = 0;
        for (int other = begin; other < begin + m; other++) {
            int order = Float.compare(Math.abs(weights[other]), Math.abs(weights[at]));
            if (order > 0 || order == 0 && other < at) {
                better++;
            }
        }
        return better < n;
    }
}
