package io.gatun.onnxruntime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.onnxruntime.ModelRewriter.Options;
import io.gatun.onnxruntime.ModelRewriter.Rewritten;
import io.gatun.onnxruntime.proto.Onnx.ModelProto;
import io.gatun.ops.QMatmul;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What looks like a pattern of {@link ModelRewriter}, but must stay or be changed with care. */
class PatternsTest {
    private static final int FLOAT16 = 10;

    /** Small integers, 127 in each row of 32: 8-bit quantization of rows and columns is exact. */
    private static float[] exact(int rows) {
        float[] values = new float[rows * 32];
        for (int i = 0; i < values.length; i++) {
            values[i] = i / 32 % 32 == i % 32 ? 127 : (i * 7 + i / 32) % 9 - 4;
        }
        return values;
    }

    private static void assertUntouched(Models model) throws IOException {
        Rewritten rewritten = ModelRewriter.rewrite(model.bytes());
        assertEquals(Models.ops(model.bytes()), Models.ops(rewritten.model()), rewritten.changes()::toString);
    }

    // ---- products --------------------------------------------------------------------------------------------------

    private static Models nBits(int bits, String inputs) {
        return new Models()
                .input("x", Constants.FLOAT, 2)
                .constant("codes", new byte[40 * bits * 4], 40, 1, bits * 4)
                .constant("scales", filled(40), 40, 1)
                .constant("half_scales", FLOAT16, ByteBuffer.allocate(80), 40, 1)
                .constant("float_zeros", filled(40), 40, 1)
                .constant("order", new int[32], 32)
                .nodeOf("com.microsoft", "MatMulNBits", inputs, "y", "K", 32, "N", 40, "bits", bits, "block_size", 32);
    }

    private static float[] filled(int count) {
        float[] values = new float[count];
        Arrays.fill(values, 0.5f);
        return values;
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "2 | x,codes,scales               | it has 2 bits",
                "4 | x,codes,scales,,order        | it has g_idx",
                "4 | x,codes,scales,float_zeros   | it has g_idx or float zero points",
                "4 | x,codes,half_scales          | its scales, and so its numbers, are not f32",
                "4 | x,codes,missing              | its weights are not constant"
            })
    void matMulNBitsOfOtherKindsIsLeft(int bits, String inputs, String reason) {
        Rewritten rewritten = ModelRewriter.rewrite(nBits(bits, inputs).bytes());
        assertEquals(List.of("y_node: left as it is, " + reason), rewritten.changes());
    }

    @Test
    void theBiasOfMatMulNBits() throws OrtException {
        byte[] codes = new byte[40 * 16];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) (i * 37);
        }
        Models model = new Models()
                .input("x", exact(3), 3, 32)
                .constant("codes", codes, 40, 1, 16)
                .constant("scales", filled(40), 40, 1)
                .constant("bias", Arrays.copyOf(exact(2), 40), 40)
                .nodeOf(
                        "com.microsoft",
                        "MatMulNBits",
                        "x,codes,scales,,,bias",
                        "y",
                        "K",
                        32,
                        "N",
                        40,
                        "bits",
                        4,
                        "block_size",
                        32);
        assertArrayEquals(
                model.run(), model.run(ModelRewriter.rewrite(model.bytes()).model()), 1e-3f);
    }

    /** The result has an axis more. */
    @Test
    void aBiasWithMoreAxesIsLeft() throws OrtException, IOException {
        Models model = new Models()
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .constant("b", exact(1), 1, 1, 32)
                .node("MatMul", "x,w", "h")
                .node("Add", "h,b", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul", "Add"), Models.ops(rewritten));
        assertArrayEquals(model.run(), model.run(rewritten), 0.02f);
    }

    @Test
    void sharedWeightsArePackedOnce() throws OrtException, IOException {
        Models model = new Models()
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .node("MatMul", "x,w", "a")
                .node("Neg", "x", "n")
                .node("MatMul", "n,w", "b")
                .node("Max", "a,b", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul", "Neg", "QMatMul", "Max"), Models.ops(rewritten));
        assertEquals(1, ModelProto.parseFrom(rewritten).getGraph().getInitializerCount());
        assertArrayEquals(model.run(), model.run(rewritten), 0.02f);
    }

    @Test
    void weightsThatTheCallerMayReplaceAreLeft() throws OrtException {
        Models model = new Models()
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .alsoInput("w", 2)
                .node("MatMul", "x,w", "y");
        assertEquals(
                List.of("y_node: left as it is, its weights are an input, too"),
                ModelRewriter.rewrite(model.bytes()).changes());
    }

    /** What the caller need not give stays so, read or not. */
    @Test
    void inputsThatNothingReads() throws OrtException {
        Models model = new Models()
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .constant("unread", exact(1), 32)
                .alsoInput("unread", 1)
                .node("MatMul", "x,w", "y");
        assertArrayEquals(
                model.run(), model.run(ModelRewriter.rewrite(model.bytes()).model()), 0.02f);
    }

    /** In old files all initializers are inputs, and constants none the less. */
    @Test
    void weightsOfOldFiles() throws OrtException, IOException {
        Models model = new Models()
                .irVersion(3)
                .opset(8)
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .alsoInput("w", 2)
                .constant("factor", filled(1), 1)
                .alsoInput("factor", 1)
                .node("MatMul", "x,w", "h")
                .node("Mul", "h,factor", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("QMatMul", "Mul"), Models.ops(rewritten));
        assertEquals(1, ModelProto.parseFrom(rewritten).getGraph().getInputCount());
        assertArrayEquals(model.run(), model.run(rewritten), 0.02f);
    }

    @Test
    void everyNodeOfAPatternIsAskedFor() throws OrtException, IOException {
        Models model = new Models()
                .input("x", exact(2), 2, 32)
                .constant("w", exact(32), 32, 32)
                .constant("b", exact(1), 32)
                .node("MatMul", "x,w", "m")
                .node("Add", "m,b", "h")
                .node("Relu", "h", "y");
        for (String kept : List.of("m_node", "h_node", "y_node")) {
            byte[] rewritten = ModelRewriter.rewrite(
                            model.bytes(), Options.DEFAULT.withNodes(name -> !name.equals(kept)))
                    .model();
            assertTrue(
                    ModelProto.parseFrom(rewritten).getGraph().getNodeList().stream()
                            .anyMatch(node -> node.getName().equals(kept)
                                    && !node.getDomain().equals(ModelRewriter.DOMAIN)),
                    kept);
            assertArrayEquals(model.run(), model.run(rewritten), 0.02f);
        }
    }

    @Test
    void errorsNameTheNode() {
        float[] weights = exact(32);
        weights[40] = Float.NaN;
        Models model = new Models().constant("w", weights, 32, 32).node("MatMul", "x,w", "y");
        String message = assertThrows(
                        IllegalArgumentException.class,
                        () -> ModelRewriter.rewrite(model.bytes(), Options.DEFAULT.withMode(QMatmul.Mode.INT8_ROW)))
                .getMessage();
        assertTrue(message.startsWith("node y_node (MatMul): "), message);
    }

    // ---- normalization and attention -------------------------------------------------------------------------------

    /** The sum is the weight, not what is normalized. */
    @Test
    void aSumThatIsNotNormalizedStays() throws OrtException, IOException {
        Models model = new Models()
                .opset(17)
                .input("x", exact(2), 2, 32)
                .input("a", filled(32), 32)
                .constant("b", filled(32), 32)
                .constant("w", exact(1), 32)
                .node("Add", "a,b", "s")
                .node("LayerNormalization", "x,w,s", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals("Add", Models.ops(rewritten).getFirst());
        assertArrayEquals(model.run(), model.run(rewritten), 1e-4f);
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "1, 32", "32, 1"})
    void sumsThatAreBroadcastBeforeTheyAreNormalized(int rows, int columns) throws OrtException, IOException {
        Models model = new Models()
                .opset(17)
                .input("x", exact(32), 32, 32)
                .input("a", Arrays.copyOf(exact(32), rows * columns), rows, columns)
                .constant("w", exact(1), 32)
                .node("Add", "x,a", "s")
                .node("LayerNormalization", "s,w", "y");
        byte[] rewritten = ModelRewriter.rewrite(model.bytes()).model();
        assertEquals(List.of("LayerNorm"), Models.ops(rewritten));
        assertArrayEquals(model.run(), model.run(rewritten), 2e-3f);
    }

    private static Models attention(int type, int opset, Object... softmax) {
        List<String> names = new ArrayList<>(List.of("q", "k", "v"));
        Models model = new Models().opset(opset);
        names.forEach(name -> model.input(name, type, 4));
        return model.node("Transpose", "q", "qt", "perm", new long[] {0, 2, 1, 3})
                .node("Transpose", "k", "kt", "perm", new long[] {0, 2, 3, 1})
                .node("Transpose", "v", "vt", "perm", new long[] {0, 2, 1, 3})
                .node("MatMul", "qt,kt", "logits")
                .node("Softmax", "logits", "weights", softmax)
                .node("MatMul", "weights,vt", "out")
                .node("Transpose", "out", "y", "perm", new long[] {0, 2, 1, 3});
    }

    @Test
    void attentionOfOtherKindsIsLeft() throws IOException {
        assertEquals(
                List.of("Attention"),
                Models.ops(ModelRewriter.rewrite(attention(Constants.FLOAT, 13).bytes())
                        .model()));
        assertUntouched(attention(FLOAT16, 13));
        assertUntouched(attention(0, 13));
        assertUntouched(attention(Constants.FLOAT, 13, "axis", 1));
        assertUntouched(attention(Constants.FLOAT, 11));
    }

    @Test
    void attentionWithoutAScaleIsLeft() throws IOException {
        Models model = new Models().constant("zero", new float[] {0});
        List.of("q", "k", "v").forEach(name -> model.input(name, Constants.FLOAT, 4));
        assertUntouched(model.node("Transpose", "q", "qt", "perm", new long[] {0, 2, 1, 3})
                .node("Transpose", "k", "kt", "perm", new long[] {0, 2, 3, 1})
                .node("Transpose", "v", "vt", "perm", new long[] {0, 2, 1, 3})
                .node("MatMul", "qt,kt", "scores")
                .node("Mul", "scores,zero", "logits")
                .node("Softmax", "logits", "weights")
                .node("MatMul", "weights,vt", "out")
                .node("Transpose", "out", "y", "perm", new long[] {0, 2, 1, 3}));
    }
}
