package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static io.gatun.bench.DecodeCase.PAGE;
import static io.gatun.bench.DecodeCase.QUERY_HEADS;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.Decode;
import io.gatun.ops.KvFormat;
import io.gatun.ops.KvPool;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Gatun's attention to the pages that are worth it, for each head of keys: those whose means get the most attention.
 * Means are there before, as they change with a page only, in bf16 beside each cache.
 */
final class GatunDecodeSelection extends RotatingContender {
    private final GatunCaches caches;
    private final DecodeCase problem;
    /** A page for each cache: its rows are the means of the cache's pages. */
    private final KvPool means;

    private final Tensor[] meansTables;
    private final long[] meansLengths;
    private final Tensor scores;
    private final Tensor chosen;
    private final long[] chosenLengths;
    private final Decode.Options options;
    private final Decode.Options meansOptions;
    private int called;

    GatunDecodeSelection(DecodeCase problem, DecodeData data) {
        this(problem, new GatunCaches(problem, data), data);
    }

    private GatunDecodeSelection(DecodeCase problem, GatunCaches caches, DecodeData data) {
        super(
                Result.OURS + " " + Gatun.version(),
                "gatun_decode, gatun_decode_scores, gatun_decode_choose",
                "logits of means, scores, choice of pages of " + PAGE + " keys and attention, through the Java API",
                caches.copies());
        this.problem = problem;
        this.caches = caches;
        int count = problem.pages();
        means = KvPool.allocate(KvFormat.BF16, problem.heads(), caches.copies(), count, HEAD_SIZE);
        Tensor values = means(data);
        meansTables = new Tensor[caches.copies()];
        for (int copy = 0; copy < meansTables.length; copy++) {
            long first = (long) copy * count;
            means.write(
                    values,
                    IntStream.range(0, count).mapToLong(page -> first + page).toArray());
            meansTables[copy] = Tensor.of(new int[] {copy}, 1, 1, 1);
        }
        meansLengths = new long[] {count};
        scores = Tensor.allocate(caches.arena(), DType.F32, 1, problem.heads(), count);
        chosen = Tensor.allocate(caches.arena(), DType.I32, 1, problem.heads(), problem.budget());
        chosenLengths = new long[problem.heads()];
        options = Decode.Options.DEFAULT.withThreads(problem.threads());
        meansOptions = options.withLse(Tensor.allocate(caches.arena(), DType.F32, 1, QUERY_HEADS, 1))
                .withLogits(Tensor.allocate(caches.arena(), DType.F32, 1, QUERY_HEADS, 1, count));
    }

    /** Of the keys of each page, [heads, pages, head size]. */
    private Tensor means(DecodeData data) {
        float[] sums = new float[problem.heads() * problem.pages() * HEAD_SIZE];
        IntStream.range(0, problem.heads()).parallel().forEach(head -> {
            for (int key = 0; key < problem.keys(); key++) {
                int size = Math.min(PAGE, problem.keys() - key / PAGE * PAGE);
                for (int i = 0; i < HEAD_SIZE; i++) {
                    sums[(head * problem.pages() + key / PAGE) * HEAD_SIZE + i] +=
                            data.at(data.k(0), head, key, i) / size;
                }
            }
        });
        return Tensor.of(sums, problem.heads(), problem.pages(), HEAD_SIZE);
    }

    /** Of the keys and values that are read, those of the last page among them, and of the means. */
    static long bytes(DecodeCase problem) {
        long keys = problem.keys() - (long) PAGE * (problem.pages() - problem.budget());
        return 2 * problem.heads() * keys * problem.cache().bytes()
                + (long) problem.heads() * problem.pages() * HEAD_SIZE * Short.BYTES;
    }

    @Override
    protected void call(int copy) {
        Decode.logits(caches.q, means, meansTables[copy], meansLengths, meansOptions);
        Decode.scores(meansOptions.logits(), meansOptions.lse(), meansLengths, scores, false, problem.threads());
        Decode.choose(
                scores,
                caches.table(copy),
                caches.lengths,
                PAGE,
                problem.budget(),
                1,
                1,
                chosen,
                chosenLengths,
                problem.threads());
        Decode.run(caches.q, caches.k, caches.v, chosen, chosenLengths, caches.y, options);
        called = copy;
    }

    /** The pages of the last call for a head of keys, counted among those of the cache, in the order of the table. */
    int[] chosen(int head) {
        int[] places = new int[caches.k.pages()];
        Arrays.fill(places, -1);
        int[] own = caches.pages(called);
        for (int page = 0; page < own.length; page++) {
            places[own[page]] = page;
        }
        int count = Math.toIntExact(Math.ceilDiv(chosenLengths[head], PAGE));
        return IntStream.range(head * problem.budget(), head * problem.budget() + count)
                .map(i -> places[chosen.segment().getAtIndex(ValueLayout.JAVA_INT, i)])
                .toArray();
    }

    @Override
    protected void result(float[] y) {
        float[] values = caches.y.toFloatArray();
        System.arraycopy(values, 0, y, 0, values.length);
    }

    @Override
    public void close() {
        means.close();
        caches.close();
    }
}
