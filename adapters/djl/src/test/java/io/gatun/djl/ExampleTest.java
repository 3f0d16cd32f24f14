package io.gatun.djl;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

/** The example of README. */
class ExampleTest {
    @Test
    void quantizedLinear() {
        PrintStream before = System.out;
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        System.setOut(new PrintStream(output));
        try {
            QuantizedLinear.main(new String[0]);
        } finally {
            System.setOut(before);
        }
        String text = output.toString().strip();
        double error = Double.parseDouble(text.substring(text.lastIndexOf(' ') + 1));
        assertTrue(error > 0.01 && error < 0.15, text);
    }
}
