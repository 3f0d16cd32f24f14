package io.gatun.example;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntConsumer;

/** A fixed number of threads, the caller's among them, for the parts of the model that are plain Java. */
final class Workers implements AutoCloseable {
    private final int threads;
    private final ExecutorService helpers;

    Workers(int threads) {
        this.threads = threads;
        this.helpers = Executors.newFixedThreadPool(
                Math.max(1, threads - 1),
                Thread.ofPlatform().daemon().name("encoder-", 0).factory());
    }

    /**
     * Runs body(0) .. body(count - 1) in any order and returns when all are done. No thread is woken for fewer than
     * {@code grain} items.
     */
    void forEach(int count, int grain, IntConsumer body) {
        int wanted = Math.min(threads, count / grain);
        if (wanted <= 1) {
            for (int i = 0; i < count; i++) {
                body.accept(i);
            }
            return;
        }
        AtomicInteger next = new AtomicInteger();
        // Counts items, not helpers: a helper that wakes up late finds nothing to do and is not waited for.
        CountDownLatch unfinished = new CountDownLatch(count);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Runnable drain = () -> {
            for (int i = next.getAndIncrement(); i < count; i = next.getAndIncrement()) {
                try {
                    body.accept(i);
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                } finally {
                    unfinished.countDown();
                }
            }
        };
        for (int helper = 1; helper < wanted; helper++) {
            helpers.execute(drain);
        }
        drain.run();
        await(unfinished);
        if (failure.get() != null) {
            throw new IllegalStateException("a worker failed", failure.get());
        }
    }

    private static void await(CountDownLatch unfinished) {
        try {
            unfinished.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException("interrupted while workers run", e);
        }
    }

    @Override
    public void close() {
        helpers.shutdown();
    }
}
