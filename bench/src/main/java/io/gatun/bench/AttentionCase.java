package io.gatun.bench;

import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Attention of 32 heads of 128 to as many keys as queries, or the choice of the blocks that are worth it.
 *
 * @param dtype of q, k and v: {@code f32}, {@code bf16}, {@code f16}; {@code int8}: bf16 whose products q k^T are of
 * int8
 * @param kind what is computed
 * @param method of a selection: {@code means} or {@code antidiagonal}; otherwise null
 * @param length S: queries and keys
 * @param causal whether a query sees no later keys
 * @param percent of the blocks of 64 x 64 that are kept, of those that are seen at all; 100 if dense
 * @param threads that may work
 */
public record AttentionCase(
        String dtype, Kind kind, String method, int length, boolean causal, int percent, int threads) {
    /** What is computed. */
    public enum Kind {
        /** Attention to all keys. */
        DENSE,
        /** Attention to random blocks of keys. */
        SPARSE,
        /** Which blocks to attend to. */
        SELECT
    }

    public static final int HEADS = 32;
    public static final int HEAD_SIZE = 128;
    /** Rows and keys of a block. */
    public static final int BLOCK = 64;

    private static final int ALL = 100;
    private static final Pattern NAME =
            Pattern.compile("(f32|bf16|f16|int8) (?:(dense)|(sparse)|select (means|antidiagonal)) "
                    + "(\\d+) (full|causal)(?: d=(\\d+))? t=(\\d+)");

    /** @throws IllegalArgumentException if the parts do not belong together */
    public AttentionCase {
        if (kind == Kind.DENSE != (percent == ALL) || kind == Kind.SELECT != (method != null)) {
            throw new IllegalArgumentException(kind + ": percent " + percent + ", method " + method);
        }
    }

    static AttentionCase dense(String dtype, int length, boolean causal, int threads) {
        return new AttentionCase(dtype, Kind.DENSE, null, length, causal, ALL, threads);
    }

    static AttentionCase sparse(String dtype, int length, boolean causal, int percent, int threads) {
        return new AttentionCase(dtype, Kind.SPARSE, null, length, causal, percent, threads);
    }

    static AttentionCase select(String method, int length, boolean causal, int percent, int threads) {
        return new AttentionCase("bf16", Kind.SELECT, method, length, causal, percent, threads);
    }

    /**
     * The name in tables, records and the report, which {@code --peer} programs get, too:
     *
     * <pre>
     * name     dtype kind S full|causal [d=percent] t=threads
     * kind     dense | sparse | select means | select antidiagonal
     * example  bf16 sparse 8192 causal d=10 t=2
     * </pre>
     *
     * Sparse and select have d, the percent of blocks that are kept, dense has none. Records of the same op with
     * another name: {@code <name> <what>}, a relation of that case's time to another time ({@link AttentionBench}), and
     * {@code mask S full|causal d=percent t=1}, the time that a map of blocks takes to become lists.
     */
    public String name() {
        return dtype + " " + kind.name().toLowerCase(Locale.ROOT) + (method == null ? "" : " " + method) + " "
                + problem();
    }

    /** The last part of the name, which tells nothing of the way: {@code 8192 causal d=10 t=2}. */
    private String problem() {
        return length + (causal ? " causal" : " full") + (percent == ALL ? "" : " d=" + percent) + " t=" + threads;
    }

    /** What masks of the case are called, when they are made: on one thread. */
    String maskName() {
        return "mask " + withThreads(1).problem();
    }

    /** The case of a name; empty if the name is another one's. */
    public static Optional<AttentionCase> named(String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches() || (parts.group(2) == null) != (parts.group(7) != null)) {
            return Optional.empty();
        }
        Kind kind = parts.group(2) != null ? Kind.DENSE : parts.group(3) != null ? Kind.SPARSE : Kind.SELECT;
        return Optional.of(new AttentionCase(
                parts.group(1),
                kind,
                parts.group(4),
                Integer.parseInt(parts.group(5)),
                parts.group(6).equals("causal"),
                kind == Kind.DENSE ? ALL : Integer.parseInt(parts.group(7)),
                Integer.parseInt(parts.group(8))));
    }

    /** Attention to all keys that the sparse one may see, by the same type. */
    AttentionCase asDense() {
        return dense(dtype, length, causal, threads);
    }

    /** The same by another type. */
    AttentionCase with(String otherDtype) {
        return new AttentionCase(otherDtype, kind, method, length, causal, percent, threads);
    }

    private AttentionCase withThreads(int other) {
        return new AttentionCase(dtype, kind, method, length, causal, percent, other);
    }

    /** Of a sequence. */
    public int blocks() {
        return Math.ceilDiv(length, BLOCK);
    }

    /** Pairs of a query and a key that it sees, of one head, if all blocks are kept: half of S^2 if causal. */
    public long densePairs() {
        return causal ? (long) length * (length + 1) / 2 : (long) length * length;
    }

    /** 2 for each product of q k^T and of the exponentials and v, for as many pairs of one head. */
    public double operations(double pairs) {
        return 4.0 * HEADS * HEAD_SIZE * pairs;
    }

    /** q, k, v and the result once. */
    public long bytes() {
        return 4L * HEADS * length * HEAD_SIZE * (dtype.equals("f32") ? Float.BYTES : Short.BYTES);
    }
}
