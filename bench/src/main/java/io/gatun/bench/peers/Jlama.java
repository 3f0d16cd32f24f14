package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.Tier;
import io.gatun.bench.Contender;
import io.gatun.bench.HugePages;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import io.gatun.bench.RotatingContender;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Properties;
import java.util.concurrent.ForkJoinPool;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Jlama's product of int8 activations and int4 weights, both in blocks of 32 (larger groups repeat their scale). Its C
 * function is called as its Java code does: 128 slices of the columns, shared by a pool of as many threads as may work. The
 * Java code itself quantizes activations with the incubating vector API; that is not timed.
 */
final class Jlama implements Peer {
    private static final int BLOCK = 32;
    private static final int BLOCKS_AT_ONCE = 8;
    private static final int SLICES = 128;
    /** A call computes tiles of 5 x 5 and leaves the corner out where neither its rows nor its columns are a multiple. */
    private static final int TILE = 5;

    private static final int F16C = 2;
    private static final int AVX512 = 4;

    private final String version;
    private final MethodHandle gemm;
    private final int flags = Tier.AVX512.isSupported() ? F16C | AVX512 : F16C;

    Jlama() throws IOException {
        NativeCode library = new NativeCode("META-INF/native/lib/libjlama.so");
        gemm = library.procedure(
                "gemm_q8_q4",
                JAVA_INT, // flags
                ADDRESS, // scales of x
                ADDRESS, // x
                JAVA_INT,
                ADDRESS, // scales of the weights
                ADDRESS, // weights
                JAVA_INT,
                ADDRESS, // y
                JAVA_INT,
                JAVA_INT, // rows
                JAVA_INT, // first column
                JAVA_INT, // columns
                JAVA_INT, // depth
                JAVA_INT, // strides: x, its scales, weights, their scales, y
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        Properties properties = new Properties();
        try (InputStream stream =
                Jlama.class.getResourceAsStream("/META-INF/maven/com.github.tjake/jlama-native/pom.properties")) {
            properties.load(stream);
        }
        version = properties.getProperty("version");
    }

    @Override
    public String name() {
        return "jlama";
    }

    @Override
    public String version() {
        return version;
    }

    @Override
    public Contender prepare(QMatmulCase problem, QMatmulData data) {
        boolean fits = problem.isInt4()
                && !problem.precise()
                && problem.group() % BLOCK == 0
                && problem.depth() % Math.max(problem.groupSize(), BLOCK * BLOCKS_AT_ONCE) == 0;
        return fits ? new Blocks(problem, data, new Weights(problem, data)) : null;
    }

    private final class Blocks extends RotatingContender {
        private final Arena arena = Arena.ofShared();
        private final ForkJoinPool pool;
        private final int rows;
        private final int columns;
        private final int depth;
        private final MemorySegment x;
        private final MemorySegment xScales;
        private final MemorySegment[] codes;
        private final MemorySegment[] scales;
        private final MemorySegment y;

        Blocks(QMatmulCase problem, QMatmulData data, Weights weights) {
            super(
                    Jlama.this,
                    "gemm_q8_q4",
                    "product (activations quantized before)",
                    weights.copies(problem.columns() * problem.depth() / 2));
            pool = problem.threads() == 1
                    ? null
                    : new ForkJoinPool(problem.threads(), ForkJoinPool.defaultForkJoinWorkerThreadFactory, null, true);
            rows = Math.toIntExact(problem.rows());
            columns = weights.columns;
            depth = weights.depth;
            x = arena.allocate((long) rows * depth, HugePages.ALIGNMENT);
            xScales = floats((long) rows * blocks());
            quantize(data.x);
            codes = weights.pack(arena, (long) columns * depth / 2, this::packRow);
            scales = new MemorySegment[codes.length];
            for (int copy = 0; copy < scales.length; copy++) {
                scales[copy] = floats((long) columns * blocks());
                for (int n = 0; n < columns; n++) {
                    for (int b = 0; b < blocks(); b++) {
                        scales[copy].setAtIndex(
                                JAVA_FLOAT, (long) n * blocks() + b, weights.scale(n, b * BLOCK / weights.group));
                    }
                }
            }
            y = floats((long) rows * columns);
        }

        private int blocks() {
            return depth / BLOCK;
        }

        private MemorySegment floats(long count) {
            return HugePages.allocate(arena, count * Float.BYTES);
        }

        /** The first half of a block lies in the low halves of its bytes. */
        private void packRow(int row, byte[] values, MemorySegment target) {
            for (int k = 0; k < depth; k++) {
                int inBlock = k % BLOCK;
                long at = (long) row * depth + k - inBlock + 2 * (inBlock % (BLOCK / 2)) + inBlock / (BLOCK / 2);
                Weights.setNibble(target, at, values[k] + 8);
            }
        }

        private void quantize(float[] values) {
            for (int b = 0; b < values.length / BLOCK; b++) {
                float largest = 0;
                for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
                    largest = Math.max(largest, Math.abs(values[i]));
                }
                float scale = largest / Byte.MAX_VALUE;
                xScales.setAtIndex(JAVA_FLOAT, b, scale);
                for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
                    x.set(JAVA_BYTE, i, (byte) (scale == 0 ? 0 : Math.round(values[i] / scale)));
                }
            }
        }

        @Override
        protected void call(int copy) {
            int tiles = Math.ceilDiv(columns, TILE);
            int slices = Math.min(tiles, SLICES);
            IntConsumer slice = i -> multiply(
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

        private void multiply(int copy, int first, int end) {
            int rest = (end - first) % TILE;
            if (rest > 0 && end - first > TILE) {
                multiply(copy, first, end - rest);
                multiply(copy, end - rest, end);
                return;
            }
            try {
                gemm.invokeExact(
                        flags,
                        xScales,
                        x,
                        0,
                        scales[copy],
                        codes[copy],
                        0,
                        y,
                        0,
                        rows,
                        first,
                        end - first,
                        depth,
                        depth,
                        blocks(),
                        depth / 2,
                        blocks(),
                        columns);
            } catch (Throwable e) {
                throw NativeCode.failure(e);
            }
        }

        @Override
        protected void result(float[] values) {
            MemorySegment.copy(y, JAVA_FLOAT, 0, values, 0, values.length);
        }

        @Override
        public void close() {
            if (pool != null) {
                pool.close();
            }
            arena.close();
        }
    }
}
