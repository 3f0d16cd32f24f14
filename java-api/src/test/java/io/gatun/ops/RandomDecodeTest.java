package io.gatun.ops;

import org.junit.jupiter.api.Test;

/** 10,000 random calls of {@link Decode}, about half of them with a flaw. */
class RandomDecodeTest {
    @Test
    void decode() {
        RandomCalls.run("decode", random -> new RandomDecode(random).call());
    }
}
