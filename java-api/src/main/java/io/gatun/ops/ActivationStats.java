package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_prune_observe;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.DoubleBinaryOperator;

/**
 * What the inputs of a layer are like, one number for each of its {@code depth} inputs: running sums over the rows it has
 * seen, for {@link Prune}. Not safe for use by several threads at once.
 */
public final class ActivationStats {
    private final long depth;
    private final MemorySegment sums;
    private final MemorySegment squares;
    private long rows;

    private ActivationStats(long depth) {
        this.depth = depth;
        Arena arena = Arena.ofAuto();
        long bytes = Math.max(depth, 1) * Double.BYTES;
        sums = Check.allocate(arena, bytes, Double.BYTES);
        squares = Check.allocate(arena, bytes, Double.BYTES);
    }

    /** Of no rows yet. */
    public static ActivationStats of(long depth) {
        Check.range("depth", depth, 0, Long.MAX_VALUE / Double.BYTES);
        return new ActivationStats(depth);
    }

    /** As {@link #observe(Tensor, int)} with all threads. */
    public void observe(Tensor x) {
        observe(x, 0);
    }

    /**
     * Adds rows to the sums, in doubles and in order: batches may be cut anywhere. O(rows * depth).
     *
     * @param x f32, f16 or bf16 [rows, depth], columns adjacent, rows at any distance
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit
     * @throws IllegalStateException if the arena of x is closed
     * @throws WrongThreadException if the arena of x is confined to another thread
     */
    public void observe(Tensor x, int threads) {
        Check.present("x", x);
        QuantizeCall.checkValueType("x", x.dtype());
        Check.matrix("x", x, -1, depth);
        Check.rowMajor("x", x);
        Check.threads(threads);
        Check.reachable("x", x.segment());
        long more = x.shape().size(0);
        NativeLibrary.load();
        Native.call(() -> gatun_prune_observe(
                x.dtype().code(), more, depth, Native.rowStride(x), x.segment(), threads, sums, squares));
        rows += more;
    }

    /** The number of inputs of the layer. */
    public long depth() {
        return depth;
    }

    /** The number of rows that were observed. */
    public long rows() {
        return rows;
    }

    /** sqrt(sum of x^2) of each input, f32 [depth], in new memory: what Wanda multiplies magnitudes with. */
    public Tensor norms() {
        return numbers((sum, square) -> Math.sqrt(square));
    }

    /** The mean of each input, f32 [depth], in new memory; 0 of no rows. */
    public Tensor means() {
        return numbers((sum, square) -> mean(sum));
    }

    /** The mean of (x - mean)^2 of each input, f32 [depth], in new memory; 0 of no rows. */
    public Tensor variances() {
        return numbers((sum, square) -> Math.max(mean(square) - mean(sum) * mean(sum), 0));
    }

    private double mean(double sum) {
        return rows == 0 ? 0 : sum / rows;
    }

    private Tensor numbers(DoubleBinaryOperator of) {
        Tensor numbers = Tensor.allocate(DType.F32, depth);
        for (long k = 0; k < depth; k++) {
            double number = of.applyAsDouble(sums.getAtIndex(JAVA_DOUBLE, k), squares.getAtIndex(JAVA_DOUBLE, k));
            numbers.setFloat((float) number, k);
        }
        return numbers;
    }

    /** {@code stats of 384 inputs, 100 rows}. */
    @Override
    public String toString() {
        return "stats of " + depth + " inputs, " + rows + " rows";
    }
}
