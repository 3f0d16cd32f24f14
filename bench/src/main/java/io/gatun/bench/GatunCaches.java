package io.gatun.bench;

import static io.gatun.bench.DecodeCase.HEAD_SIZE;
import static io.gatun.bench.DecodeCase.PAGE;
import static io.gatun.bench.DecodeCase.QUERY_HEADS;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Decode;
import io.gatun.ops.KvFormat;
import io.gatun.ops.KvPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * What Gatun's attention to caches needs: a pool of keys and one of values whose pages, in any order, are those of the
 * caches that rotate; a table for each cache; the query and the result [1, query heads, 1, head size], in f16 beside
 * caches of f16, otherwise in bf16.
 */
final class GatunCaches implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final DecodeCase problem;
    final KvPool k;
    final KvPool v;
    final Tensor q;
    final Tensor y;
    final long[] lengths;
    private final int[] pages;
    private final List<Tensor> tables = new ArrayList<>();

    GatunCaches(DecodeCase problem, DecodeData data) {
        this.problem = problem;
        int copies = data.copies(problem.bytes());
        k = pool(copies * problem.pages());
        v = pool(copies * problem.pages());
        DType dtype = problem.cache() == DecodeCase.Cache.F16 ? DType.F16 : DType.BF16;
        q = Tensor.allocate(arena, dtype, 1, QUERY_HEADS, 1, HEAD_SIZE)
                .copyFrom(data.q().toFloatArray());
        y = Tensor.allocate(arena, dtype, 1, QUERY_HEADS, 1, HEAD_SIZE);
        lengths = new long[] {problem.keys()};
        List<Integer> order =
                new ArrayList<>(IntStream.range(0, k.pages()).boxed().toList());
        Collections.shuffle(order, new Random(8));
        pages = order.stream().mapToInt(page -> page).toArray();
        for (int copy = 0; copy < copies; copy++) {
            int[] own = pages(copy);
            long[] slots = IntStream.range(0, problem.keys())
                    .mapToLong(key -> (long) own[key / PAGE] * PAGE + key % PAGE)
                    .toArray();
            k.write(data.k(0), slots);
            v.write(data.v(0), slots);
            Tensor table = Tensor.allocate(arena, DType.I32, 1, 1, own.length);
            table.segment().copyFrom(MemorySegment.ofArray(own));
            tables.add(table);
        }
    }

    private KvPool pool(int count) {
        return KvPool.allocate(format(problem.cache()), problem.heads(), count, PAGE, HEAD_SIZE);
    }

    static KvFormat format(DecodeCase.Cache cache) {
        int group = cache.group == HEAD_SIZE ? 0 : cache.group;
        return switch (cache) {
            case BF16 -> KvFormat.BF16;
            case F16 -> KvFormat.F16;
            case INT8 -> KvFormat.int8(group);
            case INT4, INT4_GROUPS -> KvFormat.int4(group);
            case INT2 -> KvFormat.int2(group);
        };
    }

    int copies() {
        return tables.size();
    }

    /** In the pools, those of a cache in the order of its keys. */
    int[] pages(int copy) {
        int count = problem.pages();
        return Arrays.copyOfRange(pages, copy * count, (copy + 1) * count);
    }

    /** The pages of a cache. */
    Tensor table(int copy) {
        return tables.get(copy);
    }

    Arena arena() {
        return arena;
    }

    /** {@link Decode#run} of a case to all keys, codes with q of 8 bits. */
    static Contender prepare(String way, DecodeCase problem, DecodeData data) {
        return prepare(way, problem, data, problem.cache().bits < Short.SIZE ? Mode.INT8 : Mode.EXACT);
    }

    static Contender prepare(String way, DecodeCase problem, DecodeData data, Mode mode) {
        GatunCaches caches = new GatunCaches(problem, data);
        Decode.Options options =
                Decode.Options.DEFAULT.withThreads(problem.threads()).withMode(mode);
        return new GatunContender(
                way,
                Decode.explain(caches.q, caches.k, caches.v, caches.table(0), caches.lengths, caches.y, options),
                "attention, pages of " + PAGE + " keys, through the Java API",
                caches::close,
                caches.y,
                caches.copies(),
                copy -> Decode.run(
                        caches.q, caches.k, caches.v, caches.table(copy), caches.lengths, caches.y, options));
    }

    @Override
    public void close() {
        k.close();
        v.close();
        arena.close();
    }
}
