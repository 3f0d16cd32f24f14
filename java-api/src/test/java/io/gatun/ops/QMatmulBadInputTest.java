package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class QMatmulBadInputTest extends ProductBadInput<PackedWeights> {
    private static final QuantSpec SPEC = QuantSpec.int4Asymmetric(16);

    private final QuantizedTensor weights =
            Quantize.run(Tensor.of(random.normal(COLUMNS * DEPTH, 1), COLUMNS, DEPTH), SPEC);
    private final PackedWeights w = QMatmul.pack(weights);

    @Override
    PackedWeights w() {
        return w;
    }

    @Override
    PackedWeights packedIn(Arena arena) {
        return QMatmul.pack(weights, arena);
    }

    @Override
    PackedWeights weights(int columns, int depth) {
        return QMatmul.pack(f32(columns, depth), QuantSpec.int4());
    }

    @Override
    MemorySegment segment(PackedWeights packed) {
        return packed.segment();
    }

    @Override
    PackedWeights wrap(MemorySegment packed) {
        return PackedWeights.wrap(packed);
    }

    @Override
    void unpack(PackedWeights packed) {
        packed.unpack();
    }

    @Override
    void run(Tensor from, PackedWeights by, Tensor to, Options options) {
        QMatmul.run(from, by, to, options);
    }

    @TestFactory
    Stream<DynamicTest> optionsAlone() {
        Options none = Options.DEFAULT;
        return refusals()
                .add("columns reversed", "columns", "4..2", "begin <= end", () -> none.withColumns(4, 2))
                .add("columns negative", "columns", "-1..2", "0 <= begin", () -> none.withColumns(-1, 2))
                .add("threads negative", "threads", "-1", "0..1024", () -> none.withThreads(-1))
                .add("threads many", "threads", "1025", "0..1024", () -> none.withThreads(1025))
                .missing("mode", () -> none.withMode(null))
                .missing("activation", () -> none.withActivation(null))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> parts() {
        QuantizedTensor nan = QuantizedTensor.allocate(SPEC, COLUMNS, DEPTH);
        nan.scales().setFloat(Float.NaN, 2, 1);
        QuantizedTensor infinite = QuantizedTensor.allocate(QuantSpec.int8(), COLUMNS, DEPTH);
        infinite.scales().setFloat(Float.POSITIVE_INFINITY, 5, 0);
        QuantizedTensor zero = QuantizedTensor.allocate(SPEC, COLUMNS, DEPTH);
        zero.zeroPoints().setFloat(16, 3, 2);
        return refusals()
                .add("NaN scale", "scales[2][1]", "NaN", "finite", () -> QMatmul.pack(nan))
                .add("infinite scale", "scales[5][0]", "infinity", "finite", () -> QMatmul.pack(infinite))
                .add("zero point", "zero_points[3][2]", "15", "0..15", () -> QMatmul.pack(zero))
                .tests();
    }

    /** Of what they were wrapped in, weights hold only their own bytes. */
    @TestFactory
    Stream<DynamicTest> largerWeightsThanWereWrapped() {
        PackedWeights larger = overwritten(COLUMNS + 50, DEPTH + 1000);
        String holds = "holds " + w.segment().byteSize();
        return refusals()
                .add("run", "packed", holds, "need", () -> QMatmul.run(x, larger, y))
                .add("unpack", "packed", holds, "need", larger::unpack)
                .tests();
    }

    /** A call holds the arenas of its arguments: closing one meanwhile fails, and never the call. */
    @Test
    void closingAnArenaDuringCallsIsSafe() throws InterruptedException {
        for (int round = 0; round < 10; round++) {
            Arena arena = Arena.ofShared();
            Tensor shared = Tensor.allocate(arena, DType.F32, 64, DEPTH);
            Tensor result = f32(64, COLUMNS);
            Thread closer = new Thread(() -> {
                while (true) {
                    try {
                        arena.close();
                        return;
                    } catch (IllegalStateException inUse) {
                        Thread.onSpinWait();
                    }
                }
            });
            closer.start();
            Throwable end = assertThrows(Throwable.class, () -> {
                while (true) {
                    QMatmul.run(shared, w, result);
                }
            });
            assertTrue(end instanceof IllegalStateException, end.toString());
            closer.join();
        }
    }
}
