package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Keys or values of fewer channels by an orthogonal projection for each head (MatryoshkaKV, Lin et al. 2024): with the
 * basis B [size, size] of a head, a cache holds the first r numbers of B x. Queries are projected by the basis of the
 * keys, as q . k is (B q) . (B k); what attention gives of projected values is a result of r numbers, which B^T makes a
 * result of {@code size} again. The directions are nested: those of r channels are the first of those of more, so one
 * basis serves any r, another one for each head, layer or sequence.
 *
 * <p>{@link #fit} starts from principal components, the paper's first step; a basis that was trained further is given
 * by {@link #of}. Products are those of {@link Decode}, in f32.
 */
public final class KvProjection implements AutoCloseable {
    /** Rows that one call of {@link Decode} takes. */
    private static final int CHUNK = 256;

    private final Tensor basis;
    private final double[][] energies;
    private final KvPool directions;
    private final KvPool[] backward;

    private KvProjection(Tensor basis, double[][] energies) {
        this.basis = basis;
        this.energies = energies;
        directions = pool(basis);
        backward = new KvPool[size() / 8 + 1];
    }

    /** The rows of each head's matrix as keys of one page. */
    private static KvPool pool(Tensor rows) {
        int heads = (int) rows.shape().size(0);
        int count = (int) rows.shape().size(1);
        KvPool pool = KvPool.allocate(
                KvFormat.F32, heads, 1, count, (int) rows.shape().size(2));
        pool.write(rows, IntStream.range(0, count).asLongStream().toArray());
        return pool;
    }

    /**
     * The principal components of samples, about 0, by descending energy: of all projections to r channels that of the
     * least squared error. O(heads * (tokens * size^2 + size^3)) in doubles.
     *
     * @param rows f32, bf16 or f16 [heads, tokens, size], the size a multiple of 8 in 8..256; finite
     */
    public static KvProjection fit(Tensor rows) {
        checkRows("rows", rows);
        int heads = (int) rows.shape().size(0);
        int size = (int) rows.shape().size(2);
        float[] values = rows.toFloatArray();
        float[] basis = new float[heads * size * size];
        double[][] energies = new double[heads][];
        int perHead = values.length / heads;
        for (int h = 0; h < heads; h++) {
            double[][] moments = new double[size][size];
            for (int begin = h * perHead; begin < (h + 1) * perHead; begin += size) {
                for (int i = 0; i < size; i++) {
                    if (!Float.isFinite(values[begin + i])) {
                        throw Check.invalid("rows", values[begin + i], "finite numbers");
                    }
                    for (int j = 0; j <= i; j++) {
                        moments[i][j] += (double) values[begin + i] * values[begin + j];
                        moments[j][i] = moments[i][j];
                    }
                }
            }
            double[][] vectors = Jacobi.eigenvectors(moments);
            energies[h] = new double[size];
            int[] order = IntStream.range(0, size)
                    .boxed()
                    .sorted((a, b) -> Double.compare(moments[b][b], moments[a][a]))
                    .mapToInt(i -> i)
                    .toArray();
            for (int r = 0; r < size; r++) {
                energies[h][r] = Math.max(moments[order[r]][order[r]], 0);
                for (int i = 0; i < size; i++) {
                    basis[(h * size + r) * size + i] = (float) vectors[i][order[r]];
                }
            }
        }
        return new KvProjection(Tensor.of(basis, heads, size, size), energies);
    }

    /**
     * A basis of one's own, as training gives it.
     *
     * @param basis f32 [heads, size, size], of each head the directions as orthonormal rows, the most important one
     *     first
     * @throws IllegalArgumentException if products of rows are off 1 or 0 by more than 1e-4
     */
    public static KvProjection of(Tensor basis) {
        checkRows("basis", basis);
        Check.dtype("basis", basis, AttentionCall.F32);
        int size = (int) basis.shape().size(2);
        if (basis.shape().size(1) != size) {
            throw Check.invalid("basis", "shape " + basis.shape(), "[heads, size, size]");
        }
        float[] values = basis.toFloatArray();
        for (int row = 0; row < values.length / size; row++) {
            for (int other = row / size * size; other <= row; other++) {
                double dot = 0;
                for (int i = 0; i < size; i++) {
                    dot += (double) values[row * size + i] * values[other * size + i];
                }
                if (!(Math.abs(dot - (row == other ? 1 : 0)) <= 1e-4)) {
                    throw Check.invalid(
                            "basis[" + row / size + "]",
                            "rows " + other % size + " and " + row % size + " with the product " + dot,
                            "orthonormal rows");
                }
            }
        }
        return new KvProjection(basis.contiguous(), null);
    }

    private static void checkRows(String name, Tensor rows) {
        Check.present(name, rows);
        Check.dtype(name, rows, AttentionCall.FLOATS);
        if (rows.shape().rank() != 3 || rows.shape().size(0) == 0) {
            throw Check.invalid(name, "shape " + rows.shape(), "[heads, rows, size] with a head or more");
        }
        long size = rows.shape().size(2);
        if (size % 8 != 0 || size < 8 || size > 256) {
            throw Check.invalid(name, "size " + size, "multiples of 8 in 8..256");
        }
    }

    /** How many heads have a basis. */
    public int heads() {
        return (int) basis.shape().size(0);
    }

    /** Channels before the projection. */
    public int size() {
        return (int) basis.shape().size(2);
    }

    /** f32 [heads, size, size], of each head the directions as rows. */
    public Tensor basis() {
        return basis;
    }

    /**
     * The fewest channels, a multiple of 8, that hold a share of the samples' energy in each head.
     *
     * @param share 0..1
     * @throws IllegalStateException if the basis was given, not fit
     */
    public int channels(double share) {
        if (!(share >= 0 && share <= 1)) {
            throw Check.invalid("share", share, "0..1");
        }
        if (energies == null) {
            throw new IllegalStateException(
                    "channels: given a basis without samples; allowed: one of KvProjection.fit");
        }
        int most = 8;
        for (double[] energy : energies) {
            double limit = share * Arrays.stream(energy).sum();
            double sum = Arrays.stream(energy, 0, most).sum();
            while (sum < limit && most < size()) {
                sum += Arrays.stream(energy, most, most + 8).sum();
                most += 8;
            }
        }
        return most;
    }

    /**
     * B x, its first channels.
     *
     * @param x f32, bf16 or f16 [batch, heads, rows, size], heads a multiple of those of the basis, each of which
     *     belongs to as many heads in a row (queries)
     * @param y f32 [batch, heads, rows, channels], keys adjacent: the channels are a multiple of 8 up to the size
     */
    public void project(Tensor x, Tensor y) {
        checkPair("x", x, "y", y);
        multiply(x, directions, y);
    }

    /**
     * B^T y: what a result of attention to projected values was before the projection.
     *
     * @param y f32, bf16 or f16 [batch, heads, rows, channels]
     * @param x f32 [batch, heads, rows, size]
     */
    public void restore(Tensor y, Tensor x) {
        checkPair("x", x, "y", y);
        int channels = (int) y.shape().size(3);
        KvPool pool;
        synchronized (backward) {
            pool = backward[channels / 8];
            if (pool == null) {
                pool = pool(transposed(channels));
                backward[channels / 8] = pool;
            }
        }
        multiply(y, pool, x);
    }

    private void checkPair(String wideName, Tensor wide, String narrowName, Tensor narrow) {
        Check.present(wideName, wide);
        Check.present(narrowName, narrow);
        if (wide.shape().rank() != 4
                || wide.shape().size(1) % heads() != 0
                || wide.shape().size(3) != size()) {
            throw Check.invalid(
                    wideName, "shape " + wide.shape(), "[batch, a multiple of " + heads() + ", rows, " + size() + "]");
        }
        long channels = narrow.shape().rank() == 4 ? narrow.shape().size(3) : 0;
        if (channels < 8
                || channels > size()
                || channels % 8 != 0
                || narrow.shape().size(0) != wide.shape().size(0)
                || narrow.shape().size(1) != wide.shape().size(1)
                || narrow.shape().size(2) != wide.shape().size(2)) {
            throw Check.invalid(
                    narrowName,
                    "shape " + narrow.shape(),
                    "that of " + wideName + " " + wide.shape() + " with a multiple of 8 in 8.." + size()
                            + " as the last axis");
        }
    }

    /** Products of rows of x and of the pool, which are as many for each head as y has columns. */
    private static void multiply(Tensor x, KvPool pool, Tensor y) {
        Decode.Options options = Decode.Options.DEFAULT.withScale(1);
        int batch = Math.toIntExact(x.shape().size(0));
        Tensor table = Tensor.allocate(DType.I32, batch, 1, 1); // the page 0 for every item
        long[] lengths = new long[batch];
        Arrays.fill(lengths, y.shape().size(3));
        for (long begin = 0; begin < x.shape().size(2); begin += CHUNK) {
            long end = Math.min(begin + CHUNK, x.shape().size(2));
            Decode.logits(x.slice(2, begin, end), pool, table, lengths, options.withLogits(y.slice(2, begin, end)));
        }
    }

    private Tensor transposed(int channels) {
        float[] rows = basis.toFloatArray();
        float[] columns = new float[heads() * size() * channels];
        for (int n = 0; n < columns.length; n++) {
            int head = n / channels / size();
            columns[n] = rows[(head * size() + n % channels) * size() + n / channels % size()];
        }
        return Tensor.of(columns, heads(), size(), channels);
    }

    /** Releases memory outside the heap; no method may be called then but {@link #basis}. */
    @Override
    public void close() {
        directions.close();
        synchronized (backward) {
            for (int n = 0; n < backward.length; n++) {
                if (backward[n] != null) {
                    backward[n].close();
                    backward[n] = null;
                }
            }
        }
    }
}
