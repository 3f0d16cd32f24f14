package io.gatun.ops;

import io.gatun.DType;
import io.gatun.internal.Check;

/**
 * Which weights of a matrix [rows, depth] may be kept together: what {@link Prune} keeps the best of.
 *
 * <p>A {@code sparsity} is the share of what the pattern counts that is pruned, 0 to 1: of {@code count} weights, rows,
 * columns or blocks {@code Math.round(count * sparsity)} are pruned.
 */
public sealed interface Sparsity {

    /** N of every M consecutive weights of a row: {@code nm(2, 4)} is the pattern of sparse tensor cores. */
    static Nm nm(int n, int m) {
        return new Nm(n, m, 1);
    }

    /** Tiles of 4 x 4 with two in each row and each column: 2:4 also when transposed. */
    static Transposable transposable() {
        return new Transposable();
    }

    /** The best weights of the matrix, wherever they are. */
    static Unstructured unstructured(double sparsity) {
        return new Unstructured(sparsity);
    }

    /** As many weights of each row. */
    static PerRow perRow(double sparsity) {
        return new PerRow(sparsity);
    }

    /** Whole rows: outputs of a layer. */
    static Rows rows(double sparsity) {
        return new Rows(sparsity);
    }

    /** Whole columns of the matrix: inputs of a layer. */
    static Columns columns(double sparsity) {
        return new Columns(sparsity);
    }

    /** Whole blocks of {@code rows} x {@code depth} weights; those at the ends are smaller. */
    static Blocks blocks(long rows, long depth, double sparsity) {
        return new Blocks(rows, depth, sparsity);
    }

    /**
     * N of every M consecutive weights of a row; a depth that is no multiple of M ends in a smaller group, which keeps
     * min(N, its size).
     *
     * @param n kept of every m, 1..m
     * @param m 2, 4, 8, 16 or 32
     * @param vector V of V:N:M: consecutive rows that keep the same positions, 1 or more; the last ones may be fewer
     */
    record Nm(int n, int m, int vector) implements Sparsity {
        /** Refuses other numbers. */
        public Nm {
            if (m != 2 && m != 4 && m != 8 && m != 16 && m != 32) {
                throw Check.invalid("m", m, "2, 4, 8, 16, 32");
            }
            Check.range("n", n, 1, m);
            Check.range("vector", vector, 1, Integer.MAX_VALUE);
        }

        /** The same with positions shared by {@code rows} consecutive rows. */
        public Nm withVector(int rows) {
            return new Nm(n, m, rows);
        }

        /** The kept weights of a row of {@code depth}, those that continue the last group beyond it included. */
        long kept(long depth) {
            Check.range("depth", depth, 0, Long.MAX_VALUE - m);
            return Math.ceilDiv(depth, m) * n;
        }

        /** The rows of indices of {@code rows} weights. */
        long vectors(long rows) {
            return Math.ceilDiv(rows, vector);
        }

        /** What an index is stored as. */
        DType indexType() {
            return m <= 4 ? DType.U2 : m <= 16 ? DType.U4 : DType.U8;
        }

        /** {@code 2:4}, or {@code 64:2:8} with a vector. */
        @Override
        public String toString() {
            return (vector > 1 ? vector + ":" : "") + n + ":" + m;
        }
    }

    /** See {@link Sparsity#transposable}. */
    record Transposable() implements Sparsity {}

    /** See {@link Sparsity#unstructured}. */
    record Unstructured(double sparsity) implements Sparsity {
        /** Refuses what is no share. */
        public Unstructured {
            checkShare(sparsity);
        }
    }

    /** See {@link Sparsity#perRow}. */
    record PerRow(double sparsity) implements Sparsity {
        /** Refuses what is no share. */
        public PerRow {
            checkShare(sparsity);
        }
    }

    /** See {@link Sparsity#rows}. */
    record Rows(double sparsity) implements Sparsity {
        /** Refuses what is no share. */
        public Rows {
            checkShare(sparsity);
        }
    }

    /** See {@link Sparsity#columns}. */
    record Columns(double sparsity) implements Sparsity {
        /** Refuses what is no share. */
        public Columns {
            checkShare(sparsity);
        }
    }

    /** See {@link Sparsity#blocks}. */
    record Blocks(long rows, long depth, double sparsity) implements Sparsity {
        /** Refuses empty blocks and what is no share. */
        public Blocks {
            Check.range("rows", rows, 1, Long.MAX_VALUE);
            Check.range("depth", depth, 1, Long.MAX_VALUE);
            checkShare(sparsity);
        }
    }

    private static void checkShare(double sparsity) {
        if (!(sparsity >= 0 && sparsity <= 1)) {
            throw Check.invalid("sparsity", sparsity, "0..1");
        }
    }
}
