package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvCache.Memory;
import io.gatun.ops.KvCache.Sequence;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class KvCacheTest {
    static final int HEADS = 2;
    static final int SIZE = 16;

    private final Random random = new Random(31);

    private Tensor rows(int tokens) {
        return rows(random, tokens);
    }

    static Tensor rows(Random random, int tokens) {
        return Tensor.of(random.normal(HEADS * tokens * SIZE, 1), HEADS, tokens, SIZE);
    }

    static KvCache.Builder builder(int pages) {
        return KvCache.builder(HEADS, SIZE).pages(pages);
    }

    private static KvCache f32Cache(int pages) {
        return builder(pages).format(KvFormat.F32, KvFormat.F32).build();
    }

    /** A cache that goes from f32 to bf16 to int8. */
    static KvCache aging(int pages) {
        return builder(pages)
                .format(KvFormat.F32, KvFormat.F32)
                .ages(List.of(new Age(20, KvFormat.BF16, KvFormat.BF16), new Age(70, KvFormat.int8(), KvFormat.int8())))
                .build();
    }

    private Tensor queries(int batch, int queries) {
        return queries(random, batch, queries);
    }

    static Tensor queries(Random random, int batch, int queries) {
        return Tensor.of(random.normal(batch * 2 * HEADS * queries * SIZE, 1), batch, 2 * HEADS, queries, SIZE);
    }

    static float[] attend(Sequence sequence, Tensor q, Options options) {
        Tensor out = f32(1, q.shape().size(1), q.shape().size(2), SIZE);
        sequence.attend(q, out, options);
        return out.toFloatArray();
    }

    static long[] tokens(Sequence sequence, KvCache cache) {
        long[] lengths = new long[cache.tiers().length];
        for (int i = 0; i < lengths.length; i++) {
            lengths[i] = sequence.tokens().segment(i).length();
        }
        return lengths;
    }

    // ---- attention -------------------------------------------------------------------------------------------------

    /** The bits of Decode over the same rows without pages. */
    @Test
    void attendIsDecode() {
        Tensor k = rows(50);
        Tensor v = rows(50);
        Tensor q = queries(1, 3);
        Tensor out = f32(1, 2 * HEADS, 3, SIZE);
        Options options = Options.DEFAULT.withCausal().withWindow(30, 2);
        try (KvCache cache = f32Cache(8);
                KvPool keys = KvPool.of(k.reshape(1, HEADS, 50, SIZE), Attention.Layout.HND);
                KvPool values = KvPool.of(v.reshape(1, HEADS, 50, SIZE), Attention.Layout.HND)) {
            Sequence sequence = cache.newSequence();
            sequence.append(k.slice(1, 0, 37), v.slice(1, 0, 37));
            for (int t = 37; t < 50; t++) {
                sequence.append(k.slice(1, t, t + 1), v.slice(1, t, t + 1));
            }
            Decode.run(q, keys, values, null, new long[] {50}, out, options);
            assertArrayEquals(out.toFloatArray(), attend(sequence, q, options));
            out.copyFrom(new float[2 * HEADS * 3 * SIZE]);
            Decode.run(q, cache.keys(), cache.values(), sequence.table(), new long[] {50}, out, options);
            assertArrayEquals(out.toFloatArray(), attend(sequence, q, options));
        }
    }

    /** A batch gives the bits of its items alone, whatever their lengths. */
    @Test
    void aBatchIsItsItems() {
        for (Options options : List.of(
                Options.DEFAULT.withCausal(),
                Options.DEFAULT.withCausal().withWindow(50, 1),
                Options.DEFAULT.withSlopes(Attention.alibiSlopes(2 * HEADS)))) {
            for (boolean ages : new boolean[] {false, true}) {
                try (KvCache cache = ages ? aging(30) : f32Cache(30)) {
                    List<Sequence> sequences =
                            List.of(cache.newSequence(), cache.newSequence(), cache.newSequence(), cache.newSequence());
                    int[] lengths = {0, 1, 90, 140};
                    for (int b = 0; b < 4; b++) {
                        sequences.get(b).append(rows(lengths[b]), rows(lengths[b]));
                    }
                    Tensor q = queries(4, 2);
                    Tensor out = f32(4, 2 * HEADS, 2, SIZE);
                    Tensor lse = f32(4, 2 * HEADS, 2);
                    cache.attend(sequences, q, out, options.withLse(lse));
                    for (int b = 0; b < 4; b++) {
                        Tensor alone = f32(1, 2 * HEADS, 2);
                        assertArrayEquals(
                                attend(sequences.get(b), q.slice(0, b, b + 1), options.withLse(alone)),
                                out.slice(0, b, b + 1).toFloatArray());
                        assertArrayEquals(
                                alone.toFloatArray(), lse.slice(0, b, b + 1).toFloatArray());
                    }
                }
            }
        }
    }

    /** Without sequences there is nothing to do. */
    @Test
    void anEmptyBatch() {
        try (KvCache cache = aging(4)) {
            cache.attend(List.of(), f32(0, 4, 1, SIZE), f32(0, 4, 1, SIZE), Options.DEFAULT);
        }
    }

    /** Of several formats, too, out is rounded once to its type, and lse and logits may lie apart. */
    @Test
    void outMayBeOfTheTypeOfTheQueries() {
        try (KvCache cache = aging(20)) {
            Sequence sequence = cache.newSequence();
            sequence.append(rows(130), rows(130));
            assertArrayEquals(new long[] {34, 48, 48}, tokens(sequence, cache));
            Tensor q = queries(1, 2).to(DType.BF16);
            Tensor lse = f32(1, 2 * HEADS, 5).slice(2, 1, 3);
            Tensor logits = f32(1, 2 * HEADS, 4, 140).slice(3, 2, 140).slice(2, 1, 3);
            float[] exact = attend(sequence, q, Options.DEFAULT.withLse(lse).withLogits(logits));
            Tensor rounded = Tensor.allocate(DType.BF16, 1, 2 * HEADS, 2, SIZE);
            Tensor packedLse = f32(1, 2 * HEADS, 2);
            Tensor packedLogits = f32(1, 2 * HEADS, 2, 130);
            sequence.attend(q, rounded, Options.DEFAULT.withLse(packedLse).withLogits(packedLogits));
            assertArrayEquals(Tensor.of(DType.BF16, exact, exact.length).toFloatArray(), rounded.toFloatArray());
            assertArrayEquals(packedLse.toFloatArray(), lse.toFloatArray());
            assertArrayEquals(
                    packedLogits.toFloatArray(), logits.slice(3, 0, 130).toFloatArray());
        }
    }

    /** Scores of one step and the next one are those of both, and say which tokens matter. */
    @Test
    void scoresSayWhatToKeep() {
        try (KvCache cache = aging(20)) {
            Sequence sequence = cache.newSequence();
            Tensor k = rows(100);
            int[] needles = {7, 42, 91};
            Tensor q = queries(1, 1);
            for (int needle : needles) {
                for (int h = 0; h < HEADS; h++) {
                    for (int c = 0; c < SIZE; c++) {
                        float sum = q.getFloat(0, 2 * h, 0, c) + q.getFloat(0, 2 * h + 1, 0, c);
                        k.setFloat(6 * sum, h, needle, c);
                    }
                }
            }
            sequence.append(k, rows(100));
            Tensor scores = f32(1, HEADS, 100);
            Tensor out = f32(1, 2 * HEADS, 1, SIZE);
            sequence.attend(q, out, Options.DEFAULT, scores, false);
            float[] once = scores.toFloatArray();
            sequence.attend(q, out, Options.DEFAULT, scores, true);
            for (int i = 0; i < once.length; i++) {
                assertEquals(2 * once[i], scores.toFloatArray()[i]);
            }
            double sum = 0;
            for (float score : once) {
                sum += score;
            }
            assertEquals(2 * HEADS, sum, 1e-4);
            sequence.evict(new long[] {7, 42, 91});
            assertEquals(3, sequence.length());
            double keptScore = 0;
            for (int h = 0; h < HEADS; h++) {
                for (int needle : needles) {
                    keptScore += once[h * 100 + needle];
                }
            }
            assertTrue(keptScore > 0.9 * sum, keptScore + " of " + sum);
        }
    }

    @Test
    void explainSaysWhatEachFormatRuns() {
        try (KvCache cache = aging(20)) {
            Sequence sequence = cache.newSequence();
            sequence.append(rows(130), rows(130));
            String text = sequence.explain(queries(1, 1), f32(1, 2 * HEADS, 1, SIZE), Options.DEFAULT);
            assertEquals(
                    3,
                    text.lines()
                            .filter(line -> line.contains(" tokens of keys "))
                            .count(),
                    text);
            assertTrue(text.startsWith("34 tokens of keys f32, values f32: "), text);
        }
    }

    // ---- pages -----------------------------------------------------------------------------------------------------

    /** A fork takes no page until one of both writes; then it takes that one. */
    @Test
    void forksShareTheirPrefix() {
        try (KvCache cache = f32Cache(8)) {
            long page = 2L * HEADS * 16 * SIZE * 4;
            Sequence prompt = cache.newSequence();
            prompt.append(rows(40), rows(40));
            assertEquals(new Memory(8 * page, 3 * page, 0, 40, 3 * page / 40.0), cache.memory());
            Tensor q = queries(1, 1);
            float[] before = attend(prompt, q, Options.DEFAULT);
            Sequence answer = prompt.fork();
            assertEquals(new Memory(8 * page, 3 * page, 3, 80, 3 * page / 80.0), cache.memory());
            answer.append(rows(0), rows(0));
            assertEquals(3, cache.memory().sharedPages());
            answer.append(rows(1), rows(1));
            assertEquals(new Memory(8 * page, 4 * page, 2, 81, 4 * page / 81.0), cache.memory());
            assertArrayEquals(before, attend(prompt, q, Options.DEFAULT));
            answer.truncate(40);
            assertArrayEquals(before, attend(answer, q, Options.DEFAULT));
            answer.evict(new long[] {1, 20});
            assertEquals(new Memory(8 * page, 4 * page, 0, 42, 4 * page / 42.0), cache.memory());
            assertArrayEquals(before, attend(prompt, q, Options.DEFAULT));
            prompt.close();
            prompt.close();
            assertEquals(new Memory(8 * page, page, 0, 2, page / 2.0), cache.memory());
            answer.close();
            assertEquals(new Memory(8 * page, 0, 0, 0, 0), cache.memory());
        }
    }

    /** The last page can be used, and what needs one more changes nothing. */
    @Test
    void pagesRunOut() {
        try (KvCache cache = f32Cache(4)) {
            Sequence sequence = cache.newSequence();
            sequence.append(rows(60), rows(60));
            Tensor q = queries(1, 1);
            float[] before = attend(sequence, q, Options.DEFAULT);
            Memory memory = cache.memory();
            refused(
                    "pages of keys f32, values f32: given a need of 2; allowed: 0, those free of 4 (",
                    () -> sequence.append(rows(30), rows(30)));
            Sequence fork = sequence.fork();
            refused("given a need of 1; allowed: 0", () -> fork.append(rows(1), rows(1)));
            refused(
                    "given a need of 4; allowed: 0",
                    () -> fork.evict(LongStream.range(1, 60).toArray()));
            refused("given a need of 1; allowed: 0", () -> fork.evict(new long[] {0, 59}));
            fork.close();
            assertEquals(memory, cache.memory());
            assertArrayEquals(before, attend(sequence, q, Options.DEFAULT));
            sequence.append(rows(4), rows(4));
            refused("given a need of 1; allowed: 0", () -> sequence.append(rows(1), rows(1)));
            sequence.truncate(48);
            sequence.append(rows(16), rows(16));
            assertEquals(64, sequence.length());
        }
    }

    /** With several formats as well: whatever is too long for one of them is refused at once. */
    @Test
    void pagesOfAFormatRunOut() {
        try (KvCache cache = builder(4)
                .format(KvFormat.F32, KvFormat.F32)
                .ages(List.of(new Age(20, KvFormat.BF16, KvFormat.BF16)))
                .build()) {
            Sequence sequence = cache.newSequence();
            // With 36 tokens in f32 the first page moves on; the 4 pages of bf16 are full with 64.
            refused(
                    "pages of keys bf16, values bf16: given a need of 5; allowed: 4",
                    () -> sequence.append(rows(100), rows(100)));
            assertEquals(0, cache.memory().usedBytes());
            sequence.append(rows(99), rows(99));
            assertArrayEquals(new long[] {35, 64}, tokens(sequence, cache));
            Memory memory = cache.memory();
            refused(
                    "pages of keys bf16, values bf16: given a need of 1; allowed: 0",
                    () -> sequence.append(rows(1), rows(1)));
            refused(
                    "tokens: given 10000; allowed: 128, those of all pages",
                    () -> sequence.append(rows(10_000), rows(10_000)));
            assertEquals(memory, cache.memory());
        }
    }

    /** What the copy of a shared page takes, and what pages that move on give back, counts before anything happens. */
    @Test
    void pagesOfForksRunOut() {
        for (int pages = 4; pages <= 5; pages++) {
            try (KvCache cache = builder(pages)
                    .format(KvFormat.F32, KvFormat.F32)
                    .ages(List.of(new Age(20, KvFormat.BF16, KvFormat.BF16)))
                    .build()) {
                Sequence sequence = cache.newSequence();
                sequence.append(rows(30), rows(30));
                Sequence fork = sequence.fork();
                if (pages == 4) {
                    // A copy, a page, another one after the first has moved on, which stays as it is shared.
                    refused(
                            "pages of keys f32, values f32: given a need of 3; allowed: 2",
                            () -> fork.append(rows(32), rows(32)));
                    assertArrayEquals(new long[] {30, 0}, tokens(fork, cache));
                } else {
                    fork.append(rows(80), rows(80));
                    assertArrayEquals(new long[] {30, 80}, tokens(fork, cache));
                }
                assertArrayEquals(new long[] {30, 0}, tokens(sequence, cache));
            }
        }
    }

    /** Formats that a call does not write need no pages, though their last page is shared. */
    @Test
    void pagesThatAreNotWrittenAreNotCopied() {
        try (KvCache cache = builder(6)
                .format(KvFormat.F32, KvFormat.F32)
                .ages(List.of(new Age(20, KvFormat.BF16, KvFormat.BF16)))
                .build()) {
            Sequence sequence = cache.newSequence();
            sequence.append(rows(40), rows(40));
            sequence.evict(LongStream.range(11, 40).toArray());
            Sequence fork = sequence.fork();
            Sequence other = cache.newSequence();
            other.append(rows(100), rows(100));
            assertArrayEquals(new long[] {20, 80}, tokens(other, cache));
            fork.append(rows(1), rows(1));
            assertArrayEquals(new long[] {25, 5}, tokens(fork, cache));
            refused(
                    "pages of keys bf16, values bf16: given a need of 2; allowed: 0",
                    () -> fork.append(rows(11), rows(11)));
        }
    }

    private static void refused(String message, Runnable call) {
        String given = assertThrows(GatunException.class, call::run).getMessage();
        assertTrue(given.contains(message), given);
    }
}
