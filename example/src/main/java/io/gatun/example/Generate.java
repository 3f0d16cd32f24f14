package io.gatun.example;

import io.gatun.files.Gguf;
import io.gatun.files.GgufValue;
import io.gatun.ops.KvFormat;
import io.gatun.ops.QMatmul;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/**
 * Continues a text with a GGUF file of the Llama architecture:
 * {@code Generate <file> [<tokens to add> [<token>...]]}. The text is given as ids of the file's vocabulary; without any
 * it begins with the file's first token of texts.
 */
public final class Generate {
    private Generate() {}

    private static final String USAGE = """
            usage: Generate <file.gguf> [<tokens to add> [<token>...]]
            Continues the text of these ids of the file's vocabulary, or a new one, by 64 tokens if not told.
            """;

    public static void main(String[] arguments) {
        boolean help = Stream.of(arguments).anyMatch(argument -> argument.equals("--help"));
        if (help || arguments.length == 0) {
            (help ? System.out : System.err).print(USAGE);
            System.exit(help ? 0 : 2);
        }
        try {
            generate(arguments);
        } catch (NoSuchFileException e) {
            fail("no such file: " + e.getMessage());
        } catch (IOException | IllegalArgumentException | UnsupportedOperationException e) {
            fail(e.getMessage());
        }
    }

    private static void fail(String message) {
        System.err.println("Generate: " + message);
        System.exit(1);
    }

    private static int number(String argument, String name) {
        if (!argument.matches("[0-9]{1,9}")) {
            throw new IllegalArgumentException(name + ": given " + argument + "; allowed: 0..999999999");
        }
        return Integer.parseInt(argument);
    }

    private static void generate(String[] arguments) throws IOException {
        int count = arguments.length < 2 ? 64 : number(arguments[1], "tokens to add");
        try (Arena arena = Arena.ofShared()) {
            Gguf file = Gguf.open(Path.of(arguments[0]), arena);
            GgufValue begin = file.metadata().get("tokenizer.ggml.bos_token_id");
            int[] prompt = arguments.length > 2
                    ? Arrays.stream(arguments)
                            .skip(2)
                            .mapToInt(token -> number(token, "token"))
                            .toArray()
                    : new int[] {begin == null ? 1 : Math.toIntExact(begin.asLong())};
            GgufValue end = file.metadata().get("tokenizer.ggml.eos_token_id");
            GgufValue pieces = file.metadata().get("tokenizer.ggml.tokens");
            List<String> vocabulary = pieces == null ? List.of() : pieces.asStrings();
            try (Llama llama = new Llama(file, prompt.length + count, QMatmul.Mode.AUTO, KvFormat.BF16)) {
                System.out.println(llama);
                float[] logits = llama.append(prompt);
                long start = System.nanoTime();
                int added = 0;
                while (added < count) {
                    int token = Llama.best(logits);
                    if (end != null && token == end.asLong()) {
                        break;
                    }
                    System.out.print(vocabulary.isEmpty() ? token + " " : readable(vocabulary.get(token)));
                    added++;
                    if (added < count) {
                        logits = llama.append(token);
                    }
                }
                // The prompt told the first one.
                int steps = llama.length() - prompt.length;
                double seconds = (System.nanoTime() - start) / 1e9;
                System.out.printf("%n%d tokens, %.1f a second after the first%n", added, steps / seconds);
            }
        }
    }

    /** As vocabularies write spaces and line ends: SentencePiece's and that of byte-level BPE. */
    private static String readable(String piece) {
        return piece.replace('\u2581', ' ')
                .replace('\u0120', ' ')
                .replace('\u010a', '\n')
                .replace("<0x0A>", "\n");
    }
}
