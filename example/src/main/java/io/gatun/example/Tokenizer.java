package io.gatun.example;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** The model's own WordPiece tokenizer. Everything it needs is in jars; nothing is downloaded. */
final class Tokenizer implements AutoCloseable {
    private static final String RESOURCE = "/all-minilm-l6-v2-tokenizer.json";

    private final HuggingFaceTokenizer tokenizer;

    private Tokenizer(HuggingFaceTokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    static Tokenizer load() throws IOException {
        // Without these, DJL looks for GPU builds to download and reports its use to its authors.
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("RUST_FLAVOR", "cpu");
        // The file asks for padding to 128 tokens, which a ragged batch has no use for.
        Map<String, String> options = Map.of("padding", "false", "truncation", "true", "modelMaxLength", "512");
        try (InputStream stream = Resources.open(RESOURCE)) {
            return new Tokenizer(HuggingFaceTokenizer.newInstance(stream, options));
        }
    }

    /** Token ids with [CLS] in front and [SEP] at the end. */
    int[] encode(String text) {
        return Arrays.stream(tokenizer.encode(text).getIds())
                .mapToInt(Math::toIntExact)
                .toArray();
    }

    List<int[]> encode(List<String> texts) {
        return texts.stream().map(this::encode).toList();
    }

    /** How many tokens a text has without [CLS] and [SEP]. */
    static int contentLength(int[] ids) {
        return ids.length - 2;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
