package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.PackedStack;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Products by weights in formats that are no groups of integers. Beside the limits of memory and of int8 dots, though bf16
 * dots do half as many.
 */
final class FormatProducts {
    /** Few rows read all weights once, so they must come from memory: a rotation is larger than any cache. */
    private static final long ROTATION_BYTES = 512L << 20;

    private static final long FEW_ROWS = 16;

    private FormatProducts() {}

    /** Measures all cases. */
    static void measure(Session session) throws Exception {
        for (FormatProductCase.Weights weights : FormatProductCase.WEIGHTS) {
            List<FormatProductCase> cases =
                    FormatProductCase.of(weights, session.arguments().threadCounts());
            FormatProductCase first = cases.getFirst();
            try (Arena arena = Arena.ofShared()) {
                session.progress().show(weights.name() + ": weights");
                QuantizedTensor quantized =
                        Quantize.run(QuantizeBench.normals(arena, first.columns(), first.depth()), weights.spec());
                PackedWeights packed = QMatmul.pack(quantized, arena);
                Tensor values = Tensor.allocate(arena, DType.F32, first.columns(), first.depth());
                Quantize.dequantize(quantized, values);
                List<PackedWeights> rotation = GatunQMatmul.copies(
                        packed,
                        one -> PackedStack.of(List.of(one), arena).get(0),
                        Math.toIntExact(Math.ceilDiv(ROTATION_BYTES, first.weightBytes())));
                for (FormatProductCase problem : cases) {
                    measure(session, problem, rotation, values);
                }
            }
        }
    }

    private static void measure(Session session, FormatProductCase problem, List<PackedWeights> rotation, Tensor values)
            throws Exception {
        session.progress().show(problem.name() + ": inputs");
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            Arena arena = Arena.ofShared();
            Tensor x = QuantizeBench.normals(arena, problem.rows(), problem.depth());
            Tensor y = Tensor.allocate(arena, DType.F32, problem.rows(), problem.columns());
            QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(problem.threads());
            int copies = problem.rows() > FEW_ROWS ? 1 : rotation.size();
            contenders.add(new GatunContender(
                    "",
                    QMatmul.explain(x, rotation.getFirst(), y, options),
                    "activation rounding or quantization and product, through the Java API",
                    arena::close,
                    y,
                    copies,
                    copy -> QMatmul.run(x, rotation.get(copy), y, options)));
            OutputCheck check = new OutputCheck(problem.rows(), problem.columns(), (m, n) -> product(x, m, values, n));
            session.compare(QuantizeBench.OP, work(problem, session.limits()), contenders, contender -> {
                float[] out = new float[Math.toIntExact(problem.rows() * problem.columns())];
                contender.output(copies - 1, out);
                return check.relErrorUpTo(problem.weights().maxError(), contender.impl(), out);
            });
        }
    }

    private static Session.Problem work(FormatProductCase problem, Limits limits) {
        long bytes = problem.weightBytes();
        double operations = problem.operations();
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                bytes,
                operations,
                () -> limits.secondsNow(bytes, operations, Limits.Kind.INT8_DOT, null, problem.threads()));
    }

    private static double product(Tensor x, long m, Tensor weights, long n) {
        long depth = x.shape().size(1);
        double sum = 0;
        for (long k = 0; k < depth; k++) {
            sum += (double) x.segment().getAtIndex(ValueLayout.JAVA_FLOAT, m * depth + k)
                    * weights.segment().getAtIndex(ValueLayout.JAVA_FLOAT, n * depth + k);
        }
        return sum;
    }
}
