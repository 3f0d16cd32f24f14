package io.gatun.bench;

import static io.gatun.bench.AttentionCase.BLOCK;
import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import io.gatun.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Checks that attention to what was selected before is right, and that a selection keeps the blocks with the best scores by the definition, in double, in sampled rows of
 * blocks: as many as it must, with as large a sum of scores. Its error is what the sum lacks.
 */
final class SelectionVerifier implements Session.Verifier {
    /** Of keys and queries whose logits are summed together by {@code antidiagonal}. */
    static final int STRIDE = 16;

    private static final int ROWS = 48;

    /** Where scores are about the same, bf16 may choose the other one. */
    private static final double MOST_LACKING = 1e-3;

    private final AttentionCase problem;
    private final AttentionData data;
    private final Session.Verifier dense;
    private byte[] selected;

    /** The other one is for our dense attention, whose time the selection's is a part of. */
    SelectionVerifier(AttentionCase problem, AttentionData data, Session.Verifier dense) {
        this.problem = problem;
        this.data = data;
        this.dense = dense;
    }

    /** 2 for each product of scores, and for each sum of means. */
    static double operations(AttentionCase problem) {
        double blocks = problem.blocks();
        double share = problem.causal() ? 0.5 : 1;
        return switch (problem.method()) {
            case "means" -> 2.0 * HEADS * HEAD_SIZE * (problem.length() + share * blocks * blocks);
            default -> problem.operations((double) problem.densePairs() / STRIDE) / 2;
        };
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        if (contender.impl().endsWith(" " + Result.DENSE)) {
            return dense.relError(contender);
        }
        if (contender.impl().endsWith(" " + GatunSelection.FUSED)) {
            return new AttentionVerifier(problem, data, selected).relError(contender);
        }
        int blocks = problem.blocks();
        float[] map = OutputCheck.outputOf(contender, (long) HEADS * blocks * blocks);
        SplittableRandom random = new SplittableRandom(6);
        double lacking = 0;
        for (int i = 0; i < ROWS; i++) {
            int head = i == 0 ? 0 : i == 1 ? HEADS - 1 : random.nextInt(HEADS);
            int row = i == 0 ? 0 : i == 1 ? blocks - 1 : random.nextInt(blocks);
            int begin = (head * blocks + row) * blocks;
            lacking = Math.max(
                    lacking, lacking(contender.impl(), head, row, Arrays.copyOfRange(map, begin, begin + blocks)));
        }
        selected = new byte[map.length];
        for (int i = 0; i < map.length; i++) {
            selected[i] = (byte) map[i];
        }
        return lacking;
    }

    private double lacking(String impl, int head, int row, float[] chosen) throws OutputCheck.WrongOutput {
        double[] scores = scores(head, row);
        int keep = (int) Math.max(1, (long) (scores.length * (problem.percent() / 100f)));
        double[] sorted = scores.clone();
        Arrays.sort(sorted);
        double best = DoubleStream.of(sorted).skip(scores.length - keep).sum();
        int count = 0;
        double sum = 0;
        for (int column = 0; column < chosen.length; column++) {
            if (chosen[column] == 1 && column < scores.length) {
                sum += scores[column];
                count++;
            } else if (chosen[column] != 0) {
                throw new OutputCheck.WrongOutput(
                        "%s is wrong: block [%d][%d][%d] is %s".formatted(impl, head, row, column, chosen[column]));
            }
        }
        if (count != keep || !(sum >= (1 - MOST_LACKING) * best)) {
            throw new OutputCheck.WrongOutput(
                    "%s is wrong: row [%d][%d] keeps %d blocks with %.6f, expected %d with %.6f"
                            .formatted(impl, head, row, count, sum, keep, best));
        }
        return 1 - sum / best;
    }

    /** Of the blocks that the row may see. */
    private double[] scores(int head, int row) {
        int columns = problem.causal() ? row + 1 : problem.blocks();
        return switch (problem.method()) {
            case "means" -> {
                double[] query = mean(data.q(), head, row);
                yield softmax(IntStream.range(0, columns)
                        .parallel()
                        .mapToDouble(column -> product(query, mean(data.k(), head, column)))
                        .toArray());
            }
            default -> antidiagonal(head, row, columns);
        };
    }

    private static double product(double[] a, double[] b) {
        return IntStream.range(0, HEAD_SIZE).mapToDouble(i -> a[i] * b[i]).sum() / Math.sqrt(HEAD_SIZE);
    }

    private double[] mean(Tensor values, int head, int block) {
        int end = Math.min(problem.length(), (block + 1) * BLOCK);
        double[] mean = new double[HEAD_SIZE];
        for (int row = block * BLOCK; row < end; row++) {
            for (int i = 0; i < HEAD_SIZE; i++) {
                mean[i] += (double) AttentionData.at(values, problem.length(), head, row, i) / (end - block * BLOCK);
            }
        }
        return mean;
    }

    /** Softmax over groups of keys for each group of queries, then means over the groups of a block. */
    private double[] antidiagonal(int head, int row, int columns) {
        int groups = BLOCK / STRIDE;
        double[] scores = new double[columns];
        for (int a = row * groups; a < Math.min((row + 1) * groups, Math.ceilDiv(problem.length(), STRIDE)); a++) {
            int group = a;
            int all = Math.ceilDiv(problem.length(), STRIDE);
            double[] weights = softmax(IntStream.range(0, problem.causal() ? a + 1 : all)
                    .parallel()
                    .mapToDouble(c -> logit(head, group, c))
                    .toArray());
            for (int c = 0; c < weights.length; c++) {
                scores[c / groups] += weights[c] / groups;
            }
        }
        return scores;
    }

    private double logit(int head, int a, int c) {
        double sum = 0;
        for (int s = 0; s < STRIDE; s++) {
            int query = STRIDE * a + STRIDE - 1 - s;
            int key = STRIDE * c + s;
            if (query < problem.length() && key < problem.length()) {
                for (int i = 0; i < HEAD_SIZE; i++) {
                    sum += (double) AttentionData.at(data.q(), problem.length(), head, query, i)
                            * AttentionData.at(data.k(), problem.length(), head, key, i);
                }
            }
        }
        return sum / Math.sqrt(HEAD_SIZE) / STRIDE;
    }

    private static double[] softmax(double[] logits) {
        double largest = DoubleStream.of(logits).max().orElse(0);
        double[] weights =
                DoubleStream.of(logits).map(logit -> Math.exp(logit - largest)).toArray();
        double sum = DoubleStream.of(weights).sum();
        return DoubleStream.of(weights).map(weight -> weight / sum).toArray();
    }
}
