package io.gatun.example;

import io.gatun.ops.QMatmul.Mode;
import java.io.IOException;
import java.util.List;

/**
 * all-MiniLM-L6-v2 with int8 weights and its tokenizer, both from the class path: texts in, a vector of unit length for
 * each out. Any number of threads may use one at once.
 */
public final class MiniLm implements AutoCloseable {
    private final Tokenizer tokenizer;
    private final GatunEncoder encoder;

    private MiniLm(Tokenizer tokenizer, GatunEncoder encoder) {
        this.tokenizer = tokenizer;
        this.encoder = encoder;
    }

    /** Reads the fp32 weights, 90 MB, and quantizes them. */
    public static MiniLm load() throws IOException {
        // One Java thread each: those who call are many already.
        GatunEncoder encoder =
                new GatunEncoder(MiniLmWeights.load(), WeightFormat.INT8.in(Mode.INT8_ROW), new Workers(1));
        return new MiniLm(Tokenizer.load(), encoder);
    }

    /** A vector of 384 numbers for each text, of which the first 126 tokens count, as its tokenizer says. */
    public float[][] embed(List<String> texts) {
        return encoder.encode(tokenizer.encode(texts));
    }

    /** Of the weights, outside of the heap but for position embeddings. */
    public long bytes() {
        return encoder.bytes();
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
