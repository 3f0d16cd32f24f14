package io.gatun.ops;

import org.junit.jupiter.api.Test;

/** 10,000 random calls of {@link Attention}, about half of them with a flaw. */
class RandomAttentionTest {
    @Test
    void attention() {
        RandomCalls.run("attention", random -> new RandomAttention(random).call());
    }
}
