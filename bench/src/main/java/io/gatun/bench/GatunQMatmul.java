package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** {@link QMatmul#run} through the public API. */
final class GatunQMatmul implements Contender {
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofShared();
    private final QMatmul.Options options;
    private final Tensor x;
    private final Tensor y;
    private final List<PackedWeights> copies = new ArrayList<>();
    private int next;

    GatunQMatmul(QMatmulCase problem, QMatmulData data) {
        options = options(problem);
        x = Tensor.allocate(arena, DType.F32, problem.rows(), problem.depth()).copyFrom(data.x);
        y = Tensor.allocate(arena, DType.F32, problem.rows(), problem.columns());
        PackedWeights packed = QMatmul.pack(quantized(problem, data), arena);
        copies.add(packed);
        while (copies.size() < data.copies) {
            copies.add(copyOf(packed));
        }
    }

    /** For Gatun weights are only addresses, so that copies need not differ. */
    private PackedWeights copyOf(PackedWeights packed) {
        MemorySegment segment = arena.allocate(packed.segment().byteSize(), ALIGNMENT);
        return PackedWeights.wrap(segment.copyFrom(packed.segment()));
    }

    /** How a case is called. */
    static QMatmul.Options options(QMatmulCase problem) {
        QMatmul.Mode mode = problem.precise()
                ? QMatmul.Mode.PRECISE
                : problem.activations().equals("i8group") ? QMatmul.Mode.INT8_GROUP : QMatmul.Mode.INT8_ROW;
        return QMatmul.Options.DEFAULT.withMode(mode).withThreads(problem.threads());
    }

    /** The weights of copy 0. */
    static QuantizedTensor quantized(QMatmulCase problem, QMatmulData data) {
        QuantSpec spec = problem.isInt4()
                ? problem.group() == 0 ? QuantSpec.int4() : QuantSpec.int4(problem.group())
                : problem.group() == 0 ? QuantSpec.int8() : QuantSpec.int8(problem.group());
        long columns = problem.columns();
        long depth = problem.depth();
        Tensor codes = problem.isInt4()
                ? Tensor.of(DType.U4, nibbles(data.codes, Math.toIntExact(depth)), columns, depth)
                : Tensor.of(data.codes, columns, depth);
        return new QuantizedTensor(spec, codes, Tensor.of(spec.scales(), data.scales, columns, problem.groups()), null);
    }

    private static byte[] nibbles(byte[] codes, int depth) {
        int rowBytes = (depth + 1) / 2;
        byte[] packed = new byte[depth == 0 ? 0 : codes.length / depth * rowBytes];
        for (int i = 0; i < codes.length; i++) {
            int k = i % depth;
            packed[i / depth * rowBytes + k / 2] |= (byte) (codes[i] << 4 * (k % 2));
        }
        return packed;
    }

    @Override
    public String impl() {
        return "gatun " + Gatun.version();
    }

    @Override
    public String kernel() {
        return kernelOf(QMatmul.explain(x, copies.getFirst(), y, options));
    }

    /** The name before the colon of an explanation's first line. */
    static String kernelOf(String explanation) {
        return explanation.lines().findFirst().orElseThrow().split(":", 2)[0];
    }

    @Override
    public String timed() {
        return options.mode() == QMatmul.Mode.PRECISE
                ? "product of f32 activations, through the Java API"
                : "activation quantization and product, through the Java API";
    }

    @Override
    public void run() {
        QMatmul.run(x, copies.get(next), y, options);
        next = next + 1 == copies.size() ? 0 : next + 1;
    }

    @Override
    public void output(float[] out) {
        QMatmul.run(x, copies.getFirst(), y, options);
        MemorySegment.copy(
                y.segment(), 0, MemorySegment.ofArray(out), 0, y.segment().byteSize());
    }

    @Override
    public void close() {
        arena.close();
    }
}
