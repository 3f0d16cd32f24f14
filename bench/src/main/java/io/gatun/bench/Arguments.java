package io.gatun.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The command line.
 *
 * @param op what to measure, or null for everything
 * @param quick only the main shape, in less time
 * @param threads of the cases with several threads
 * @param shape of the only weights to multiply by, NxK (outputs x inputs), or null for all layers
 * @param peers external programs by name
 */
record Arguments(String op, boolean quick, int threads, String shape, Map<String, String> peers) {
    private static final int MAX_THREADS = 1024;

    /**
     * Reads {@code [op] [--quick] [--threads n] [--shape NxK] [--peer name=command]...}.
     *
     * @param peers the names of the peers of the bench, which no other may have
     * @throws IllegalArgumentException with what was given and what is allowed
     */
    static Arguments parse(List<String> words, List<String> ops, List<String> peers, int processors) {
        String op = null;
        boolean quick = false;
        int threads = processors;
        String shape = null;
        Map<String, String> externals = new LinkedHashMap<>();
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            switch (word) {
                case "--quick" -> quick = true;
                case "--threads" -> threads = threads(value(words, ++i));
                case "--shape" -> shape = shape(value(words, ++i));
                case "--peer" -> {
                    String[] peer = peer(value(words, ++i), peers);
                    if (externals.keySet().stream().anyMatch(peer[0]::equalsIgnoreCase)) {
                        throw new IllegalArgumentException("--peer: the name " + peer[0] + " is given twice");
                    }
                    externals.put(peer[0], peer[1]);
                }
                default -> {
                    if (word.startsWith("-")) {
                        throw new IllegalArgumentException("unknown option " + word
                                + "; allowed: --quick, --threads n, --shape NxK, --peer name=command");
                    }
                    if (!ops.contains(word)) {
                        throw new IllegalArgumentException(
                                "unknown op " + word + "; allowed: " + String.join(", ", ops));
                    }
                    if (op != null) {
                        throw new IllegalArgumentException(
                                "two ops, " + op + " and " + word + "; allowed: one, or none for all");
                    }
                    op = word;
                }
            }
        }
        return new Arguments(op, quick, threads, shape, externals);
    }

    private static String value(List<String> words, int index) {
        if (index == words.size()) {
            throw new IllegalArgumentException(words.get(index - 1) + ": a value is missing");
        }
        return words.get(index);
    }

    private static int threads(String given) {
        if (!given.matches("[1-9]\\d{0,3}") || Integer.parseInt(given) > MAX_THREADS) {
            throw new IllegalArgumentException("--threads: given " + given + "; allowed: 1.." + MAX_THREADS);
        }
        return Integer.parseInt(given);
    }

    private static String shape(String given) {
        if (!given.matches("[1-9]\\d{0,5}x[1-9]\\d{0,5}")) {
            throw new IllegalArgumentException(
                    "--shape: given " + given + "; allowed: NxK, outputs x inputs of a layer, each 1..999999");
        }
        return given;
    }

    /** A name that starts with gatun would count as ours; that of a peer, alone or with a version, as that peer's. */
    private static String[] peer(String given, List<String> peers) {
        String[] parts = given.split("=", 2);
        if (parts.length < 2 || !parts[0].matches("(?!(?i:gatun))[a-zA-Z0-9][\\w. -]*") || parts[1].isBlank()) {
            throw new IllegalArgumentException(
                    "--peer: given " + given
                            + "; allowed: name=command, the name of letters, digits, '_', '-', '.' and blanks, not starting with gatun");
        }
        if (peers.stream().anyMatch(parts[0].split(" ")[0]::equalsIgnoreCase)) {
            throw new IllegalArgumentException("--peer: the name " + parts[0]
                    + " is that of a peer of the bench; allowed: any but " + String.join(", ", peers));
        }
        return parts;
    }

    /** The numbers of threads that cases are measured with: one and the given one. */
    List<Integer> threadCounts() {
        return threads == 1 ? List.of(1) : List.of(1, threads);
    }

    /** Those that show how time falls from one thread to the given number: 1, 2, 4, ... */
    List<Integer> scalingCounts() {
        return IntStream.concat(IntStream.iterate(1, n -> n < threads, n -> 2 * n), IntStream.of(threads))
                .boxed()
                .toList();
    }
}
