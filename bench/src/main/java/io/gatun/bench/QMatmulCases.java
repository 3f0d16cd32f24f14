package io.gatun.bench;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;

/** Which multiplications are measured. Cases with the same weights follow each other, so that weights are made once. */
final class QMatmulCases {
    /** Tiers that leave instructions out which this processor may have. */
    private static final List<String> TIERS = List.of("avx2", "avxvnni");

    private static final List<Long> FEW = List.of(1L, 512L);
    /** Memory binds, then both, then dots; 128 rows, as 512, show dots. */
    private static final List<Long> QUICK = List.of(1L, 8L, 512L);

    private final Arguments arguments;
    private final List<QMatmulCase> cases = new ArrayList<>();

    private QMatmulCases(Arguments arguments) {
        this.arguments = arguments;
    }

    /** The cases of the shapes, of the first one alone if quick. */
    static List<QMatmulCase> of(List<QMatmulShape> shapes, Arguments arguments) {
        QMatmulCases cases = new QMatmulCases(arguments);
        for (QMatmulShape shape : arguments.quick() ? shapes.subList(0, 1) : shapes) {
            if (shape.hasAllFormats()) {
                cases.addFormats(shape);
            } else {
                cases.add(shape.rowCounts(), arguments.threadCounts(), shape.with("int4", 32));
            }
        }
        return cases.cases;
    }

    private void addFormats(QMatmulShape shape) {
        List<Integer> threads = arguments.threadCounts();
        QMatmulCase int4 = shape.with("int4", 32);
        add(arguments.quick() ? QUICK : shape.rowCounts(), arguments.scalingCounts(), int4);
        add(FEW, threads, int4.precisely());
        TIERS.forEach(tier -> add(List.of(512L), List.of(1), int4.onTier(tier)));
        add(FEW, threads, shape.with("int4", 128));
        add(FEW, threads, shape.with("int8", 0));
        if (!arguments.quick()) {
            addOdd(shape);
        }
    }

    /** Primes near the layer's sizes. */
    private void addOdd(QMatmulShape shape) {
        add(
                List.of(1L, 509L),
                List.of(1),
                QMatmulCase.of("int4", 32, primeFrom(shape.columns(), 1), primeFrom(shape.depth(), -1), 1)
                        .asOdd());
    }

    private void add(List<Long> rowCounts, List<Integer> threadCounts, QMatmulCase problem) {
        for (long rows : rowCounts) {
            for (int threads : threadCounts) {
                cases.add(problem.withRows(rows).withThreads(threads));
            }
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
