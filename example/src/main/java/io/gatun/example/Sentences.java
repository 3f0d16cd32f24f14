package io.gatun.example;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** The demo's texts, written for Gatun: 40 topics of five sentences, ten words and phrases, and others to prune by. */
final class Sentences {
    private Sentences() {}

    /** 200 sentences of 10..40 tokens, five neighbours on one topic at a time. */
    static List<String> topical() throws IOException {
        return lines("sentences.txt");
    }

    /** Ten texts of 1..3 tokens. */
    static List<String> brief() throws IOException {
        return lines("short.txt");
    }

    /** About a hundred others on other topics, long and brief, to prune by. */
    static List<String> calibration() throws IOException {
        return lines("calibration.txt");
    }

    private static List<String> lines(String resource) throws IOException {
        return new String(Resources.read(resource), StandardCharsets.UTF_8)
                .lines()
                .filter(line -> !line.isBlank() && !line.startsWith("#"))
                .toList();
    }
}
