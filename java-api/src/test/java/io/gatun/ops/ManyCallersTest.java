package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertNull;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** 64 threads that call at once, some with all threads and some with their own only, get what one alone gets. */
class ManyCallersTest {
    private static final int CALLERS = 64;
    private static final int CALLS = 30;
    private static final int ROWS = 33;
    private static final int COLUMNS = 70;
    private static final int DEPTH = 256;

    private final Random random = new Random(71);
    private final Tensor x = Tensor.of(random.normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    private final PackedStack stack = PackedStack.pack(Stream.of(QuantSpec.int4(32), QuantSpec.int8(32))
            .map(spec -> Quantize.run(Tensor.of(random.normal(COLUMNS * DEPTH, 1), COLUMNS, DEPTH), spec))
            .toList());
    private final long[] rows = {30, 3};
    private final NmWeights sparse =
            NmMatmul.pack(NmOracle.random(random, Sparsity.nm(2, 4), DType.F32, COLUMNS, DEPTH));
    private final NmWeights sparseCodes =
            NmMatmul.pack(NmOracle.random(random, Sparsity.nm(2, 8), QuantSpec.int8(), COLUMNS, DEPTH));

    private Tensor alone(Options options, PackedWeights w) {
        Tensor y = Tensor.allocate(DType.F32, ROWS, COLUMNS);
        QMatmul.run(x, w, y, options);
        return y;
    }

    private Tensor concat(Options options) {
        Tensor y = Tensor.allocate(DType.F32, ROWS, 2 * COLUMNS);
        QMatmul.run(x, stack, y, options);
        return y;
    }

    private Tensor grouped(Options options) {
        Tensor y = Tensor.allocate(DType.F32, ROWS, COLUMNS);
        QMatmul.runGrouped(x, rows, stack, y, options);
        return y;
    }

    private Tensor sparse(Options options, NmWeights w) {
        Tensor y = Tensor.allocate(DType.F32, ROWS, COLUMNS);
        NmMatmul.run(x, w, y, options);
        return y;
    }

    @Test
    void getWhatOneGets() throws InterruptedException {
        List<Function<Options, Tensor>> calls = List.of(
                options -> alone(options, stack.get(0)),
                options -> alone(options, stack.get(1)),
                options -> sparse(options, sparse),
                options -> sparse(options, sparseCodes),
                this::concat,
                this::grouped);
        List<Tensor> expected = new ArrayList<>();
        calls.forEach(call -> expected.add(call.apply(Options.DEFAULT.withThreads(1))));
        AtomicReference<Throwable> failure = new AtomicReference<>();
        CountDownLatch start = new CountDownLatch(CALLERS);
        List<Thread> callers = new ArrayList<>();
        for (int caller = 0; caller < CALLERS; caller++) {
            int first = caller;
            callers.add(new Thread(() -> {
                try {
                    start.countDown();
                    start.await();
                    for (int i = first; i < first + CALLS; i++) {
                        Options options = Options.DEFAULT.withThreads(first % 2);
                        Tensor y = calls.get(i % calls.size()).apply(options);
                        QuantizeTest.assertSameBytes(expected.get(i % calls.size()), y);
                    }
                } catch (Throwable e) {
                    failure.set(e);
                }
            }));
        }
        callers.forEach(Thread::start);
        for (Thread caller : callers) {
            caller.join();
        }
        assertNull(failure.get());
    }
}
