package io.gatun.bench;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A multiplication y[M, N] = x[M, K] w[N, K]^T by weights of which n of every m along the depth are kept.
 *
 * @param values {@code f32}, {@code bf16}, {@code int8} with a scale for each row, or {@code int4} with one for each group
 * @param group weights that share a scale, of int4; otherwise 0
 * @param n kept of every m
 * @param m size of a group of weights, n of which are kept
 * @param columns N
 * @param depth K
 * @param rows M
 * @param threads that may work
 */
public record NmMatmulCase(String values, int group, int n, int m, long columns, long depth, long rows, int threads) {
    private static final Pattern NAME =
            Pattern.compile("(f32|bf16|int8|int4)(?: g(\\d+))? (\\d+):(\\d+) (\\d+)x(\\d+) m=(\\d+) t=(\\d+)");

    /**
     * The name in tables, records and the report, which {@code --peer} programs get, too:
     *
     * <pre>
     * name     values n:m NxK m=M t=threads
     * values   f32 | bf16 | int8 | int4 g&lt;weights that share a scale&gt;
     * example  int4 g64 2:4 14336x4096 m=1 t=1
     * </pre>
     *
     * Records of the same op with another name: {@code <name> speedup}, how much faster the fastest dense implementation is
     * made by sparsity ({@link NmMatmulBench}), and those of {@link NmPruneCase#name}.
     */
    public String name() {
        return kind() + " " + columns + "x" + depth + " m=" + rows + " t=" + threads;
    }

    /** The first part of the name: {@code int4 g64 2:4}. */
    public String kind() {
        return values + (group == 0 ? "" : " g" + group) + " " + n + ":" + m;
    }

    /** The case of a name; empty if the name is another one's. */
    public static Optional<NmMatmulCase> named(String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            return Optional.empty();
        }
        return Optional.of(new NmMatmulCase(
                parts.group(1),
                parts.group(2) == null ? 0 : Integer.parseInt(parts.group(2)),
                Integer.parseInt(parts.group(3)),
                Integer.parseInt(parts.group(4)),
                Long.parseLong(parts.group(5)),
                Long.parseLong(parts.group(6)),
                Long.parseLong(parts.group(7)),
                Integer.parseInt(parts.group(8))));
    }

    /** The multiplication by the same weights with their zeros, which dense implementations are given. */
    QMatmulCase dense() {
        String activations = switch (values) {
            case "f32", "bf16" -> values;
            default -> "i8row";
        };
        return new QMatmulCase(
                values.equals("int4") ? "int4" : "int8",
                group,
                activations,
                columns,
                depth,
                rows,
                threads,
                null,
                values.equals("f32"),
                false);
    }

    /** Whether values are codes, which meet activations that are quantized on the fly. */
    boolean isInteger() {
        return values.startsWith("int");
    }

    /** Kept weights of a row; a last group beyond the depth is a whole one. */
    long kept() {
        return Math.ceilDiv(depth, m) * n;
    }

    /** What values, indices and scales take in the canonical form, in whatever form an implementation keeps them. */
    public long weightBytes() {
        return columns * (bytes(kept(), valueBits()) + indexBytes() + scaleBytes());
    }

    /** The indices of a row. */
    long indexBytes() {
        return bytes(kept(), m <= 4 ? 2 : m <= 16 ? 4 : 8);
    }

    private long scaleBytes() {
        return switch (values) {
            case "int8" -> Float.BYTES;
            case "int4" -> dense().groups() * Short.BYTES;
            default -> 0;
        };
    }

    private int valueBits() {
        return switch (values) {
            case "f32" -> 32;
            case "bf16" -> 16;
            case "int8" -> 8;
            default -> 4;
        };
    }

    private static long bytes(long count, int bits) {
        return Math.ceilDiv(count * bits, Byte.SIZE);
    }

    /** Multiplications and additions of kept weights. */
    public double operations() {
        return 2.0 * rows * columns * kept();
    }

    /** The same with other threads. */
    NmMatmulCase withThreads(int count) {
        return new NmMatmulCase(values, group, n, m, columns, depth, rows, count);
    }

    /** The same with other rows. */
    NmMatmulCase withRows(long count) {
        return new NmMatmulCase(values, group, n, m, columns, depth, count, threads);
    }
}
