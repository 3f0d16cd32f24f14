package io.gatun.bench;

import io.gatun.DType;
import io.gatun.ops.GgufType;
import io.gatun.ops.QuantSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * f32 values to codes, or back.
 *
 * @param format whose codes they are
 * @param quantize whether codes are made; else they are read
 * @param threads that may work
 */
public record QuantizeCase(Format format, boolean quantize, int threads) {
    /** Rows of 4096 values, 64 Mi together: four times 64 MiB, more than any cache. */
    static final long ROWS = 16384;

    static final long DEPTH = 4096;

    /**
     * A format.
     *
     * @param name in the records
     * @param spec of a matrix [ROWS, DEPTH]
     * @param bits of a value with its part of the scales
     * @param error ||value - x|| / ||x|| of standard normal values: from a simulation of the definition, of the types of
     *     GGUF that are made by a search that of ggml
     */
    public record Format(String name, QuantSpec spec, double bits, double error) {}

    /** What is measured. */
    static final List<Format> FORMATS = List.of(
            new Format("int8 row", QuantSpec.int8(), 8, 0.00855),
            new Format("int8 g32", QuantSpec.int8(32), 8.5, 0.00534),
            new Format("int4 g32", QuantSpec.int4(32), 4.5, 0.0862),
            new Format("int4 g128", QuantSpec.int4(128), 4.125, 0.1026),
            new Format("fp8 row", QuantSpec.fp8(DType.F8E4M3), 8, 0.0265),
            new Format("fp8 tensor", QuantSpec.fp8(DType.F8E4M3).perTensor(), 8, 0.0265),
            new Format("fp8 128x128", QuantSpec.fp8(DType.F8E4M3).withBlocks(128, 128), 8, 0.0265),
            new Format("dynamic8 b256", QuantSpec.dynamic8(256), 8.125, 0.01076),
            new Format("nf4 b64", QuantSpec.nf4(64), 4.5, 0.0918),
            new Format("mxfp4", QuantSpec.mxfp4(), 4.25, 0.1154),
            new Format("q8_0", QuantSpec.gguf(GgufType.Q8_0), 8.5, 0.00534),
            new Format("q4_0", QuantSpec.gguf(GgufType.Q4_0), 4.5, 0.0863),
            new Format("q4_k", QuantSpec.gguf(GgufType.Q4_K), 4.5, 0.0714));

    /**
     * {@code <format> quantize|dequantize 64Mi t=<threads>}: {@code nf4 b64 quantize 64Mi t=2}. Those of the same op that are
     * products: {@link FormatProductCase#name}.
     */
    public String name() {
        return format.name + (quantize ? " quantize " : " dequantize ") + (ROWS * DEPTH >> 20) + "Mi t=" + threads;
    }

    /** How values are coded. */
    public QuantSpec spec() {
        return format.spec;
    }

    long values() {
        return ROWS * DEPTH;
    }

    long valueBytes() {
        return 4 * values();
    }

    long codeBytes() {
        return Math.round(values() / 8 * format.bits);
    }

    /** All formats, both ways, on each number of threads. */
    static List<QuantizeCase> all(List<Integer> threadCounts) {
        return of(FORMATS.stream().map(Format::name).toList(), threadCounts);
    }

    /** The same of the formats of these names. */
    public static List<QuantizeCase> of(List<String> names, List<Integer> threadCounts) {
        List<QuantizeCase> cases = new ArrayList<>();
        FORMATS.stream().filter(format -> names.contains(format.name)).forEach(format -> {
            for (boolean quantize : List.of(true, false)) {
                threadCounts.forEach(threads -> cases.add(new QuantizeCase(format, quantize, threads)));
            }
        });
        return cases;
    }
}
