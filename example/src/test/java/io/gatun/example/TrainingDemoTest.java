package io.gatun.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.ops.Optimizer.Rule;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code demo --train}, with a training that is too brief to teach anything. */
class TrainingDemoTest {
    @TempDir
    private Path folder;

    @Test
    void printsTheNumbersAndWritesThePicture() throws Exception {
        Path picture = folder.resolve("sub").resolve("training.png");
        PrintStream out = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true));
        try {
            TrainingDemo.run(new Training(List.of(128), 40), picture);
        } finally {
            System.setOut(out);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        assertTrue(text.startsWith("An MLP 32-128-10 with 5514 parameters learns 10 classes of made-up points"), text);
        assertTrue(text.contains("2.89 % errors"), text);
        for (Rule rule : TrainingDemo.RULES) {
            int states = rule == Rule.ADAM ? 2 : 1;
            String numbers = " +\\d\\.\\d{4} +\\d+\\.\\d\\d %";
            String rows = String.format(
                    "%s +32 bits +%d%s\\R +8 bits +%d%s +\\d\\.\\d{4}\\R",
                    TrainingDemo.name(rule), states * 22056, numbers, states * 9832, numbers);
            assertTrue(Pattern.compile(rows).matcher(text).find(), rows + " in " + text);
        }
        assertTrue(text.endsWith("picture: " + picture + System.lineSeparator()), text);
        assertEquals(3 * LossChart.WIDTH, ImageIO.read(picture.toFile()).getWidth());
    }

    /** Both lines are in each chart. */
    @Test
    void drawsEveryCurve() throws Exception {
        Path picture = folder.resolve("curves.png");
        Training.Outcome falls = new Training.Outcome(List.of(2.0, 0.5, 0.3), new Perceptron.Score(0.3, 0.1), 400_000);
        Training.Outcome rises = new Training.Outcome(List.of(0.3, 0.9, 2.0), new Perceptron.Score(2.0, 0.8), 100_000);
        List<TrainingDemo.Pair> pairs = TrainingDemo.RULES.stream()
                .map(rule -> new TrainingDemo.Pair(rule, falls, rises))
                .toList();
        assertEquals(Optional.empty(), LossChart.write(pairs, 100, 0.1, picture));
        BufferedImage image = ImageIO.read(picture.toFile());
        for (int chart = 0; chart < 3; chart++) {
            for (int color : new int[] {LossChart.FULL.getRGB(), LossChart.EIGHT_BITS.getRGB()}) {
                int begin = chart * LossChart.WIDTH;
                long pixels = IntStream.range(begin, begin + LossChart.WIDTH)
                        .mapToLong(x -> IntStream.range(0, LossChart.HEIGHT)
                                .filter(y -> image.getRGB(x, y) == color)
                                .count())
                        .sum();
                assertTrue(pixels > 100, "chart " + chart + " has " + pixels + " pixels of a curve");
            }
        }
    }
}
