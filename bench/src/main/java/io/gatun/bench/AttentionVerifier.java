package io.gatun.bench;

import static io.gatun.bench.AttentionCase.BLOCK;
import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/** Checks sampled rows of what contenders compute for a case against the definition, in double. */
final class AttentionVerifier implements Session.Verifier {
    /** Rows at the edges of heads and blocks, and others anywhere. */
    private static final int ROWS = 64;

    /** As q, k and v are the same numbers in every type; of int8 codes 0.8 % of the largest of a block, 4 sigma. */
    private static final double MOST_F32 = 1e-5;

    private static final double MOST_BF16 = 1e-2;
    private static final double MOST_INT8 = 5e-2;

    private final AttentionCase problem;
    private final OutputCheck seen;

    /** Of all blocks, what ours is asked to compute beside the sparse one; null if the case is dense. */
    private final OutputCheck all;

    private final float[] y;

    AttentionVerifier(AttentionCase problem, AttentionData data, byte[] map) {
        this.problem = problem;
        y = new float[HEADS * problem.length() * HEAD_SIZE];
        seen = check(problem, data, map);
        all = map == null ? null : check(problem, data, null);
    }

    private static OutputCheck check(AttentionCase problem, AttentionData data, byte[] map) {
        long[] rows = rows(problem.length());
        double[][] expected = LongStream.of(rows)
                .parallel()
                .mapToObj(row -> row(
                        problem, data, map, Math.toIntExact(row / problem.length()), (int) (row % problem.length())))
                .toArray(double[][]::new);
        long[] indices = LongStream.of(rows)
                .flatMap(row -> LongStream.range(row * HEAD_SIZE, (row + 1) * HEAD_SIZE))
                .toArray();
        return new OutputCheck(HEAD_SIZE, indices, (row, i) -> expected[Arrays.binarySearch(rows, row)][(int) i]);
    }

    /** Rows of all heads, head * length + row, ascending. */
    private static long[] rows(int length) {
        SplittableRandom random = new SplittableRandom(5);
        LongStream edges = IntStream.of(0, 1, BLOCK - 1, BLOCK, length - BLOCK - 1, length - 1)
                .filter(row -> row >= 0 && row < length)
                .mapToLong(row -> row)
                .flatMap(row -> LongStream.of(row, (HEADS - 1L) * length + row));
        LongStream others = LongStream.generate(() -> random.nextLong((long) HEADS * length));
        return LongStream.concat(edges, others)
                .distinct()
                .limit(Math.min(ROWS, (long) HEADS * length))
                .sorted()
                .toArray();
    }

    /** What a query gives by the definition, 0 if it sees nothing. */
    static double[] row(AttentionCase problem, AttentionData data, byte[] map, int head, int query) {
        int length = problem.length();
        int[] keys = IntStream.range(0, problem.causal() ? query + 1 : length)
                .filter(key -> map == null || map[block(problem, head, query, key)] != 0)
                .toArray();
        double[] logits = new double[keys.length];
        double largest = Double.NEGATIVE_INFINITY;
        for (int j = 0; j < keys.length; j++) {
            double product = 0;
            for (int i = 0; i < HEAD_SIZE; i++) {
                product += (double) AttentionData.at(data.q(), length, head, query, i)
                        * AttentionData.at(data.k(), length, head, keys[j], i);
            }
            logits[j] = product / Math.sqrt(HEAD_SIZE);
            largest = Math.max(largest, logits[j]);
        }
        double[] sums = new double[HEAD_SIZE];
        double denominator = 0;
        for (int j = 0; j < keys.length; j++) {
            double weight = Math.exp(logits[j] - largest);
            denominator += weight;
            for (int i = 0; i < HEAD_SIZE; i++) {
                sums[i] += weight * AttentionData.at(data.v(), length, head, keys[j], i);
            }
        }
        for (int i = 0; i < HEAD_SIZE && keys.length > 0; i++) {
            sums[i] /= denominator;
        }
        return sums;
    }

    private static int block(AttentionCase problem, int head, int query, int key) {
        int blocks = problem.blocks();
        return (head * blocks + query / BLOCK) * blocks + key / BLOCK;
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        boolean ours = contender.impl().startsWith(Result.OURS);
        boolean dense = ours && contender.impl().endsWith(" " + Result.DENSE);
        Arrays.fill(y, Float.NaN); // so that an output that is not written is a wrong one
        contender.output(0, y);
        return (dense && all != null ? all : seen).relErrorUpTo(ours ? mostOfOurs() : MOST_F32, contender.impl(), y);
    }

    private double mostOfOurs() {
        return switch (problem.dtype()) {
            case "f32" -> MOST_F32;
            case "bf16", "f16" -> MOST_BF16;
            default -> MOST_INT8;
        };
    }
}
