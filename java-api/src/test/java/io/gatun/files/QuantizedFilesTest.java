package io.gatun.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.GgufType;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Weights of files and the operations on them: quantized, saved, mapped, used. */
class QuantizedFilesTest {
    @TempDir
    Path folder;

    private static Tensor random(int rows, int columns) {
        float[] values = new float[rows * columns];
        SplittableRandom random = new SplittableRandom(7);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(values, rows, columns);
    }

    /** One block of Q8_0 with scale 0.5, and one of Q4_0 with scale -2: low halves are elements 0 to 15. */
    @Test
    void blocksByHand() throws IOException {
        Bytes b = GgufSamples.head(3, 2, 0);
        GgufSamples.tensor(b, "a", 8, 0, 32);
        GgufSamples.tensor(b, "b", 2, 64, 32);
        b.pad(32).u16(0x3800);
        for (int i = 0; i < 32; i++) {
            b.u8(i - 16);
        }
        b.pad(32).u16(0xc000);
        for (int i = 0; i < 16; i++) {
            b.u8(i | 15 - i << 4);
        }
        Gguf file = b.gguf();
        float[] a = new float[32];
        float[] c = new float[32];
        for (int i = 0; i < 32; i++) {
            a[i] = 0.5f * (i - 16);
            c[i] = -2f * ((i < 16 ? i : 31 - i) - 8);
        }
        assertArrayEquals(
                a, Quantize.dequantize(file.tensor("a").quantized(), DType.F32).toFloatArray());
        assertArrayEquals(
                c, Quantize.dequantize(file.tensor("b").quantized(), DType.F32).toFloatArray());
    }

    @Test
    void everyTypeThroughAFile() throws IOException {
        Tensor weights = random(3, 512);
        Path path = folder.resolve("weights.gguf");
        for (GgufType type : GgufType.values()) {
            QuantizedTensor quantized = Quantize.run(weights, QuantSpec.gguf(type));
            float[] expected = Quantize.dequantize(quantized, DType.F32).toFloatArray();
            Gguf.write(
                    path,
                    Map.of("general.quantization_version", GgufValue.uint32(2)),
                    List.of(GgufTensor.of("w", quantized)));
            try (Arena arena = Arena.ofConfined()) {
                GgufTensor stored = Gguf.open(path, arena).tensor("w");
                assertEquals("w " + type + "[3, 512]", stored.toString());
                assertArrayEquals(
                        expected,
                        Quantize.dequantize(stored.quantized(), DType.F32).toFloatArray());
            }
        }
    }

    @Test
    void packedFromTheMapping() throws IOException {
        Tensor x = random(2, 256);
        QuantizedTensor weights = Quantize.run(random(16, 256), QuantSpec.gguf(GgufType.Q8_0));
        Tensor expected = Tensor.allocate(DType.F32, 2, 16);
        QMatmul.run(x, QMatmul.pack(weights), expected);
        Path path = folder.resolve("weights.gguf");
        Gguf.write(path, Map.of(), List.of(GgufTensor.of("w", weights)));
        try (Arena arena = Arena.ofConfined()) {
            Tensor y = Tensor.allocate(DType.F32, 2, 16);
            QMatmul.run(x, QMatmul.pack(Gguf.open(path, arena).tensor("w").quantized()), y);
            assertArrayEquals(expected.toFloatArray(), y.toFloatArray());
        }
    }

    /** Codes, scales and zero points under names of their own. */
    @Test
    void groupsInSafetensors() throws IOException {
        QuantSpec spec = QuantSpec.int4Asymmetric(32);
        QuantizedTensor quantized = Quantize.run(random(3, 96), spec);
        Path path = folder.resolve("weights.safetensors");
        Safetensors.write(
                path,
                Map.of("quantization", spec.toString()),
                List.of(
                        SafetensorsTensor.ofBytes("w.codes", quantized.codes()),
                        SafetensorsTensor.of("w.scales", quantized.scales()),
                        SafetensorsTensor.of("w.zero_points", quantized.zeroPoints())));
        try (Arena arena = Arena.ofConfined()) {
            Safetensors file = Safetensors.open(path, arena);
            QuantizedTensor read = new QuantizedTensor(
                    spec,
                    Tensor.wrap(file.tensor("w.codes").data(), DType.U4, 3, 96),
                    file.tensor("w.scales").tensor(),
                    file.tensor("w.zero_points").tensor());
            assertArrayEquals(
                    Quantize.dequantize(quantized, DType.F32).toFloatArray(),
                    Quantize.dequantize(read, DType.F32).toFloatArray());
        }
    }
}
