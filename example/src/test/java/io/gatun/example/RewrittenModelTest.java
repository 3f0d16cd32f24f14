package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.onnxruntime.ModelRewriter;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The real model, as it is and with Gatun's ops, in the same program. */
class RewrittenModelTest {
    @Test
    void embeddingsAreTheSame() throws IOException, OrtException {
        byte[] model = Resources.read(Demo.FP32_MODEL);
        ModelRewriter.Rewritten rewritten = ModelRewriter.rewrite(model);
        assertEquals(36, count(rewritten, "QMatMul"));
        assertEquals(6, count(rewritten, "bias and GELU"));
        assertEquals(6, count(rewritten, "becomes Attention with key_mask"));
        assertEquals(13, count(rewritten, "becomes LayerNorm"));
        try (Tokenizer tokenizer = Tokenizer.load();
                OrtEncoder fp32 = new OrtEncoder(model, 1);
                OrtEncoder ops = new OrtEncoder(rewritten.model(), 2)) {
            // Sentences of different lengths in one batch: ONNX Runtime pads them.
            List<int[]> sentences = tokenizer.encode(Sentences.topical()).subList(0, 24);
            Accuracy accuracy = Accuracy.of(fp32.encode(sentences), ops.encode(sentences));
            assertTrue(accuracy.worst() >= 0.995, accuracy.toString());
        }
    }

    private static long count(ModelRewriter.Rewritten rewritten, String text) {
        return rewritten.changes().stream().filter(line -> line.contains(text)).count();
    }
}
