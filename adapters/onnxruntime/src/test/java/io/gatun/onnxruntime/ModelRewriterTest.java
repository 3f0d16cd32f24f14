package io.gatun.onnxruntime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.onnxruntime.ModelRewriter.Options;
import io.gatun.ops.QMatmul;
import io.gatun.ops.Sparsity;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Models before and after rewriting, both run by ONNX Runtime. */
class ModelRewriterTest {
    private final Random random = new Random(7);

    private float[] numbers(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    /** Small integers whose rows have 127, so that 8-bit quantization is exact. */
    private float[] exact(int rows, int columns) {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % columns == 0 ? 127 : random.nextInt(-9, 10);
        }
        return values;
    }

    private static void assertClose(float[] expected, float[] actual, double bound) {
        assertEquals(expected.length, actual.length);
        double most = 0;
        for (float value : expected) {
            most = Math.max(most, Math.abs(value));
        }
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], bound * most, "element " + i);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 40, 300})
    void aProductOfExactNumbersIsTheSame(int rows) throws OrtException, IOException {
        int depth = 72;
        int columns = 200;
        float[] transposed = exact(columns, depth);
        float[] weights = new float[depth * columns];
        for (int n = 0; n < columns; n++) {
            for (int k = 0; k < depth; k++) {
                weights[k * columns + n] = transposed[n * depth + k];
            }
        }
        Models model = new Models()
                .input("x", exact(rows, depth), 1, rows, depth)
                .constant("w", weights, depth, columns)
                .constant("b", exact(1, columns), columns)
                .node("MatMul", "x,w", "h")
                .node("Add", "b,h", "s")
                .node("Relu", "s", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul"), Models.ops(rewritten));
        assertArrayEquals(model.run(), model.run(rewritten), 0.02f);
    }

    @Test
    void geluIsTakenIn() throws OrtException, IOException {
        Models model = new Models()
                .input("x", numbers(5 * 64), 5, 64)
                .constant("w", numbers(64 * 48), 64, 48)
                .constant("b", numbers(48), 48)
                .constant("root", new float[] {1.4142135f})
                .constant("one", new float[] {1})
                .constant("half", new float[] {0.5f})
                .node("MatMul", "x,w", "m")
                .node("Add", "m,b", "h")
                .node("Div", "h,root", "d")
                .node("Erf", "d", "e")
                .node("Add", "e,one", "p")
                .node("Mul", "h,p", "q")
                .node("Mul", "q,half", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes(), Options.DEFAULT.withMode(QMatmul.Mode.PRECISE))
                .model();
        assertEquals(List.of("QMatMul"), Models.ops(rewritten));
        assertClose(model.run(), model.run(rewritten), 0.02);
    }

    @ParameterizedTest
    @CsvSource({
        "4, 96, 32, false, 0",
        "4, 100, 32, true, 0",
        "4, 96, 32, true, 4",
        "8, 96, 32, false, 0",
        "8, 70, 16, true, 0"
    })
    void matMulNBits(int bits, int depth, int block, boolean zeros, int accuracy) throws OrtException, IOException {
        int columns = 40;
        int blocks = (depth + block - 1) / block;
        byte[] codes = new byte[columns * blocks * block * bits / 8];
        random.nextBytes(codes);
        byte[] zeroPoints = new byte[columns * ((blocks * bits + 7) / 8)];
        random.nextBytes(zeroPoints);
        float[] scales = numbers(columns * blocks);
        Models model = new Models()
                .input("x", numbers(3 * depth), 3, depth)
                .constant("codes", codes, columns, blocks, block * bits / 8)
                .constant("scales", scales, columns, blocks);
        if (zeros) {
            model.constant("zeros", zeroPoints, columns, (blocks * bits + 7) / 8);
        }
        model.nodeOf(
                "com.microsoft",
                "MatMulNBits",
                "x,codes,scales" + (zeros ? ",zeros" : ""),
                "y",
                "K",
                depth,
                "N",
                columns,
                "bits",
                bits,
                "block_size",
                block,
                "accuracy_level",
                accuracy);
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul"), Models.ops(rewritten));
        assertClose(model.run(), model.run(rewritten), accuracy == 4 ? 0.02 : 1e-5);
    }

    @Test
    void prunedWeightsBecomeSparse() throws OrtException, IOException {
        int depth = 64;
        int columns = 50;
        float[] weights = numbers(depth * columns);
        for (int k = 0; k < depth; k += 4) {
            for (int n = 0; n < columns; n++) {
                weights[k * columns + n] = 0;
                weights[(k + 2) * columns + n] = 0;
            }
        }
        Models model = new Models()
                .input("x", numbers(7 * depth), 7, depth)
                .constant("w", weights, depth, columns)
                .node("MatMul", "x,w", "y");
        Options options = Options.DEFAULT.withPrune(new Sparsity.Nm(2, 4, 1));
        byte[] floats =
                ModelRewriter.rewrite(model.bytes(), options.withQuantize(null)).model();
        assertEquals(List.of("NmMatMul"), Models.ops(floats));
        assertClose(model.run(), model.run(floats), 1e-6);
        assertClose(
                model.run(),
                model.run(ModelRewriter.rewrite(model.bytes(), options).model()),
                0.03);
    }

    @Test
    void layerNormAndTheSumBeforeIt() throws OrtException, IOException {
        Models model = new Models()
                .input("a", numbers(2 * 3 * 40), 2, 3, 40)
                .input("b", numbers(3 * 40), 1, 3, 40)
                .constant("weight", numbers(40), 40)
                .constant("bias", numbers(40), 40)
                .constant("two", new float[] {2})
                .constant("epsilon", new float[] {1e-6f})
                .node("Add", "b,a", "x")
                .node("ReduceMean", "x", "mean", "axes", new long[] {-1})
                .node("Sub", "x,mean", "d")
                .node("Pow", "d,two", "square")
                .node("ReduceMean", "square", "variance", "axes", new long[] {-1})
                .node("Add", "variance,epsilon", "v")
                .node("Sqrt", "v", "root")
                .node("Div", "d,root", "n")
                .node("Mul", "n,weight", "w")
                .node("Add", "w,bias", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("LayerNorm"), Models.ops(rewritten));
        assertClose(model.run(), model.run(rewritten), 1e-5);

        Models op = new Models()
                .opset(17)
                .input("x", numbers(3 * 40), 3, 40)
                .constant("weight", numbers(40), 40)
                .node("LayerNormalization", "x,weight", "y");
        rewritten = ModelRewriter.rewrite(op.bytes()).model();
        assertEquals(List.of("LayerNorm"), Models.ops(rewritten));
        assertClose(op.run(), op.run(rewritten), 1e-5);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void attentionOfAnEncoder(boolean masked) throws OrtException, IOException {
        int batch = 3;
        int length = 37;
        int heads = 2;
        int size = 16;
        long[] mask = new long[batch * length];
        Arrays.setAll(mask, i -> i / length == 0 ? i % length < 20 ? 1 : 0 : i / length == 1 ? i % 3 == 1 ? 0 : 1 : 1);
        Models model = new Models().constant("scale", new float[] {4});
        for (String name : List.of("q", "k", "v")) {
            model.input(name, numbers(batch * length * heads * size), batch, length, heads, size);
        }
        String logits = "scaled";
        if (masked) {
            logits = "sum";
            model.input("mask", mask, batch, length)
                    .constant("one", new float[] {1})
                    .constant("large", new float[] {-3.4e38f})
                    .constant("axes1", new long[] {1}, 1)
                    .constant("axes2", new long[] {2}, 1)
                    .node("Unsqueeze", "mask,axes1", "u1")
                    .node("Unsqueeze", "u1,axes2", "u2")
                    .node("Cast", "u2", "c", "to", Constants.FLOAT)
                    .node("Sub", "one,c", "hidden")
                    .node("Mul", "hidden,large", "added");
        }
        model.node("Transpose", "q", "qt", "perm", new long[] {0, 2, 1, 3})
                .node("Transpose", "k", "kt", "perm", new long[] {0, 2, 3, 1})
                .node("Transpose", "v", "vt", "perm", new long[] {0, 2, 1, 3})
                .node("MatMul", "qt,kt", "scores")
                .node("Div", "scores,scale", "scaled");
        if (masked) {
            model.node("Add", "scaled,added", "sum");
        }
        model.node("Softmax", logits, "weights", "axis", -1)
                .node("MatMul", "weights,vt", "out")
                .node("Transpose", "out", "y", "perm", new long[] {0, 2, 1, 3});
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertTrue(
                Models.ops(rewritten).contains("Attention"),
                Models.ops(rewritten).toString());
        assertClose(model.run(), model.run(rewritten), 1e-5);
    }

    @Test
    void whatIsReadElsewhereStays() throws OrtException, IOException {
        Models model = new Models()
                .input("x", exact(2, 32), 2, 32)
                .constant("w", exact(32, 32), 32, 32)
                .constant("b", numbers(32), 32)
                .node("MatMul", "x,w", "h")
                .node("Add", "h,b", "s")
                .node("Mul", "h,s", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul", "Add", "Mul"), Models.ops(rewritten));
        assertClose(model.run(), model.run(rewritten), 0.02);
        byte[] untouched = ModelRewriter.rewrite(model.bytes(), Options.DEFAULT.withNodes(name -> false))
                .model();
        assertArrayEquals(model.run(), model.run(untouched));
    }

    @Test
    void changesAreTold() {
        Models model = new Models()
                .constant("w", exact(32, 32), 32, 32)
                .constant("b", numbers(32), 32)
                .node("MatMul", "x,w", "h")
                .node("Add", "h,b", "y");
        assertEquals(
                List.of("h_node: MatMul becomes QMatMul by i8 [32, 32], mode INT8_ROW, with bias"),
                ModelRewriter.rewrite(model.bytes()).changes());
    }

    @Test
    void refusals() {
        String message = assertThrows(IllegalArgumentException.class, () -> ModelRewriter.rewrite(new byte[] {1, 2, 3}))
                .getMessage();
        assertTrue(message.startsWith("model: no ONNX file"), message);
        message = assertThrows(IllegalArgumentException.class, () -> Options.DEFAULT.withQuantize(null))
                .getMessage();
        assertTrue(message.contains("quantize = null without prune"), message);
        Models model = new Models().constant("w", exact(32, 32), 32, 32).node("MatMul", "x,w", "y");
        message = assertThrows(
                        IllegalArgumentException.class,
                        () -> ModelRewriter.rewrite(model.bytes(), Options.DEFAULT.withMode(QMatmul.Mode.BF16)))
                .getMessage();
        assertTrue(
                message.startsWith("node y_node (MatMul): mode = BF16; allowed with these weights: [INT8_ROW"),
                message);
    }
}
