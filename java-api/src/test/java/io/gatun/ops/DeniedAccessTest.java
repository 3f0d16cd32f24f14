package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Where the JVM denies native access, each operation says so, each time; in a process of its own. */
class DeniedAccessTest {
    static final class Main {
        public static void main(String[] arguments) {
            Tensor x = Tensor.allocate(DType.F32, 2, 16);
            Tensor blocks = Tensor.allocate(DType.F32, 2, 32);
            for (int i = 0; i < 2; i++) {
                report(() -> Norm.layer(x, null, null, 1, x));
                report(() -> Quantize.run(x, QuantSpec.int8()));
                report(() -> QMatmul.pack(QuantizedTensor.allocate(QuantSpec.int8(), 2, 16)));
                report(() -> PackedStack.pack(List.of(QuantizedTensor.allocate(QuantSpec.int8(), 2, 16))));
                report(() -> PackedStack.wrap(x.segment(), 1));
                report(() -> Quantize.run(blocks, QuantSpec.gguf(GgufType.Q8_0)));
                report(() ->
                        Quantize.dequantize(QuantizedTensor.allocate(QuantSpec.gguf(GgufType.Q8_0), 2, 32), DType.F32));
                report(() -> Quantize.run(x, QuantSpec.nvfp4()));
                report(() -> Quantize.explain(blocks, QuantSpec.gguf(GgufType.Q8_0)));
                report(() -> CodeBook.NF4.values());
                report(() -> Packing.permute(x, Tensor.allocate(DType.I32, 16), Tensor.allocate(DType.F32, 2, 16)));
                report(() -> Packing.write(
                        Packing.Format.TORCHAO,
                        QuantizedTensor.allocate(QuantSpec.int4(16).withFloatZeroPoints(), 2, 16)));
                report(() -> Calibrate.amax(x));
                report(() -> Calibrate.explain(DType.F32));
                report(() -> Calibrate.requantize(QuantizedTensor.allocate(QuantSpec.int8(), 2, 16), 4));
                report(() -> Mask.allocate(2, 16).count());
                report(() -> Mask.allocate(2, 16).apply(x));
                report(() -> Prune.run(x, Prune.Score.magnitude(), Sparsity.nm(2, 4)));
                report(() -> ActivationStats.of(16).observe(x));
                report(() -> SparseTensor.compress(x, Sparsity.nm(2, 4)));
                report(() -> sparse(x).check());
                report(() -> NmMatmul.pack(sparse(x)));
                report(() -> NmWeights.wrap(x.segment()));
                report(() -> NmBackward.x(
                        Tensor.allocate(DType.F32, 3, 2),
                        sparse(x),
                        Tensor.allocate(DType.F32, 3, 16),
                        NmBackward.Options.DEFAULT));
                report(() -> Armor.fit(x, null, Sparsity.nm(2, 4), 4, 1));
            }
        }

        private static SparseTensor sparse(Tensor dense) {
            Tensor values = Tensor.allocate(DType.F32, 2, 8);
            Tensor indices = Tensor.allocate(DType.U2, 2, 8);
            return new SparseTensor(Sparsity.nm(2, 4), dense.shape(), values, indices, null, null, null);
        }

        private static void report(Runnable call) {
            try {
                call.run();
                System.out.println("accepted");
            } catch (UnsatisfiedLinkError e) {
                System.out.println(e.getMessage().contains("--enable-native-access=ALL-UNNAMED") ? "refused" : e);
            } catch (Throwable e) {
                System.out.println(e);
            }
        }
    }

    @Test
    void everyOperationNamesTheFlag() throws Exception {
        boolean canDeny = Runtime.version().feature() >= 24;
        Process process = new ProcessBuilder(
                        System.getProperty("java.home") + "/bin/java",
                        canDeny ? "--illegal-native-access=deny" : "--enable-native-access=java.base",
                        "--class-path",
                        "target/classes:target/test-classes:../bindings/target/classes",
                        Main.class.getName())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals("refused\n".repeat(50), output);
        assertEquals(0, process.waitFor());
    }
}
