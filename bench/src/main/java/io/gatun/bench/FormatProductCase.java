package io.gatun.bench;

import io.gatun.ops.GgufType;
import io.gatun.ops.QuantSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A multiplication y[M, N] = x[M, K] w[N, K]^T of f32 rows by weights in a format that is no groups of integers.
 *
 * @param weights and how activations meet them
 * @param columns N
 * @param depth K
 * @param rows M
 * @param threads that may work
 */
public record FormatProductCase(Weights weights, long columns, long depth, long rows, int threads) {
    /** Llama-3-8B's gate projection. */
    private static final long COLUMNS = 14336;

    private static final long DEPTH = 4096;
    private static final List<Long> ROWS = List.of(1L, 512L);

    /**
     * Weights.
     *
     * @param name in the records, with how activations meet them
     * @param spec of the weights
     * @param bits of a weight with its part of the scales
     * @param maxError of a product, against the values of the weights: from the rounding of activations
     */
    record Weights(String name, QuantSpec spec, double bits, double maxError) {}

    /** A code book, microscaling floats, blocks of files. */
    static final List<Weights> WEIGHTS = List.of(
            new Weights("nf4 b64 bf16", QuantSpec.nf4(64), 4.5, 0.003),
            new Weights("mxfp4 i8row", QuantSpec.mxfp4(), 4.25, 0.012),
            new Weights("q4_k i8row", QuantSpec.gguf(GgufType.Q4_K), 4.5, 0.012));

    private static final Pattern NAME = Pattern.compile("(.+) (\\d+)x(\\d+) m=(\\d+) t=(\\d+)");

    /** Those of some weights. */
    static List<FormatProductCase> of(Weights weights, List<Integer> threadCounts) {
        List<FormatProductCase> cases = new ArrayList<>();
        for (long rows : ROWS) {
            threadCounts.forEach(threads -> cases.add(new FormatProductCase(weights, COLUMNS, DEPTH, rows, threads)));
        }
        return cases;
    }

    /** The case of a name; empty if the name is another one's. */
    public static Optional<FormatProductCase> named(String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            return Optional.empty();
        }
        return WEIGHTS.stream()
                .filter(weights -> weights.name.equals(parts.group(1)))
                .findFirst()
                .map(weights -> new FormatProductCase(
                        weights,
                        Long.parseLong(parts.group(2)),
                        Long.parseLong(parts.group(3)),
                        Long.parseLong(parts.group(4)),
                        Integer.parseInt(parts.group(5))));
    }

    /** {@code <format> <activations> NxK m=M t=threads}: {@code nf4 b64 bf16 14336x4096 m=512 t=2}. */
    public String name() {
        return weights.name + " " + columns + "x" + depth + " m=" + rows + " t=" + threads;
    }

    /** The first part of the name: {@code nf4 b64 bf16}. */
    public String kind() {
        return weights.name;
    }

    /** What the weights take at least. */
    public long weightBytes() {
        return Math.round(columns * depth / 8.0 * weights.bits);
    }

    /** Multiplications and additions. */
    public double operations() {
        return 2.0 * rows * columns * depth;
    }
}
