package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.bench.HugePages;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.RotatingContender;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ForkJoinPool;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * A product by Jlama's C functions, called as its Java code does: 128 slices of the columns, shared by a pool of as many
 * threads as may work.
 */
abstract class JlamaContender extends RotatingContender {
    private static final int SLICES = 128;
    /** A call computes tiles of 5 x 5 and leaves the corner out where neither its rows nor its columns are a multiple. */
    private static final int TILE = 5;

    final Arena arena = Arena.ofShared();
    final int rows;
    final int columns;
    final int depth;
    final MemorySegment y;

    private final ForkJoinPool pool;

    JlamaContender(Peer peer, String kernel, String timed, int copies, QMatmulCase problem) {
        super(peer, kernel, timed, copies);
        rows = Math.toIntExact(problem.rows());
        columns = Math.toIntExact(problem.columns());
        depth = Math.toIntExact(problem.depth());
        y = HugePages.allocate(arena, (long) rows * columns * Float.BYTES);
        pool = problem.threads() == 1
                ? null
                : new ForkJoinPool(problem.threads(), ForkJoinPool.defaultForkJoinWorkerThreadFactory, null, true);
    }

    /** Calls the C function: columns first .. first + count of y. */
    protected abstract void multiply(int copy, int first, int count) throws Throwable;

    @Override
    protected final void call(int copy) {
        int tiles = Math.ceilDiv(columns, TILE);
        int slices = Math.min(tiles, SLICES);
        IntConsumer slice = i -> slice(
                copy,
                Math.toIntExact((long) tiles * i / slices * TILE),
                Math.toIntExact(Math.min(columns, (long) tiles * (i + 1) / slices * TILE)));
        if (pool == null) {
            IntStream.range(0, slices).forEach(slice);
        } else {
            pool.submit(() -> IntStream.range(0, slices).parallel().forEach(slice))
                    .join();
        }
    }

    private void slice(int copy, int first, int end) {
        int rest = (end - first) % TILE;
        if (rest > 0 && end - first > TILE) {
            slice(copy, first, end - rest);
            slice(copy, end - rest, end);
            return;
        }
        try {
            multiply(copy, first, end - first);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    @Override
    protected final void result(float[] values) {
        MemorySegment.copy(y, JAVA_FLOAT, 0, values, 0, values.length);
    }

    @Override
    public final void close() {
        if (pool != null) {
            pool.close();
        }
        arena.close();
    }
}
