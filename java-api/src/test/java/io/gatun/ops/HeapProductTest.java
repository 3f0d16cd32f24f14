package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Products of arrays are those of tensors, bit for bit. */
class HeapProductTest {
    private static float[] wave(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) Math.sin(i * 0.7 + i / 31);
        }
        return values;
    }

    @ParameterizedTest
    @CsvSource({"1, 256, 64", "3, 128, 40", "16, 1024, 1024", "0, 64, 32"})
    void productsAreThoseOfTensors(int rows, int depth, int columns) {
        PackedWeights w = QMatmul.pack(Tensor.of(wave(columns * depth), columns, depth), QuantSpec.int4(32));
        Options options =
                Options.DEFAULT.withBias(Tensor.of(wave(columns), columns)).withColumns(8, columns);
        float[] x = wave(rows * depth + 5);
        Tensor expected = Tensor.allocate(DType.F32, rows, columns);
        QMatmul.run(Tensor.of(Arrays.copyOfRange(x, 5, x.length), rows, depth), w, expected, options);
        float[] y = new float[rows * columns + 10];
        Arrays.fill(y, 77);
        QMatmul.run(x, 5, w, y, 3, rows, options);
        float[] whole = y.clone();
        Arrays.fill(whole, 77);
        for (int row = 0; row < rows; row++) {
            for (int column = 8; column < columns; column++) {
                whole[3 + row * columns + column] = expected.getFloat(row, column);
            }
        }
        assertArrayEquals(whole, y);
    }

    @Test
    void refusals() {
        PackedWeights w = QMatmul.pack(Tensor.of(wave(16 * 32), 16, 32), QuantSpec.int8());
        float[] x = new float[64];
        assertRefused(
                "x: given 64 numbers, from 33 on", () -> QMatmul.run(x, 33, w, new float[16], 0, 1, Options.DEFAULT));
        assertRefused(
                "x: given 64 numbers, from -1 on", () -> QMatmul.run(x, -1, w, new float[16], 0, 1, Options.DEFAULT));
        assertRefused(
                "y: given 31 numbers, from 0 on", () -> QMatmul.run(x, 0, w, new float[31], 0, 2, Options.DEFAULT));
        assertRefused("rows: given -1", () -> QMatmul.run(x, 0, w, new float[16], 0, -1, Options.DEFAULT));
        assertRefused("y: given a part of the array", () -> QMatmul.run(x, 0, w, x, 31, 1, Options.DEFAULT));
        QMatmul.run(x, 0, w, x, 32, 1, Options.DEFAULT);
        Options residual = Options.DEFAULT.withResidual(Tensor.allocate(DType.F32, 1, 16));
        assertRefused("options.residual", () -> QMatmul.run(x, 0, w, new float[16], 0, 1, residual));
        assertThrows(NullPointerException.class, () -> QMatmul.run(null, 0, w, x, 0, 1, Options.DEFAULT));
    }

    private static void assertRefused(String expected, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.contains(expected), message);
    }
}
