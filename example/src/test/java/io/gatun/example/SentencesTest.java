package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SentencesTest {
    private static Tokenizer tokenizer;

    @BeforeAll
    static void load() throws IOException {
        tokenizer = Tokenizer.load();
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    @Test
    void tokenizerGivesTheModelsIds() {
        assertArrayEquals(new int[] {101, 7592, 2088, 999, 102}, tokenizer.encode("Hello world!"));
        assertArrayEquals(new int[] {101, 102}, tokenizer.encode(""));
    }

    @Test
    void twoHundredSentencesOfTenToFortyTokens() throws IOException {
        checkLengths(Sentences.topical(), 200, 10, 40);
    }

    @Test
    void tenShortTextsOfOneToThreeTokens() throws IOException {
        checkLengths(Sentences.brief(), 10, 1, 3);
    }

    private static void checkLengths(List<String> texts, int count, int least, int most) {
        assertEquals(count, texts.size());
        for (String text : texts) {
            int length = Tokenizer.contentLength(tokenizer.encode(text));
            assertTrue(length >= least && length <= most, () -> length + " tokens: " + text);
        }
    }

    @Test
    void fiveSentencesOnEachOfFortyTopics() throws IOException {
        List<String> lines = new String(Resources.read("sentences.txt")).lines().toList();
        Set<String> topics = lines.stream().filter(line -> line.startsWith("#")).collect(Collectors.toSet());
        assertEquals(40, topics.size());
        List<Integer> sizes = new ArrayList<>();
        for (String line : lines) {
            if (line.startsWith("#")) {
                sizes.add(0);
            } else if (!line.isBlank()) {
                sizes.set(sizes.size() - 1, sizes.getLast() + 1);
            }
        }
        assertEquals(Set.of(5), new HashSet<>(sizes));
    }

    /** What is pruned by is nothing that is compared. */
    @Test
    void calibrationIsOfOtherTextsOnOtherTopics() throws IOException {
        List<String> others = Sentences.calibration();
        assertTrue(others.size() >= 80, others.size() + " texts");
        Set<String> compared = new HashSet<>();
        Sentences.topical().forEach(text -> compared.add(text.toLowerCase(Locale.ROOT)));
        Sentences.brief().forEach(text -> compared.add(text.toLowerCase(Locale.ROOT)));
        others.forEach(text -> assertTrue(compared.add(text.toLowerCase(Locale.ROOT)), text));
        assertEquals(Set.of(), shared(topics("sentences.txt"), topics("calibration.txt")));
    }

    private static Set<String> topics(String resource) throws IOException {
        return new String(Resources.read(resource))
                .lines()
                .filter(line -> line.startsWith("#"))
                .collect(Collectors.toSet());
    }

    private static Set<String> shared(Set<String> a, Set<String> b) {
        return a.stream().filter(b::contains).collect(Collectors.toSet());
    }

    @Test
    void noTextTwice() throws IOException {
        List<String> all = new ArrayList<>(Sentences.topical());
        all.addAll(Sentences.brief());
        List<String> repeated =
                all.stream()
                        .collect(Collectors.groupingBy(String::toLowerCase, Collectors.counting()))
                        .entrySet()
                        .stream()
                        .filter(entry -> entry.getValue() > 1)
                        .map(Map.Entry::getKey)
                        .toList();
        assertEquals(List.of(), repeated);
    }
}
