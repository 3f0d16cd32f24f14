package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.PackedStack;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** Gatun's side of a multiplication: operands, options, and the contender for one weight. */
final class GatunQMatmul {
    private GatunQMatmul() {}

    /** {@link QMatmul#run} by one weight. */
    static Contender prepare(QMatmulCase problem, QMatmulData data) {
        return prepare("", problem, data);
    }

    /** The same where Gatun takes part in several ways. */
    static Contender prepare(String way, QMatmulCase problem, QMatmulData data) {
        Arena arena = Arena.ofShared();
        QMatmul.Options options = options(problem);
        Tensor x = input(problem, data, arena);
        Tensor y = Tensor.allocate(arena, DType.F32, problem.rows(), problem.columns());
        List<PackedWeights> copies = copies(
                QMatmul.pack(quantized(problem, data), arena),
                packed -> PackedStack.of(List.of(packed), arena).get(0),
                data.copies);
        return new GatunContender(
                way,
                QMatmul.explain(x, copies.getFirst(), y, options),
                timed(problem),
                arena::close,
                y,
                data.copies,
                copy -> QMatmul.run(x, copies.get(copy), y, options));
    }

    /** The first one and copies of it. Gatun knows weights by their address, so copies need not differ. */
    static <T> List<T> copies(T first, UnaryOperator<T> copy, int count) {
        return Stream.concat(
                        Stream.of(first),
                        Stream.generate(() -> copy.apply(first)).limit(count - 1))
                .toList();
    }

    static Tensor input(QMatmulCase problem, QMatmulData data, Arena arena) {
        return Tensor.allocate(arena, DType.F32, problem.rows(), problem.depth())
                .copyFrom(data.x);
    }

    /** How a case is called. */
    static QMatmul.Options options(QMatmulCase problem) {
        QMatmul.Mode mode = problem.precise()
                ? QMatmul.Mode.PRECISE
                : problem.activations().equals("i8group") ? QMatmul.Mode.INT8_GROUP : QMatmul.Mode.INT8_ROW;
        return QMatmul.Options.DEFAULT.withMode(mode).withThreads(problem.threads());
    }

    static String timed(QMatmulCase problem) {
        return problem.precise()
                ? "product of f32 activations, through the Java API"
                : "activation quantization and product, through the Java API";
    }

    /** The weights of copy 0. */
    static QuantizedTensor quantized(QMatmulCase problem, QMatmulData data) {
        QuantSpec spec = problem.isInt4()
                ? problem.group() == 0 ? QuantSpec.int4() : QuantSpec.int4(problem.group())
                : problem.group() == 0 ? QuantSpec.int8() : QuantSpec.int8(problem.group());
        long columns = problem.columns();
        int depth = Math.toIntExact(problem.depth());
        Tensor codes = problem.isInt4()
                ? Tensor.of(DType.U4, nibbles(data.codes, depth), columns, depth)
                : Tensor.of(data.codes, columns, depth);
        return new QuantizedTensor(spec, codes, Tensor.of(spec.scales(), data.scales, columns, problem.groups()), null);
    }

    private static byte[] nibbles(byte[] codes, int depth) {
        int rowBytes = (depth + 1) / 2;
        byte[] packed = new byte[codes.length / depth * rowBytes];
        for (int row = 0; row < codes.length / depth; row++) {
            for (int k = 0; k < depth; k++) {
                packed[row * rowBytes + k / 2] |= (byte) (codes[row * depth + k] << 4 * (k % 2));
            }
        }
        return packed;
    }
}
