package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.GgufType;
import io.gatun.ops.PackedStack;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Products y[M, N] = x[M, K] w[N, K]^T of f32 rows by weights in formats that are no groups of integers: a code book,
 * microscaling floats, GGUF blocks. Beside the limits of memory and of int8 dots, though bf16 dots do half as many.
 */
final class FormatProducts {
    /** Llama-3-8B's gate projection. */
    private static final long COLUMNS = 14336;

    private static final long DEPTH = 4096;
    private static final List<Long> ROWS = List.of(1L, 512L);
    /** Few rows read all weights once, so they must come from memory: a rotation is larger than any cache. */
    private static final long ROTATION_BYTES = 512L << 20;

    /**
     * Weights.
     *
     * @param name in the records, with how activations meet them
     * @param bits of a weight with its part of the scales
     * @param maxError of a product, against the values of the weights: from the rounding of activations
     */
    private record Format(String name, QuantSpec spec, double bits, double maxError) {}

    private static final List<Format> FORMATS = List.of(
            new Format("nf4 b64 bf16", QuantSpec.nf4(64), 4.5, 0.003),
            new Format("mxfp4 i8row", QuantSpec.mxfp4(), 4.25, 0.012),
            new Format("q4_k i8row", QuantSpec.gguf(GgufType.Q4_K), 4.5, 0.012));

    private FormatProducts() {}

    /** Measures all cases: {@code <format> <activations> NxK m=M t=threads}. */
    static void measure(Session session) throws Exception {
        for (Format format : FORMATS) {
            try (Arena arena = Arena.ofShared()) {
                session.progress().show(format.name + ": weights");
                QuantizedTensor weights = Quantize.run(QuantizeBench.normals(arena, COLUMNS, DEPTH), format.spec);
                PackedWeights packed = QMatmul.pack(weights, arena);
                Tensor values = Tensor.allocate(arena, DType.F32, COLUMNS, DEPTH);
                Quantize.dequantize(weights, values);
                long bytes = Math.round(COLUMNS * DEPTH / 8.0 * format.bits);
                int copies = Math.toIntExact(Math.ceilDiv(ROTATION_BYTES, bytes));
                List<PackedWeights> rotation = GatunQMatmul.copies(
                        packed, one -> PackedStack.of(List.of(one), arena).get(0), copies);
                for (long rows : ROWS) {
                    for (int threads : session.arguments().threadCounts()) {
                        measure(session, format, rows, threads, bytes, rotation, values);
                    }
                }
            }
        }
    }

    private static void measure(
            Session session,
            Format format,
            long rows,
            int threads,
            long bytes,
            List<PackedWeights> rotation,
            Tensor values)
            throws Exception {
        String name = format.name + " " + COLUMNS + "x" + DEPTH + " m=" + rows + " t=" + threads;
        session.progress().show(name + ": inputs");
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            Arena arena = Arena.ofShared();
            Tensor x = QuantizeBench.normals(arena, rows, DEPTH);
            Tensor y = Tensor.allocate(arena, DType.F32, rows, COLUMNS);
            QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(threads);
            int copies = rows > 16 ? 1 : rotation.size();
            contenders.add(new GatunContender(
                    "",
                    QMatmul.explain(x, rotation.getFirst(), y, options),
                    "activation rounding or quantization and product, through the Java API",
                    arena,
                    y,
                    copies,
                    copy -> QMatmul.run(x, rotation.get(copy), y, options)));
            double operations = 2.0 * rows * COLUMNS * DEPTH;
            Session.Problem problem = new Session.Problem(
                    name,
                    threads,
                    bytes,
                    operations,
                    () -> session.limits().secondsNow(bytes, operations, Limits.Kind.INT8_DOT, null, threads));
            OutputCheck check = new OutputCheck(rows, COLUMNS, (m, n) -> product(x, m, values, n));
            session.compare(QuantizeBench.OP, problem, contenders, contender -> {
                float[] out = new float[Math.toIntExact(rows * COLUMNS)];
                contender.output(copies - 1, out);
                return check.relErrorUpTo(format.maxError, contender.impl(), out);
            });
        }
    }

    private static double product(Tensor x, long m, Tensor weights, long n) {
        double sum = 0;
        for (long k = 0; k < DEPTH; k++) {
            sum += (double) x.segment().getAtIndex(ValueLayout.JAVA_FLOAT, m * DEPTH + k)
                    * weights.segment().getAtIndex(ValueLayout.JAVA_FLOAT, n * DEPTH + k);
        }
        return sum;
    }
}
