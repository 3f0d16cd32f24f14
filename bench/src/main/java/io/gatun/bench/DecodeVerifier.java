package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static io.gatun.bench.DecodeCase.PAGE;
import static io.gatun.bench.DecodeCase.QUERY_HEADS;

import io.gatun.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Checks sampled heads of what contenders compute for a case against the definition, in double. Of a selection, that it
 * keeps as many pages as it may, with about as large a sum of scores as there is, and that the output is that of the
 * pages it keeps.
 */
final class DecodeVerifier implements Session.Verifier {
    private static final int HEADS = 8;

    /** As everybody has the same numbers. */
    private static final double MOST_F32 = 1e-5;
    /** Of exponentials, of a query as codes, and of the result. */
    private static final double MOST_ROUNDED = 1e-2;
    /** Where scores are about the same, rounded means may choose the other page. */
    private static final double MOST_LACKING = 1e-3;

    private final DecodeCase problem;
    private final DecodeData data;
    private final int[] heads;
    private final OutputCheck all;

    DecodeVerifier(DecodeCase problem, DecodeData data) {
        this.problem = problem;
        this.data = data;
        SplittableRandom random = new SplittableRandom(7);
        heads = IntStream.concat(IntStream.of(0, QUERY_HEADS - 1), random.ints(0, QUERY_HEADS))
                .distinct()
                .limit(HEADS)
                .sorted()
                .toArray();
        all = check(head -> IntStream.range(0, problem.pages()).toArray());
    }

    /** Which pages a head of the query sees, ascending. */
    private interface Pages {
        int[] of(int head);
    }

    private OutputCheck check(Pages pages) {
        double[][] expected = IntStream.of(heads)
                .parallel()
                .mapToObj(head -> row(head, pages.of(head)))
                .toArray(double[][]::new);
        long[] indices = IntStream.of(heads)
                .mapToObj(head -> LongStream.range(head * HEAD_SIZE, (head + 1L) * HEAD_SIZE))
                .flatMapToLong(row -> row)
                .toArray();
        return new OutputCheck(
                HEAD_SIZE, indices, (head, i) -> expected[Arrays.binarySearch(heads, (int) head)][(int) i]);
    }

    /** What a head of the query gives by the definition. */
    private double[] row(int head, int[] pages) {
        int[] keys = IntStream.of(pages)
                .flatMap(page -> IntStream.range(page * PAGE, Math.min(problem.keys(), (page + 1) * PAGE)))
                .toArray();
        int shared = head / problem.sharing();
        double[] weights = softmax(IntStream.of(keys)
                .mapToDouble(key -> logit(head, i -> data.at(data.k(0), shared, key, i)))
                .toArray());
        double[] sums = new double[HEAD_SIZE];
        for (int j = 0; j < keys.length; j++) {
            for (int i = 0; i < HEAD_SIZE; i++) {
                sums[i] += weights[j] * data.at(data.v(0), shared, keys[j], i);
            }
        }
        return sums;
    }

    /** Elements of a key, or of a mean. */
    private interface Row {
        double at(int i);
    }

    private double logit(int head, Row key) {
        double product = 0;
        for (int i = 0; i < HEAD_SIZE; i++) {
            product += data.q().getFloat(head, i) * key.at(i);
        }
        return product / Math.sqrt(HEAD_SIZE);
    }

    private static double[] softmax(double[] logits) {
        double largest = Arrays.stream(logits).max().orElse(0);
        double[] weights =
                Arrays.stream(logits).map(logit -> Math.exp(logit - largest)).toArray();
        double sum = Arrays.stream(weights).sum();
        return Arrays.stream(weights).map(weight -> weight / sum).toArray();
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        if (contender instanceof GatunDecodeSelection selection) {
            return checkOutput(selection, selection);
        }
        return relError(contender, all);
    }

    private static double relError(Contender contender, OutputCheck check) throws OutputCheck.WrongOutput {
        boolean f32 =
                !contender.impl().startsWith(Result.OURS) && !contender.impl().contains("f16");
        float[] y = OutputCheck.outputOf(contender, QUERY_HEADS * HEAD_SIZE);
        return check.relErrorUpTo(f32 ? MOST_F32 : MOST_ROUNDED, contender.impl(), y);
    }

    /** The error of a contender as one of attention to what a selection has chosen, which is checked, too. */
    double checkOutput(GatunDecodeSelection selection, Contender contender) throws OutputCheck.WrongOutput {
        selection.run();
        for (int head : heads) {
            int shared = head / problem.sharing();
            checkChoice(selection.impl(), selection.chosen(shared), shared);
        }
        return relError(contender, check(head -> selection.chosen(head / problem.sharing())));
    }

    /** Of a head of keys: beside the first and the last page, those with the largest scores. */
    void checkChoice(String impl, int[] chosen, int shared) throws OutputCheck.WrongOutput {
        double[] scores = scores(shared);
        scores[0] = Double.MAX_VALUE;
        scores[scores.length - 1] = Double.MAX_VALUE;
        double[] kept = IntStream.of(chosen)
                .distinct()
                .mapToDouble(page -> scores[page])
                .sorted()
                .toArray();
        double[] best = Arrays.stream(scores)
                .sorted()
                .skip(scores.length - problem.budget())
                .toArray();
        double sum = Arrays.stream(kept).limit(kept.length - 2).sum();
        double most = Arrays.stream(best).limit(best.length - 2).sum();
        boolean ends = chosen[0] == 0 && chosen[chosen.length - 1] == scores.length - 1;
        if (kept.length != best.length || !ends || !(sum >= (1 - MOST_LACKING) * most)) {
            throw new OutputCheck.WrongOutput(String.format(
                    "%s is wrong: head %d keeps pages %s with %.6f, expected %d with %.6f",
                    impl, shared, Arrays.toString(chosen), sum, best.length, most));
        }
    }

    /** The attention that the means of pages get, of all heads of the query that share them. */
    private double[] scores(int shared) {
        double[][] means = IntStream.range(0, problem.pages())
                .parallel()
                .mapToObj(page -> mean(data.k(0), shared, page))
                .toArray(double[][]::new);
        double[] sums = new double[means.length];
        for (int head = shared * problem.sharing(); head < (shared + 1) * problem.sharing(); head++) {
            int of = head;
            double[] weights = softmax(Arrays.stream(means)
                    .mapToDouble(mean -> logit(of, i -> mean[i]))
                    .toArray());
            Arrays.setAll(sums, page -> sums[page] + weights[page]);
        }
        return sums;
    }

    private double[] mean(Tensor values, int shared, int page) {
        int end = Math.min(problem.keys(), (page + 1) * PAGE);
        double[] mean = new double[HEAD_SIZE];
        for (int key = page * PAGE; key < end; key++) {
            for (int i = 0; i < HEAD_SIZE; i++) {
                mean[i] += (double) data.at(values, shared, key, i) / (end - page * PAGE);
            }
        }
        return mean;
    }
}
