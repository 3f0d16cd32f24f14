package io.gatun.ops;

/** Eigenvectors of symmetric matrices by rotations of pairs of axes (Jacobi 1846), which reach full precision. */
final class Jacobi {
    private static final int MOST_SWEEPS = 60;

    private Jacobi() {}

    /** As columns. The matrix becomes diagonal, its diagonal the eigenvalues, in no order. O(size^3) a sweep of a few. */
    static double[][] eigenvectors(double[][] a) {
        int size = a.length;
        double[][] vectors = new double[size][size];
        for (int i = 0; i < size; i++) {
            vectors[i][i] = 1;
        }
        for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
            boolean rotated = false;
            for (int p = 0; p < size; p++) {
                for (int q = p + 1; q < size; q++) {
                    if (Math.abs(a[p][q]) > 1e-16 * Math.sqrt(Math.abs(a[p][p] * a[q][q]))) {
                        rotate(a, vectors, p, q);
                        rotated = true;
                    }
                }
            }
            if (!rotated) {
                break;
            }
        }
        return vectors;
    }

    private static void rotate(double[][] a, double[][] vectors, int p, int q) {
        double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        double tangent = Math.copySign(1, theta) / (Math.abs(theta) + Math.hypot(theta, 1));
        double cosine = 1 / Math.hypot(tangent, 1);
        double sine = tangent * cosine;
        for (double[] row : a) {
            turn(row, p, q, cosine, sine);
        }
        for (int i = 0; i < a.length; i++) {
            double first = a[p][i];
            double second = a[q][i];
            a[p][i] = cosine * first - sine * second;
            a[q][i] = sine * first + cosine * second;
        }
        a[p][q] = 0;
        a[q][p] = 0;
        for (double[] row : vectors) {
            turn(row, p, q, cosine, sine);
        }
    }

    private static void turn(double[] row, int p, int q, double cosine, double sine) {
        double first = row[p];
        double second = row[q];
        row[p] = cosine * first - sine * second;
        row[q] = sine * first + cosine * second;
    }
}
