package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/** Java threads that multiply at the same time, by the same small weights: a run is a number of calls by each of them. */
final class Callers implements Contender {
    private static final QMatmulCase PROBLEM = QMatmulCase.of("int4", 32, 1536, 384, 1);
    private static final int MANY = 64;
    private static final int CALLS = 200;

    private final int callers;
    private final QMatmul.Options options;
    private final ExecutorService threads;
    private final List<Callable<Void>> work;

    private Callers(int callers, int threadsPerCall, PackedWeights weights, QMatmulData data) {
        this.callers = callers;
        options = QMatmul.Options.DEFAULT.withThreads(threadsPerCall);
        threads = Executors.newFixedThreadPool(callers);
        work = Stream.generate(() -> caller(weights, data)).limit(callers).toList();
    }

    private Callable<Void> caller(PackedWeights weights, QMatmulData data) {
        Tensor x = Tensor.of(data.x, PROBLEM.rows(), PROBLEM.depth());
        Tensor y = Tensor.allocate(DType.F32, PROBLEM.rows(), PROBLEM.columns());
        return () -> {
            for (int i = 0; i < CALLS; i++) {
                QMatmul.run(x, weights, y, options);
            }
            return null;
        };
    }

    /** Calls a second of 1 and of 64 callers together, with calls on the caller's thread alone and through the pool. */
    static List<Result> measure(Rounds rounds) throws Rounds.Failure {
        QMatmulData data = new QMatmulData(PROBLEM);
        PackedWeights weights = QMatmul.pack(GatunQMatmul.quantized(PROBLEM, data));
        List<Callers> all = Stream.of(1, MANY)
                .flatMap(callers -> Stream.of(1, 0).map(threads -> new Callers(callers, threads, weights, data)))
                .toList();
        try {
            List<Summary> seconds = rounds.seconds(all);
            List<Result> results = new ArrayList<>();
            for (int i = 0; i < all.size(); i++) {
                results.add(all.get(i).result(seconds.get(i)));
            }
            return results;
        } finally {
            all.forEach(Callers::close);
        }
    }

    private Result result(Summary seconds) {
        double calls = (double) callers * CALLS;
        return new Result(
                QMatmulBench.OP,
                PROBLEM.withThreads(options.threads() == 0 ? Gatun.threads() : 1)
                                .name() + " callers=" + callers,
                impl(),
                callers,
                "throughput",
                "calls/s",
                calls / seconds.median(),
                calls / seconds.max(),
                calls / seconds.min(),
                null,
                null,
                null,
                kernel(),
                timed());
    }

    @Override
    public String impl() {
        return Result.OURS + " " + Gatun.version();
    }

    @Override
    public String kernel() {
        return "threads=" + options.threads();
    }

    @Override
    public String timed() {
        return CALLS + " calls of each caller, from the first one's start to the last one's end";
    }

    @Override
    public void run() {
        try {
            for (Future<Void> done : threads.invokeAll(work)) {
                done.get();
            }
        } catch (InterruptedException | ExecutionException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public int copies() {
        return 1;
    }

    @Override
    public void output(int copy, float[] y) {
        throw new UnsupportedOperationException("its calls are those of GatunQMatmul, which is checked");
    }

    @Override
    public void close() {
        threads.shutdown();
    }
}
