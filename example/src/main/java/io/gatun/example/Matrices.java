package io.gatun.example;

/** Products of matrices of f32, row by row, in loops that a JIT compiler vectorizes. */
final class Matrices {
    private static final int BLOCK = 4;

    private Matrices() {}

    /** y [rows, columns] += a [rows, depth] b [depth, columns]. */
    static void multiplyAdd(float[] a, float[] b, float[] y, int rows, int depth, int columns) {
        int whole = depth / BLOCK * BLOCK;
        for (int row = 0; row < rows; row++) {
            int to = row * columns;
            for (int k = 0; k < whole; k += BLOCK) {
                int at = row * depth + k;
                addFour(a[at], a[at + 1], a[at + 2], a[at + 3], b, k * columns, columns, y, to);
            }
            for (int k = whole; k < depth; k++) {
                add(a[row * depth + k], b, k * columns, y, to, columns);
            }
        }
    }

    /** A row y += a0 b0 + a1 b1 + a2 b2 + a3 b3, of four rows of b. */
    private static void addFour(
            float a0, float a1, float a2, float a3, float[] b, int at, int columns, float[] y, int to) {
        for (int i = 0; i < columns; i++) {
            y[to + i] += a0 * b[at + i]
                    + a1 * b[at + columns + i]
                    + a2 * b[at + 2 * columns + i]
                    + a3 * b[at + 3 * columns + i];
        }
    }

    private static void add(float a, float[] b, int at, float[] y, int to, int columns) {
        for (int i = 0; i < columns; i++) {
            y[to + i] += a * b[at + i];
        }
    }

    /** [rows, columns] to [columns, rows]. */
    static float[] transpose(float[] matrix, int rows, int columns) {
        float[] turned = new float[matrix.length];
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                turned[column * rows + row] = matrix[row * columns + column];
            }
        }
        return turned;
    }
}
