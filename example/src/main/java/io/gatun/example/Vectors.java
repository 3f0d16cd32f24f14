package io.gatun.example;

/** Arithmetic on embeddings. */
final class Vectors {
    private Vectors() {}

    /** The mean of the first {@code count} rows, scaled to unit length. */
    static float[] unitMean(float[] rows, int count, int columns) {
        float[] sum = new float[columns];
        for (int row = 0; row < count; row++) {
            int offset = row * columns;
            for (int c = 0; c < columns; c++) {
                sum[c] += rows[offset + c];
            }
        }
        float scale = (float) (1 / Math.sqrt(dot(sum, sum)));
        for (int c = 0; c < columns; c++) {
            sum[c] *= scale;
        }
        return sum;
    }

    static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    static double cosine(float[] a, float[] b) {
        return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    }
}
