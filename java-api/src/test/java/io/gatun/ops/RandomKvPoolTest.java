package io.gatun.ops;

import org.junit.jupiter.api.Test;

/** 10,000 random calls of {@link KvPool}, about half of them with a flaw. */
class RandomKvPoolTest {
    @Test
    void kvPool() {
        RandomCalls.run("kv pool", random -> new RandomKvPool(random).call());
    }
}
