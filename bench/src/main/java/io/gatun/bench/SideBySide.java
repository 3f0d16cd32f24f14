package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.PackedStack;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Several weights times one input: query, key and value of Llama-3-8B (32 and 8 heads of 128, hidden size 4096) as one
 * call, beside one weight with the columns of all and beside a call for each.
 */
final class SideBySide {
    private static final long DEPTH = 4096;
    private static final long[] COLUMNS = {4096, 1024, 1024};
    private static final List<Long> ROWS = List.of(1L, 512L);

    private SideBySide() {}

    /** Measures all cases; the speedup of one call is over one weight. */
    static void measure(Session session) throws Exception {
        List<Result> results = new ArrayList<>();
        QMatmulData data = null;
        for (long rows : ROWS) {
            for (int threads : session.arguments().threadCounts()) {
                QMatmulCase problem = QMatmulCase.of(
                                "int4", 32, LongStream.of(COLUMNS).sum(), DEPTH, rows)
                        .withThreads(threads);
                data = new QMatmulData(problem, data);
                results.addAll(measure(session, problem, data, COLUMNS));
            }
        }
        session.store("three weights, one input (QKV); speedup = one weight's time / one call's", results);
    }

    /** The three ways, and the speedup of the first over the second. */
    static List<Result> measure(Session session, QMatmulCase problem, QMatmulData data, long[] columns)
            throws Exception {
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            contenders.add(stack("one call", problem, data, columns, true));
            contenders.add(GatunQMatmul.prepare("one weight", problem, data));
            contenders.add(stack("a call a weight", problem, data, columns, false));
            Session.Problem limited = QMatmulWork.of(problem, contenders.first().kernel(), session.limits())
                    .named(problem.name() + " qkv");
            return Rating.rateWays(
                    session.time(QMatmulBench.OP, limited, contenders, QMatmulVerifier.of(problem, data)));
        }
    }

    private static Contender stack(
            String way, QMatmulCase problem, QMatmulData data, long[] columns, boolean together) {
        Arena arena = Arena.ofShared();
        QMatmul.Options options = GatunQMatmul.options(problem);
        Tensor x = GatunQMatmul.input(problem, data, arena);
        Tensor y = Tensor.allocate(arena, DType.F32, problem.rows(), problem.columns());
        List<Tensor> parts = new ArrayList<>();
        List<QuantizedTensor> weights = new ArrayList<>();
        QuantizedTensor all = GatunQMatmul.quantized(problem, data);
        long begin = 0;
        for (long count : columns) {
            parts.add(y.slice(1, begin, begin + count));
            weights.add(all.slice(begin, begin + count));
            begin += count;
        }
        List<PackedStack> copies = GatunQMatmul.copies(
                PackedStack.pack(weights, arena),
                stack -> PackedStack.of(
                        IntStream.range(0, stack.size()).mapToObj(stack::get).toList(), arena),
                data.copies);
        return new GatunContender(
                way,
                QMatmul.explain(x, copies.getFirst(), y, options),
                GatunQMatmul.timed(problem),
                arena::close,
                y,
                data.copies,
                copy -> {
                    PackedStack stack = copies.get(copy);
                    if (together) {
                        QMatmul.run(x, stack, y, options);
                    } else {
                        for (int i = 0; i < parts.size(); i++) {
                            QMatmul.run(x, stack.get(i), parts.get(i), options);
                        }
                    }
                });
    }
}
