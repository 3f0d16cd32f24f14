package io.gatun.bench.report;

import io.gatun.bench.QMatmulCase;
import io.gatun.bench.Result;
import java.util.ArrayList;
import java.util.List;

/** Records as a run of the bench gives them. */
final class Samples {
    static final String GATUN = "gatun";
    static final String ONNX = "onnxruntime 1.29.0";
    static final String ONEDNN = "onednn 3.13";
    static final String TORCH = "libtorch 2.13.0";

    private Samples() {}

    /** A time at so many operations a nanosecond. */
    static Result time(QMatmulCase problem, String impl, double giga, Double percent, Double ratio, Double error) {
        double millis = 2e-6 * problem.rows() * problem.columns() * problem.depth() / giga;
        return new Result(
                "qmatmul",
                problem.name(),
                impl,
                problem.threads(),
                "time",
                "ms",
                millis,
                millis * 0.97,
                millis * 1.08,
                percent,
                ratio,
                error,
                "kernel of " + impl,
                "activation quantization + product");
    }

    static Result limit(String name, int threads, String metric, String unit, double value) {
        return new Result(
                "limits",
                name + " t=" + threads,
                "machine",
                threads,
                metric,
                unit,
                value * 0.99,
                value * 0.98,
                value,
                null,
                null,
                null,
                "best of the tier in use",
                "the loop alone");
    }

    static QMatmulCase problem(String weights, int group, long rows, int threads) {
        return new QMatmulCase(weights, group, "i8row", 14336, 4096, rows, threads, null, false, false);
    }

    /** Several cases on 1 and 2 threads beside three peers, limits, and records that have no peers. */
    static List<Result> run() {
        List<Result> results = new ArrayList<>();
        for (int threads : List.of(1, 2)) {
            results.add(limit("read", threads, "bandwidth", "GB/s", 30 + 4 * threads));
            results.add(limit("fma f32", threads, "rate", "GFLOP/s", 117 * threads));
            results.add(limit("dot int8", threads, "rate", "GOP/s", 469 * threads));
            for (long rows : List.of(1L, 8L, 128L, 512L)) {
                double ours = Math.min(113, rows * 107) * (rows > 8 ? 3.1 : rows > 1 ? 2.4 : 1) * threads;
                QMatmulCase int4 = problem("int4", 32, rows, threads);
                results.add(time(int4, GATUN, ours, 74.0, 2.31, 6.1e-3));
                results.add(time(int4, ONNX, ours / 2.31, 32.0, null, 6.0e-3));
                results.add(time(int4, ONEDNN, ours / 1.6, 46.0, null, 2.3e-2));
                results.add(time(int4, TORCH, ours / 3.5, 21.0, null, 2.9e-3));
                QMatmulCase int8 = problem("int8", 0, rows, threads);
                results.add(time(int8, GATUN, ours * 1.2, 89.0, 0.97, 5.2e-3));
                results.add(time(int8, ONEDNN, ours * 1.24, 91.0, null, 5.1e-3));
            }
            QMatmulCase precise = new QMatmulCase("int4", 32, "f32", 4096, 4096, 512, threads, null, true, false);
            results.add(time(precise, GATUN, 108 * threads, 91.0, null, 3e-7));
        }
        results.add(new Result(
                "qmatmul",
                "int8 row i8row 1x1 m=1 t=1 CallOverhead",
                "gatun run",
                1,
                "ns/call",
                "ns",
                118,
                115,
                131,
                null,
                null,
                null,
                "gatun_qmatmul",
                "one call"));
        return results;
    }
}
