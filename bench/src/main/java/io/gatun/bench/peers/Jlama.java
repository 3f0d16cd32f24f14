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
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Properties;

/**
 * Jlama's product of int8 activations and int4 weights, both in blocks of 32 (larger groups repeat their scale), and, of
 * int8 weights that were expanded before, those of f32 or bf16 values. The Java code itself quantizes activations with the
 * incubating vector API; that is not timed.
 */
final class Jlama implements Peer {
    private static final int BLOCK = 32;
    private static final int BLOCKS_AT_ONCE = 8;

    private static final int F16C = 2;
    private static final int AVX512 = 4;

    private final String version;
    private final MethodHandle gemm;
    private final MethodHandle gemmF32;
    private final MethodHandle gemmBf16;
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
        gemmF32 = library.procedure(
                "gemm_f32",
                JAVA_INT, // flags
                ADDRESS, // x
                JAVA_INT,
                ADDRESS, // weights
                JAVA_INT,
                ADDRESS, // y
                JAVA_INT,
                JAVA_INT, // rows
                JAVA_INT, // first column
                JAVA_INT, // columns
                JAVA_INT, // depth
                JAVA_INT, // strides: x, weights, y
                JAVA_INT,
                JAVA_INT);
        gemmBf16 = library.procedure(
                "gemm_bf16",
                JAVA_INT, // flags
                ADDRESS, // x
                JAVA_INT,
                ADDRESS, // weights
                JAVA_INT,
                ADDRESS, // y as bf16
                ADDRESS, // y as f32, if not as bf16
                JAVA_INT,
                JAVA_INT, // rows
                JAVA_INT, // first column
                JAVA_INT, // columns
                JAVA_INT, // depth
                JAVA_INT, // strides: x, weights, y
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
        if (!problem.isInt4()) {
            boolean expanded = problem.precise() || problem.inBf16();
            return expanded && problem.depth() % BLOCK == 0
                    ? new Values(problem, data, new Weights(problem, data))
                    : null;
        }
        boolean fits = !problem.precise()
                && !problem.inBf16()
                && problem.group() % BLOCK == 0
                && problem.depth() % Math.max(problem.groupSize(), BLOCK * BLOCKS_AT_ONCE) == 0;
        return fits ? new Blocks(problem, data, new Weights(problem, data)) : null;
    }

    private final class Blocks extends JlamaContender {
        private final MemorySegment x;
        private final MemorySegment xScales;
        private final MemorySegment[] codes;
        private final MemorySegment[] scales;

        Blocks(QMatmulCase problem, QMatmulData data, Weights weights) {
            super(
                    Jlama.this,
                    "gemm_q8_q4",
                    "product (activations quantized before)",
                    weights.copies(problem.columns() * problem.depth() / 2),
                    problem);
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
        protected void multiply(int copy, int first, int count) throws Throwable {
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
                    count,
                    depth,
                    depth,
                    blocks(),
                    depth / 2,
                    blocks(),
                    columns);
        }
    }

    /** Both factors are f32, or bf16. */
    private final class Values extends JlamaContender {
        private final boolean bf16;
        private final MemorySegment x;
        private final MemorySegment[] values;

        Values(QMatmulCase problem, QMatmulData data, Weights weights) {
            super(
                    Jlama.this,
                    problem.inBf16() ? "gemm_bf16" : "gemm_f32",
                    problem.inBf16() ? "product (activations converted before)" : "product",
                    weights.copies(bytes(problem)),
                    problem);
            bf16 = problem.inBf16();
            x = HugePages.allocate(arena, (long) data.x.length * (bf16 ? Short.BYTES : Float.BYTES));
            if (bf16) {
                Bf16.copy(data.x, x);
            } else {
                MemorySegment.copy(data.x, 0, x, JAVA_FLOAT, 0, data.x.length);
            }
            values = weights.pack(arena, bytes(problem), bf16 ? weights::dequantizeBf16 : weights::dequantizeF32);
        }

        private static long bytes(QMatmulCase problem) {
            return problem.columns() * problem.depth() * (problem.inBf16() ? Short.BYTES : Float.BYTES);
        }

        @Override
        protected void multiply(int copy, int first, int count) throws Throwable {
            MemorySegment w = values[copy];
            if (bf16) {
                MemorySegment none = MemorySegment.NULL;
                gemmBf16.invokeExact(flags, x, 0, w, 0, none, y, 0, rows, first, count, depth, depth, depth, columns);
            } else {
                gemmF32.invokeExact(flags, x, 0, w, 0, y, 0, rows, first, count, depth, depth, depth, columns);
            }
        }
    }
}
