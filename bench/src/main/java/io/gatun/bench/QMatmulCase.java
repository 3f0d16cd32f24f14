package io.gatun.bench;

/**
 * A multiplication y[M, N] = x[M, K] w[N, K]^T by quantized weights.
 *
 * @param weights {@code int4} or {@code int8}
 * @param group weights of a row that share a scale, or 0 for the whole row
 * @param activations how x meets them: {@code i8row} (quantized on the fly, one scale a row), {@code i8group} or {@code f32};
 *     {@code bf16} where peers multiply bf16 values of both, as they do beside sparse weights
 * @param columns N
 * @param depth K
 * @param rows M
 * @param threads that may work
 * @param tier the instruction set that Gatun is held to, or null
 * @param precise whether Gatun multiplies in f32 precision
 * @param odd whether the sizes are primes near those of a layer
 */
public record QMatmulCase(
        String weights,
        int group,
        String activations,
        long columns,
        long depth,
        long rows,
        int threads,
        String tier,
        boolean precise,
        boolean odd) {

    /**
     * The name in tables, records and the report, which {@code --peer} programs get, too:
     *
     * <pre>
     * name        weights group activations NxK m=M t=threads [suffix]...
     * weights     int4 | int8
     * group       g&lt;weights that share a scale&gt; | row
     * activations i8row | i8group | f32
     * example     int4 g32 i8row 14336x4096 m=512 t=2
     * </pre>
     *
     * Suffixes of a case, in this order, which {@link io.gatun.bench.report} reads back for the roofline:
     *
     * <pre>
     * tier=T          Gatun is held to an instruction set, in a process of its own: tier=avx2
     * mode=precise    Gatun multiplies in f32 precision; activations are f32
     * odd             N and K are primes near those of a layer
     * </pre>
     *
     * One more where a case is no product beside peers, or a record no time; the roofline leaves them out:
     *
     * <pre>
     * qkv             N columns of three weights side by side, in one call or several ({@link SideBySide})
     * experts=E       M rows in groups, one for each of E weights of N columns ({@link Experts})
     * callers=C       C Java threads call at once, t threads working for each call ({@link Callers})
     * CallOverhead    what a call of 1x1 costs beside its work ({@link CallOverhead})
     * scaling         last: how much faster t threads are than one ({@link Scaling})
     * speedup         last: how much faster one way to call is than another ({@link Rating})
     * </pre>
     *
     * Two names are of another kind: {@code idle pool t=threads} ({@link IdlePool}), and in the records of the limits
     * {@code <kind> t=threads [tier=T]} ({@link MeasuredLimits}).
     */
    public String name() {
        return weights + (group == 0 ? " row " : " g" + group + " ") + activations + " " + columns + "x" + depth + " m="
                + rows
                + " t=" + threads + (tier == null ? "" : " tier=" + tier) + (precise ? " mode=precise" : "")
                + (odd ? " odd" : "");
    }

    /** Whether peers multiply values in bf16, weights having been expanded before. */
    public boolean inBf16() {
        return activations.equals("bf16");
    }

    /** Whether weights have 4 bits. */
    public boolean isInt4() {
        return weights.equals("int4");
    }

    /** Weights that share a scale. */
    public long groupSize() {
        return group == 0 ? depth : group;
    }

    /** Scales of a row of weights. */
    public long groups() {
        return Math.ceilDiv(depth, groupSize());
    }

    /**
     * What the weights take at least: codes of 4 or 8 bits, scales of 2 bytes for groups and 4 for rows, in whatever form an
     * implementation keeps them.
     */
    public long weightBytes() {
        long codes = isInt4() ? columns * depth / 2 : columns * depth;
        return codes + columns * groups() * (group == 0 ? 4 : 2);
    }

    /** Multiplications and additions. */
    public double operations() {
        return 2.0 * rows * columns * depth;
    }

    /** By weights with activations quantized per row, on one thread. */
    static QMatmulCase of(String weights, int group, long columns, long depth, long rows) {
        return new QMatmulCase(weights, group, "i8row", columns, depth, rows, 1, null, false, false);
    }

    /** The same with other threads. */
    QMatmulCase withThreads(int count) {
        return new QMatmulCase(weights, group, activations, columns, depth, rows, count, tier, precise, odd);
    }

    /** The same with other rows. */
    QMatmulCase withRows(long count) {
        return new QMatmulCase(weights, group, activations, columns, depth, count, threads, tier, precise, odd);
    }

    /** The same with other columns. */
    QMatmulCase withColumns(long count) {
        return new QMatmulCase(weights, group, activations, count, depth, rows, threads, tier, precise, odd);
    }

    /** The same on another tier. */
    QMatmulCase onTier(String name) {
        return new QMatmulCase(weights, group, activations, columns, depth, rows, threads, name, precise, odd);
    }

    /** The same in the precise mode. */
    QMatmulCase precisely() {
        return new QMatmulCase(weights, group, "f32", columns, depth, rows, threads, tier, true, odd);
    }

    /** The same, said to have odd sizes. */
    QMatmulCase asOdd() {
        return new QMatmulCase(weights, group, activations, columns, depth, rows, threads, tier, precise, true);
    }
}
