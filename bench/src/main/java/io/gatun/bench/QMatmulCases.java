package io.gatun.bench;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;

/** Which multiplications are measured. Cases with the same weights follow each other, so that weights are made once. */
final class QMatmulCases {
    /** Tiers that leave instructions out which this processor may have. */
    private static final List<String> TIERS = List.of("avx2", "avxvnni");

    private final List<Integer> threadCounts;
    private final List<QMatmulCase> cases = new ArrayList<>();

    private QMatmulCases(List<Integer> threadCounts) {
        this.threadCounts = threadCounts;
    }

    /** The cases of the shapes, of the first one alone if quick. */
    static List<QMatmulCase> of(List<QMatmulShape> shapes, boolean quick, List<Integer> threadCounts) {
        QMatmulCases cases = new QMatmulCases(threadCounts);
        for (QMatmulShape shape : quick ? shapes.subList(0, 1) : shapes) {
            if (shape.hasAllFormats()) {
                cases.addFormats(shape);
                cases.addOdd(shape);
            } else {
                cases.add(shape, "int4", 32, "i8row", false, shape.rowCounts());
            }
        }
        return cases.cases;
    }

    private void addFormats(QMatmulShape shape) {
        List<Long> few = List.of(1L, 512L);
        add(shape, "int4", 32, "i8row", false, shape.rowCounts());
        add(shape, "int4", 32, "f32", true, few);
        for (String tier : TIERS) {
            cases.add(new QMatmulCase("int4", 32, "i8row", shape.columns(), shape.depth(), 512, 1, tier, false, false));
        }
        add(shape, "int4", 128, "i8row", false, few);
        add(shape, "int8", 0, "i8row", false, few);
    }

    private void add(
            QMatmulShape shape, String weights, int group, String activations, boolean precise, List<Long> rowCounts) {
        for (long rows : rowCounts) {
            for (int threads : threadCounts) {
                cases.add(new QMatmulCase(
                        weights,
                        group,
                        activations,
                        shape.columns(),
                        shape.depth(),
                        rows,
                        threads,
                        null,
                        precise,
                        false));
            }
        }
    }

    /** Primes near the layer's sizes. */
    private void addOdd(QMatmulShape shape) {
        for (long rows : List.of(1L, 509L)) {
            cases.add(new QMatmulCase(
                    "int4",
                    32,
                    "i8row",
                    primeFrom(shape.columns(), 1),
                    primeFrom(shape.depth(), -1),
                    rows,
                    1,
                    null,
                    false,
                    true));
        }
    }

    /** The next prime above (step 1) or below (step -1). */
    static long primeFrom(long number, int step) {
        long candidate = number + step;
        while (!BigInteger.valueOf(candidate).isProbablePrime(50)) {
            candidate += step;
        }
        return candidate;
    }
}
