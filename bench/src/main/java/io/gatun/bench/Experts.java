package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.PackedStack;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.LongStream;

/**
 * A mixture of experts: rows grouped by the expert that takes them, as one call beside a call for each expert. Sizes of
 * gpt-oss-20b (config.json of openai/gpt-oss-20b: 32 experts, 4 a token, intermediate_size and hidden_size 2880), 64 tokens.
 */
final class Experts {
    private static final int EXPERTS = 32;
    private static final int EXPERTS_A_TOKEN = 4;
    private static final int TOKENS = 64;
    private static final long SIZE = 2880;

    private Experts() {}

    /** Measures all cases; the speedup is that of one call over a loop of calls. */
    static void measure(Session session) throws Exception {
        long[] rows = route(TOKENS, EXPERTS_A_TOKEN, EXPERTS);
        QMatmulData data = null;
        List<Result> results = new ArrayList<>();
        for (int threads : session.arguments().threadCounts()) {
            QMatmulCase expert = QMatmulCase.of(
                            "int4", 32, SIZE, SIZE, LongStream.of(rows).sum())
                    .withThreads(threads);
            QMatmulCase all = expert.withColumns(rows.length * SIZE);
            data = new QMatmulData(all, data);
            results.addAll(measure(session, expert, data, rows));
        }
        session.store("mixture of experts; speedup = time of a call an expert / one call's", results);
    }

    /** The rows of each expert when every token goes to some of them at random. */
    static long[] route(int tokens, int expertsAToken, int experts) {
        RandomGenerator random = new SplittableRandom(6);
        long[] rows = new long[experts];
        for (int token = 0; token < tokens; token++) {
            random.ints(0, experts).distinct().limit(expertsAToken).forEach(expert -> rows[expert]++);
        }
        return rows;
    }

    /**
     * Both ways, and the speedup of the first over the second.
     *
     * @param expert a multiplication of all rows by one expert's weights
     * @param data of all rows, with the weights of all experts as columns
     */
    static List<Result> measure(Session session, QMatmulCase expert, QMatmulData data, long[] rows) throws Exception {
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            contenders.add(prepare("one call", expert, data, rows, true));
            contenders.add(prepare("a call an expert", expert, data, rows, false));
            long used = LongStream.of(rows).filter(count -> count > 0).count();
            Session.Problem limited = QMatmulWork.of(
                            expert,
                            used * expert.weightBytes(),
                            contenders.first().kernel(),
                            session.limits())
                    .named(expert.name() + " experts=" + rows.length);
            return Rating.rateWays(session.time(QMatmulBench.OP, limited, contenders, verifier(expert, data, rows)));
        }
    }

    /** Output [m][n] is that of the weights of the expert that has row m. */
    private static QMatmulVerifier verifier(QMatmulCase expert, QMatmulData data, long[] rows) {
        long[] firstColumns = new long[Math.toIntExact(expert.rows())];
        int m = 0;
        for (int i = 0; i < rows.length; i++) {
            for (long end = m + rows[i]; m < end; m++) {
                firstColumns[m] = i * expert.columns();
            }
        }
        QMatmulOracle oracle = new QMatmulOracle(expert.withColumns(rows.length * expert.columns()), data);
        return new QMatmulVerifier(
                expert.rows(),
                expert.columns(),
                copy -> (row, n) -> data.expected(copy, row, firstColumns[(int) row] + n),
                (row, n) -> oracle.value(row, firstColumns[(int) row] + n),
                (row, n) -> oracle.bound(row, firstColumns[(int) row] + n));
    }

    private static Contender prepare(String way, QMatmulCase expert, QMatmulData data, long[] rows, boolean together) {
        Arena arena = Arena.ofShared();
        QMatmul.Options options = GatunQMatmul.options(expert);
        Tensor x = GatunQMatmul.input(expert, data, arena);
        Tensor y = Tensor.allocate(arena, DType.F32, expert.rows(), expert.columns());
        QuantizedTensor all = GatunQMatmul.quantized(expert.withColumns(rows.length * expert.columns()), data);
        List<QuantizedTensor> weights = new ArrayList<>();
        List<Tensor> inputs = new ArrayList<>();
        List<Tensor> outputs = new ArrayList<>();
        long begin = 0;
        for (int i = 0; i < rows.length; i++) {
            weights.add(all.slice(i * expert.columns(), (i + 1) * expert.columns()));
            inputs.add(x.slice(0, begin, begin + rows[i]));
            outputs.add(y.slice(0, begin, begin + rows[i]));
            begin += rows[i];
        }
        PackedStack stack = PackedStack.pack(weights, arena);
        return new GatunContender(
                way,
                QMatmul.explainGrouped(x, rows, stack, y, options),
                GatunQMatmul.timed(expert),
                arena::close,
                y,
                1,
                copy -> {
                    if (together) {
                        QMatmul.runGrouped(x, rows, stack, y, options);
                    } else {
                        for (int i = 0; i < rows.length; i++) {
                            QMatmul.run(inputs.get(i), stack.get(i), outputs.get(i), options);
                        }
                    }
                });
    }
}
