package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Packing;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.ValueLayout;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** ONNX Runtime multiplies with weights of Gatun, packed for its MatMulNBits, as with the values that they stand for. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class MatMulNBitsPackingTest {
    private static final int ROWS = 3;
    private static final long F32_ACTIVATIONS = 1;

    private static OrtEnvironment environment;

    @BeforeAll
    static void load() {
        new OnnxRuntime(); // with its telemetry off
        environment = OrtEnvironment.getEnvironment();
    }

    private record Case(QuantSpec spec, int columns, int depth) {}

    static Stream<Case> cases() {
        return Stream.of(
                        QuantSpec.int4(32),
                        QuantSpec.int4Asymmetric(32),
                        QuantSpec.int4(32).withFloatZeroPoints(),
                        QuantSpec.int8(32),
                        QuantSpec.int8Asymmetric(32),
                        QuantSpec.int2(32),
                        QuantSpec.int2Asymmetric(32))
                .map(spec -> spec.withScales(DType.F32))
                .flatMap(spec -> Stream.of(
                        new Case(spec, 16, 128),
                        new Case(spec.withGroup(16), 5, 83), // padded: 6 blocks of 16
                        new Case(spec.withGroup(64), 33, 200), // 4 blocks
                        new Case(spec.withGroup(128), 7, 131),
                        new Case(spec.withGroup(0), 3, 21))); // a row as a block of 32
    }

    private static float[] random(int count) {
        float[] values = new float[count];
        SplittableRandom random = new SplittableRandom(count);
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void productsAreThoseOfTheValues(Case test) throws OrtException {
        float[] x = random(ROWS * test.depth);
        Tensor plain = Tensor.of(random(test.columns * test.depth), test.columns, test.depth);
        QuantizedTensor weights = Quantize.run(plain, test.spec);
        float[] values = Quantize.dequantize(weights, DType.F32).toFloatArray();
        float[] y = product(test, Packing.write(Packing.Format.MATMUL_NBITS, weights), x);
        for (int i = 0; i < y.length; i++) {
            double expected = 0;
            double magnitude = 0;
            for (int k = 0; k < test.depth; k++) {
                double term = (double) x[i / test.columns * test.depth + k] * values[i % test.columns * test.depth + k];
                expected += term;
                magnitude += Math.abs(term);
            }
            double allowed = 0x1p-23 * (test.depth + 8) * magnitude;
            assertTrue(Math.abs(y[i] - expected) <= allowed, "y[" + i + "] = " + y[i] + ", expected " + expected);
        }
    }

    private static float[] product(Case test, Packing.Planes planes, float[] x) throws OrtException {
        Map<String, Long> attributes = Map.of(
                "K",
                (long) test.depth,
                "N",
                (long) test.columns,
                "bits",
                (long) test.spec.codes().bits(),
                "block_size",
                planes.codes().shape().size(2) * 8 / test.spec.codes().bits(),
                "accuracy_level",
                F32_ACTIVATIONS);
        OnnxGraph graph = new OnnxGraph("com.microsoft", "MatMulNBits", attributes)
                .constant(
                        "codes",
                        OnnxGraph.UINT8,
                        bytes(planes.codes()),
                        planes.codes().shape().toArray())
                .constant(
                        "scales",
                        OnnxGraph.FLOAT,
                        bytes(planes.scales()),
                        planes.scales().shape().toArray());
        if (planes.zeroPoints() != null) {
            int type = planes.zeroPoints().dtype() == DType.F32 ? OnnxGraph.FLOAT : OnnxGraph.UINT8;
            graph.constant(
                    "zero_points",
                    type,
                    bytes(planes.zeroPoints()),
                    planes.zeroPoints().shape().toArray());
        }
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(1);
            byte[] model = graph.model(ROWS, test.depth, test.columns);
            try (OrtSession session = environment.createSession(model, options);
                    OnnxTensor input =
                            OnnxTensor.createTensor(environment, FloatBuffer.wrap(x), new long[] {ROWS, test.depth});
                    OrtSession.Result result = session.run(Map.of(OnnxGraph.INPUT, input))) {
                FloatBuffer y = ((OnnxTensor) result.get(0)).getFloatBuffer();
                float[] values = new float[y.remaining()];
                y.get(values);
                return values;
            }
        }
    }
}
