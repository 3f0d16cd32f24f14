package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.example.MiniLmWeights.Linear;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class OnnxModelTest {
    private static OnnxModel model;

    @BeforeAll
    static void read() throws IOException {
        try (InputStream stream = Resources.open("/all-minilm-l6-v2.onnx")) {
            model = OnnxModel.read(stream);
        }
    }

    @Test
    void findsThirtySixLinearsInTheOrderOfTheLayers() {
        List<Linear> linears = MiniLmWeights.linears(model);
        assertEquals(36, linears.size());
        for (int i = 0; i < linears.size(); i++) {
            Linear linear = linears.get(i);
            assertEquals(i % 6 == 5 ? 1536 : 384, linear.inputs(), "inputs of linear " + i);
            assertEquals(i % 6 == 4 ? 1536 : 384, linear.outputs(), "outputs of linear " + i);
            assertEquals(linear.inputs() * linear.outputs(), linear.weights().length);
            assertEquals(linear.outputs(), linear.bias().length);
        }
    }

    @Test
    void biasesAreTheOnesNamedAfterTheirLinear() {
        List<Linear> linears = MiniLmWeights.linears(model);
        List<String> names = List.of(
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
                "intermediate.dense",
                "output.dense");
        for (int i = 0; i < linears.size(); i++) {
            String name = "encoder.layer." + i / 6 + "." + names.get(i % 6) + ".bias";
            assertArrayEquals(model.initializer(name).values(), linears.get(i).bias(), name);
        }
    }

    @Test
    void normsAreTheOnesNamedAfterTheirLayer() {
        MiniLmWeights weights = MiniLmWeights.of(model);
        assertArrayEquals(
                model.initializer("embeddings.LayerNorm.weight").values(),
                weights.embeddingNorm().weight());
        assertArrayEquals(
                model.initializer("encoder.layer.5.attention.output.LayerNorm.weight")
                        .values(),
                weights.layers().get(5).attentionNorm().weight());
        assertArrayEquals(
                model.initializer("encoder.layer.5.output.LayerNorm.bias").values(),
                weights.layers().get(5).outputNorm().bias());
    }

    @Test
    void readsTheEmbeddingTables() {
        assertArrayEquals(
                new long[] {30522, 384},
                model.initializer("embeddings.word_embeddings.weight").shape());
        assertArrayEquals(
                new long[] {512, 384},
                model.initializer("embeddings.position_embeddings.weight").shape());
        assertArrayEquals(
                new long[] {2, 384},
                model.initializer("embeddings.token_type_embeddings.weight").shape());
    }

    @Test
    void concatenatesColumns() {
        Linear a = new Linear(2, 1, new float[] {1, 2}, new float[] {7});
        Linear b = new Linear(2, 2, new float[] {3, 4, 5, 6}, new float[] {8, 9});
        Linear both = Linear.concatenate(a, b);
        assertEquals(3, both.outputs());
        assertArrayEquals(new float[] {1, 3, 4, 2, 5, 6}, both.weights());
        assertArrayEquals(new float[] {7, 8, 9}, both.bias());
    }

    @Test
    void refusesWhatIsNotThisModel() throws IOException {
        IOException noGraph =
                assertThrows(IOException.class, () -> OnnxModel.read(new ByteArrayInputStream(new byte[] {8, 1})));
        assertTrue(noGraph.getMessage().contains("no graph"), noGraph.getMessage());
        IllegalArgumentException empty = assertThrows(
                IllegalArgumentException.class, () -> MiniLmWeights.of(new OnnxModel(List.of(), Map.of())));
        assertTrue(empty.getMessage().contains("0 linear layers where 36"), empty.getMessage());
        try (InputStream quantized = Resources.open("/all-minilm-l6-v2-q.onnx")) {
            IllegalArgumentException elsewhere =
                    assertThrows(IllegalArgumentException.class, () -> OnnxModel.read(quantized));
            assertTrue(elsewhere.getMessage().endsWith("has no raw data"), elsewhere.getMessage());
        }
    }
}
