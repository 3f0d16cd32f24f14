package io.gatun.jlama;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q8ByteBufferTensor;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleBinaryOperator;
import org.junit.jupiter.api.Test;

/** The cases of Jlama's tests of what is not a product. */
class OtherOperationsTest {
    private static final int SIZE = 1024;

    private final Random random = new Random(8);
    private final GatunTensorOperations gatun = GatunTensorOperations.require();

    private static void check(AbstractTensor before, AbstractTensor b, AbstractTensor after, DoubleBinaryOperator f) {
        for (int i = 0; i < SIZE; i++) {
            double expected = f.applyAsDouble(before.get(0, i), b.get(0, i));
            double unit = after.dType() == DType.BF16 ? 0x1p-7 : 0x1p-22;
            double magnitude = Math.abs(expected) + Math.abs(before.get(0, i)) + Math.abs(b.get(0, i));
            assertEquals(expected, after.get(0, i), unit * 4 * magnitude, "at " + i);
        }
    }

    @Test
    void sumsProductsAndScales() {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            AbstractTensor a = Oracle.as(dtype, Oracle.random(random, 1, SIZE));
            AbstractTensor b = Oracle.as(dtype, Oracle.random(random, 1, SIZE));
            AbstractTensor y = copy(dtype, a);
            gatun.accumulate(y, b, 0, SIZE);
            check(a, b, y, Double::sum);
            y = copy(dtype, a);
            gatun.maccumulate(y, b, 0, SIZE);
            check(a, b, y, (p, q) -> p * q);
            y = copy(dtype, a);
            gatun.scale(3.14159f, y, 0, SIZE);
            check(a, b, y, (p, q) -> p * 3.14159f);
        }
    }

    private static AbstractTensor copy(DType dtype, AbstractTensor tensor) {
        return Oracle.as(dtype, new FloatBufferTensor(tensor));
    }

    @Test
    void saxpy() {
        FloatBufferTensor x = Oracle.random(random, 1, SIZE);
        FloatBufferTensor before = Oracle.random(random, 1, SIZE);
        FloatBufferTensor y = new FloatBufferTensor(before);
        gatun.saxpy(3.14159f, x, y, 0, 0, SIZE);
        check(before, x, y, (p, q) -> p + 3.14159f * q);

        FloatBufferTensor rows = Oracle.random(random, 2, SIZE);
        FloatBufferTensor alpha = new FloatBufferTensor(1, 2);
        alpha.set(0.5f, 0, 0);
        alpha.set(-2, 0, 1);
        y = new FloatBufferTensor(before);
        gatun.saxpy(alpha, rows, y, 0, 0, SIZE, 0, 0, 2);
        for (int i = 0; i < SIZE; i++) {
            assertEquals(before.get(0, i) + 0.5 * rows.get(0, i) - 2 * rows.get(1, i), y.get(0, i), 1e-5);
        }
    }

    @Test
    void quantizes() {
        FloatBufferTensor x = Oracle.random(random, 1, SIZE);
        for (DType dtype : List.of(DType.I8, DType.BF16)) {
            AbstractTensor q = gatun.quantize(x, dtype, 0, SIZE);
            assertEquals(dtype, q.dType());
            for (int i = 0; i < SIZE; i++) {
                // Of I8 Jlama adds half a step and cuts towards zero: 1.5 steps below zero.
                double step = q instanceof Q8ByteBufferTensor q8
                        ? 1.5f * q8.getFactorForIndex(0, i)
                        : 0x1p-7 * Math.abs(x.get(0, i));
                assertEquals(x.get(0, i), q.get(0, i), 1.001 * step, dtype + " at " + i);
            }
        }
    }
}
