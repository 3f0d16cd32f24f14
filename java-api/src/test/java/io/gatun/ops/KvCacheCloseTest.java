package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Whatever happens before and meanwhile, closing a cache frees all of its memory in the end. */
class KvCacheCloseTest {
    private static final int HEADS = 2;
    private static final int SIZE = 16;
    private static final int TOKENS = 8192;
    private static final int QUERIES = 64;
    /** A call is hardly ever between two others. */
    private static final int ROUNDS = 50;

    private final Tensor q = f32(1, HEADS, QUERIES, SIZE);
    private final Tensor lse = f32(1, HEADS, QUERIES);
    private final Tensor out = f32(1, HEADS, QUERIES, SIZE);

    private static KvCache cache() {
        return KvCache.builder(HEADS, SIZE).pages(TOKENS / 16).build();
    }

    private static boolean reserved(KvPool pool) {
        return pool.rows().segment().scope().isAlive();
    }

    private static void refused(String message, Executable call) {
        String given = assertThrows(IllegalStateException.class, call).getMessage();
        assertTrue(given.contains(message), given);
    }

    private static void freed(KvCache cache) {
        for (KvTier tier : cache.tiers()) {
            assertFalse(reserved(tier.k), "keys of " + tier);
            assertFalse(reserved(tier.v), "values of " + tier);
        }
    }

    @Test
    void onlyTheCacheClosesItsPools() {
        KvCache cache = cache();
        for (KvPool pool : List.of(cache.keys(), cache.values())) {
            refused("pool: given one of a KvCache; allowed: one without", pool::close);
            assertTrue(reserved(pool));
        }
        cache.close();
        freed(cache);
        refused("pool: given a closed pool", cache.keys()::close);
        cache.close();
    }

    /** What is free already does not keep the rest. */
    @Test
    void allTiersAreFreed() {
        KvCache cache = KvCache.builder(HEADS, SIZE)
                .pages(8)
                .ages(List.of(new Age(20, KvFormat.int8(), KvFormat.int8())))
                .build();
        cache.tiers()[0].k.free();
        cache.tiers()[1].v.free();
        cache.close();
        freed(cache);
    }

    /** The next time frees both keys and values; both failures are told. */
    @Test
    void closedWhileACallUsesBoth() throws InterruptedException {
        for (int round = 0; round < ROUNDS; round++) {
            KvCache cache = cache();
            Tensor table = table(cache);
            long[] lengths = {TOKENS};
            Options options = Options.DEFAULT.withThreads(1);
            IllegalStateException failure = closedDuring(
                    cache, () -> Decode.run(q, cache.keys(), cache.values(), table, lengths, out, options));
            cache.close();
            freed(cache);
            if (failure != null && failure.getSuppressed().length == 1) {
                return;
            }
        }
        throw new AssertionError("no call was under way");
    }

    /** Values are freed at once. */
    @Test
    void closedWhileACallUsesKeys() throws InterruptedException {
        for (int round = 0; round < ROUNDS; round++) {
            KvCache cache = cache();
            Tensor table = table(cache);
            long[] lengths = {TOKENS};
            Options options = Options.DEFAULT.withLse(lse).withThreads(1);
            IllegalStateException failure =
                    closedDuring(cache, () -> Decode.logits(q, cache.keys(), table, lengths, options));
            assertEquals(failure != null, reserved(cache.keys()));
            assertFalse(reserved(cache.values()));
            cache.close();
            freed(cache);
            if (failure != null) {
                assertEquals(0, failure.getSuppressed().length);
                return;
            }
        }
        throw new AssertionError("no call was under way");
    }

    /** The pages of a sequence as long as can be. */
    private static Tensor table(KvCache cache) {
        KvCache.Sequence sequence = cache.newSequence();
        sequence.append(f32(HEADS, TOKENS, SIZE), f32(HEADS, TOKENS, SIZE));
        return sequence.table();
    }

    /**
     * Closes the cache while another thread makes the call time and again.
     *
     * @return how that was refused; null if the other thread was between two calls
     */
    private static IllegalStateException closedDuring(KvCache cache, Runnable call) throws InterruptedException {
        CountDownLatch started = new CountDownLatch(1);
        AtomicBoolean stop = new AtomicBoolean();
        Thread caller = new Thread(() -> {
            try {
                call.run();
            } finally {
                started.countDown();
            }
            while (!stop.get()) {
                try {
                    call.run();
                } catch (IllegalStateException e) {
                    return; // closed between two calls
                }
            }
        });
        caller.start();
        try {
            started.await();
            cache.close();
            return null;
        } catch (IllegalStateException e) {
            assertTrue(e.getMessage().contains("another thread's call uses"), e.getMessage());
            refused("cache: given a closed KvCache", cache::newSequence);
            return e;
        } finally {
            stop.set(true);
            caller.join();
        }
    }
}
