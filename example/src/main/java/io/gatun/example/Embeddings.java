package io.gatun.example;

import static io.gatun.example.MiniLmWeights.HIDDEN;

import io.gatun.Tensor;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Word embeddings in int8, one scale a word, plus position and token type embeddings in fp32. */
final class Embeddings {
    private static final int GRAIN = 64;

    private final QuantizedTensor words;
    private final float[] positions;
    private final Workers workers;

    Embeddings(MiniLmWeights weights, Workers workers) {
        this.words = Quantize.run(
                Tensor.of(weights.wordEmbeddings(), weights.wordEmbeddings().length / HIDDEN, HIDDEN),
                QuantSpec.int8());
        this.positions = positionsOfFirstType(weights);
        this.workers = workers;
    }

    /** Sentences are embedded one by one, so every token is of type 0 and that row is added in advance. */
    private static float[] positionsOfFirstType(MiniLmWeights weights) {
        float[] sum = weights.positionEmbeddings().clone();
        for (int i = 0; i < sum.length; i++) {
            sum[i] += weights.tokenTypeEmbeddings()[i % HIDDEN];
        }
        return sum;
    }

    /** A buffer for the quantized rows of this many tokens. */
    QuantizedTensor allocateRows(long tokens) {
        return QuantizedTensor.allocate(words.spec(), tokens, HIDDEN);
    }

    /** Writes the sum of each token's embeddings to its row of y [tokens, HIDDEN]. */
    void run(TokenBatch batch, QuantizedTensor rows, Tensor y) {
        for (int token = 0; token < batch.tokens(); token++) {
            copyRow(words.codes(), batch.ids()[token], rows.codes(), token);
            copyRow(words.scales(), batch.ids()[token], rows.scales(), token);
        }
        Quantize.dequantize(rows, y);
        workers.forEach(batch.tokens(), GRAIN, token -> addPosition(y.segment(), token, batch.positions()[token]));
    }

    private static void copyRow(Tensor source, int row, Tensor target, int targetRow) {
        long bytes = source.dtype().bytes(source.shape().size(1));
        MemorySegment.copy(source.segment(), row * bytes, target.segment(), targetRow * bytes, bytes);
    }

    private void addPosition(MemorySegment y, int token, int position) {
        float[] sum = new float[HIDDEN];
        long begin = (long) token * HIDDEN * Float.BYTES;
        MemorySegment.copy(y, ValueLayout.JAVA_FLOAT, begin, sum, 0, HIDDEN);
        for (int c = 0; c < HIDDEN; c++) {
            sum[c] += positions[position * HIDDEN + c];
        }
        MemorySegment.copy(sum, 0, y, ValueLayout.JAVA_FLOAT, begin, HIDDEN);
    }

    long bytes() {
        return words.byteSize() + (long) positions.length * Float.BYTES;
    }
}
