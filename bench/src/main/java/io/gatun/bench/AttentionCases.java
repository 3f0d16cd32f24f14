package io.gatun.bench;

import java.util.ArrayList;
import java.util.List;

/** Which attentions are measured. Cases of one length follow each other, as their input is the same. */
final class AttentionCases {
    private static final int SHORT = 2048;
    private static final int LONG = 8192;
    private static final List<Boolean> FULL_AND_CAUSAL = List.of(false, true);
    private static final List<Integer> PERCENTS = List.of(50, 25, 10, 5);
    private static final List<String> METHODS = List.of("means", "antidiagonal");
    /** What a selection keeps. */
    private static final int SELECTED = 10;

    private AttentionCases() {}

    /**
     * Dense attention of every type; sparse and selected one with many keys, on several threads. If quick, with many
     * keys only what is causal.
     */
    static List<AttentionCase> of(Arguments arguments) {
        List<AttentionCase> cases = new ArrayList<>();
        int several = arguments.threadCounts().getLast();
        for (boolean causal : FULL_AND_CAUSAL) {
            for (int threads : arguments.threadCounts()) {
                if (!arguments.quick() || threads == several) {
                    cases.add(AttentionCase.dense("f32", SHORT, causal, threads));
                }
                cases.add(AttentionCase.dense("bf16", SHORT, causal, threads));
            }
            cases.add(AttentionCase.dense("int8", SHORT, causal, several));
        }
        cases.add(AttentionCase.sparse("f32", SHORT, true, 50, several)); // beside a peer whose memory has room for it
        for (boolean causal : arguments.quick() ? List.of(true) : FULL_AND_CAUSAL) {
            cases.add(AttentionCase.dense("bf16", LONG, causal, several));
            if (!arguments.quick()) {
                cases.add(AttentionCase.dense("f32", LONG, causal, several));
                cases.add(AttentionCase.dense("int8", LONG, causal, several));
                PERCENTS.forEach(percent -> cases.add(AttentionCase.sparse("f32", LONG, causal, percent, several)));
            }
            PERCENTS.forEach(percent -> cases.add(AttentionCase.sparse("bf16", LONG, causal, percent, several)));
            METHODS.forEach(method -> cases.add(AttentionCase.select(method, LONG, causal, SELECTED, several)));
        }
        return cases;
    }
}
