package io.gatun.bench;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Which multiplications by sparse weights are measured. Cases with the same weights follow each other. */
final class NmMatmulCases {
    private static final long MANY = 512;
    private static final List<Long> ONE_AND_MANY = List.of(1L, MANY);

    /** Values, their group, n and m. */
    private record Kind(String values, int group, int n, int m) {
        NmMatmulCase with(QMatmulShape shape, long rows, int threads) {
            return new NmMatmulCase(values, group, n, m, shape.columns(), shape.depth(), rows, threads);
        }
    }

    /** Measured with every number of rows of a shape, as are the smaller ones. */
    private static final List<Kind> F32 = List.of(new Kind("f32", 0, 2, 4));

    private static final List<Kind> SMALLER =
            List.of(new Kind("bf16", 0, 2, 4), new Kind("int8", 0, 2, 4), new Kind("int4", 64, 2, 4));

    /** With one row and with many. */
    private static final List<Kind> SPARSER = List.of(new Kind("f32", 0, 1, 4), new Kind("f32", 0, 1, 8));

    /** With many rows alone. */
    private static final List<Kind> OTHERS =
            List.of(new Kind("f32", 0, 4, 8), new Kind("f32", 0, 2, 8), new Kind("f32", 0, 1, 16));

    private NmMatmulCases() {}

    /** The cases of the shapes; if quick, the main ones of the smallest shape, on several threads the first one alone. */
    static List<NmMatmulCase> of(List<QMatmulShape> shapes, Arguments arguments) {
        List<NmMatmulCase> cases = new ArrayList<>();
        if (arguments.quick()) {
            QMatmulShape smallest = shapes.stream()
                    .min(Comparator.comparingLong(shape -> shape.columns() * shape.depth()))
                    .orElseThrow();
            add(cases, smallest, F32, List.of(MANY), arguments.threadCounts());
            add(cases, smallest, SPARSER, List.of(MANY), List.of(1));
            add(cases, smallest, SMALLER, ONE_AND_MANY, List.of(1));
            return cases;
        }
        for (QMatmulShape shape : shapes) {
            add(cases, shape, F32, shape.rowCounts(), arguments.threadCounts());
            add(cases, shape, SMALLER, shape.rowCounts(), arguments.threadCounts());
            add(cases, shape, SPARSER, ONE_AND_MANY, arguments.threadCounts());
            add(cases, shape, OTHERS, List.of(MANY), arguments.threadCounts());
        }
        return cases;
    }

    private static void add(
            List<NmMatmulCase> cases,
            QMatmulShape shape,
            List<Kind> kinds,
            List<Long> rowCounts,
            List<Integer> threadCounts) {
        for (Kind kind : kinds) {
            for (long rows : rowCounts) {
                threadCounts.forEach(threads -> cases.add(kind.with(shape, rows, threads)));
            }
        }
    }
}
