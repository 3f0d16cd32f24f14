package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.ops.KvCache.Age;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** 10,000 random calls of caches of all kinds, each compared with what lists of rows give. */
class KvCacheRandomTest {
    private static final int CACHES = 200;
    private static final int CALLS = 50;
    private static final long SEED = Long.getLong("gatun.test.seed", 2026);

    private static final KvFormat PER_CHANNEL = KvFormat.int4(0).perChannel(16);

    private record Kind(List<Age> formats, int... pageSizes) {}

    private static Kind one(KvFormat k, KvFormat v, int... pageSizes) {
        return new Kind(List.of(new Age(0, k, v)), pageSizes);
    }

    private static final List<Kind> KINDS = List.of(
            one(KvFormat.F32, KvFormat.F32, 1, 2, 16),
            one(KvFormat.BF16, KvFormat.F16, 1, 2, 16),
            one(KvFormat.F8E4M3, KvFormat.F8E5M2, 1, 2, 16),
            one(KvFormat.int8(), KvFormat.int4(0), 1, 2, 16),
            one(KvFormat.int4(0).withoutZeroPoint(), KvFormat.int2(0), 1, 2, 16),
            one(PER_CHANNEL, KvFormat.int4(0), 16, 32),
            one(KvFormat.int2(0).perChannel(16), KvFormat.int8().perChannel(16), 16, 32),
            new Kind(
                    List.of(
                            new Age(0, KvFormat.F32, KvFormat.F32),
                            new Age(3, KvFormat.BF16, KvFormat.int8()),
                            new Age(9, KvFormat.int8(), KvFormat.int4(0))),
                    1,
                    2,
                    16),
            new Kind(
                    List.of(
                            new Age(0, KvFormat.BF16, KvFormat.BF16),
                            new Age(5, PER_CHANNEL, KvFormat.int8()),
                            new Age(30, KvFormat.int2(0).perChannel(16), KvFormat.int2(0))),
                    16));

    @Test
    void callsGiveWhatListsOfRowsGive() {
        Map<String, Integer> calls = new HashMap<>();
        for (int i = 0; i < CACHES; i++) {
            Random random = new Random(SEED + i);
            Kind kind = KINDS.get(i % KINDS.size());
            int pageSize = kind.pageSizes[i / KINDS.size() % kind.pageSizes.length];
            int pages = pageSize > 2 ? random.between(3, 9) : random.between(15, 60);
            try (RandomKvCache cache = new RandomKvCache(random, kind.formats, pageSize, pages)) {
                for (int n = 0; n < CALLS; n++) {
                    cache.step();
                }
                cache.calls.forEach((what, count) -> calls.merge(what, count, Integer::sum));
            }
        }
        System.out.println("KvCache: " + CACHES * CALLS + " random calls from seed " + SEED + ": " + calls);
        for (String what : List.of(
                "append",
                "attend",
                "scores",
                "fork",
                "truncate",
                "evict",
                "close",
                "no-pages-to-append",
                "no-pages-to-evict")) {
            assertTrue(calls.getOrDefault(what, 0) >= 5, what + ": " + calls);
        }
    }
}
