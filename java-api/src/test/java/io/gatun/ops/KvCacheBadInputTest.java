package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import io.gatun.ops.KvCache.Age;
import io.gatun.ops.KvCache.Builder;
import io.gatun.ops.KvCache.Memory;
import io.gatun.ops.KvCache.Sequence;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class KvCacheBadInputTest {
    private static final int HEADS = 2;
    private static final int SIZE = 16;
    private static final int VALUES = 24;

    private final KvCache cache = KvCache.builder(HEADS, SIZE)
            .valueSize(VALUES)
            .pages(6)
            .ages(List.of(new Age(16, KvFormat.int8(), KvFormat.int8())))
            .build();
    private final Sequence sequence = cache.newSequence();
    private final Tensor out = f32(1, 4, 1, VALUES);

    {
        sequence.append(k(40), v(40));
        out.segment().fill((byte) 7);
    }

    private static Tensor k(int tokens) {
        return f32(HEADS, tokens, SIZE);
    }

    private static Tensor v(int tokens) {
        return f32(HEADS, tokens, VALUES);
    }

    private static Tensor q() {
        return f32(1, 4, 1, SIZE);
    }

    private Refusals refusals() {
        Memory before = cache.memory();
        byte[] bytes = out.segment().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
        return new Refusals(() -> before.equals(cache.memory())
                && sequence.length() == 40
                && Arrays.equals(bytes, out.segment().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE)));
    }

    @TestFactory
    Stream<DynamicTest> builders() {
        Builder builder = KvCache.builder(HEADS, SIZE).pages(4);
        KvFormat i8 = KvFormat.int8();
        return refusals()
                .add("no heads", "heads", "0", "1..", () -> KvCache.builder(0, SIZE))
                .add(
                        "size",
                        "size",
                        "12",
                        "multiples of 8 in 8..256",
                        () -> KvCache.builder(1, 12).pages(1).build())
                .add(
                        "value size",
                        "size",
                        "264",
                        "multiples of 8 in 8..256",
                        () -> KvCache.builder(1, 8).valueSize(264).pages(1).build())
                .add("no pages", "pages", "0", "1..", () -> builder.pages(0))
                .add(
                        "pages not given",
                        "pages",
                        "none",
                        "1 or more",
                        () -> KvCache.builder(1, 8).build())
                .add(
                        "page size",
                        "pageSize",
                        "0",
                        "1..",
                        () -> KvCache.builder(1, 8).pages(1).pageSize(0).build())
                .add(
                        "group of tokens",
                        "pageSize",
                        "16",
                        "multiples of 32",
                        () -> builder.format(i8.perChannel(32), i8).build())
                .add("no sequences", "sequences", "0", "1..", () -> builder.sequences(0))
                .missing("keys", () -> builder.format(null, i8))
                .missing("values", () -> builder.format(i8, null))
                .missing("ages", () -> builder.ages(null))
                .missing("age.k", () -> new Age(1, null, i8))
                .missing("age.v", () -> new Age(1, i8, null))
                .add("negative age", "age.tokens", "-1", "0..", () -> new Age(-1, i8, i8))
                .add(
                        "ages that do not ascend",
                        "ages[1].tokens",
                        "5",
                        "more than the 5",
                        () -> builder.ages(List.of(new Age(5, i8, i8), new Age(5, i8, i8))))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> appends() {
        return refusals()
                .missing("k", () -> sequence.append(null, v(1)))
                .missing("v", () -> sequence.append(k(1), null))
                .add(
                        "k of integers",
                        "k",
                        "i8",
                        "[f32",
                        () -> sequence.append(Tensor.allocate(DType.I8, HEADS, 1, SIZE), v(1)))
                .add(
                        "v of integers",
                        "v",
                        "i8",
                        "[f32",
                        () -> sequence.append(k(1), Tensor.allocate(DType.I8, HEADS, 1, VALUES)))
                .add("rank", "k", "[2, 16]", "[2, any, 16]", () -> sequence.append(f32(HEADS, SIZE), v(1)))
                .add("heads", "k", "[3, 1, 16]", "[2, any, 16]", () -> sequence.append(f32(3, 1, SIZE), v(1)))
                .add("size of v", "v", "[2, 1, 16]", "[2, any, 24]", () -> sequence.append(k(1), k(1)))
                .add("tokens", "v", "2 tokens", "1, as k", () -> sequence.append(k(1), v(2)))
                .add(
                        "stride",
                        "k",
                        "",
                        "stride 1 on the last axis",
                        () -> sequence.append(Refusals.view(f32(1000), Shape.of(HEADS, 1, SIZE), 100, 50, 2), v(1)))
                .unreachable("k", DType.F32, new long[] {HEADS, 1, SIZE}, k -> sequence.append(k, v(1)))
                .unreachable("v", DType.F32, new long[] {HEADS, 1, VALUES}, v -> sequence.append(k(1), v))
                .add("NaN that would become a code", "v[1, 2, 3]", "NaN", "-32768.0..32768.0", () -> {
                    Tensor v = v(3);
                    v.setFloat(Float.NaN, 1, 2, 3);
                    sequence.append(k(3), v);
                })
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> removals() {
        return refusals()
                .add("truncate before", "length", "-1", "0..40", () -> sequence.truncate(-1))
                .add("truncate beyond", "length", "41", "0..40", () -> sequence.truncate(41))
                .missing("keep", () -> sequence.evict((long[][]) null))
                .missing("keep[1]", () -> sequence.evict(new long[0], null))
                .add("lists", "keep", "3 lists", "1, or 2", () -> sequence.evict(new long[3][0]))
                .add("no list", "keep", "0 lists", "1, or 2", () -> sequence.evict())
                .add(
                        "lengths of lists",
                        "keep[1]",
                        "1 tokens",
                        "2, as keep[0]",
                        () -> sequence.evict(new long[] {1, 2}, new long[] {1}))
                .add("negative", "keep[0][0]", "-1", "0..39", () -> sequence.evict(new long[] {-1}))
                .add("beyond", "keep[0][1]", "40", "4..39", () -> sequence.evict(new long[] {3, 40}))
                .add(
                        "descending",
                        "keep[1][2]",
                        "3",
                        "6..39, in ascending order",
                        () -> sequence.evict(new long[] {1, 2, 3}, new long[] {4, 5, 3}))
                .add(
                        "twice",
                        "keep[0][1]",
                        "39",
                        "no more than 1 of 40 tokens",
                        () -> sequence.evict(new long[] {39, 39}))
                .add(
                        "unequal in a format",
                        "keep[1]",
                        "0 of the tokens 16..39, kept as keys bf16, values bf16",
                        "1 of them, as keep[0] has",
                        () -> sequence.evict(new long[] {20}, new long[] {3}))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> attention() {
        KvCache other = KvCache.builder(HEADS, SIZE).valueSize(VALUES).pages(1).build();
        Sequence foreign = other.newSequence();
        Sequence closed = cache.newSequence();
        closed.close();
        Options options = Options.DEFAULT;
        Class<UnsupportedOperationException> several = UnsupportedOperationException.class;
        return refusals()
                .add(several, "keys", "cache", "2 formats", "1, so that", cache::keys)
                .add(several, "values", "cache", "2 formats", "1, so that", cache::values)
                .add(several, "table", "cache", "2 formats", "1, so that", sequence::table)
                .missing("sequences", () -> cache.attend(null, q(), out, options))
                .missing("sequences[1]", () -> cache.attend(Arrays.asList(sequence, null), q(), out, options))
                .missing("q", () -> sequence.attend(null, out, options))
                .missing("out", () -> sequence.attend(q(), null, options))
                .missing("options", () -> sequence.attend(q(), out, null))
                .missing("options", () -> sequence.attend(q(), out, null, f32(1, 2, 40), false))
                .missing("scores", () -> sequence.attend(q(), out, options, null, false))
                .add(
                        "a sequence of another cache",
                        "sequences[1]",
                        "another cache",
                        "sequences of this cache",
                        () -> cache.attend(List.of(sequence, foreign), q(), out, options))
                .add(
                        IllegalStateException.class,
                        "a closed sequence",
                        "sequences[1]",
                        "a closed Sequence",
                        "an open one",
                        () -> cache.attend(List.of(sequence, closed), q(), out, options))
                .add(
                        "batch",
                        "q",
                        "[1, 4, 1, 16]",
                        "[2, query heads, query length, 16]",
                        () -> cache.attend(List.of(sequence, sequence), q(), out, options))
                .add("rank", "q", "[4, 1, 16]", "[1, query heads", () -> sequence.attend(f32(4, 1, SIZE), out, options))
                .add(
                        "rank, with scores",
                        "q",
                        "[4, 1, 16]",
                        "[1, query heads",
                        () -> sequence.attend(f32(4, 1, SIZE), out, options, f32(1, 2, 40), false))
                .add("size of q", "q", "[1, 4, 1, 24]", "16", () -> sequence.attend(f32(1, 4, 1, VALUES), out, options))
                .add(
                        "heads",
                        "k",
                        "2 heads",
                        "the 3 heads of q",
                        () -> sequence.attend(f32(1, 3, 1, SIZE), f32(1, 3, 1, VALUES), options))
                .add("size of out", "out", "[1, 4, 1, 16]", "24", () -> sequence.attend(q(), q(), options))
                .add(
                        "type of out",
                        "out",
                        "f16",
                        "f32",
                        () -> sequence.attend(q(), Tensor.allocate(DType.F16, 1, 4, 1, VALUES), options))
                .add(
                        "short logits",
                        "logits",
                        "[1, 4, 1, 39]",
                        "40",
                        () -> sequence.attend(q(), out, options.withLogits(f32(1, 4, 1, 39))))
                .add(
                        "lse",
                        "lse",
                        "[1, 4, 2]",
                        "[1, 4, 1]",
                        () -> sequence.attend(q(), out, options.withLse(f32(1, 4, 2))))
                .add(
                        "short scores",
                        "scores",
                        "[1, 2, 39]",
                        "40",
                        () -> sequence.attend(q(), f32(1, 4, 1, VALUES), options, f32(1, 2, 39), false))
                .unreachable("q", DType.F32, new long[] {1, 4, 1, SIZE}, q -> sequence.attend(q, out, options))
                .unreachable("out", DType.F32, new long[] {1, 4, 1, VALUES}, o -> sequence.attend(q(), o, options))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> afterClose() {
        Refusals refusals = refusals();
        KvCache gone = KvCache.builder(HEADS, SIZE).pages(2).build();
        Sequence of = gone.newSequence();
        of.append(k(3), k(3));
        gone.close();
        Sequence closed = cache.newSequence();
        closed.append(k(3), v(3));
        Sequence fork = closed.fork();
        closed.close();
        fork.close();
        closed(refusals, "cache", "KvCache", of, k(1));
        refusals.add(IllegalStateException.class, "memory", "cache", "a closed KvCache", "an open one", gone::memory);
        refusals.add(
                IllegalStateException.class,
                "newSequence",
                "cache",
                "a closed KvCache",
                "an open one",
                gone::newSequence);
        return closed(refusals, "sequence", "Sequence", closed, v(1)).tests();
    }

    private Refusals closed(Refusals refusals, String argument, String what, Sequence closed, Tensor v) {
        Class<IllegalStateException> type = IllegalStateException.class;
        String given = "a closed " + what;
        String name = " of a closed " + what;
        Options options = Options.DEFAULT;
        return refusals.add(type, "length" + name, argument, given, "an open one", closed::length)
                .add(type, "append" + name, argument, given, "an open one", () -> closed.append(k(1), v))
                .add(type, "table" + name, argument, given, "an open one", closed::table)
                .add(type, "fork" + name, argument, given, "an open one", closed::fork)
                .add(type, "truncate" + name, argument, given, "an open one", () -> closed.truncate(0))
                .add(type, "evict" + name, argument, given, "an open one", () -> closed.evict(new long[0]))
                .add(type, "explain" + name, argument, given, "an open one", () -> closed.explain(q(), out, options))
                .add(type, "attend" + name, "", given, "an open one", () -> closed.attend(q(), out, options))
                .add(
                        type,
                        "scores" + name,
                        argument,
                        given,
                        "an open one",
                        () -> closed.attend(q(), out, options, f32(1, 2, 3), false));
    }

    /** Closing twice frees nothing twice: what another sequence took meanwhile stays its own. */
    @Test
    void closedTwice() {
        Sequence fork = sequence.fork();
        fork.close();
        Sequence next = cache.newSequence();
        next.append(k(8), v(8));
        Memory memory = cache.memory();
        fork.close();
        assertEquals(memory, cache.memory());
        assertEquals("closed", fork.toString());
        assertEquals("8 tokens", next.toString());
        cache.close();
        cache.close();
        next.close();
        assertEquals("closed", next.toString());
    }
}
