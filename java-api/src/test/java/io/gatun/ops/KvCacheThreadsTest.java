package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvCache.Sequence;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntConsumer;
import org.junit.jupiter.api.Test;

/** 64 threads at once, with caches of their own and with the same one, get what one alone gets. */
class KvCacheThreadsTest {
    private static final int CALLERS = 64;
    private static final int STEPS = 25;
    private static final int HEADS = 2;
    private static final int SIZE = 16;

    private static KvCache cache(int pages) {
        return KvCache.builder(HEADS, SIZE)
                .pageSize(4)
                .pages(pages)
                .ages(List.of(new Age(9, KvFormat.int8(), KvFormat.int4(0))))
                .build();
    }

    /** Appends, forks, evictions and attention, as the seed has it: all results. */
    private static List<float[]> generate(KvCache cache, long seed) {
        Random random = new Random(seed);
        List<float[]> results = new ArrayList<>();
        Sequence sequence = cache.newSequence();
        for (int step = 0; step < STEPS; step++) {
            int tokens = random.between(1, 5);
            sequence.append(rows(random, tokens), rows(random, tokens));
            if (random.chance(0.2)) {
                Sequence fork = sequence.fork();
                sequence.close();
                sequence = fork;
            }
            if (sequence.length() > 40) {
                sequence.evict(new long[] {0, 1, 17, 30, 31, 39});
            }
            Tensor q = Tensor.of(random.normal(4 * SIZE, 1), 1, 4, 1, SIZE);
            Tensor out = Tensor.allocate(DType.F32, 1, 4, 1, SIZE);
            sequence.attend(q, out, Options.DEFAULT.withThreads(random.between(0, 1)));
            results.add(out.toFloatArray());
        }
        sequence.close();
        return results;
    }

    private static Tensor rows(Random random, int tokens) {
        return Tensor.of(random.normal(HEADS * tokens * SIZE, 1), HEADS, tokens, SIZE);
    }

    @Test
    void cachesOfTheirOwn() throws InterruptedException {
        all(seed -> {
            try (KvCache cache = cache(40)) {
                return generate(cache, seed);
            }
        });
    }

    @Test
    void theSameCache() throws InterruptedException {
        try (KvCache cache = cache(40 * CALLERS)) {
            all(seed -> generate(cache, seed));
            assertEquals(0, cache.memory().usedBytes());
        }
    }

    /** Short calls of the same cache, which take and free pages all the time: nobody gets the values of another one. */
    @Test
    void pagesOfTheSameCache() throws InterruptedException {
        try (KvCache cache = KvCache.builder(HEADS, SIZE)
                .pageSize(1)
                .pages(8 * CALLERS)
                .format(KvFormat.F32, KvFormat.F32)
                .build()) {
            run(seed -> {
                float[] mine = new float[HEADS * SIZE];
                Arrays.fill(mine, seed);
                Tensor row = Tensor.of(mine, HEADS, 1, SIZE);
                Tensor q = Tensor.allocate(DType.F32, 1, HEADS, 1, SIZE);
                Tensor out = Tensor.allocate(DType.F32, 1, HEADS, 1, SIZE);
                for (int round = 0; round < 300; round++) {
                    try (Sequence sequence = cache.newSequence()) {
                        sequence.append(row, row);
                        try (Sequence fork = sequence.fork()) {
                            for (int t = 0; t < 5; t++) {
                                fork.append(row, row);
                            }
                            fork.truncate(4);
                            fork.attend(q, out, Options.DEFAULT.withThreads(1));
                        }
                    }
                    for (float value : out.toFloatArray()) {
                        assertEquals(seed, value, 1e-4);
                    }
                }
            });
            assertEquals(0, cache.memory().usedBytes());
        }
    }

    private interface Work {
        List<float[]> run(int seed);
    }

    private static void all(Work work) throws InterruptedException {
        List<List<float[]>> expected = new ArrayList<>();
        for (int seed = 0; seed < CALLERS; seed++) {
            try (KvCache alone = cache(40)) {
                expected.add(generate(alone, seed));
            }
        }
        run(seed -> {
            List<float[]> given = work.run(seed);
            for (int step = 0; step < STEPS; step++) {
                assertArrayEquals(expected.get(seed).get(step), given.get(step), "step " + step + " of " + seed);
            }
        });
    }

    /** The number of each thread to the work of all at once. */
    private static void run(IntConsumer work) throws InterruptedException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        CountDownLatch start = new CountDownLatch(CALLERS);
        List<Thread> callers = new ArrayList<>();
        for (int caller = 0; caller < CALLERS; caller++) {
            int seed = caller;
            callers.add(new Thread(() -> {
                try {
                    start.countDown();
                    start.await();
                    work.accept(seed);
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
