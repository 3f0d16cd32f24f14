package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class DecodeScoresBadInputTest {
    private static final long[] LSE = {2, 4, 3};
    private static final long[] LOGITS = {2, 4, 3, 30};

    private final Tensor logits = f32(LOGITS);
    private final Tensor lse = f32(LSE);
    private final Tensor table = Tensor.of(new int[] {0, 1, 2, 3, 4, 3, 2, 1}, 2, 1, 4);
    private final long[] lengths = {30, 17};
    private final Tensor scores = f32(2, 2, 30);
    private final Tensor chosen = Tensor.allocate(DType.I32, 2, 2, 3);

    private Refusals refusals() {
        scores.segment().fill((byte) 0x42);
        chosen.segment().fill((byte) 0x42);
        byte[] scoresBefore = BlockMaskTest.bytes(scores);
        byte[] chosenBefore = BlockMaskTest.bytes(chosen);
        return new Refusals(() -> Arrays.equals(scoresBefore, BlockMaskTest.bytes(scores))
                && Arrays.equals(chosenBefore, BlockMaskTest.bytes(chosen)));
    }

    @TestFactory
    Stream<DynamicTest> scores() {
        long[] shape = {2, 2, 30};
        return refusals()
                .missing("logits", () -> Decode.scores(null, lse, lengths, scores, false))
                .missing("lse", () -> Decode.scores(logits, null, lengths, scores, false))
                .missing("lengths", () -> Decode.scores(logits, lse, null, scores, false))
                .missing("scores", () -> Decode.scores(logits, lse, lengths, null, false))
                .add(
                        "logits rank",
                        "logits",
                        "[24, 30]",
                        "[batch, query heads",
                        () -> Decode.scores(logits.reshape(24, 30), lse, lengths, scores, false))
                .add(
                        "lse shape",
                        "lse",
                        "[2, 12]",
                        "[2, 4, 3]",
                        () -> Decode.scores(logits, lse.reshape(2, 12), lengths, scores, false))
                .add(
                        "heads",
                        "scores",
                        "3 heads",
                        "divides the 4",
                        () -> Decode.scores(logits, lse, lengths, f32(2, 3, 30), false))
                .add(
                        "batch",
                        "scores",
                        "[1, 2, 30]",
                        "batch of 2",
                        () -> Decode.scores(logits, lse, lengths, f32(1, 2, 30), false))
                .add(
                        "few scores",
                        "scores",
                        "[2, 2, 29]",
                        "30, the longest",
                        () -> Decode.scores(logits, lse, lengths, f32(2, 2, 29), false))
                .add(
                        "few logits",
                        "logits",
                        "30]",
                        "31, the longest",
                        () -> Decode.scores(logits, lse, new long[] {31, 3}, f32(2, 2, 31), false))
                .add(
                        "count",
                        "lengths",
                        "3 lengths",
                        "2 of items or 4",
                        () -> Decode.scores(logits, lse, new long[3], scores, false))
                .add(
                        "negative",
                        "lengths",
                        "-1",
                        "0",
                        () -> Decode.scores(logits, lse, new long[] {-1, 2}, scores, false))
                .add(
                        "threads",
                        "threads",
                        "-1",
                        "0..1024",
                        () -> Decode.scores(logits, lse, lengths, scores, false, -1))
                .add(
                        "overlap",
                        "scores",
                        "overlaps logits",
                        "own",
                        () -> Decode.scores(
                                logits, lse, lengths, Tensor.wrap(logits.segment(), DType.F32, shape), false))
                .unreachable("logits", DType.F32, LOGITS, bad -> Decode.scores(bad, lse, lengths, scores, true))
                .unreachable("lse", DType.F32, LSE, bad -> Decode.scores(logits, bad, lengths, scores, true))
                .unreachable("scores", DType.F32, shape, bad -> Decode.scores(logits, lse, lengths, bad, true))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> choose() {
        Tensor scores = f32(2, 2, 4);
        return refusals()
                .missing("scores", () -> Decode.choose(null, table, lengths, 8, 3, 0, 1, chosen))
                .missing("table", () -> Decode.choose(scores, null, lengths, 8, 3, 0, 1, chosen))
                .missing("lengths", () -> Decode.choose(scores, table, null, 8, 3, 0, 1, chosen))
                .missing("chosen", () -> Decode.choose(scores, table, lengths, 8, 3, 0, 1, null))
                .missing("chosenLengths", () -> Decode.choose(scores, table, lengths, 8, 3, 0, 1, chosen, null, 0))
                .add("page size", "pageSize", "0", "1..", () -> choose(scores, lengths, 0, 3, 0, 1, chosen))
                .add("budget", "budget", "-1", "0..", () -> choose(scores, lengths, 8, -1, 0, 1, chosen))
                .add("first", "keepFirst", "-1", "0..", () -> choose(scores, lengths, 8, 3, -1, 1, chosen))
                .add("last", "keepLast", "0", "1..", () -> choose(scores, lengths, 8, 3, 0, 0, chosen))
                .add(
                        "few scores",
                        "scores",
                        "3]",
                        "4, the most pages",
                        () -> choose(f32(2, 2, 3), lengths, 8, 3, 0, 1, chosen))
                .add(
                        "narrow",
                        "chosen",
                        "[2, 2, 3]",
                        "[2, 2, 4 or more]",
                        () -> choose(scores, lengths, 8, 4, 0, 1, chosen))
                .add("dtype", "chosen", "f32", "i32", () -> choose(scores, lengths, 8, 3, 0, 1, f32(2, 2, 3)))
                .add(
                        "table",
                        "table",
                        "[2, 4, 1]",
                        "[2, 1 or 2",
                        () -> Decode.choose(scores, table.reshape(2, 4, 1), lengths, 8, 3, 0, 1, chosen))
                .add(
                        "too long",
                        "lengths",
                        "33",
                        "0..32",
                        () -> choose(f32(2, 2, 5), new long[] {33, 1}, 8, 3, 0, 1, chosen))
                .add(
                        "counts",
                        "chosenLengths",
                        "3 lengths",
                        "4",
                        () -> Decode.choose(scores, table, lengths, 8, 3, 0, 1, chosen, new long[3], 0))
                .add(
                        "overlap",
                        "chosen",
                        "overlaps table",
                        "own",
                        () -> choose(scores, lengths, 8, 2, 0, 1, table.reshape(2, 2, 2)))
                .unreachable("scores", DType.F32, new long[] {2, 2, 4}, bad -> choose(bad, lengths, 8, 3, 0, 1, chosen))
                .unreachable("chosen", DType.I32, new long[] {2, 2, 3}, bad -> choose(scores, lengths, 8, 3, 0, 1, bad))
                .tests();
    }

    private void choose(Tensor scores, long[] counts, int pageSize, int budget, int first, int last, Tensor chosen) {
        Decode.choose(scores, table, counts, pageSize, budget, first, last, chosen);
    }
}
