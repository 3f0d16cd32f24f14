package io.gatun.bench;

import java.util.ArrayList;
import java.util.List;

/** Which attentions to caches are measured. Cases of one input follow each other. */
final class DecodeCases {
    private static final List<Integer> KEYS = List.of(8192, 32768);
    private static final List<Integer> HEADS = List.of(32, 8);
    private static final List<DecodeCase.Cache> MAIN =
            List.of(DecodeCase.Cache.BF16, DecodeCase.Cache.INT8, DecodeCase.Cache.INT4);
    /** What a selection keeps. */
    private static final int PERCENT = 10;

    private DecodeCases() {}

    /**
     * Every type on one thread and on several, and selections in the main ones. If quick, the main ones on one thread,
     * and a selection in one.
     */
    static List<DecodeCase> of(Arguments arguments) {
        List<DecodeCase> cases = new ArrayList<>();
        List<Integer> threadCounts = arguments.quick() ? List.of(1) : arguments.threadCounts();
        List<DecodeCase.Cache> selected = arguments.quick() ? List.of(DecodeCase.Cache.BF16) : MAIN;
        for (int keys : KEYS) {
            for (int heads : HEADS) {
                for (DecodeCase.Cache cache : arguments.quick() ? MAIN : List.of(DecodeCase.Cache.values())) {
                    for (int threads : threadCounts) {
                        cases.add(DecodeCase.all(cache, keys, heads, threads));
                    }
                    if (selected.contains(cache)) {
                        cases.add(new DecodeCase(cache, PERCENT, keys, heads, 1));
                    }
                }
            }
        }
        return cases;
    }
}
